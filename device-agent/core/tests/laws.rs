//! Laws that hold whatever happens, in whatever order.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output, Retry};
use modelfleet_agent_core::saved::{Active, Directive, Saved, SavedModel};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Mode, Order, Plan, Wanted};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use proptest::prelude::*;
use world::{WINDOW_MS, World, build, candidate, digest, identity, model, plan, signed};

/// No answer to a request is waited for longer: that to a fetch of a small model.
const ANSWER_MS_MAX: u64 = 3_600_000 + 1_000;

/// Something that happens to a device.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    SetClock(u64),
    Connect,
    Disconnect,
    Plan(Box<Plan>),
    Override(u64, u8),
    Answer(usize),
    /// An answer never comes, comes twice, or comes in the place of another.
    LoseAnswer(usize),
    DoubleAnswer(usize),
    SwapAnswers(usize, usize),
    Refuse(usize, Retry),
    Health(u8, u64, u64),
    Heard,
    Memory(bool),
    Lost(u8),
    /// The engine's process ends under a build.
    EngineEnded(u8),
    Crash,
    /// The process dies between two outputs of the next step that has more than so many.
    CrashWithin(usize),
    StopAndStart,
    LosePower,
    /// The disk takes no writes, or takes them again.
    Full(bool),
    /// Answers that nobody asked for.
    Stray(u8, u8),
    Window(u8, u64, u64),
}

fn plans() -> impl Strategy<Value = Plan> {
    let stable = prop::option::weighted(0.8, 1_u8..4);
    let rejected = prop::collection::vec(1_u8..5, 0..2);
    let goal = prop::option::weighted(0.7, (1_u8..5, 0_u8..3, any::<bool>(), any::<bool>(), 0_u8..8));
    (1_u64..12, stable, rejected, goal).prop_map(|(revision, stable, rejected, goal)| {
        let goal = goal.map(|(n, attempt, admit, member, mode)| {
            let mut c = candidate(n, &format!("r-{n}-{attempt}"));
            c.admit = admit || mode > 3;
            c.mode = [Mode::Shadow, Mode::Unknown].get(usize::from(mode)).copied().unwrap_or(Mode::Live);
            if !member && mode > 5 {
                c.membership.clauses.clear();
            }
            c
        });
        let mut plan = plan(revision, stable, goal, &rejected);
        if revision % 5 == 0 {
            plan.order.expires = world::START.after_ms(3_600_000);
        }
        plan
    })
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_u64..1_000_000).prop_map(Event::Pass),
        1 => any::<u64>().prop_map(Event::SetClock),
        3 => Just(Event::Connect),
        1 => Just(Event::Disconnect),
        6 => plans().prop_map(|p| Event::Plan(Box::new(p))),
        1 => (1_u64..6, 0_u8..6).prop_map(|(r, n)| Event::Override(r, n)),
        8 => (0_usize..4).prop_map(Event::Answer),
        2 => (0_usize..4).prop_map(Event::LoseAnswer),
        1 => (0_usize..4).prop_map(Event::DoubleAnswer),
        1 => (0_usize..4, 0_usize..4).prop_map(|(a, b)| Event::SwapAnswers(a, b)),
        1 => (0_usize..4, prop_oneof![Just(Retry::Later), Just(Retry::Never)]).prop_map(|(n, r)| Event::Refuse(n, r)),
        3 => (1_u8..5, 0_u64..20, 0_u64..5).prop_map(|(n, a, e)| Event::Health(n, a, e)),
        2 => Just(Event::Heard),
        1 => any::<bool>().prop_map(Event::Memory),
        1 => (1_u8..5).prop_map(Event::Lost),
        1 => (1_u8..5).prop_map(Event::EngineEnded),
        1 => Just(Event::Crash),
        2 => (0_usize..6).prop_map(Event::CrashWithin),
        1 => Just(Event::StopAndStart),
        1 => Just(Event::LosePower),
        1 => any::<bool>().prop_map(Event::Full),
        1 => (0_u8..4, 1_u8..6).prop_map(|(k, n)| Event::Stray(k, n)),
        2 => (1_u8..5, any::<u64>(), 0_u64..100).prop_map(|(n, i, r)| Event::Window(n, i, r)),
    ]
}

