//! A shell that answers late, twice, in another order, or never: nothing is waited for without end, and what comes
//! of it is told.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output, Record};
use modelfleet_protocol::plan::{Mode, Plan};
use modelfleet_protocol::state::{Attempt, FailureCode, Phase};
use world::{World, candidate, digest, model, plan};

const HOUR: u64 = 3_600_000;

fn attempt(world: &World) -> Attempt {
    world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone().unwrap()
}

fn ended(world: &World) -> (Phase, Option<FailureCode>) {
    let attempt = attempt(world);
    (attempt.phase, attempt.failure.map(|failure| failure.code))
}

/// What a request is answered by when all is well.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fetch,
    Admit,
    Switch,
    Shadow,
}

const KINDS: [Kind; 4] = [Kind::Fetch, Kind::Admit, Kind::Switch, Kind::Shadow];

fn kind(input: &Input) -> Option<Kind> {
    Some(match input {
        Input::Fetched { .. } => Kind::Fetch,
        Input::Admitted { .. } => Kind::Admit,
        Input::Switched { .. } => Kind::Switch,
        Input::Shadowing { .. } => Kind::Shadow,
        _ => return None,
    })
}

/// Candidate 2, live or in shadow.
fn offered(shadow: bool) -> World {
    let mut world = World::with_stable();
    let mut c = candidate(2, "r");
    c.mode = if shadow { Mode::Shadow } else { Mode::Live };
    world.plan(plan(2, Some(1), Some(c), &[]));
    world
}

/// Time goes by, and answers come as `answer` says: how often each.
fn go_on(world: &mut World, hours: u64, mut answer: impl FnMut(&Input) -> usize) {
    for _ in 0..hours * 6 {
        for _ in 0..20 {
            let Some(next) = world.pending.first().cloned() else { break };
            let times = answer(&next);
            if times == 0 {
                world.pending.remove(0);
            } else {
                (1..times).for_each(|_| world.pending.insert(0, next.clone()));
                (0..times).for_each(|_| drop(world.answer(0)));
            }
        }
        world.healthy();
        world.pass(HOUR / 6 - 60_000);
    }
}

fn told(world: &World) -> bool {
    world.log.iter().any(|o| matches!(o, Output::Note(text) if text.contains("requesting it again")))
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again() {
    for lost in KINDS {
        let mut world = offered(lost == Kind::Shadow);
        let mut once = true;
        go_on(&mut world, 6, |input| {
            let loses = kind(input) == Some(lost) && std::mem::take(&mut once);
            usize::from(!loses)
        });
        assert!(!once && told(&world), "{lost:?}");
        if lost == Kind::Shadow {
            assert_eq!(attempt(&world).phase, Phase::Activated);
        } else {
            assert_eq!(
                (world.serving, attempt(&world).phase),
                (Some(digest(2)), Phase::Confirmed),
                "{lost:?}"
            );
        }
    }
}

#[test]
fn answers_that_never_come_end_the_attempt_and_accuse_nobody() {
    for lost in KINDS {
        let mut world = offered(lost == Kind::Shadow);
        go_on(&mut world, 40, |input| {
            // Going back is answered.
            let back = matches!(input, Input::Switched { digest: Some(d), .. } if *d == digest(1));
            usize::from(kind(input) != Some(lost) || back)
        });
        let (phase, code) = ended(&world);
        let expected = match lost {
            Kind::Fetch => (Phase::Failed, FailureCode::DownloadExhausted),
            // It was never seen to answer.
            Kind::Admit | Kind::Switch | Kind::Shadow => (Phase::Failed, FailureCode::Unproven),
        };
        assert_eq!((phase, code), (expected.0, Some(expected.1)), "{lost:?}");
        assert!(!expected.1.is_hard_stop());
        assert_eq!(world.serving, Some(digest(1)), "{lost:?}");
    }
}

#[test]
fn answers_that_come_twice_do_no_harm() {
    for doubled in KINDS {
        let mut world = offered(doubled == Kind::Shadow);
        go_on(&mut world, 2, |input| if kind(input) == Some(doubled) { 2 } else { 1 });
        let fetches = world.log.iter().filter(|o| matches!(o, Output::Fetch { .. })).count();
        assert_eq!(fetches, 2, "one for each build: {doubled:?}");
        let phase = if doubled == Kind::Shadow { Phase::Activated } else { Phase::Confirmed };
        assert_eq!(attempt(&world).phase, phase, "{doubled:?}");
    }
}

fn fan() -> modelfleet_protocol::ids::ModelName {
    "fan".parse().unwrap()
}

fn plan_of_fan(digest_of: u8) -> Plan {
    let mut plan = Plan { model: fan(), ..plan(1, Some(digest_of), None, &[]) };
    plan.stable.as_mut().unwrap().model = fan();
    plan
}

#[test]
fn models_are_loaded_side_by_side_even_where_they_share_their_bytes() {
    for n in [7, 1] {
        let mut world = World::new();
        world.connect();
        world.plan(plan(1, Some(1), None, &[]));
        world.plan(plan_of_fan(n));
        for _ in 0..20 {
            world.pass(60_000);
            let fetched = world.pending.iter().position(|p| matches!(p, Input::Fetched { .. }));
            let Some(at) = fetched else { continue };
            world.answer(at);
        }
        let admits: Vec<Input> = world.pending.clone();
        assert_eq!(admits.len(), 2, "both are being loaded: {admits:?}");
        for (at, own) in [(0, 1), (0, 0)] {
            let answered = world.pending[at].clone();
            let Input::Admitted { model, .. } = &answered else { panic!("{answered:?}") };
            let (model, outputs) = (model.clone(), world.answer(at));
            let switched = |o: &&Output| matches!(o, Output::Switch { model: m, .. } if *m == model);
            assert_eq!(outputs.iter().filter(switched).count(), 1, "{outputs:?}");
            let still = world.pending.iter().filter(|p| matches!(p, Input::Admitted { .. })).count();
            assert_eq!(still, own, "the other one goes on");
        }
        world.answer_all();
        for model in [model(), fan()] {
            let running = world.agent.saved().models[&model].active.clone().unwrap();
            assert_eq!(running.digest, digest(if model == fan() { n } else { 1 }));
        }
    }
}

#[test]
fn a_load_that_nobody_wants_any_more_is_not_waited_for() {
    let mut world = offered(false);
    world.answer(0);
    assert!(matches!(world.pending[..], [Input::Admitted { .. }]));
    let outputs = world.plan(plan(3, Some(1), Some(candidate(3, "s")), &[]));
    assert!(outputs.contains(&Output::Unload { model: model(), digest: digest(2) }), "{outputs:?}");
    world.settle();
    assert_eq!(world.serving, Some(digest(3)));
}

#[test]
fn a_disk_that_is_well_again_needs_no_second_word() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), None, &[]));
    world.full = true;
    world.plan(plan(3, Some(1), Some(candidate(2, "r")), &[]));
    // It can be written again, and nobody says so.
    (world.full, world.failing) = (false, false);
    world.log.clear();
    world.pass(5_000);
    assert!(world.log.contains(&Output::Save(Record::Control)));
    assert_eq!(world.pending.len(), 1, "what waited for the record is begun: {:?}", world.pending);
}
