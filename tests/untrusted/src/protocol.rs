//! What crosses the wire, and what stands in files that travel with a model.

use ed25519_dalek::{SigningKey, VerifyingKey};
use modelfleet_model_file::{Reader, read};
use modelfleet_protocol::card::Card;
use modelfleet_protocol::envelope::{self, OVERRIDE_TYPE, PLAN_TYPE, open_override, open_plan, seal};
use modelfleet_protocol::in_toto;
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::plan::{Plan, to_json};
use modelfleet_protocol::report as device_report;
use modelfleet_protocol::selector::LABELS_MAX;
use modelfleet_protocol::state::{DeviceState, MODELS_MAX};
use modelfleet_protocol::statement::{BareSignatures, Statement, check};
use modelfleet_protocol::topic::Topic;
use modelfleet_protocol::trust::{Roots, TRUST_TYPE, follow};
use modelfleet_protocol::window::WindowSummary;

/// A key that is trusted here, and with which no stranger signs.
#[must_use]
pub fn trusted_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn trusted() -> [VerifyingKey; 1] {
    [trusted_key().verifying_key()]
}

/// Nothing opens without a trusted signature; what a trusted key signed is opened or refused, and reads back as it was.
#[must_use]
pub fn envelope(bytes: &[u8]) -> bool {
    assert!(envelope::open(&[], PLAN_TYPE, bytes).is_err());
    let as_it_came = open_plan(&trusted(), bytes);
    let by_the_key = open_plan(&trusted(), &seal(&trusted_key(), PLAN_TYPE, bytes));
    let order = open_override(&trusted(), &seal(&trusted_key(), OVERRIDE_TYPE, bytes));
    for plan in [&as_it_came, &by_the_key].into_iter().flatten() {
        let again = open_plan(&trusted(), &seal(&trusted_key(), PLAN_TYPE, &to_json(plan)));
        assert!(again.is_ok_and(|again| again == *plan), "a plan reads what a plan writes");
    }
    if let Ok(order) = &order {
        assert!(order.models.len() <= MODELS_MAX);
    }
    // One signature is of one kind.
    assert!(open_override(&trusted(), &seal(&trusted_key(), PLAN_TYPE, bytes)).is_err());
    as_it_came.is_ok() || by_the_key.is_ok() || order.is_ok()
}

/// A plan that is read means the same after the wire, for any device.
#[must_use]
pub fn plan(bytes: &[u8]) -> bool {
    let Ok(plan) = Plan::from_json(bytes) else { return false };
    let device = "pump-001".parse().expect("a valid id");
    let labels = [("age".to_owned(), "old".to_owned())].into();
    let again = Plan::from_json(&to_json(&plan)).expect("a plan reads what a plan writes");
    let same =
        format!("{:?}", plan.wanted(&device, &labels)) == format!("{:?}", again.wanted(&device, &labels));
    assert!(same);
    true
}

/// A card that is read is one that could be signed again; without a trusted key none opens.
#[must_use]
pub fn card(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    assert!(Card::open(&[], text).is_err());
    let Ok(card) = Card::read_own(text) else { return false };
    assert!(card.labels.len() <= LABELS_MAX);
    let json = serde_json::to_vec(&card).expect("a card is JSON");
    let again: Card = serde_json::from_slice(&json).expect("a card reads what a card writes");
    assert!(again == card);
    true
}

/// A trust file, behind its signature too: what a stranger wrote is not followed, and what a root key signed is bounded and
/// reads back as it was written.
#[must_use]
pub fn trust(bytes: &[u8]) -> bool {
    let anchor = Roots { keys: vec![trusted_key().verifying_key().into()], threshold: 1 };
    let as_it_came = matches!(follow(&anchor, None, None, bytes), Ok(Some(_)));
    let signed = seal(&trusted_key(), TRUST_TYPE, bytes);
    let Ok(Some(document)) = follow(&anchor, None, None, &signed) else { return as_it_came };
    document.check().expect("what is followed is within its bounds");
    let json = serde_json::to_vec(&document).expect("a document is JSON");
    let again = seal(&trusted_key(), TRUST_TYPE, &json);
    assert!(matches!(follow(&anchor, Some(&document), None, &again), Ok(None)));
    true
}

