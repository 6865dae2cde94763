//! Stories: a script in, golden text out. `UPDATE_GOLDEN=1 cargo test -p modelfleet-rollout` writes them anew; the
//! reviewer reads the difference.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::{
    Action, Alarm, AlarmAction, Approval, ConditionKind, Coverage, Decision, Evidence, HardStop, OnUndecided,
    Phase, Production, Queue, RollbackPolicy, UNCONFIRMED_MAX, Verdict, VersionFact, conditions, plan_view,
};
use world::{BEGIN, MINUTE, World};

/// The commands of a script, one a line; `#` begins a comment that is copied to the output.
fn run(world: &mut World, line: &str, out: &mut String) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "policy" => policy(world, rest),
        "after" => {
            world.pass(minutes(rest));
            look(world, out);
        }
        // Decides three times in the same world: only the first may do anything.
        "again" => {
            for _ in 0..2 {
                assert!(world.decide().actions.is_empty(), "decided twice, acted twice");
            }
        }
        "fleet" => world.fleet.matching = number(rest),
        "confirm" => world.confirm(number(rest)),
        "fail" => world.fleet.failed = number(rest),
        "aside" => aside(world, number(rest)),
        "cannot" => {
            world.fleet.incompatible = number(rest);
            without_the_unable(world);
        }
        "trouble" => {
            world.fleet.own_trouble = number(rest);
            without_the_unable(world);
        }
        "unable" => {
            let (devices, why) = rest.split_once(": ").unwrap_or((rest, ""));
            world.fleet.unable = number(devices);
            world.intent.facts.unable_why = why.to_owned();
        }
        "unasked" => {
            let (running, back) = rest.split_once(" and ").unwrap_or((rest, "0"));
            world.fleet.activated = number(running);
            (world.fleet.unasked, world.fleet.unproven) = (number(running), number(back));
        }
        // Of those that run it, and of all others.
        "lost" => lose_contact(world, rest),
        "unreachable" => {
            world.fleet.unreachable = number(rest);
            world.fleet.reachable = world.fleet.eligible.saturating_sub(number(rest));
        }
        "exposed" => exposed(world, rest),
        // The broker has forgotten all devices; then so many of those that had it are back.
        "forgotten" => world.fleet.exposed_ever = 0,
        "returned" => world.fleet.exposed_ever = number(rest),
        "mute" => world.fleet.still_exposed_mute = number(rest),
        "judge" => judge(world, rest),
        "set" => set(world, rest),
        "version" => version(world, rest),
        "produced" => produced(world, rest),
        "merged" => world.intent.facts.production = Production::of_all(rest),
        "queue" => {
            let (behind, how) = rest.split_once(' ').unwrap_or((rest, "under way"));
            let queue = Queue { behind: behind.to_owned(), active: how != "waits", position: 1 };
            world.intent.facts.queue = (rest != "none").then_some(queue);
        }
        "alarm" => world.intent.facts.alarm_holds = rest.strip_prefix("holds ").map(str::to_owned),
        "others" => world.intent.facts.others_wait = rest == "wait",
        "broker" => world.intent.facts.broker_connected = rest == "back",
        "devices" => world.heard = rest == "speak",
        "delete" => world.intent.facts.deleted = true,
        "spec" => {
            let problem = "spec.slos[0].metric: needs a profile".to_owned();
            world.intent.facts.unreadable = (rest == "broken").then_some(problem);
        }
        // Decides and does the first actions; dies before the state is stored.
        "dies" => dies(world, rest, out),
        _ => panic!("unknown command {line:?}"),
    }
}

/// Members that cannot run it, or that have trouble of their own, are not eligible.
fn without_the_unable(world: &mut World) {
    let fleet = &mut world.fleet;
    let unable = fleet.incompatible.saturating_add(fleet.own_trouble);
    fleet.eligible = fleet.members.saturating_sub(unable);
    fleet.reachable = fleet.eligible;
}

