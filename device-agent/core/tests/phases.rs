//! Every phase with every input, compared with `phases.txt`.
//!
//! To write the table anew: `UPDATE_GOLDEN=1 cargo test -p modelfleet-agent-core --test phases`.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "a golden file is a file")]

mod world;

use std::fmt::Write as _;

use modelfleet_agent_core::interface::{Input, Moment, Output, Record, Retry};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Mode, Order, Plan};
use modelfleet_protocol::state::{Failure, FailureCode};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use world::{WINDOW_MS, World, build, candidate, digest, identity, model, plan, signed};

fn stable() -> World {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    world.settle();
    world
}

fn offered(change: fn(&mut Plan)) -> World {
    let mut world = stable();
    let mut plan = plan(2, Some(1), Some(candidate(2, "r")), &[]);
    change(&mut plan);
    world.plan(plan);
    world
}

fn after(answers: usize) -> World {
    let mut world = offered(|_| {});
    (0..answers).for_each(|_| {
        world.answer(0);
    });
    world
}

fn phases() -> Vec<(&'static str, World)> {
    let confirmed = || {
        let mut world = after(3);
        world.healthy();
        world
    };
    let ended = |end: fn(&mut World)| {
        let mut world = confirmed();
        end(&mut world);
        world.answer_all();
        world
    };
    let mut failed = after(1);
    failed.refuse(0, Retry::Never);
    let mut reverted = after(3);
    reverted.feed(Input::Memory { exceeded: true });
    reverted.answer_all();
    vec![
        ("Empty", World::new()),
        ("Stable", stable()),
        ("Offered (paused)", offered(|p| p.candidate.as_mut().unwrap().admit = false)),
        ("Downloading", after(0)),
        ("Downloaded (admitting)", after(1)),
        ("Switching", after(2)),
        ("Activated", after(3)),
        ("Confirmed", confirmed()),
        ("Failed", failed),
        ("Incompatible", offered(|p| p.candidate.as_mut().unwrap().build.memory_bytes = 1 << 40)),
        ("Reverted", reverted),
        ("RolledBack", ended(|world| drop(world.plan(plan(3, Some(1), None, &[2]))))),
        ("Promoted", ended(|world| drop(world.plan(plan(3, Some(2), None, &[]))))),
        ("Shadow", {
            let mut world = offered(|p| p.candidate.as_mut().unwrap().mode = Mode::Shadow);
            world.answer_all();
            world
        }),
    ]
}

fn orders(action: OverrideAction) -> Input {
    let order = Order { epoch: 1, revision: 1, issued: Time(0), expires: Time(u64::MAX) };
    let (id, models) = (identity(), vec![ModelOverride { model: model(), action }]);
    Input::Override(signed(Box::new(Override { namespace: id.namespace, device: id.device, order, models })))
}

fn inputs() -> Vec<(&'static str, Input)> {
    let (model, d) = (model(), digest(2));
    let failure = || Failure::new(FailureCode::LoadRefused, "no");
    let plan = |plan: Plan| Input::Plan(signed(plan.into()));
    let engine = || "Rten".to_owned();
    let window = WindowSummary { index: 30_000_000, span: 1, ..WindowSummary::default() };
    let health = |answered, errors| Input::Health { model: model.clone(), digest: d, answered, errors };
    let retry = |retry| Input::FetchFailed { digest: d, failure: failure(), retry };
    let observed = (model.clone(), WINDOW_MS, 30_000_000);
    vec![
        ("Started", Input::Started { boot: None }),
        ("Stopping", Input::Stopping),
        ("NotSaved", Input::NotSaved),
        ("Saved", Input::Saved),
        ("Connecting", Input::Connecting),
        ("Connected", Input::Connected { payload_bytes_max: usize::MAX }),
        ("Disconnected", Input::Disconnected),
        ("BrokerHeard", Input::BrokerHeard),
        ("Plan: the same candidate", plan(world::plan(9, Some(1), Some(candidate(2, "r")), &[]))),
        ("Plan: another attempt", plan(world::plan(9, Some(1), Some(candidate(2, "r-2")), &[]))),
        ("Plan: another candidate", plan(world::plan(9, Some(1), Some(candidate(3, "s")), &[]))),
        ("Plan: rejected", plan(world::plan(9, Some(1), None, &[2]))),
        ("Plan: promoted", plan(world::plan(9, Some(2), None, &[]))),
        ("Plan: nothing", plan(world::plan(9, None, None, &[]))),
        ("Plan: older", plan(world::plan(0, None, None, &[]))),
        ("Override: pin", orders(OverrideAction::Pin(Box::new(build(2))))),
        ("Override: hold", orders(OverrideAction::Hold)),
        ("Override: release", orders(OverrideAction::Release)),
        ("FetchProgress", Input::FetchProgress { digest: d, bytes: 600 }),
        ("Fetched", Input::Fetched { digest: d, details: None }),
        ("FetchFailed: later", retry(Retry::Later)),
        ("FetchFailed: never", retry(Retry::Never)),
        ("RoomOnDisk", Input::RoomOnDisk),
        ("Admitted", Input::Admitted { model: model.clone(), digest: d, engine: engine(), memory_bytes: 1 }),
        ("Refused", Input::Refused { model: model.clone(), digest: d, failure: failure() }),
        ("Switched", Input::Switched { model: model.clone(), digest: Some(d), engine: engine() }),
        ("SwitchFailed", Input::SwitchFailed { model: model.clone(), digest: d, failure: failure() }),
        ("Unreadable", Input::Unreadable { model: model.clone(), digest: d, failure: failure() }),
        ("Shadowing", Input::Shadowing { model: model.clone(), digest: d }),
        ("SlotLost", Input::SlotLost { digest: d }),
        (
            "WindowClosed",
            Input::WindowClosed {
                model: observed.0.clone(),
                digest: d,
                window_ms: observed.1,
                window: Box::new(window),
            },
        ),
        (
            "TruthArrived",
            Input::TruthArrived {
                model: observed.0,
                digest: d,
                window_ms: observed.1,
                index: observed.2,
                counters: Counters::default(),
            },
        ),
        ("Health: enough", health(10, 0)),
        ("Health: errors", health(10, 4)),
        ("Memory: exceeded", Input::Memory { exceeded: true }),
        ("Memory: enough", Input::Memory { exceeded: false }),
        ("Wake", Input::Wake),
    ]
}