/// A state that is read is its device's and within its bounds.
#[must_use]
pub fn state(bytes: &[u8]) -> bool {
    let device = "pump-001".parse().expect("a valid id");
    let Ok(state) = DeviceState::from_json(&device, bytes) else { return false };
    assert!(state.device == device && state.models.len() <= MODELS_MAX);
    true
}

/// A report that is read can be merged and judged without a panic.
#[must_use]
pub fn report(bytes: &[u8]) -> bool {
    let (ns, id, model) = ("a".parse(), "pump-001".parse(), "m".parse());
    let (ns, id, model) = (ns.expect("a name"), id.expect("a name"), model.expect("a name"));
    let Ok(read) = device_report::read(&ns, &id, &model, bytes) else { return false };
    let mut all = WindowSummary::default();
    for window in &read.windows {
        all.merge(&WindowSummary::from(window));
    }
    for metric in [Metric::ErrorRate, Metric::LatencyP95, Metric::Accuracy, Metric::Availability] {
        let _ = all.value(metric, None, None);
    }
    true
}

/// An in-toto statement, behind its signature too: without a trusted one none opens, and one that opens reads back as it was.
#[must_use]
pub fn in_toto(bytes: &[u8]) -> bool {
    assert!(in_toto::open(&[], bytes).is_err());
    let as_it_came = in_toto::open(&trusted(), bytes);
    let by_the_key = in_toto::open(&trusted(), &seal(&trusted_key(), in_toto::IN_TOTO_TYPE, bytes));
    for statement in [&as_it_came, &by_the_key].into_iter().flatten() {
        // The longest version and the name of its subject do not fit into an envelope of ours.
        if let Ok(again) = in_toto::open(&trusted(), &in_toto::sign(&trusted_key(), statement)) {
            assert!(again == *statement, "a statement reads what a statement writes");
        }
    }
    as_it_came.is_ok() || by_the_key.is_ok()
}

/// A statement that is read is written back as it was read, and counts for itself alone.
#[must_use]
pub fn statement(bytes: &[u8]) -> bool {
    let Ok(comment) = std::str::from_utf8(bytes) else { return false };
    let Ok(Some(signed)) = Statement::read(comment) else { return false };
    check(&signed.to_string(), &signed, BareSignatures::Refused).expect("it fits itself");
    let other = Statement { model: "another-model".parse().expect("a valid name"), ..signed.clone() };
    if other != signed {
        assert!(check(comment, &other, BareSignatures::Allowed).is_err());
    }
    true
}

/// A topic that is read is the topic that is written.
#[must_use]
pub fn topic(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(topic) = Topic::parse(text) else { return false };
    assert_eq!(topic.name(), text);
    true
}

/// A model file that is read says only what fits a ModelVersion, the same whatever pieces it comes in.
#[must_use]
pub fn model_file(bytes: &[u8]) -> bool {
    let whole = read(bytes);
    let mut pieces = Reader::default();
    let size = usize::from(bytes.first().copied().unwrap_or(1)).max(1);
    bytes.chunks(size).for_each(|piece| pieces.take(piece));
    assert_eq!(pieces.finish(), whole);
    let Ok(header) = whole else { return false };
    let named = |name: &str| (1..=128).contains(&name.len());
    assert!(header.inputs.iter().chain(&header.outputs).all(|value| named(&value.name)));
    assert!(header.inputs.len() <= 64 && (1..=64).contains(&header.outputs.len()));
    assert!(!header.imports.is_empty() && header.opsets.len() <= 16);
    let _ = (header.unusual_operators(), header.check_carried());
    true
}