/// So many connected devices, and so many that are away, still run it.
fn exposed(world: &mut World, rest: &str) {
    let (online, away) = rest.split_once(" and ").unwrap_or((rest, "0"));
    world.fleet.still_exposed = number(online);
    world.fleet.still_exposed_unreachable = number(away);
    world.fleet.still_exposed_mute = 0;
    let named = UNCONFIRMED_MAX.min(usize::try_from(number(online)).expect("a count"));
    let name = |i| format!("pump-{i}").parse().expect("a device");
    world.intent.facts.unconfirmed = (1..=named).map(name).collect();
}

/// Contact is lost with so many of the devices that run it, and of all others.
fn lose_contact(world: &mut World, rest: &str) {
    let (lost, others) = rest.split_once(" and ").unwrap_or((rest, "0 of 0"));
    let (others_lost, others) = others.split_once(" of ").expect("like 2 of 195");
    let fleet = &mut world.fleet;
    fleet.lost = number(lost);
    fleet.silent_after_activation = number(lost);
    (fleet.others_lost, fleet.others) = (number(others_lost), number(others));
}

/// The members that were set aside are members no longer.
fn aside(world: &mut World, devices: u64) {
    let fleet = &mut world.fleet;
    fleet.members -= devices;
    fleet.eligible -= devices;
    fleet.reachable -= devices;
    fleet.failed = 0;
}

fn site(name: &str) -> Selector {
    let labels = [("site".to_owned(), name.to_owned())].into();
    Selector { match_labels: labels, ..Selector::default() }
}

