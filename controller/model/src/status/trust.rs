//! What the status says of the trust document: whether one protects the fleet, and how many devices hold it.

use std::sync::Arc;

use modelfleet_crds::rollout::status as field;
use modelfleet_fleet::trust_held::{Counts, TrustHeld};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_rollout::{clip, many, sentences};

use super::conditions::NewCondition;
use super::time::{signed, to_k8s};

/// Whether a trust document protects the fleet.
pub const TRUST_DOCUMENT: &str = "TrustDocument";
/// For so long before its end a document says that it expires soon, milliseconds.
const SOON_MS: u64 = 30 * 24 * 3_600_000;

/// The trust document that counts, and how many devices hold it.
#[derive(Clone, Debug, Default)]
pub struct TrustReading {
    /// The document; `None`: none does.
    pub document: Option<Arc<TrustDocument>>,
    /// Devices by the document that they hold.
    pub held: TrustHeld,
}

/// What is said of a document.
struct Said {
    holds: bool,
    reason: &'static str,
    parts: Vec<String>,
}

fn counts(counts: &Counts) -> field::TrustCounts {
    field::TrustCounts {
        current: signed(counts.current),
        earlier: signed(counts.earlier),
        later: signed(counts.later),
        none: signed(counts.none),
        without_root_keys: signed(counts.without_roots),
    }
}

impl TrustReading {
    /// The counts for programs.
    #[must_use]
    pub fn field(&self) -> Option<field::TrustProgress> {
        let document = self.document.as_ref()?;
        Some(field::TrustProgress {
            version: signed(document.version),
            expires_at: to_k8s(document.expires),
            connected: counts(&self.held.connected),
            away: counts(&self.held.away),
        })
    }

    /// The condition for people.
    #[must_use]
    pub fn condition(&self, now: Time) -> NewCondition {
        let Said { holds, reason, parts } = match &self.document {
            Some(document) => self.said(document, now),
            None => Said {
                holds: false,
                reason: "NoTrustDocument",
                parts: vec![
                    "no trust document protects this fleet: a stolen plan key cannot be replaced without touching each device, and \
                     no version can be forbidden for good"
                        .to_owned(),
                    "make one with: kubectl modelfleet trust init".to_owned(),
                ],
            },
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let message = clip(&sentences(&parts), super::MESSAGE_MAX);
        NewCondition { kind: TRUST_DOCUMENT, holds, reason: reason.to_owned(), message }
    }

    fn said(&self, document: &TrustDocument, now: Time) -> Said {
        let (version, held, holding) = (document.version, &self.held, self.holding());
        let (connected, away) = (&held.connected, &held.away);
        let renew = || "sign the next one: kubectl modelfleet trust renew".to_owned();
        if document.has_expired(now) {
            let expired = format!("trust document {version} has expired, so devices start nothing new");
            return Said { holds: false, reason: "TrustExpired", parts: vec![expired, renew(), holding] };
        }
        if connected.later + away.later > 0 {
            let later = format!(
                "{} a later trust document ({} at most) than this controller has ({version})",
                have(connected.later + away.later, "hold"),
                held.latest
            );
            let parts = vec![later, "give the controller the newest trust file".to_owned()];
            return Said { holds: false, reason: "LaterTrustHeld", parts };
        }
        let ends_soon = document.expires.since_ms(now) < SOON_MS;
        let mut parts = vec![holding];
        if ends_soon {
            parts.extend(["it expires in less than 30 days".to_owned(), renew()]);
        }
        match connected.without_roots + away.without_roots {
            _ if connected.behind() > 0 => Said { holds: true, reason: "TrustSpreading", parts },
            0 if ends_soon => Said { holds: true, reason: "TrustExpiresSoon", parts },
            0 => Said { holds: true, reason: "TrustHeld", parts },
            bare => {
                parts.push(format!(
                    "{} set up without root keys, and no trust document reaches them",
                    were(bare)
                ));
                Said { holds: true, reason: "WithoutRootKeys", parts }
            }
        }
    }

    /// How many hold the document.
    fn holding(&self) -> String {
        let (version, connected, away) = (
            self.document.as_ref().map_or(0, |document| document.version),
            &self.held.connected,
            &self.held.away,
        );
        let first = format!(
            "{} of {} with root keys hold trust document {version}",
            connected.current,
            many(connected.total() - connected.without_roots, "connected device")
        );
        match away.behind() {
            0 => first,
            behind => format!("{first}; {} on return", have(behind, "follow")),
        }
    }
}

fn have(count: u64, verb: &str) -> String {
    format!("{} {verb}{}", many(count, "device"), if count == 1 { "s" } else { "" })
}

fn were(count: u64) -> String {
    format!("{} {}", many(count, "device"), if count == 1 { "was" } else { "were" })
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::floor::SecurityFloors;
    use modelfleet_protocol::trust::Roots;

    use super::*;

    fn reading(held: TrustHeld) -> TrustReading {
        let document = TrustDocument {
            version: 3,
            namespace: None,
            issued: Time(0),
            expires: Time(2 * SOON_MS),
            roots: Roots { keys: vec![], threshold: 1 },
            plan_keys: vec![],
            artifact_keys: vec![],
            enrolment_keys: vec![],
            revoked: vec![],
            floors: SecurityFloors::default(),
        };
        TrustReading { document: Some(Arc::new(document)), held }
    }

    #[test]
    fn people_read_what_is_not_protected_and_how_far_a_rotation_is() {
        let mut held = TrustHeld { latest: 3, ..TrustHeld::default() };
        held.connected.current = 40;
        let told = |held: TrustHeld, now: u64| {
            let word = reading(held).condition(Time(now));
            (word.holds, word.reason, word.message)
        };
        let (holds, reason, message) = told(held, 1);
        assert_eq!((holds, reason.as_str()), (true, "TrustHeld"));
        assert_eq!(message, "40 of 40 connected devices with root keys hold trust document 3.");
        held.connected.earlier = 2;
        held.away.none = 1;
        let (_, reason, message) = told(held, 1);
        assert_eq!(reason, "TrustSpreading");
        assert!(
            message.contains("40 of 42 connected devices") && message.contains("1 device follows"),
            "{message}"
        );
        assert_eq!(told(held, 3 * SOON_MS).1, "TrustExpired");
        held.connected.later = 1;
        held.latest = 5;
        let (holds, reason, message) = told(held, 1);
        assert!(!holds && reason == "LaterTrustHeld", "{message}");
        assert!(message.starts_with("1 device holds a later trust document (5 at most)"), "{message}");
        let without = TrustReading::default().condition(Time(1));
        assert_eq!((without.holds, without.reason.as_str()), (false, "NoTrustDocument"));
        assert!(without.message.contains("touching each device"), "{}", without.message);
    }

    #[test]
    fn an_end_that_is_near_and_devices_without_root_keys_are_told() {
        let mut held = TrustHeld::default();
        held.connected.current = 1;
        let near = reading(held).condition(Time(SOON_MS + 1));
        assert_eq!((near.holds, near.reason.as_str()), (true, "TrustExpiresSoon"));
        held.away.without_roots = 2;
        let bare = reading(held).condition(Time(1));
        assert_eq!(bare.reason, "WithoutRootKeys");
        assert!(bare.message.contains("2 devices were set up without root keys"), "{}", bare.message);
    }
}
