//! A trust document as people read it: what it says, who has signed, what is missing. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{PublicKey, TrustDocument};

use super::artifact_key_id;
use super::draft::{Signed, Standing};
use crate::table::Table;
use crate::units::{counted, moment, span};

fn timestamp(time: Time) -> Timestamp {
    i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

/// A moment to the second.
pub(super) fn at(time: Time) -> String {
    moment(timestamp(time))
}

/// The document and how far it is signed.
#[must_use]
pub fn text(document: &TrustDocument, standing: &Standing, now: Time) -> String {
    let whom = document.namespace.as_ref().map_or_else(
        || "every namespace whose devices have these root keys".to_owned(),
        |namespace| format!("namespace {namespace}"),
    );
    let end = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    let expires = if document.has_expired(now) {
        format!("{} ago: devices start nothing new on its word", end(now.since_ms(document.expires)))
    } else {
        format!("in {}", end(document.expires.since_ms(now)))
    };
    let mut text = format!("Trust document {} for {whom}\n", document.version);
    let _ = writeln!(text, "  made     {}", at(document.issued));
    let _ = writeln!(text, "  expires  {} ({expires})\n", at(document.expires));
    text.push_str(&table(document, standing));
    text.push('\n');
    text.push_str(&missing(standing));
    text
}

fn table(document: &TrustDocument, standing: &Standing) -> String {
    let mut table = Table::new(&["ROLE", "KEY", "NOTE"]);
    let mut row = |role: &str, key: String, note: &str| table.row(vec![role.into(), key, note.into()]);
    let new = standing.new.as_ref().unwrap_or(&standing.in_force);
    for key in &document.roots.keys {
        let note = if new.by.contains(&key.id()) { "has signed" } else { "has not signed" };
        row("root", key.id().to_string(), note);
    }
    let leaves = |id: &&KeyId| !document.roots.keys.iter().any(|key| key.id() == **id);
    for id in standing.in_force.by.iter().filter(leaves) {
        row("root until now", id.to_string(), "has signed");
    }
    for id in standing.in_force.missing.iter().filter(leaves) {
        row("root until now", id.to_string(), "has not signed");
    }
    let mut online = |role: &str, keys: &[PublicKey], none: &str| {
        keys.iter().for_each(|key| row(role, key.id().to_string(), ""));
        if keys.is_empty() {
            row(role, "none".into(), none);
        }
    };
    online("plan", &document.plan_keys, "devices take no plan and keep what they run");
    online("enrolment", &document.enrolment_keys, "");
    for key in &document.artifact_keys {
        row("artifact", artifact_key_id(key), "");
    }
    if document.artifact_keys.is_empty() {
        row("artifact", "none".into(), "");
    }
    document.revoked.iter().for_each(|id| row("revoked", id.to_string(), "nothing that it signed counts"));
    for (model, version) in document.floors.iter() {
        row("floor", model.to_string(), &format!("versions below {version} are forbidden for good"));
    }
    table.render()
}

/// Whether enough have signed, and who can.
fn missing(standing: &Standing) -> String {
    let lacks = |signed: &Signed, whose: &str| {
        (signed.lacks() > 0).then(|| {
            let ids: Vec<String> = signed.missing.iter().map(KeyId::to_string).collect();
            let more = counted(i64::try_from(signed.lacks()).unwrap_or(i64::MAX), "more signature");
            format!("It needs {more} of {whose}: {}.\n", ids.join(", "))
        })
    };
    let (old, new) = match &standing.new {
        Some(new) => ("the root keys until now", lacks(new, "its own root keys")),
        None => ("the root keys", None),
    };
    let told: String = lacks(&standing.in_force, old).into_iter().chain(new).collect();
    if told.is_empty() { "Enough root keys have signed.\n".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::{document, key, public};
    use super::super::draft::Draft;
    use super::*;

    #[test]
    fn people_see_who_signed_what_and_what_is_missing() {
        let before = document().roots;
        let draft = Draft::unsigned(document()).unwrap().signed(&key(2), &before).unwrap();
        let text = text(&draft.document, &draft.standing(&before).unwrap(), Time(1_000));
        let id = |number: u8| public(number).id().to_string();
        let has = |words: &str| assert!(text.contains(words), "{words:?} is missing in\n{text}");
        has("Trust document 1 for namespace plant\n");
        has("expires  1970-01-01T00:16:40Z (in 16 minutes 39 seconds)");
        has(&format!("root        {}   has signed\n", id(2)));
        has(&format!("plan        {}\n", id(10)));
        has(&format!("It needs 1 more signature of the root keys: {}, {}.\n", id(1), id(3)));
        assert!(!text.contains(&hex::encode([2; 32])), "no secret is shown");
    }

    #[test]
    fn an_expired_document_says_what_that_means() {
        let draft = Draft::unsigned(document()).unwrap();
        let standing = draft.standing(&document().roots).unwrap();
        let told = text(&draft.document, &standing, Time(2_000_000));
        assert!(told.contains("ago: devices start nothing new on its word"), "{told}");
    }
}
