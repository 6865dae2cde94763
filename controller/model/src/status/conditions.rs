//! Conditions: the core's words with the generation, and the time when each last changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Field;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::clip;

use super::time::{cut, to_k8s};
use modelfleet_spec::Problem;

const MESSAGE_MAX: usize = 512;
const REASON_MAX: usize = 64;

/// One condition, before it is known since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, one CamelCase word.
    pub reason: String,
    /// Why, with numbers.
    pub message: String,
}

/// The core's conditions as words.
#[must_use]
pub fn new_conditions(conditions: Vec<modelfleet_rollout::Condition>) -> Vec<NewCondition> {
    let word = |c: modelfleet_rollout::Condition| NewCondition {
        kind: c.kind.as_str(),
        holds: c.holds,
        reason: c.reason.to_owned(),
        message: c.message,
    };
    conditions.into_iter().map(word).collect()
}

/// Says on top of the other conditions that the spec cannot work: nothing is done until it is edited.
pub fn report_problem(words: &mut [NewCondition], problem: &Problem) {
    for word in words {
        let holds = match word.kind {
            "Ready" | "Progressing" => false,
            "Stalled" => true,
            _ => continue,
        };
        *word = NewCondition {
            kind: word.kind,
            holds,
            reason: problem.reason.to_owned(),
            message: problem.to_string(),
        };
    }
}

/// Words as the API has them; the time changes only when the status does.
#[must_use]
pub fn to_fields(
    words: Vec<NewCondition>,
    before: &[Field],
    generation: Option<i64>,
    now: Time,
) -> Vec<Field> {
    let field = |word: NewCondition| {
        let status = if word.holds { "True" } else { "False" };
        let same = before.iter().find(|old| old.type_ == word.kind && old.status == status);
        Field {
            type_: word.kind.to_owned(),
            status: status.to_owned(),
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| to_k8s(now), |old| old.last_transition_time.clone()),
            reason: cut(&word.reason, REASON_MAX),
            message: clip(&word.message, MESSAGE_MAX),
        }
    };
    words.into_iter().map(field).collect()
}
