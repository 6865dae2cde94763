//! What the judge answers.

use crate::sentence;
use crate::state::StageState;

/// One of four. Undecided never turns into Healthy by waiting alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Harm of the stage's margin or more is ruled out, and coverage is met.
    Healthy,
    /// Coverage is met and nothing speaks against the candidate, but there were too few events to rule out any rise: passed
    /// on exposure. See [`SloVerdict::exposure`].
    Exposed,
    /// Harm is shown.
    Degraded,
    /// Neither yet.
    Undecided,
}

/// What follows from verdict, incident and each SLO's `on_breach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The stage may end.
    Advance,
    /// Keep watching; at the deadline do what the user chose.
    Wait,
    /// Stop offering the candidate and ask a human; do not roll back.
    Pause,
    /// Take the candidate back everywhere.
    RollBack,
}

/// The verdict on one SLO with the numbers behind it: the verdict record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SloVerdict {
    /// Index into [`crate::Observations::slos`]; `None` for silence.
    pub slo: Option<u32>,
    /// On this SLO alone.
    pub verdict: Verdict,
    /// Canaries break the allowance (absolute gate).
    pub absolute_breach: bool,
    /// Canaries are worse than controls, shown within the budget (relative gate).
    pub relative_harm: bool,
    /// Ratio of the canaries' rate to what their past and the controls let expect (1 000 000 = as before). Where a handful of
    /// devices got far worse than before, this and what follows is about the others.
    pub estimate_ppm: u64,
    /// Lower 95 % limit of that ratio: the ratio is below it in 5 % of cases at most.
    pub low_ppm: u64,
    /// Upper 95 % limit of that ratio; `u64::MAX` when nothing bounds it. Both limits together are a 90 % interval.
    pub high_ppm: u64,
    /// Lower limit of the 95 % confidence sequence: holds at all looks together. 0 unless layer 2 runs.
    pub always_low_ppm: u64,
    /// Upper limit of the confidence sequence; `u64::MAX` unless layer 2 runs.
    pub always_high_ppm: u64,
    /// Bad windows that canaries would have without the candidate, in thousandths.
    pub expected_milli: u64,
    /// Variance over mean of a device's count, in thousandths. The limits follow from it, `expected_milli` and
    /// the two arms' bad windows: see [`crate::exact::ratio`].
    pub dispersion_milli: u64,
    /// The ratio that had to be ruled out for Healthy, at this look's part of the 5 % that all looks together have
    /// (4 % at the last planned one): so it is a little above `high_ppm` where it just is. `u64::MAX`: too few
    /// events, passed on exposure.
    pub margin_ppm: u64,
    /// Threshold for `p_value_ppb` at this look, parts per billion; 0 when no test was due.
    pub threshold_ppb: u64,
    /// p-value of the last test, parts per billion, rounded up.
    pub p_value_ppb: u64,
    /// Layer 2: natural logarithm of the e-value in thousandths; 0 when layer 2 does not run.
    pub log_e_milli: i64,
    /// What the canaries' windows say of their rate alone, where there are too few events to rule out a rise.
    pub exposure: Option<Exposure>,
    /// Canaries with a known outcome.
    pub devices: u32,
    /// Controls with a known outcome.
    pub controls: u32,
    /// Mean known windows per canary and per control where they differ too much to compare: no test was made.
    pub unlike: Option<(u64, u64)>,
    /// Canary device-windows known and bad.
    pub canary: crate::Counts,
    /// Control device-windows known and bad.
    pub control: crate::Counts,
    /// Canaries and controls that were bad in more than the allowance (with allowance 0: in any window).
    pub devices_over: (u32, u32),
    /// Error budget spent on this SLO in this stage, parts per billion.
    pub spent_ppb: u64,
    /// A few canaries, or those of one stratum, that got worse while the others did not.
    pub few: Option<Few>,
    /// For Healthy: which harm to a few devices or to one stratum is ruled out.
    pub few_proof: Option<FewProof>,
    /// False for the plain rule: no error promise.
    pub promised: bool,
    /// The conclusion for a person, with its counts; begins small and ends without a stop.
    pub sentence: String,
    /// The statistics behind it, for a person; empty without any.
    pub statistics: String,
}

/// What so many windows with the candidate say of its rate, all stages and devices together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// Windows of canaries, those of earlier stages included, and how many of them were bad.
    pub canary: crate::Counts,
    /// Upper 95 % limit of the share of bad windows, parts per billion (exact Poisson; without a bad window three over the
    /// number of windows).
    pub high_ppb: u64,
    /// That limit as a multiple of the usual share, parts per million; `u64::MAX`: no bad window was ever seen.
    pub rise_ppm: u64,
    /// What the rule asks for before the stage passes, where it is not reached: windows of canaries, and bad windows of all.
    pub lacking: Option<(u64, u64)>,
}

/// Harm to a few devices or to one stratum: found, or in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few {
    /// Which of both.
    pub kind: FewKind,
    /// Shown within the budget. Otherwise it is a doubt that keeps the stage from being Healthy, or, in a Healthy one, as
    /// many devices as chance lets expect.
    pub found: bool,
    /// Canaries that are far worse than their own past.
    pub canaries: u32,
    /// Controls that are.
    pub controls: u32,
    /// The caller's numbers of the worst canaries, at most three. Sentences name them `device 17`.
    pub named: Vec<u32>,
}

