//! A version's rejection as one rollout knows it: a retry token lifts what was seen before it changed, nothing else.

use modelfleet_protocol::time::Time;
use serde::{Deserialize, Serialize};

/// The rejection of its version that a rollout has seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// When it was written; `None`: by this rollout, and it was not read back yet.
    pub at: Option<Time>,
    /// The retry token changed after it was seen: this rollout may take the version all the same.
    pub lifted: bool,
}

impl Rejection {
    /// One that this rollout writes itself.
    pub(crate) const OWN: Rejection = Rejection { at: None, lifted: false };

    /// What is known once the rejection of `at` is seen; `asked`: the retry token has just changed.
    ///
    /// A token that was there before, or that came in the same moment, says nothing about this rejection.
    pub(crate) fn seen(before: Option<Rejection>, at: Time, asked: bool) -> Rejection {
        let known = before.filter(|before| before.at.is_none_or(|known| known == at));
        Rejection { at: Some(at), lifted: known.is_some_and(|known| known.lifted || asked) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_after_the_sight_lifts() {
        let first = Rejection::seen(None, Time(1), true);
        assert!(!first.lifted, "the token was not meant for it");
        let lifted = Rejection::seen(Some(first), Time(1), true);
        assert!(lifted.lifted && Rejection::seen(Some(lifted), Time(1), false).lifted);
        assert!(!Rejection::seen(Some(lifted), Time(2), true).lifted, "another rejection");
        assert!(Rejection::seen(Some(Rejection::OWN), Time(2), true).lifted, "its own is known");
    }
}
