//! Whatever keys sign, in whatever order: what holds after every step, and that a new key is obeyed in the end.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::Output;
use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::overrides::OverrideAction;
use modelfleet_protocol::plan::{EPOCH_MAX, Order, REVISION_MAX};
use modelfleet_protocol::trust::TrustDocument;
use proptest::prelude::*;
use world::rotation::Step::{Override as Order_, Trust};
use world::rotation::*;
use world::{World, build, candidate, digest, plan};

/// Something that happens to a device whose keys change.
#[derive(Clone, Debug)]
enum Event {
    /// A document that names and revokes keys 1 to 3 by bits, and its floor.
    Trust {
        named: u8,
        revoked: u8,
        floor: Option<u8>,
    },
    /// Bits of the number: a candidate, and what is rejected.
    Plan {
        by: u8,
        order: (u64, u64),
        stable: u8,
        more: u8,
    },
    Override {
        by: u8,
        revision: u64,
        action: u8,
    },
    Settle,
    LosePower,
    CrashWithin(usize),
    Full(bool),
}

fn events() -> impl Strategy<Value = Event> {
    let order = prop_oneof![4 => (1_u64..3, 1_u64..5), 1 => Just((EPOCH_MAX, REVISION_MAX))];
    prop_oneof![
        3 => (0_u8..8, 0_u8..8, prop::option::of(1_u8..4))
            .prop_map(|(named, revoked, floor)| Event::Trust { named, revoked, floor }),
        6 => (1_u8..4, order, 1_u8..5, 0_u8..16).prop_map(|(by, order, stable, more)| Event::Plan { by, order, stable, more }),
        2 => (1_u8..4, 1_u64..5, 0_u8..5).prop_map(|(by, revision, action)| Event::Override { by, revision, action }),
        4 => Just(Event::Settle),
        1 => Just(Event::LosePower),
        2 => (0_usize..5).prop_map(Event::CrashWithin),
        1 => any::<bool>().prop_map(Event::Full),
    ]
}

fn of_bits(bits: u8) -> Vec<u8> {
    (1..4).filter(|n| bits & (1 << (n - 1)) != 0).collect()
}

fn happens(world: &mut World, event: Event, version: u64) {
    match event {
        Event::Trust { named, revoked, floor: lowest } => {
            let document = document(version, &of_bits(named & !revoked), &of_bits(revoked));
            let floors = lowest.map_or_else(SecurityFloors::default, |n| floor(&format!("1.{n}.0")));
            let _ = take(world, Trust(TrustDocument { floors, ..document }));
        }
        Event::Plan { by, order: (epoch, revision), stable: n, more } => {
            let goal = (more & 4 != 0).then(|| candidate(1 + more % 4, "r"));
            let rejected: &[u8] = if more & 8 != 0 { &[2] } else { &[] };
            let _ = take(world, told(by, ordered(epoch, revision, plan(1, Some(n), goal, rejected))));
        }
        Event::Override { by, revision, action } => {
            let action = match action {
                0 => OverrideAction::Release,
                1 => OverrideAction::Hold,
                n => OverrideAction::Pin(Box::new(build(n - 1))),
            };
            let _ = take(world, Order_(by, revision, action));
        }
        Event::Settle => world.settle(),
        Event::LosePower => world.lose_power(),
        Event::CrashWithin(outputs) => world.cut = Some(outputs),
        Event::Full(full) if full || !world.full => world.full = full,
        Event::Full(_) => world.make_room(),
    }
    if !world.connected {
        world.connect();
    }
}

/// What holds after every step.
fn holds(world: &World, outputs: &[Output]) -> Result<(), TestCaseError> {
    let (saved, kept) = (world.agent.saved(), world.kept());
    let Some(document) = saved.trust.as_ref().map(|kept| &kept.document) else { return Ok(()) };
    let revoked = |seen: &modelfleet_agent_core::saved::SeenOrders| {
        seen.signer.is_some_and(|signer| document.has_revoked(signer))
    };
    prop_assert!(!revoked(&kept.seen) || kept.seen.newest == Order::default());
    prop_assert!(!revoked(&saved.override_seen) || kept.directive.is_none());
    prop_assert!(kept.seen.of_keys.keys().all(|key| !document.has_revoked(*key)));
    let forbidden = |build: &modelfleet_agent_core::build::Build| document.floors.check(build).is_err();
    let active =
        kept.active.as_ref().and_then(|a| kept.slots.iter().find(|slot| slot.build.digest == a.digest));
    prop_assert!(active.is_none_or(|slot| !forbidden(&slot.build)), "a forbidden build is active");
    for output in outputs {
        let build = match output {
            Output::Fetch { build, .. } | Output::Admit { build } => Some(build),
            Output::Switch { build, .. } | Output::Shadow { build, .. } => build.as_ref(),
            _ => None,
        };
        prop_assert!(build.is_none_or(|build| !forbidden(build)), "a forbidden build is touched: {output:?}");
    }
    prop_assert_eq!(Saved::from_json(&saved.to_json()).unwrap().to_json(), saved.to_json());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever keys sign, in whatever order, and wherever the power is cut: a document is never followed back, and a new key
    /// is obeyed in the end.
    #[test]
    fn no_thief_has_the_last_word(events in prop::collection::vec(events(), 0..40)) {
        let mut world = World::trusting(anchor());
        world.connect();
        let mut on_disk = 0;
        for (at, event) in (1..).zip(events) {
            let before = (world.kept(), world.restarts, world.agent.trust().cloned());
            let heard = event.clone();
            world.log.clear();
            happens(&mut world, event, at);
            let outputs = std::mem::take(&mut world.log);
            holds(&world, &outputs)?;
            let written = world.disk.trust.as_ref().map_or(0, |kept| kept.document.version);
            prop_assert!(written >= on_disk, "version {} was followed back to {}", on_disk, written);
            on_disk = written;
            if let (Event::Plan { by, .. }, Some(document)) = (&heard, &before.2)
                && !document.has_plan_key(id(*by))
                && world.restarts == before.1
            {
                prop_assert_eq!(world.kept().seen, before.0.seen, "a key that does not count was obeyed");
                prop_assert_eq!(world.kept().plan, before.0.plan);
            }
        }
        world.cut = None;
        if world.full {
            world.make_room();
        }
        let _ = take(&mut world, Trust(document(1_000, &[9], &[1, 2, 3])));
        let _ = take(&mut world, Order_(9, 1, OverrideAction::Release));
        let _ = take(&mut world, told(9, stable(1, 6)));
        for _ in 0..4 {
            world.settle();
            world.pass(26 * 3_600_000);
        }
        world.settle();
        prop_assert_eq!(world.serving, Some(digest(6)), "{:#?}", world.kept());
    }
}

/// Two pins leave two builds behind that no plan has called stable: the device leaves both, and does not go from one to the
/// other.
#[test]
fn after_two_pins_a_device_comes_to_rest_on_the_plans_build() {
    let mut world = World::trusting(anchor());
    world.connect();
    for (revision, n) in [(1, 3), (2, 1)] {
        let _ = take(&mut world, Order_(1, revision, OverrideAction::Pin(Box::new(build(n)))));
        world.settle();
        assert_eq!(world.serving, Some(digest(n)));
    }
    let _ = take(&mut world, Order_(1, 3, OverrideAction::Release));
    let _ = take(&mut world, told(1, stable(1, 6)));
    world.settle();
    assert_eq!(world.serving, Some(digest(6)));
}
