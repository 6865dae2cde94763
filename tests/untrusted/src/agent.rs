//! What an agent takes from its disk, and from who holds a key: it lives through it for a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Identity, Input, Limits, Output};
use modelfleet_agent_core::saved::{Saved, SavedModel};
use modelfleet_agent_core::trust::TrustAnchor;
use modelfleet_agent_core::truth::{LedgerLimits, TruthLedger, lines};
use modelfleet_protocol::envelope::{KeyId, OVERRIDE_TYPE, Signed, open_signed_override, seal};
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::state::{Capabilities, DeviceState, EngineInfo};
use modelfleet_protocol::time::Time;

use crate::protocol::trusted_key;

const START: Time = Time(1_800_000_000_000);
/// Inputs that an agent is fed at most.
const STEPS_MAX: usize = 200;

fn identity() -> Identity {
    let opsets = BTreeMap::from([(String::new(), 21)]);
    let engine = EngineInfo { name: "Rten".to_owned(), version: "0.27".to_owned(), opsets, ir_version: 0 };
    Identity {
        namespace: "plant-a".parse().expect("a valid name"),
        device: "pump-001".parse().expect("a valid id"),
        agent: "0.1.0".to_owned(),
        trust: TrustAnchor::default(),
        card: None,
        instance: 1,
        labels: BTreeMap::from([("age".to_owned(), "old".to_owned())]),
        capabilities: Capabilities {
            engines: vec![engine],
            memory_bytes: 64 << 20,
            arch: "aarch64".to_owned(),
        },
    }
}

/// What the shell answers where all goes well.
fn answer(output: &Output) -> Option<Input> {
    Some(match output {
        Output::Fetch { build, .. } => Input::Fetched { digest: build.digest, details: None },
        Output::Admit { build } => Input::Admitted {
            model: build.model.clone(),
            digest: build.digest,
            engine: "Rten".to_owned(),
            memory_bytes: 1,
        },
        Output::Switch { model, build } => Input::Switched {
            model: model.clone(),
            digest: build.as_ref().map(|build| build.digest),
            engine: "Rten".to_owned(),
        },
        Output::Shadow { model, build: Some(build) } => {
            Input::Shadowing { model: model.clone(), digest: build.digest }
        }
        Output::Connect { .. } => Input::Connected { payload_bytes_max: 64 * 1024 },
        _ => return None,
    })
}

/// An agent that starts from this record is told this, does what follows and waits as long as it wants to. What it says of
/// itself can be read by the controller. Returns it with all that it has asked of its shell.
#[must_use]
pub fn lived(saved: Saved, windows: &BTreeMap<ModelName, Vec<u8>>, told: Vec<Input>) -> (Agent, Vec<Output>) {
    let identity = identity();
    let mut agent = Agent::new(identity.clone(), Limits::default(), saved, windows);
    let (mut now, mut wake, mut outputs) = (START, None, Vec::new());
    let mut inputs = VecDeque::from([Input::Started { boot: None }, Input::Connecting]);
    inputs.extend(told);
    for _ in 0..STEPS_MAX {
        let input = match (inputs.pop_front(), wake) {
            (Some(input), _) => input,
            (None, Some(at)) => {
                now = now.max(at).after_ms(1);
                Input::Wake
            }
            (None, None) => break,
        };
        let step = agent.step(now, input);
        wake = step.wake.map(|(at, _)| at);
        for output in &step.outputs {
            if let Output::PublishState(state) = output {
                let json = serde_json::to_vec(state).expect("a state is JSON");
                DeviceState::from_json(&identity.device, &json)
                    .expect("the controller reads what an agent says");
            }
            inputs.extend(answer(output));
        }
        outputs.extend(step.outputs);
    }
    (agent, outputs)
}

/// The same, and what it saves in the end can be read again.
fn live(saved: Saved, windows: &BTreeMap<ModelName, Vec<u8>>, told: Vec<Input>) {
    let (mut agent, _) = lived(saved, windows, told);
    let record = agent.saved();
    let again = Saved::from_json(&record.to_json()).expect("an agent reads what it wrote");
    // Numbers that are reserved are taken for used.
    assert!(again.to_json() == record.to_json());
    for model in record.models.keys() {
        let _ = agent.saved_windows(model);
    }
    let _ = (agent.digests(), agent.step(Time(u64::MAX), Input::Stopping));
}

/// A control record on a disk that was changed.
#[must_use]
pub fn control_record(bytes: &[u8]) -> bool {
    let Ok(saved) = Saved::from_json(bytes) else { return false };
    live(saved, &BTreeMap::new(), Vec::new());
    true
}

/// A file of windows on a disk that was changed.
#[must_use]
pub fn windows_record(bytes: &[u8]) -> bool {
    let model: ModelName = "pump-anomaly".parse().expect("a valid name");
    let mut saved = Saved::default();
    saved.models.insert(model.clone(), SavedModel::default());
    let kept = Agent::new(
        identity(),
        Limits::default(),
        saved.clone(),
        &BTreeMap::from([(model.clone(), bytes.to_vec())]),
    )
    .saved_windows(&model);
    live(saved, &BTreeMap::from([(model, bytes.to_vec())]), Vec::new());
    !kept.is_empty()
}

/// A plan that was signed, whatever is in it.
#[must_use]
pub fn signed_plan(bytes: &[u8]) -> bool {
    let Ok(plan) = Plan::from_json(bytes) else { return false };
    let mut newer = plan.clone();
    newer.order.revision = newer.order.revision.saturating_add(1);
    newer.candidate = None;
    let by = KeyId::of(&trusted_key().verifying_key());
    let signed = |plan| Input::Plan(Signed { what: Arc::new(plan), by });
    live(Saved::default(), &BTreeMap::new(), vec![signed(plan), signed(newer)]);
    true
}

/// An override that was signed, whatever is in it.
#[must_use]
pub fn override_of(bytes: &[u8]) -> bool {
    let signed = seal(&trusted_key(), OVERRIDE_TYPE, bytes);
    let Ok(Signed { what, by }) = open_signed_override(&[trusted_key().verifying_key()], &signed) else {
        return false;
    };
    live(Saved::default(), &BTreeMap::new(), vec![Input::Override(Signed { what: Box::new(what), by })]);
    true
}

/// Lines of truth, as a program on the device or the controller sends them: whether all were taken. A ledger books them.
#[must_use]
pub fn truth_lines(bytes: &[u8]) -> bool {
    let Ok(read) = lines(bytes, START) else { return false };
    let all = read.iter().all(Result::is_ok);
    let told: Vec<_> = read.into_iter().flatten().collect();
    let mut ledger = TruthLedger::new(LedgerLimits::default());
    assert_eq!(ledger.book(START, &told).len(), told.len(), "each line has an outcome");
    all && !told.is_empty()
}
