//! Why nothing else happens: every wait has a reason with numbers.

use modelfleet_protocol::time::Time;

/// Why nothing else happens now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// For programs and condition reasons; stable.
    pub code: ReasonCode,
    /// For people: the number, and the next thing that happens or that they can do.
    pub message: String,
    /// When the wait ends by itself, whatever the world does; `None` when only a change ends it.
    pub deadline: Option<Time>,
}

macro_rules! codes {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $code:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $code,)* }

        impl $name {
            /// Every one of them, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$code,)*];

            /// The word for conditions, events and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$code => stringify!($code),)* }
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// Why nothing else happens, as one stable word.
    ReasonCode {
        /// Another rollout of the model is before it in the queue.
        AwaitingTurn,
        /// The ModelVersion does not exist, or was not checked yet.
        AwaitingVersion,
        /// The ModelVersion failed its check, or was rejected.
        VersionRefused,
        /// The plan has no room for a stable version of these devices alone.
        TooManySelectors,
        /// The broker does not answer: nothing is decided.
        BrokerUnavailable,
        /// Retained messages are still being read after a start.
        ViewIncomplete,
        /// Many devices hold a later trust document than the controller: nothing is decided.
        LaterTrustHeld,
        /// Many devices are missing that were known before the controller started.
        DevicesMissing,
        /// No device has sent anything for too long: nothing is decided.
        EvidenceStale,
        /// The stage's selector matches no device.
        NobodyMatches,
        /// The stage's devices are being selected.
        AwaitingDraw,
        /// Every device of the stage lacks what the version needs.
        NobodyCanRun,
        /// Too few devices have confirmed.
        AwaitingDevices,
        /// Too few devices have confirmed, because they get too few requests.
        AwaitingRequests,
        /// Too many devices are unreachable.
        TooManyUnreachable,
        /// The judge lacks devices, windows or reports.
        AwaitingReports,
        /// The stage's time is not over.
        Baking,
        /// The stage's time is over and the judge is undecided.
        AwaitingVerdict,
        /// A person must approve the next stage.
        AwaitingApproval,
        /// The approval did not come in time.
        ApprovalTimedOut,
        /// `spec.paused` is set.
        PausedByUser,
        /// Devices with and without the candidate have the same problem, so the model is not the cause; or devices got worse
        /// and none is left without it to compare with.
        Incident,
        /// An SLO that pauses is breached.
        SloBreach,
        /// More devices failed than the stage allows.
        TooManyFailed,
        /// Contact is lost with most of the devices that run the candidate.
        ContactLost,
        /// Undecided at the deadline.
        Undecided,
        /// Harm was shown.
        Degraded,
        /// The spec cannot work.
        InvalidSpec,
        /// Devices are being rolled back.
        RollingBack,
        /// The rollback took longer than it may.
        RollbackOverdue,
        /// Devices were rolled back.
        RolledBack,
        /// `spec.abort` is still set: a retry waits for it.
        AbortStillSet,
        /// `spec.promote` is left over from an earlier attempt, or names no stage.
        PromoteIgnored,
        /// The version is in production.
        Succeeded,
        /// The version is in production and an objective is broken; nothing shows what the cause is.
        BreachInProduction,
        /// The version is in production, and the watch over it has an alarm.
        AlarmInProduction,
        /// The watch over the version in production has an alarm that keeps other rollouts from starting.
        AlarmHolds,
        /// The version was in production; another one has replaced it.
        Replaced,
        /// A defect in the controller: nothing is done.
        BrokenInvariant,
    }
}

impl Reason {
    /// A reason that only a change of the world ends.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Reason {
        Reason { code, message: message.into(), deadline: None }
    }

    /// A reason that ends by itself at `deadline`.
    #[must_use]
    pub fn until(code: ReasonCode, message: impl Into<String>, deadline: Option<Time>) -> Reason {
        Reason { code, message: message.into(), deadline }
    }
}
