//! The one table of legal moves: every phase with every move.

/// A phase without what it carries: the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseKind {
    /// See [`crate::Phase::Queued`].
    Queued,
    /// See [`crate::Phase::Refused`].
    Refused,
    /// See [`crate::Phase::Progressing`].
    Progressing,
    /// See [`crate::Phase::AwaitingApproval`].
    AwaitingApproval,
    /// See [`crate::Phase::Paused`].
    Paused,
    /// See [`crate::Phase::RollingBack`].
    RollingBack,
    /// See [`crate::Phase::RolledBack`].
    RolledBack,
    /// See [`crate::Phase::Succeeded`].
    Succeeded,
}

/// What can happen to a rollout: the columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// Its turn came and its version is good.
    Start,
    /// Its version may not be rolled out.
    Refuse,
    /// Its version may be rolled out after all.
    Reconsider,
    /// Aborted or deleted before anything began.
    Cancel,
    /// The version is in production already.
    Adopt,
    /// A stage is opened.
    OpenStage,
    /// A person is asked to agree.
    Ask,
    /// It stands still, or for another cause than before.
    Pause,
    /// It goes on.
    Resume,
    /// A rollback of the candidate begins.
    RollBack,
    /// No reachable device runs the candidate.
    Finish,
    /// The last stage was passed.
    Succeed,
    /// A new attempt begins.
    Retry,
}

impl PhaseKind {
    /// Every row.
    pub const ALL: [PhaseKind; 8] = {
        use PhaseKind as P;
        [
            P::Queued,
            P::Refused,
            P::Progressing,
            P::AwaitingApproval,
            P::Paused,
            P::RollingBack,
            P::RolledBack,
            P::Succeeded,
        ]
    };
}

impl Move {
    /// Every column.
    pub const ALL: [Move; 13] = {
        use Move as M;
        [
            M::Start,
            M::Refuse,
            M::Reconsider,
            M::Cancel,
            M::Adopt,
            M::OpenStage,
            M::Ask,
            M::Pause,
            M::Resume,
            M::RollBack,
            M::Finish,
            M::Succeed,
            M::Retry,
        ]
    };
}

/// Where a move leads; `None` when it is not legal there.
#[must_use]
pub fn after(phase: PhaseKind, step: Move) -> Option<PhaseKind> {
    use Move as M;
    use PhaseKind as P;
    match (phase, step) {
        (P::Queued, M::Start) => Some(P::Progressing),
        (P::Queued, M::Refuse) => Some(P::Refused),
        (P::Queued, M::Adopt) => Some(P::Succeeded),
        (P::Refused, M::Reconsider) => Some(P::Queued),
        (P::Queued | P::Refused, M::Cancel) => Some(P::RolledBack),
        (P::Progressing | P::AwaitingApproval | P::Paused, M::OpenStage) => Some(P::Progressing),
        (P::Progressing, M::Ask) => Some(P::AwaitingApproval),
        (P::Progressing | P::AwaitingApproval | P::Paused, M::Pause) => Some(P::Paused),
        (P::AwaitingApproval | P::Paused, M::Resume) => Some(P::Progressing),
        (P::Progressing | P::AwaitingApproval | P::Paused, M::RollBack) => Some(P::RollingBack),
        (P::Progressing, M::Succeed) => Some(P::Succeeded),
        // The watch after success.
        (P::Succeeded, M::RollBack) => Some(P::RollingBack),
        (P::RollingBack, M::Finish) => Some(P::RolledBack),
        // From Succeeded only when the spec names another version.
        (P::RolledBack | P::Succeeded, M::Retry) => Some(P::Queued),
        _ => None,
    }
}
