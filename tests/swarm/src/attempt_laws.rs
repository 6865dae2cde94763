//! What must hold of the attempts of a rollout: what begins one, what it is called, and which of a person's words count in it.

use std::collections::BTreeMap;

use modelfleet_protocol::plan::Candidate;
use modelfleet_rollout::{Passed, State};
use serde_json::Value;

use crate::api_server::Stored;
use crate::fleet_laws::state;

/// What is remembered of attempts.
#[derive(Debug, Default)]
pub struct AttemptLaws {
    /// What people have set, by uid of the rollout.
    wishes: BTreeMap<String, Wishes>,
    /// The salt of each attempt that a plan named.
    names: BTreeMap<String, String>,
    edits: u64,
}

/// What people have set in a spec, and by which edit.
#[derive(Clone, Debug, Default)]
struct Wishes {
    token: Value,
    token_edit: u64,
    /// `abort` was set when the token was, and ever since.
    aborts: bool,
    promote: Value,
    promote_edit: u64,
    /// The edit whose token began the attempt.
    began: u64,
}

impl AttemptLaws {
    /// Holds the laws of a write of a rollout.
    pub fn stored(&mut self, write: &Stored) -> Option<String> {
        let uid = write.after["metadata"]["uid"].as_str()?.to_owned();
        let wishes = self.wishes.entry(uid).or_default();
        let Some(_) = write.by else {
            self.edits += 1;
            wishes.edited(&write.after["spec"], self.edits);
            return None;
        };
        let (old, new) = (state(write.before.as_deref()?)?, state(&write.after)?);
        let broken =
            if new.attempt > old.attempt { wishes.begun(&old, &new) } else { wishes.passed(&old, &new) };
        broken.map(|broken| format!("{} {broken}", write.place.1))
    }

    /// Holds the law of a plan's candidate: devices tell attempts apart by their names.
    pub fn sent(&mut self, candidate: &Candidate) -> Option<String> {
        let (name, salt) = (&candidate.rollout, &candidate.membership.salt);
        let known = self.names.entry(name.clone()).or_insert_with(|| salt.clone());
        (known != salt).then(|| format!("the attempts {known} and {salt} have the name {name}"))
    }
}

impl Wishes {
    fn edited(&mut self, spec: &Value, edit: u64) {
        let aborts = spec["abort"] == true;
        if self.token != spec["retryToken"] {
            (self.token, self.token_edit, self.aborts) = (spec["retryToken"].clone(), edit, aborts);
        }
        self.aborts &= aborts;
        if self.promote != spec["promote"] {
            (self.promote, self.promote_edit) = (spec["promote"].clone(), edit);
        }
    }

    /// An attempt begins with a new token or another version, and never while `abort` is set.
    fn begun(&mut self, old: &State, new: &State) -> Option<String> {
        let known = new.retry_token.as_deref() == self.token.as_str();
        self.began = if known { self.token_edit } else { 0 };
        if new.retry_token == old.retry_token && new.version == old.version {
            return Some(format!("begins attempt {} without a new retryToken", new.attempt));
        }
        (known && self.aborts).then(|| format!("begins attempt {} while abort is set", new.attempt))
    }

    /// A promotion counts for the attempt in which it was set.
    fn passed(&self, old: &State, new: &State) -> Option<String> {
        let by_hand = |state: &State| state.passed.iter().filter(|stage| stage.how == Passed::ByHand).count();
        let stale = self.promote_edit < self.began && !self.promote.is_null();
        (stale && by_hand(new) > by_hand(old)).then(|| {
            format!("leaves a stage because of promote: {}, which was set before this attempt", self.promote)
        })
    }
}