/// What a few of the devices have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FewKind {
    /// They got far worse than their own past.
    Devices,
    /// They are of one stratum. Sentences name it `stratum 7`.
    Stratum {
        /// The caller's number.
        number: u16,
        /// Device-windows of its canaries.
        canary: crate::Counts,
        /// Device-windows of its controls.
        control: crate::Counts,
    },
    /// They have the same value of a watched label. Sentences name it `group 0/7`: the label's place and the value's number.
    Watched {
        /// Place of the label in [`crate::DeviceOutcome::watched`].
        label: u8,
        /// Number of the value.
        value: u16,
        /// Device-windows of its canaries.
        canary: crate::Counts,
        /// Device-windows of its controls.
        control: crate::Counts,
    },
}

/// Which harm to a few devices or to one stratum a stage rules out, with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FewProof {
    /// A rise of one device's rate to so many times it, as ratio in parts per million, or more; `u64::MAX`: none,
    pub rise_ppm: u64,
    /// on more than this share of the devices.
    pub share_ppm: u64,
    /// A rise to this in any one stratum; `None`: there are no strata, or some are too small.
    pub stratum_ppm: Option<u64>,
    /// The same in groups of watched labels; `None`: nothing is watched, or no group tells anything.
    pub watched: Option<WatchedProof>,
}

/// What is ruled out in groups of watched labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedProof {
    /// A rise to this in any one of these groups,
    pub rise_ppm: u64,
    /// of which there are so many,
    pub told: u16,
    /// of so many in all: the others have no canary, no control, or too few events.
    pub groups: u16,
}

impl FewProof {
    /// In words: `20.00x on more than 1.8 % of the devices, and 3.20x in any one stratum`.
    #[must_use]
    pub fn in_words(&self) -> String {
        sentence::few_proof(self)
    }
}

/// Is there enough to say anything but harm?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// All three needs are met.
    pub met: bool,
    /// Canaries with enough known windows, in the SLO that has the fewest.
    pub devices: u32,
    /// Canaries needed.
    pub devices_needed: u32,
    /// Windows needed to make a canary count.
    pub windows_needed: u32,
    /// Canaries that have reported none of them yet, because they settle after the change of models.
    pub settling: u32,
    /// Share of activated canaries that report now.
    pub reporting_ppm: u32,
    /// Share needed.
    pub reporting_needed_ppm: u32,
    /// One sentence for a person.
    pub sentence: String,
}

/// Why a pause is better than a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// Controls break the SLO as canaries do: not the model.
    CommonCause,
    /// Canaries got worse than their own past, but no controls are left to compare with.
    NoControls,
}

/// A breach that does not speak against the candidate alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Index into [`crate::Observations::slos`].
    pub slo: u32,
    /// Why.
    pub kind: IncidentKind,
    /// Share of bad device-windows lately among controls (canaries for [`IncidentKind::NoControls`]).
    pub share_ppm: u32,
    /// What was usual or allowed.
    pub usual_ppm: u32,
    /// One sentence for a person.
    pub sentence: String,
}

/// What a hard stop asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HardAction {
    /// The candidate fails on canaries and not on controls: roll it back.
    RollBackAll,
    /// No difference to controls is shown: set these devices aside and go on.
    Quarantine(Vec<u32>),
}

/// Layer 0 fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardStop {
    /// What to do.
    pub action: HardAction,
    /// Failed canaries.
    pub failed: u32,
    /// Canaries that tried.
    pub attempted: u32,
    /// Failed controls.
    pub control_failed: u32,
    /// Controls.
    pub controls: u32,
    /// Fisher's exact test, one-sided, parts per billion, rounded up.
    pub p_value_ppb: u64,
    /// Threshold for it.
    pub threshold_ppb: u64,
    /// Failure codes with how many canaries, most frequent first, at most 8.
    pub codes: Vec<(u16, u32)>,
    /// The conclusion for a person, with its counts.
    pub sentence: String,
    /// The statistics behind it, for a person.
    pub statistics: String,
}

/// The judge's answer to one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Over all SLOs that gate (not `Observe`).
    pub verdict: Verdict,
    /// What follows.
    pub advice: Advice,
    /// One per [`crate::Observations::slos`], in that order.
    pub per_slo: Vec<SloVerdict>,
    /// Silence as an SLI, when it has weight.
    pub silence: Option<SloVerdict>,
    /// First incident found.
    pub incident: Option<Incident>,
    /// Layer 0.
    pub hard_stop: Option<HardStop>,
    /// Minimum devices, windows and reporting.
    pub coverage: Coverage,
    /// Controls suffer from something that canaries are spared from: the candidate mends it.
    pub cures: bool,
    /// For that reason the stage may end at this look, before the last planned one.
    pub early: bool,
    /// Error budget this stage has spent so far, parts per billion.
    pub spent_ppb: u64,
    /// Error budget this stage may spend, parts per billion.
    pub allotted_ppb: u64,
    /// Hand this in at the next look.
    pub state: StageState,
    /// The reason for the advice, for a person.
    pub sentence: String,
    /// The statistics behind it, for a person; empty without any.
    pub statistics: String,
}
