//! Which looks are worth a line in the recordings for `kubectl modelfleet judge replay`.

use modelfleet_judge::{Advice, StageState};

/// What tells one look worth a line from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookMark {
    /// The attempt and the stage.
    pub stage: (u32, u32),
    /// Looks reached.
    pub looks: u16,
    /// What was answered.
    pub advice: Advice,
    /// What is carried on.
    pub after: StageState,
}