/// Another rollout has proven a version for a site.
fn produced(world: &mut World, rest: &str) {
    let (name, version) = rest.split_once(' ').unwrap_or_else(|| panic!("{rest:?} is not like north 1.0.1"));
    let production = &mut world.intent.facts.production;
    *production = production.with(&site(name), version);
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn minutes(text: &str) -> u64 {
    number(text.strip_suffix('m').unwrap_or_else(|| panic!("{text:?} is not like 5m"))) * MINUTE
}

fn policy(world: &mut World, rest: &str) {
    match rest.split_once(' ').unwrap_or((rest, "")) {
        ("onUndecided", "Promote") => world.parts.on_undecided = OnUndecided::Promote,
        ("onUndecided", "RollBack") => world.parts.on_undecided = OnUndecided::RollBack,
        ("rollback", "Manual") => world.parts.rollback = RollbackPolicy::Manual,
        ("holdback", ppm) => world.parts.holdback_ppm = u32::try_from(number(ppm)).unwrap(),
        ("stages", count) => {
            let count = usize::try_from(number(count)).unwrap();
            world.parts.stages.truncate(count);
        }
        ("site", name) => world.parts.stages.iter_mut().for_each(|stage| stage.selector = site(name)),
        ("approval", rest) => {
            let (name, timeout) = rest.split_once(' ').unwrap_or((rest, ""));
            let timeout_ms = (!timeout.is_empty()).then(|| minutes(timeout));
            let stage = world.parts.stages.iter_mut().find(|s| s.name == name).unwrap();
            stage.approval = Approval::Required { timeout_ms };
        }
        _ => panic!("unknown policy {rest:?}"),
    }
}

fn judge(world: &mut World, rest: &str) {
    let (what, sentence) = rest.split_once(": ").unwrap_or((rest, ""));
    // Statistics follow a bar.
    let (sentence, statistics) = sentence.split_once(" | ").unwrap_or((sentence, ""));
    let said = || sentence.to_owned();
    let known = Evidence {
        coverage: Coverage::Met,
        sentence: sentence.to_owned(),
        statistics: statistics.to_owned(),
        ..Evidence::default()
    };
    world.judge(match what {
        "healthy" => Evidence { verdict: Verdict::Healthy, spent_ppb: 1_000_000, ..known },
        "undecided" => known,
        "mends" => Evidence { verdict: Verdict::Healthy, cures: true, ..known },
        "exposed" => Evidence { verdict: Verdict::Exposed, ..known },
        "last look" => Evidence { final_look: true, ..known },
        "degraded" => Evidence { verdict: Verdict::Degraded, ..known },
        "incident" => Evidence { incident: Some(said()), ..known },
        "pause" => Evidence { pause: Some(said()), ..known },
        "observes" => Evidence { alarm: alarm(sentence, AlarmAction::Observe), ..known },
        "alarms" => Evidence { alarm: alarm(sentence, AlarmAction::Notify), ..known },
        "holds" => Evidence { alarm: alarm(sentence, AlarmAction::Pause), ..known },
        "takes back" => Evidence { alarm: alarm(sentence, AlarmAction::RollBack), ..known },
        "retrains" => Evidence { alarm: alarm(sentence, AlarmAction::Retrain), ..known },
        "lacks" => Evidence { coverage: Coverage::Missing(said()), ..known },
        "stop" => Evidence {
            hard_stop: Some(HardStop::RollBackAll { reason: said(), statistics: String::new() }),
            ..known
        },
        "quarantine" => {
            let devices = vec!["pump-007".parse::<DeviceId>().unwrap()];
            Evidence { hard_stop: Some(HardStop::Quarantine { devices, reason: said() }), ..known }
        }
        _ => panic!("unknown judgement {rest:?}"),
    });
}

fn alarm(sentence: &str, action: AlarmAction) -> Option<Alarm> {
    Some(Alarm { sentence: sentence.to_owned(), action })
}

fn set(world: &mut World, rest: &str) {
    let (field, value) = rest.split_once(": ").unwrap_or((rest, ""));
    let text = (value != "null").then(|| value.to_owned());
    match field {
        "paused" => world.intent.paused = value == "true",
        "abort" => world.intent.abort = value == "true",
        "promote" => world.intent.promote = text,
        "retryToken" => world.intent.retry_token = text,
        "onUndecided" => policy(world, &format!("onUndecided {value}")),
        "setAside" => {
            let ids = text.iter().flat_map(|ids| ids.split(' '));
            world.parts.set_aside = ids.map(|id| id.parse().expect("a device")).collect();
        }
        _ => panic!("unknown field {rest:?}"),
    }
}

fn version(world: &mut World, rest: &str) {
    world.intent.facts.version = match rest {
        "missing" => VersionFact::Missing,
        "registered" => VersionFact::Registered,
        "verified" => VersionFact::Verified,
        // The object came back without its status, and the broker has lost its plan.
        "lost" => {
            world.intent.facts.production = Production::default();
            VersionFact::Verified
        }
        "production" => VersionFact::Production,
        "archived" => {
            world.intent.facts.production = Production::of_all("1.2.0");
            VersionFact::Archived
        }
        "broken" => VersionFact::Unverifiable("the bytes hash to another digest".to_owned()),
        "malformed" => VersionFact::Unverifiable("it is cut off; register a new version of it".to_owned()),
        "rejected with statistics" => VersionFact::Rejected {
            reason: "5 of 5 devices that tried the new version failed, 0 of 7 others (rollout r). Statistics: p = 0.0013.".to_owned(),
            at: world.now,
        },
        "below the floor" => {
            VersionFact::Forbidden("may not run: trust document 4 forbids versions of m below 1.2.0 for good; roll out 1.2.0 or later".to_owned())
        }
        "before below the floor" => {
            world.intent.facts.prior_forbidden =
                "trust document 4 forbids versions of m below 1.1.0 for good, and before it was 1.0.0".to_owned();
            return;
        }
        "rejected" => VersionFact::Rejected { reason: "1.1.0 did harm".to_owned(), at: world.now },
        _ => panic!("unknown fact {rest:?}"),
    };
}

fn dies(world: &mut World, rest: &str, out: &mut String) {
    let (time, after) =
        rest.split_once(" after ").unwrap_or_else(|| panic!("{rest:?} is not like 1m after 2"));
    world.pass(minutes(time));
    let decision = world.look();
    for action in decision.actions.iter().take(usize::try_from(number(after)).unwrap()) {
        writeln!(out, "    {}", said(action)).unwrap();
        world.carry_out(action);
    }
}

fn look(world: &mut World, out: &mut String) {
    let decision = world.decide();
    show(world, &decision, out);
}

fn show(world: &World, decision: &Decision, out: &mut String) {
    let state = &world.state;
    let policy = world.policy();
    let view = plan_view(&policy, state);
    let plan = match (view.candidate, view.admit, view.rejected) {
        (true, true, _) => "candidate",
        (true, false, _) => "candidate, admits nobody",
        (false, _, true) => "stable alone, candidate rejected",
        (false, _, false) => "stable alone",
    };
    let at = world.now.since_ms(BEGIN) / MINUTE;
    let stage = if state.is_opened() { policy.stage(state.stage).name.as_str() } else { "-" };
    let stable = view.stable.clone().unwrap_or_else(|| world.intent.facts.production.clone());
    let phase = match state.phase {
        Phase::Paused(cause) => format!("Paused({})", cause.as_str()),
        phase => format!("{phase:?}"),
    };
    writeln!(out, "{at}m {phase} {stage} | plan: {plan}, stable {stable}").unwrap();
    for action in &decision.actions {
        writeln!(out, "    {}", said(action)).unwrap();
    }
    for reason in &decision.reasons {
        writeln!(out, "    ({}) {}", reason.code.as_str(), reason.message).unwrap();
    }
    let conditions = conditions(&policy, state, &decision.reasons);
    let held: Vec<_> = conditions.iter().filter(|c| c.holds).map(|c| c.kind).collect();
    writeln!(out, "    {}", held.into_iter().map(ConditionKind::as_str).collect::<Vec<_>>().join(", "))
        .unwrap();
}

fn said(action: &Action) -> String {
    match action {
        Action::OpenStage { index, salt, share } => {
            format!("OpenStage {index} {:?} salt {salt}", share.devices)
        }
        Action::Promote { production } => format!("Promote {production}"),
        Action::GiveBack { production } => format!("GiveBack {production}"),
        Action::MarkRejected { version, reason, .. } => format!("MarkRejected {version} {reason}"),
        Action::MarkVerified { version } => format!("MarkVerified {version}"),
        Action::Event { kind, message } => {
            format!("{} {}: {message}", if kind.is_warning() { "Warning" } else { "Normal" }, kind.as_str())
        }
    }
}

fn tell(script: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for line in script.lines() {
        let line = line.trim();
        if line.is_empty() {
            out.push('\n');
            continue;
        }
        writeln!(out, "{}{line}", if line.starts_with('#') { "" } else { "> " }).unwrap();
        if !line.starts_with('#') {
            run(&mut world, line, &mut out);
        }
    }
    out
}

#[allow(clippy::disallowed_methods, reason = "the stories are files")]
fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let entries = std::fs::read_dir(folder).expect("the folder of stories is there");
    let paths = entries.map(|e| e.expect("an entry").path());
    let mut scripts: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    scripts.sort();
    scripts
}

#[test]
#[allow(clippy::disallowed_methods, reason = "golden files")]
fn stories_end_as_written() {
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    let scripts = scripts();
    assert!(scripts.len() >= 9, "the stories are there");
    let mut wrong = Vec::new();
    for script in scripts {
        let told = tell(&std::fs::read_to_string(&script).expect("a script is text"));
        let golden = script.with_extension("out");
        if update {
            std::fs::write(&golden, &told).expect("a golden file can be written");
        } else if std::fs::read_to_string(&golden).ok().as_ref() != Some(&told) {
            wrong.push(format!("{}\n{told}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "not as written:\n{}", wrong.join("\n"));
}
