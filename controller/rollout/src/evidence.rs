//! What the judge said at the newest look. The shell maps the judge's assessment to it.

use modelfleet_protocol::ids::DeviceId;

/// What the judge said at the newest look at a stage. The default says nothing: [`Verdict::Undecided`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The attempt that was judged; evidence of another one is not read.
    pub attempt: u32,
    /// The stage that was judged; nothing but harm is taken from another one.
    pub stage: u32,
    /// Over all SLOs that gate.
    pub verdict: Verdict,
    /// An absolute breach that controls show as well: a sentence. Not the model's fault; pauses.
    pub incident: Option<String>,
    /// An SLO whose breach shall pause is breached: a sentence.
    pub pause: Option<String>,
    /// Layer 0.
    pub hard_stop: Option<HardStop>,
    /// Minimum devices, windows and reporting.
    pub coverage: Coverage,
    /// The version mends what devices without it suffer from now: the stage may end before its bake time is over.
    pub cures: bool,
    /// The last planned look was taken: waiting longer proves little.
    pub final_look: bool,
    /// The verdict with its counts, for people: begins small and ends without a stop, others go on from it.
    pub sentence: String,
    /// The statistics behind it, for people, told last; empty without any.
    pub statistics: String,
    /// Error budget that this stage has spent so far, parts per billion.
    pub spent_ppb: u64,
    /// After success: the watch has an alarm.
    pub alarm: Option<Alarm>,
}

/// The watch over a version in production has an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What and where, with numbers.
    pub sentence: String,
    /// What it does.
    pub action: AlarmAction,
}

/// What an alarm does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlarmAction {
    /// It is shown.
    Observe,
    /// People are told.
    #[default]
    Notify,
    /// The same, and no other rollout of the model starts meanwhile.
    Pause,
    /// The version is rolled back; it is not rejected.
    RollBack,
    /// A retrained version is asked for.
    Retrain,
}

/// The judge's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Harm of the stage's margin or more is ruled out.
    Healthy,
    /// Coverage is met and nothing speaks against the candidate, but there were too few events to rule out any rise: the
    /// stage passes as a Healthy one does, and is told to have passed on exposure.
    Exposed,
    /// Harm is shown.
    Degraded,
    /// Neither yet.
    #[default]
    Undecided,
}

impl Verdict {
    /// Whether the stage may end by itself.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Healthy | Verdict::Exposed)
    }
}

/// Layer 0 fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HardStop {
    /// The candidate fails and controls do not: roll it back everywhere.
    RollBackAll {
        /// Why, with numbers.
        reason: String,
        /// The statistics behind it, told last.
        statistics: String,
    },
    /// These devices, not the model: set them aside.
    Quarantine {
        /// Which; all that are known, those already set aside included or not.
        devices: Vec<DeviceId>,
        /// Why, with numbers.
        reason: String,
    },
}

/// Is there enough to say anything but harm?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Yes.
    Met,
    /// No: what is missing, as a sentence with numbers.
    Missing(String),
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage::Missing("nothing judged yet".to_owned())
    }
}