/// What happens on a device where all goes well.
fn calm() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Answer(0)),
        3 => plans().prop_map(|p| Event::Plan(Box::new(p))),
        3 => (1_u64..200_000).prop_map(Event::Pass),
        1 => (1_u8..5).prop_map(|n| Event::Health(n, 10, 0)),
        1 => Just(Event::Heard),
    ]
}

fn apply(world: &mut World, event: Event) {
    let of = |n| (model(), digest(n));
    match event {
        Event::Pass(ms) => {
            world.pass(ms);
        }
        Event::SetClock(at) => {
            world.now = Time(at);
            let _ = world.feed(Input::Wake);
        }
        Event::Connect => {
            world.feed(Input::Connecting);
            let _ = world.feed(Input::Connected { payload_bytes_max: usize::MAX });
        }
        Event::Disconnect => drop(world.feed(Input::Disconnected)),
        Event::Plan(plan) => drop(world.plan(*plan)),
        Event::Override(revision, n) => drop(world.feed(order(revision, n))),
        Event::Answer(n) if n < world.pending.len() => drop(world.answer(n)),
        Event::Refuse(n, retry) if n < world.pending.len() => drop(world.refuse(n, retry)),
        Event::LoseAnswer(n) if n < world.pending.len() => drop(world.pending.remove(n)),
        Event::DoubleAnswer(n) if n < world.pending.len() => {
            let twice = world.pending[n].clone();
            world.pending.push(twice);
        }
        Event::SwapAnswers(a, b) if a.max(b) < world.pending.len() => world.pending.swap(a, b),
        Event::Answer(_) | Event::Refuse(..) => {}
        Event::LoseAnswer(_) | Event::DoubleAnswer(_) | Event::SwapAnswers(..) => {}
        Event::Health(n, answered, errors) => {
            let (model, digest) = of(n);
            let _ = world.feed(Input::Health { model, digest, answered, errors });
        }
        Event::Heard => drop(world.feed(Input::BrokerHeard)),
        Event::Memory(exceeded) => drop(world.feed(Input::Memory { exceeded })),
        Event::Lost(n) => {
            if world.files.remove(&digest(n)) {
                world.lost.insert(digest(n));
            }
            world.pending.retain(|p| !matches!(p, Input::Admitted { digest: d, .. } if *d == digest(n)));
            if world.serving == Some(digest(n)) {
                world.serving = None;
            }
            let _ = world.feed(Input::SlotLost { digest: digest(n) });
        }
        Event::EngineEnded(n) => {
            let (model, digest) = of(n);
            world.serving.take_if(|serving| *serving == digest);
            let _ = world.feed(Input::EngineEnded { model, digest, detail: "it crashed".into() });
        }
        Event::Crash => {
            world.crash();
        }
        Event::CrashWithin(outputs) => world.cut = Some(outputs),
        Event::StopAndStart => world.stop_and_start(),
        Event::LosePower => world.lose_power(),
        Event::Full(true) => world.full = true,
        Event::Full(false) if world.full => world.make_room(),
        Event::Full(false) => {}
        Event::Stray(kind, n) => {
            let digest = digest(n);
            let _ = world.feed(match kind {
                0 => Input::FetchProgress { digest, bytes: u64::MAX },
                1 => Input::Started { boot: None },
                2 => Input::Switched { model: "other".parse().unwrap(), digest: None, engine: String::new() },
                _ => Input::Wake,
            });
        }
        Event::Window(n, index, requests) => {
            let (model, digest) = of(n);
            let _ = world.feed(closed(model, digest, index, requests));
        }
    }
}

fn order(revision: u64, n: u8) -> Input {
    let action = match n {
        0 => OverrideAction::Release,
        1 => OverrideAction::Hold,
        n => OverrideAction::Pin(Box::new(build(n))),
    };
    let order = Order { epoch: 1, revision, issued: Time(0), expires: Time(u64::MAX) };
    let (id, models) = (identity(), vec![ModelOverride { model: model(), action }]);
    Input::Override(signed(Box::new(Override { namespace: id.namespace, device: id.device, order, models })))
}

fn closed(model: modelfleet_protocol::ids::ModelName, digest: Digest, index: u64, requests: u64) -> Input {
    let counters = Counters { requests, errors: requests / 10, ..Counters::default() };
    let window = Box::new(WindowSummary { index, span: 1, counters, ..WindowSummary::default() });
    Input::WindowClosed { model, digest, window_ms: WINDOW_MS, window }
}