fn word(output: &Output) -> Option<String> {
    let version = |build: &Option<modelfleet_agent_core::build::Build>| {
        build.as_ref().map_or("none".to_owned(), |b| b.version.minor.to_string())
    };
    let n = |digest: &modelfleet_protocol::ids::Digest| digest.0[0];
    Some(match output {
        Output::Save(Record::Control) => "Save".to_owned(),
        Output::Save(Record::Windows(_)) => "SaveWindows".to_owned(),
        Output::Connect { .. } => "Connect".to_owned(),
        Output::PublishPresence(presence) => format!("Presence({})", presence.online),
        Output::PublishState(_) => "State".to_owned(),
        Output::PublishReport { .. } => "Report".to_owned(),
        Output::Fetch { build, .. } => format!("Fetch({})", build.version.minor),
        Output::PauseFetch { digest } => format!("PauseFetch({})", n(digest)),
        Output::CancelFetch { digest } => format!("CancelFetch({})", n(digest)),
        Output::Admit { build } => format!("Admit({})", build.version.minor),
        Output::Unload { digest, .. } => format!("Unload({})", n(digest)),
        Output::Switch { build, .. } => format!("Switch({})", version(build)),
        Output::Shadow { build, .. } => format!("Shadow({})", version(build)),
        Output::Delete { digest } => format!("Delete({})", n(digest)),
        Output::Observe(watch) => format!("Observe({:?} {})", watch.role, version(&watch.build)),
        Output::AskForPlans => "AskForPlans".into(),
        Output::Note(_) => return None,
    })
}

fn summary(world: &World) -> String {
    let saved = world.agent.saved();
    let Some(kept) = saved.models.get(&model()) else { return "-".to_owned() };
    let active = kept.active.as_ref().map_or("none".to_owned(), |a| {
        format!("{}{}", a.digest.0[0], if a.probation.is_some() { "?" } else { "" })
    });
    let attempts = kept.attempts.iter().filter(|t| !t.attempt.rollout.is_empty()).map(|t| {
        let code = t.attempt.failure.as_ref().map(|f| format!(" {:?}", f.code)).unwrap_or_default();
        format!("{}:{:?}{code}", t.attempt.rollout, t.attempt.phase)
    });
    format!("active {active}; {}", attempts.collect::<Vec<_>>().join(", "))
}

#[test]
fn every_phase_meets_every_input() {
    let mut table = String::from(
        "Every phase with every input: what comes out, what is active afterwards (?: on probation), attempts.\n\
         Build 1 is stable, build 2 the candidate of attempt r. Generated by phases.rs.\n",
    );
    for (phase, world) in phases() {
        writeln!(table, "\n== {phase}: {}", summary(&world)).unwrap();
        for (name, input) in inputs() {
            let mut world = world.clone();
            // The agent alone: strays are answers that the shell would not give.
            let step = world.agent.step(Moment { wall: world.now, steady_ms: world.steady_ms }, input);
            let words: Vec<String> = step.outputs.iter().filter_map(word).collect();
            let wake = step.wake.map(|(_, why)| format!(" wake {why:?}")).unwrap_or_default();
            let line = format!("{name:<26} {:<52}{wake:<17} | {}", words.join(" "), summary(&world));
            writeln!(table, "{}", line.trim_end()).unwrap();
        }
    }
    if option_env!("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/phases.txt"), &table).unwrap();
    } else {
        assert!(
            table == include_str!("phases.txt"),
            "phases.txt differs; read the difference, then renew it"
        );
    }
}
