//! Stories of devices that follow a trust document, told straight through and with a power cut after each step.

use std::sync::Arc;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_agent_core::trust::{RootKeys, TrustAnchor};
use modelfleet_protocol::envelope::{KeyId, Signed};
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{PublicKey, Roots, TrustDocument};

use super::{START, World, digest, identity, model, plan};

/// A public key; a few bytes are no point of the curve.
pub fn public(n: u8) -> PublicKey {
    (0..=u8::MAX).find_map(|i| hex_key(n, i).parse().ok()).unwrap()
}

pub fn hex_key(n: u8, i: u8) -> String {
    let bytes: Vec<String> = (0..32).map(|at| format!("{:02x}", if at == 0 { i } else { n })).collect();
    bytes.concat()
}

pub fn id(n: u8) -> KeyId {
    public(n).id()
}

pub fn roots(n: u8) -> Roots {
    Roots { keys: vec![public(n)], threshold: 1 }
}

/// The plan key before there is a document, and after.
pub const FIRST: u8 = 1;
pub const SECOND: u8 = 2;
pub const ROOT: u8 = 100;

pub fn anchor() -> TrustAnchor {
    TrustAnchor { roots: RootKeys::Known(roots(ROOT)), start_keys: vec![id(FIRST)] }
}

pub fn document(version: u64, plan_keys: &[u8], revoked: &[u8]) -> TrustDocument {
    TrustDocument {
        version,
        namespace: None,
        issued: START,
        expires: Time(u64::MAX),
        roots: roots(ROOT),
        plan_keys: plan_keys.iter().map(|&n| public(n)).collect(),
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: revoked.iter().map(|&n| id(n)).collect(),
        floors: SecurityFloors::default(),
    }
}

pub fn floor(version: &str) -> SecurityFloors {
    SecurityFloors::of([(model(), version.parse().unwrap())])
}

/// What happens to a device.
#[derive(Clone)]
pub enum Step {
    Plan(u8, Box<Plan>),
    Override(u8, u64, OverrideAction),
    Trust(TrustDocument),
    Settle,
    Days(u64),
}

pub fn ordered(epoch: u64, revision: u64, plan: Plan) -> Plan {
    Plan { order: Order { epoch, revision, ..plan.order }, ..plan }
}

pub fn take(world: &mut World, step: Step) -> Vec<Output> {
    match step {
        Step::Plan(by, plan) => world.feed(Input::Plan(Signed { what: Arc::new(*plan), by: id(by) })),
        Step::Override(by, revision, action) => {
            let order = Order { epoch: 1, revision, issued: START, expires: Time(u64::MAX) };
            let (id_, models) = (identity(), vec![ModelOverride { model: model(), action }]);
            let what = Override { namespace: id_.namespace, device: id_.device, order, models };
            world.feed(Input::Override(Signed { what: Box::new(what), by: id(by) }))
        }
        Step::Trust(document) => world.feed(Input::Trust(Arc::new(document))),
        Step::Settle => {
            world.settle();
            Vec::new()
        }
        Step::Days(days) => {
            for _ in 0..24 * days {
                world.answer_all();
                world.pass(3_600_000);
            }
            world.settle();
            Vec::new()
        }
    }
}

/// Runs a story, with a power cut after its `cut`-th step; a device that boots connects again.
pub fn run(steps: &[Step], cut: Option<usize>) -> World {
    let mut world = World::trusting(anchor());
    world.connect();
    for (at, step) in steps.iter().enumerate() {
        let _ = take(&mut world, step.clone());
        if cut == Some(at) {
            world.lose_power();
            world.connect();
        }
    }
    world.settle();
    world
}

/// Holds `law` at the end of a story: told straight through, and with a power cut after each of its steps.
pub fn story(steps: &[Step], law: impl Fn(&World)) {
    for cut in std::iter::once(None).chain((0..steps.len()).map(Some)) {
        law(&run(steps, cut));
    }
}

pub fn runs(n: u8) -> impl Fn(&World) {
    move |world| assert_eq!(world.serving, Some(digest(n)), "{:#?}", world.agent.saved().models)
}

pub fn stable(revision: u64, n: u8) -> Plan {
    plan(revision, Some(n), None, &[])
}

/// The device is told of a plan that this key has signed.
pub fn told(by: u8, plan: Plan) -> Step {
    Step::Plan(by, Box::new(plan))
}