fn kept(world: &World) -> SavedModel {
    world.agent.saved().models.get(&model()).cloned().unwrap_or_default()
}

/// Safety: what holds after every single step. `connected`: at its end, or until the process died in it.
fn safe(
    world: &World,
    before: &SavedModel,
    outputs: &[Output],
    connected: bool,
) -> Result<(), TestCaseError> {
    let after = kept(world);
    let rejected = after.plan.as_ref().map_or(vec![], |plan| plan.rejected.clone());
    let touched = outputs.iter().filter_map(|o| match o {
        Output::Fetch { build, .. } | Output::Admit { build } => Some(build.digest),
        Output::Switch { build, .. } | Output::Shadow { build, .. } => build.as_ref().map(|b| b.digest),
        _ => None,
    });
    for digest in touched {
        prop_assert!(!rejected.contains(&digest), "a rejected build is touched");
    }
    prop_assert!(
        after.active.as_ref().is_none_or(|a| !rejected.contains(&a.digest)),
        "a rejected build is active"
    );
    prop_assert!(
        (after.seen.newest.epoch, after.seen.newest.revision)
            >= (before.seen.newest.epoch, before.seen.newest.revision)
    );
    prop_assert!(after.slots.len() <= 3 && after.attempts.len() <= 8);
    let trial = |active: &Option<Active>| active.as_ref().filter(|a| a.probation.is_some()).map(|a| a.digest);
    if let Some(activated) = trial(&after.active)
        && trial(&before.active) != Some(activated)
    {
        prop_assert!(connected, "activated while disconnected");
        let expired = after.plan.as_ref().is_some_and(|plan| world.now >= plan.order.expires);
        prop_assert!(!expired || after.directive.is_some(), "activated on an expired plan");
    }
    if !world.asked.is_empty() {
        let waits_ms = world.wake.map(|wake| wake.since_ms(world.now));
        prop_assert!(waits_ms.is_some_and(|ms| ms <= ANSWER_MS_MAX), "no end to a wait: {:?}", world.asked);
    }
    let saved = world.agent.saved();
    let read = Saved::from_json(&saved.to_json()).unwrap();
    prop_assert_eq!(
        &read.models.get(&model()).map(|k| &k.slots),
        &saved.models.get(&model()).map(|k| &k.slots)
    );
    prop_assert_eq!(read.to_json(), saved.to_json(), "the record reads back");
    Ok(())
}

/// The attempt and the build that are wanted now; `None` while the device is held.
fn wanted(world: &World) -> Option<(String, Option<Digest>)> {
    let kept = kept(world);
    let id = identity();
    match (&kept.directive, &kept.plan) {
        (Some(Directive::Hold), _) => None,
        (Some(Directive::Pin { build, attempt, .. }), plan)
            if !plan.as_ref().is_some_and(|plan| plan.rejected.contains(&build.digest)) =>
        {
            Some((attempt.clone(), Some(build.digest)))
        }
        (_, None) => Some((String::new(), None)),
        (_, Some(plan)) => Some(match plan.wanted(&id.device, &id.labels) {
            Wanted::Candidate(c) => (c.rollout.clone(), Some(c.build.digest)),
            Wanted::Stable(stable) => (String::new(), Some(stable.digest)),
            Wanted::Nothing => (String::new(), None),
        }),
    }
}

/// The build that was fetched for what is wanted, as long as that is wanted.
#[derive(Default)]
struct Fetched {
    counted: usize,
    here: Option<(String, Option<Digest>)>,
}

impl Fetched {
    /// What is wanted is fetched once, unless its bytes were lost (`lost`).
    fn count(&mut self, world: &World, lost: bool) -> Result<(), TestCaseError> {
        let wanted = wanted(world);
        for digest in &world.downloads[self.counted..] {
            let again = self.here.as_ref().is_some_and(|here| here.1 == Some(*digest));
            prop_assert!(!again || lost, "{digest} is fetched again");
            self.here = wanted.clone().filter(|wanted| wanted.1 == Some(*digest));
        }
        self.counted = world.downloads.len();
        if lost || wanted.is_some_and(|wanted| self.here.as_ref() != Some(&wanted)) {
            self.here = None;
        }
        Ok(())
    }
}

