//! Opens what arrives: nothing is looked at before a trusted key's signature over it is found good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use modelfleet_agent_core::saved::KeptTrust;
use modelfleet_agent_core::trust::{Keyring, RootKeys};
use modelfleet_protocol::envelope::{
    EnvelopeError, Signed, open_plan, open_signed_override, open_signed_plan,
};
use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::topic::{Channel, Topic, TopicError};
use modelfleet_protocol::trust::TrustError;

use super::LinkEvent;

/// Most plans remembered. Many devices in one process get the same bytes and open them once.
const PLANS_MAX: usize = 64;

/// Bytes of a refused message that are logged.
const EXCERPT_BYTES_MAX: usize = 64;

/// How a message that is not trusted begins, fit for one line of a log.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(EXCERPT_BYTES_MAX)].escape_ascii().to_string()
}

/// Why a message is refused.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Not a topic of the protocol.
    #[error("read the topic")]
    Topic(#[from] TopicError),
    /// The envelope or its content is wrong.
    #[error("open the envelope")]
    Envelope(#[from] EnvelopeError),
    /// The trust document is not followed.
    #[error("follow the trust document")]
    Trust(#[from] TrustError),
    /// The message speaks of another fleet, model or device than its topic.
    #[error("the message does not belong on this topic")]
    Misplaced,
}

impl InboxError {
    /// Whether no key that counts has signed the message: after another trust document one may.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, InboxError::Envelope(EnvelopeError::Untrusted { .. }))
    }
}

/// Opens envelopes with the keys that count. Devices of one process share the keys, and with them the trust document: they
/// have the same settings, and each of them keeps the document itself.
pub struct Inbox(Mutex<Opening>);

#[derive(Default)]
struct Opening {
    keys: Keyring,
    /// Plans that these keys have signed, by topic.
    seen: HashMap<String, (Bytes, Signed<Arc<Plan>>)>,
}

impl Inbox {
    /// An inbox that trusts these plan keys and follows no trust document.
    #[must_use]
    pub fn trusting(keys: Vec<VerifyingKey>) -> Inbox {
        Inbox::with(Keyring::new(RootKeys::None, keys))
    }

    /// An inbox that begins with these keys.
    #[must_use]
    pub fn with(keys: Keyring) -> Inbox {
        Inbox(Mutex::new(Opening { keys, ..Opening::default() }))
    }

    /// Goes on from the trust document that a device has kept.
    pub fn go_on_from(&self, kept: Option<&KeptTrust>) {
        let mut opening = self.lock();
        if opening.keys.go_on_from(kept) {
            opening.seen.clear();
        }
    }

    /// Whether it follows trust documents.
    pub(super) fn follows_trust(&self) -> bool {
        self.lock().keys.has_roots()
    }

    /// Version of the trust document that is followed; 0: none.
    pub(super) fn trust_version(&self) -> u64 {
        self.lock().keys.document().map_or(0, |document| document.version)
    }

    /// The plan in an envelope that the device has kept; `None`: no key that counts signed it.
    #[must_use]
    pub fn kept_plan(&self, envelope: &Bytes) -> Option<Plan> {
        open_plan(self.lock().keys.plan_keys(), envelope).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a message means for the device; `None` for one that was cleared.
    pub(super) fn open(
        &self,
        (namespace, device): (&Namespace, &DeviceId),
        topic: &str,
        payload: &Bytes,
    ) -> Result<Option<LinkEvent>, InboxError> {
        let parsed = Topic::parse(topic)?;
        if payload.is_empty() {
            return Ok(None);
        }
        if &parsed.namespace != namespace {
            return Err(InboxError::Misplaced);
        }
        match parsed.channel {
            Channel::Plan(model) => {
                let plan = self.plan(topic, payload)?;
                let fits = plan.what.model == model && &plan.what.namespace == namespace;
                if fits { Ok(Some(LinkEvent::Plan(plan))) } else { Err(InboxError::Misplaced) }
            }
            Channel::Override(id) => {
                let Signed { what: order, by } = open_signed_override(self.lock().keys.plan_keys(), payload)?;
                let fits = order.device == id && &id == device && &order.namespace == namespace;
                let event = LinkEvent::Override(Signed { what: Box::new(order), by });
                if fits { Ok(Some(event)) } else { Err(InboxError::Misplaced) }
            }
            Channel::Trust => {
                let mut opening = self.lock();
                if opening.keys.follow(namespace, payload)? {
                    opening.seen.clear();
                }
                // Another device of the process may have followed it already.
                Ok(opening.keys.document().cloned().map(LinkEvent::Trust))
            }
            _ => Err(InboxError::Misplaced),
        }
    }

    fn plan(&self, topic: &str, payload: &Bytes) -> Result<Signed<Arc<Plan>>, InboxError> {
        let mut opening = self.lock();
        if let Some((bytes, plan)) = opening.seen.get(topic)
            && bytes == payload
        {
            return Ok(plan.clone());
        }
        let Signed { what, by } = open_signed_plan(opening.keys.plan_keys(), payload)?;
        let plan = Signed { what: Arc::new(what), by };
        if opening.seen.len() >= PLANS_MAX {
            opening.seen.clear();
        }
        opening.seen.insert(topic.to_owned(), (payload.clone(), plan.clone()));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::envelope::{OVERRIDE_TYPE, PLAN_TYPE, seal};

    const PLAN: &str =
        r#"{"namespace":"plant","model":"pump","epoch":1,"revision":1,"issued":0,"expires":9}"#;

    fn check(signer: &SigningKey, kind: &str, topic: &str, text: &str) -> Result<bool, InboxError> {
        let trusted = SigningKey::from_bytes(&[1; 32]);
        let inbox = Inbox::trusting(vec![trusted.verifying_key()]);
        let own = (&"plant".parse().unwrap(), &"pump-001".parse().unwrap());
        let payload = Bytes::from(seal(signer, kind, text.as_bytes()));
        // The second time it comes from memory and must be the same.
        let first = inbox.open(own, topic, &payload)?.is_some();
        assert_eq!(inbox.open(own, topic, &payload)?.is_some(), first);
        Ok(first)
    }

    #[test]
    fn only_a_trusted_plan_on_its_own_topic_is_opened() {
        let (good, bad) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        assert!(check(&good, PLAN_TYPE, "mf/1/plant/plan/pump", PLAN).unwrap());
        assert!(check(&bad, PLAN_TYPE, "mf/1/plant/plan/pump", PLAN).is_err());
        assert!(check(&good, OVERRIDE_TYPE, "mf/1/plant/plan/pump", PLAN).is_err());
        for topic in ["mf/1/plant/plan/fan", "mf/1/other/plan/pump", "mf/1/plant/plan/a/b", "x"] {
            assert!(check(&good, PLAN_TYPE, topic, PLAN).is_err(), "{topic}");
        }
    }

    #[test]
    fn of_a_message_that_nobody_signed_a_line_is_logged_and_no_more() {
        let inbox = Inbox::trusting(Vec::new());
        let own = (&"plant".parse().unwrap(), &"pump-001".parse().unwrap());
        let long = "\u{1b}[2J\n\u{e9}".repeat(50_000);
        let bodies = [
            format!("{long:?}").into_bytes(),
            serde_json::to_vec(&long).unwrap(),
            format!(r#"{{"payloadType":{},"payload":"","signatures":[]}}"#, serde_json::json!(long))
                .into_bytes(),
            vec![0xff; 350_000],
        ];
        for body in bodies {
            let payload = Bytes::from(body);
            for topic in ["mf/1/plant/plan/pump", "mf/1/plant/override/pump-001", &long] {
                let error = inbox.open(own, topic, &payload).unwrap_err();
                let line = [crate::log::chain(&error), excerpt(topic.as_bytes()), excerpt(&payload)].concat();
                assert!(line.len() < 2_000, "{} bytes", line.len());
                assert!(!line.contains(char::is_control), "{line}");
            }
        }
    }

    #[test]
    fn a_cleared_topic_is_nothing() {
        let inbox = Inbox::trusting(Vec::new());
        let own = (&"plant".parse().unwrap(), &"pump-001".parse().unwrap());
        assert!(inbox.open(own, "mf/1/plant/plan/pump", &Bytes::new()).unwrap().is_none());
    }
}
