//! A small world for the tests: it carries out actions as the shell does, and nothing more.
#![allow(dead_code, reason = "each test target uses its part of the world")]

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Action, Amount, Approval, Decision, Evidence, Facts, FleetView, Intent, Limits, OnUndecided, Phase,
    Policy, PolicyParts, Production, RollbackPolicy, Stage, State, VersionFact, decide, plan_view,
};

pub const MINUTE: u64 = 60_000;
/// Where every test begins.
pub const BEGIN: Time = Time(1_000_000_000);

pub fn stage(name: &str, target: Target, min_devices: u64) -> Stage {
    Stage {
        name: name.to_owned(),
        target,
        selector: Selector::default(),
        spread_by: vec![],
        watch_by: vec![],
        bake_ms: 10 * MINUTE,
        approval: Approval::Automatic,
        limits: Limits {
            max_failed: Amount::Ppm(200_000),
            max_unreachable: Amount::Ppm(500_000),
            min_devices,
            min_windows: 5,
            min_reporting_ppm: 800_000,
        },
        rollback_deadline_ms: 5 * MINUTE,
        max_wait_ms: 20 * MINUTE,
        mode: Mode::Live,
        margin_ppm: None,
        floors: Vec::new(),
    }
}

pub fn parts() -> PolicyParts {
    PolicyParts {
        rollout: "pump-1-1-0".to_owned(),
        uid: "u1".to_owned(),
        version: "1.1.0".to_owned(),
        set_aside: Vec::new(),
        stages: vec![
            stage("canary", Target::Ppm(25_000), 5),
            stage("early", Target::Ppm(100_000), 10),
            stage("broad", Target::Ppm(500_000), 50),
            stage("full", Target::Ppm(1_000_000), 100),
        ],
        on_undecided: OnUndecided::Hold,
        rollback: RollbackPolicy::Automatic,
        holdback_ppm: 0,
        probation: Probation { timeout_ms: MINUTE, min_predictions: 1, max_errors: 1 },
        fetch: Fetch::default(),
        observe: Observe { window_ms: MINUTE, ..Observe::default() },
        error_budget_ppm: 10_000,
        stale_after_ms: 30 * MINUTE,
    }
}

/// See [`World::end`].
pub type End = (Phase, u32, u32, bool, String, String, (bool, bool, bool, String, String));

/// All that a decision is made from, and what followed.
#[derive(Clone, Debug)]
pub struct World {
    pub parts: PolicyParts,
    pub state: State,
    pub fleet: FleetView,
    pub evidence: Evidence,
    pub intent: Intent,
    pub now: Time,
    /// Devices speak: the fleet is heard whenever time passes.
    pub heard: bool,
}

impl World {
    pub fn new() -> World {
        let facts = Facts {
            version: VersionFact::Verified,
            production: Production::of_all("1.0.0"),
            broker_connected: true,
            view_complete: true,
            heard_at: Some(BEGIN),
            ..Facts::default()
        };
        World {
            parts: parts(),
            state: State::default(),
            fleet: FleetView { matching: 200, ..FleetView::default() },
            evidence: Evidence::default(),
            intent: Intent { facts, ..Intent::default() },
            now: BEGIN,
            heard: true,
        }
    }

    pub fn policy(&self) -> Policy {
        Policy::new(self.parts.clone()).expect("the test's policy is valid")
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        if self.heard {
            self.intent.facts.heard_at = Some(self.now);
        }
    }

    /// Decides and does nothing with it.
    pub fn look(&self) -> Decision {
        decide(&self.policy(), &self.state, &self.fleet, &self.evidence, &self.intent, self.now)
    }

    /// Decides, carries out the actions, stores the state.
    pub fn decide(&mut self) -> Decision {
        let decision = self.look();
        for action in &decision.actions {
            self.carry_out(action);
        }
        if decision.state.attempt != self.state.attempt {
            self.fleet.exposed_ever = 0;
            self.confirm(0);
        }
        self.state = decision.state.clone();
        let view = plan_view(&self.policy(), &self.state);
        if !view.candidate {
            self.fleet.drawn = None;
        }
        decision
    }

    /// Decides in moments that follow each other at once, until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..8 {
            self.now = self.now.after_ms(1);
            let _ = self.decide();
        }
    }

    /// What a rollout has come to: all that devices, queue and people go by.
    pub fn end(&self) -> End {
        let state = &self.state;
        let view = plan_view(&self.policy(), state);
        let version = match &self.intent.facts.version {
            VersionFact::Rejected { .. } => "Rejected".to_owned(),
            version => format!("{version:?}"),
        };
        let production = self.intent.facts.production.to_string();
        let stable = view.stable.unwrap_or_else(|| self.intent.facts.production.clone()).to_string();
        let plan = (view.candidate, view.admit, view.rejected, stable, view.salt);
        (state.phase, state.attempt, state.stage, state.harm.is_some(), version, production, plan)
    }

    /// What becomes of versions, by the rules of the shell.
    pub fn carry_out(&mut self, action: &Action) {
        let (ours, now) = (self.parts.version.clone(), self.now);
        let facts = &mut self.intent.facts;
        match action {
            Action::OpenStage { index, share, .. } => {
                let members = share.of(self.fleet.matching);
                self.fleet.drawn = Some(*index);
                self.fleet.members = members;
                self.fleet.eligible = members;
                self.fleet.reachable = members;
                self.fleet.offered = members;
            }
            Action::Promote { production } | Action::GiveBack { production } => {
                facts.production.clone_from(production);
                match production.names(&ours) {
                    true => facts.version = VersionFact::Production,
                    false if facts.version == VersionFact::Production => {
                        facts.version = VersionFact::Verified
                    }
                    false => {}
                }
            }
            Action::MarkRejected { message, .. } => {
                // The first rejection stays, with its time, and so does a check that failed.
                let stays = matches!(
                    facts.version,
                    VersionFact::Rejected { .. } | VersionFact::Unverifiable(_) | VersionFact::Forbidden(_)
                );
                if !stays {
                    facts.version = VersionFact::Rejected { reason: message.clone(), at: now };
                }
            }
            Action::MarkVerified { .. } => {
                if matches!(facts.version, VersionFact::Rejected { .. }) {
                    facts.version = VersionFact::Verified;
                }
            }
            Action::Event { .. } => {}
        }
    }

    /// So many members run the candidate and are confirmed.
    pub fn confirm(&mut self, devices: u64) {
        let fleet = &mut self.fleet;
        fleet.downloaded = devices;
        fleet.activated = devices;
        fleet.confirmed = devices;
        fleet.still_exposed = devices;
        fleet.exposed_ever = fleet.exposed_ever.max(devices);
    }

    /// The judge has looked at the current stage.
    pub fn judge(&mut self, evidence: Evidence) {
        self.evidence = Evidence { attempt: self.state.attempt, stage: self.state.stage, ..evidence };
    }
}