fn apply_safely(world: &mut World, event: Event) -> Result<(), TestCaseError> {
    let (memory, disk, full) = (kept(world), world.disk.models.get(&model()).cloned(), world.full);
    let restarts = world.restarts;
    apply(world, event);
    let connected = world.connected || (world.died_connected && world.restarts != restarts);
    // Only a disk that takes no writes makes a restart forget what memory knew.
    let forgot = full && world.restarts != restarts;
    let before = if forgot { disk.unwrap_or_default() } else { memory };
    let outputs = std::mem::take(&mut world.log);
    safe(world, &before, &outputs, connected)
}

/// Liveness: when all is well again, the device runs what the newest plan says.
fn heals(world: &mut World) -> Result<(), TestCaseError> {
    world.cut = None;
    if world.full {
        world.make_room();
    }
    world.now = Time(world.now.0.clamp(world::START.0, world::START.0 * 2));
    world.feed(order(1000, 0));
    world.connect();
    world.plan(plan(1000, Some(5), Some(candidate(6, "final")), &[1, 2, 3, 4]));
    for _ in 0..40 {
        world.settle();
        world.pass(3_600_000);
    }
    let kept = kept(world);
    prop_assert_eq!(world.serving, Some(digest(6)), "{:#?}", kept);
    prop_assert!(kept.active.is_some_and(|a| a.probation.is_none()));
    world.plan(plan(1001, Some(5), None, &[6]));
    for _ in 0..40 {
        world.settle();
        world.pass(3_600_000);
    }
    prop_assert_eq!(world.serving, Some(digest(5)));
    prop_assert_eq!(world.files.len(), 1);
    prop_assert!(world.parts.is_empty(), "downloads that nobody wants leave nothing: {:?}", world.parts);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_device_is_safe_at_every_step_and_heals(events in prop::collection::vec(events(), 0..80)) {
        let (mut world, mut fetched) = (World::new(), Fetched::default());
        for event in events {
            let restarted = world.restarts;
            let loses = world.full || matches!(event, Event::Lost(_) | Event::Refuse(..));
            let repeated = if let Event::Plan(plan) = &event { Some(plan.clone()) } else { None };
            let restarts = world.restarts;
            apply_safely(&mut world, event)?;
            fetched.count(&world, loses || world.restarts != restarted)?;
            // What died before it wrote the plan takes it anew; a full disk makes the device try other things.
            if let Some(plan) = repeated.filter(|_| world.restarts == restarts && !world.full) {
                let outputs = world.plan(*plan);
                let acts = outputs.iter().any(|o| !matches!(o, Output::Note(_)));
                prop_assert!(!acts, "the same plan acts once: {outputs:?}");
            }
        }
        heals(&mut world)?;
    }

    #[test]
    fn a_build_that_is_wanted_is_fetched_once(events in prop::collection::vec(calm(), 0..60)) {
        let mut world = World::with_stable();
        world.log.clear();
        let mut fetched = Fetched { counted: world.downloads.len(), here: None };
        for (revision, mut event) in (2..).zip(events) {
            if let Event::Plan(plan) = &mut event {
                plan.order.revision = revision;
            }
            apply_safely(&mut world, event)?;
            fetched.count(&world, false)?;
        }
    }

    #[test]
    fn a_crash_at_any_step_ends_at_the_same_place(at in 0_usize..30, events in prop::collection::vec(events(), 0..30)) {
        let mut world = World::new();
        let (mut straight, mut crashed) = (world.clone(), None);
        for (i, event) in events.into_iter().enumerate() {
            apply_safely(&mut world, event.clone())?;
            apply(&mut straight, event);
            if i == at {
                let mut other = world.clone();
                other.crash();
                crashed = Some(other);
            }
        }
        heals(&mut straight)?;
        if let Some(mut crashed) = crashed {
            heals(&mut crashed)?;
            let picture = |world: &World| {
                let kept = kept(world);
                (world.serving, kept.active.map(|a| (a.digest, a.probation)), kept.slots.len(), world.files.clone())
            };
            prop_assert_eq!(picture(&crashed), picture(&straight));
        }
    }
}
