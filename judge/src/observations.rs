//! What the judge is told at one look: rules, devices, recent merged windows, needs and budget.

use crate::budget::{Budget, Looks};
use crate::sizing::yearly::PerYearMilli;

/// Most labels that are watched.
pub const WATCHED_MAX: usize = 4;

/// Device-windows of one SLI: how many are known, and how many of those were bad.
///
/// A window is known when the device reported it and, for SLIs that need it, ground truth has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Windows with a known outcome.
    pub known: u64,
    /// Of those, windows that were bad. More than `known` is read as `known`.
    pub bad: u64,
}

impl Counts {
    /// Counts of `bad` among `known` windows; `bad` is cut to `known`.
    pub const fn new(known: u64, bad: u64) -> Self {
        Self { known, bad: if bad < known { bad } else { known } }
    }

    /// Bad windows, never more than the known ones.
    pub const fn bad(&self) -> u64 {
        if self.bad < self.known { self.bad } else { self.known }
    }

    /// Share of bad windows in parts per million, 0 when nothing is known.
    pub fn share_ppm(&self) -> u64 {
        if self.known == 0 {
            return 0;
        }
        let share = u128::from(self.bad()) * 1_000_000 / u128::from(self.known);
        u64::try_from(share).unwrap_or(1_000_000)
    }

    /// Both together; saturates.
    pub const fn plus(&self, other: Self) -> Self {
        Self { known: self.known.saturating_add(other.known), bad: self.bad().saturating_add(other.bad()) }
    }
}

/// Which side of the comparison a device stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Runs the candidate (or tried to).
    Canary,
    /// Still runs the model before it, in the same minutes.
    Control,
}

/// One device's windows of one SLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SloCounts {
    /// Under the model before, before the stage opened.
    pub history: Counts,
    /// Since the stage opened, without warm-up; see the crate's notes on equal exposure.
    pub post: Counts,
}

/// What one device did in this stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceOutcome<'a> {
    /// The caller's number for the device; comes back in [`crate::HardAction::Quarantine`].
    pub id: u32,
    /// Devices are compared within a stratum only (site, age, hardware).
    pub stratum: u16,
    /// Number of the value that it has of each watched label, from 1; 0: of none, or of one that is not watched. Devices
    /// with the same number at the same place are a group, in which harm is looked for as in a stratum.
    pub watched: [u16; WATCHED_MAX],
    /// Canary or control.
    pub arm: Arm,
    /// Canary: tried to take the candidate, and, if it is active, was in reach, heard or activated since the stage
    /// opened. Control: was eligible, and in reach or heard since the stage opened. Who was away all the while, or has
    /// left the fleet, says nothing of silence, in either arm.
    pub attempted: bool,
    /// Canary: activated the candidate. Not read for controls.
    pub active: bool,
    /// Reported within the last few windows. Silence is data: see [`SilenceRule`].
    pub reporting: bool,
    /// Canary: in reach and not failed, so that the stage waits for its windows. Not read for controls.
    pub awaited: bool,
    /// Canary: it runs the candidate and has reported no window yet that counts in [`SloCounts::post`], because its first
    /// ones after the change of models do not. Not read for controls.
    pub settling: bool,
    /// Failed hard in this stage (canary: with the candidate; control: with what it runs): the caller's code.
    pub hard_failure: Option<u16>,
    /// One entry per [`Observations::slos`], in that order; missing entries count as nothing known.
    pub slos: &'a [SloCounts],
}

impl<'a> DeviceOutcome<'a> {
    /// An attempted, active, reporting, awaited device without a hard failure.
    pub const fn new(id: u32, stratum: u16, arm: Arm, slos: &'a [SloCounts]) -> Self {
        Self {
            id,
            stratum,
            watched: [0; WATCHED_MAX],
            arm,
            attempted: true,
            active: true,
            reporting: true,
            awaited: true,
            settling: false,
            hard_failure: None,
            slos,
        }
    }

    /// The counts of the SLO at `index`; nothing known for a missing entry or a canary that is not active.
    pub fn counts(&self, index: usize) -> SloCounts {
        if self.arm == Arm::Canary && !self.active {
            return SloCounts::default();
        }
        self.slos.get(index).copied().unwrap_or_default()
    }
}

/// What a breach of an SLO does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBreach {
    /// Takes the candidate back.
    RollBack,
    /// Pauses the rollout and asks a human.
    Pause,
    /// Is reported, and changes nothing.
    Observe,
}

/// A limit by device and year, and the windows that it is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YearlyLimit {
    /// Events by device and year, in thousandths.
    pub per_year_milli: PerYearMilli,
    /// Length of a window, milliseconds.
    pub window_ms: u64,
}

/// How an SLO is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgedBy {
    /// With the error promise: layers 1 and 2.
    Statistical,
    /// Merged value beyond the threshold for this many windows in a row. No error promise.
    Plain {
        /// Windows in a row (at least 1).
        for_windows: u32,
    },
    /// Windows with an event against a limit by device and year, by exact Poisson tests ([`crate::decide::rare`]).
    Poisson(YearlyLimit),
}

/// Device-windows of one arm by how long ago the change of models was: canaries' own, and for a control that of the canary
/// whose start it takes. Tells the cost of a change from lasting harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterSwap {
    /// Which arm.
    pub arm: Arm,
    /// Windows after the change at which the span begins, those that never count included; it ends where the next begins.
    pub from: u32,
    /// These windows do not count in [`SloCounts::post`]: the device settles.
    pub settling: bool,
    /// Known and bad, as in [`SloCounts`].
    pub devices: Counts,
}

/// One SLO of the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SloRule<'a> {
    /// Name, for example `false-alarms`; what is carried from look to look is kept under it.
    pub name: &'a str,
    /// For sentences: what is wrong where it is broken, for example `too many false alarms`. Empty: told by the name.
    pub breach: &'a str,
    /// For sentences: the limit of a window's value with its unit, for example `25 %`. Empty: not told.
    pub limit: &'a str,
    /// What a breach does.
    pub on_breach: OnBreach,
    /// How it is judged.
    pub judged_by: JudgedBy,
    /// Share of device-windows that may be bad (absolute gate); 0 judges against controls alone.
    pub allowance_ppm: u32,
    /// The harm this stage must rule out, as ratio of shares of bad device-windows (1 250 000 = a quarter
    /// more), when the user set it. Where windows are often bad, three times the errors is less than three
    /// times the bad windows. `None`: the smallest that this stage can rule out, reported in [`crate::SloVerdict::margin_ppm`].
    pub margin_ppm: Option<u64>,
    /// Windows of canaries, those of earlier stages included, that a stage with too few events to rule out a rise needs
    /// before it passes on exposure; 0: none.
    pub min_exposure: u64,
    /// Bad windows since the stage opened, of canaries and controls together, that it needs before; 0: none.
    pub min_events: u64,
    /// Plain rule: samples that a merged window needs.
    pub min_samples: u64,
    /// Share of the error budget relative to the other rules (1 = equal); 0 spends nothing and never degrades.
    pub weight: u32,
    /// Windows after one until the truth about it is known. For sentences.
    pub late_windows: u64,
    /// Looks at this rule where they come later than [`Observations::looks`], because devices settle or the truth is late;
    /// `None`: they do not.
    pub looks: Option<Looks>,
    /// What devices that changed models in this stage counted since; empty: not known.
    pub after_swap: &'a [AfterSwap],
}

impl<'a> SloRule<'a> {
    /// A statistical rule that rolls back, weight 1, with the default margin.
    pub const fn statistical(name: &'a str, allowance_ppm: u32) -> Self {
        Self {
            name,
            breach: "",
            limit: "",
            on_breach: OnBreach::RollBack,
            judged_by: JudgedBy::Statistical,
            allowance_ppm,
            margin_ppm: None,
            min_exposure: 0,
            min_events: 0,
            min_samples: 0,
            weight: 1,
            late_windows: 0,
            looks: None,
            after_swap: &[],
        }
    }
}

impl SloRule<'_> {
    /// The looks at this rule.
    pub(crate) fn looks(&self, observations: &Observations<'_>) -> Looks {
        self.looks.unwrap_or(observations.looks)
    }
}

/// One window of one SLO merged over one arm, newest last. Feeds the plain rule and the incident watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedWindow {
    /// Index into [`Observations::slos`].
    pub slo: u32,
    /// Which arm was merged.
    pub arm: Arm,
    /// Window index; the order in the list does not matter.
    pub window: u64,
    /// The merged value was beyond the SLO's threshold.
    pub breached: bool,
    /// The merged value in thousandths of its unit, for sentences.
    pub value_milli: i64,
    /// The SLO's threshold in thousandths, for sentences.
    pub threshold_milli: i64,
    /// Device-windows behind it: known and bad (as in [`SloCounts`]).
    pub devices: Counts,
    /// Samples (predictions) behind it.
    pub samples: u64,
}

/// What a stage needs before anything but harm can be said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Canaries with at least `min_windows` known windows; never less than the reporting share of those awaited.
    pub min_devices: u32,
    /// Known windows that make a canary count.
    pub min_windows: u32,
    /// Share of the canaries that must report: of those awaited, which must have `min_windows` known windows
    /// each, and of those that run the candidate and are in reach or were heard lately. A stage of which half
    /// have not begun has proven nothing about the other half; one that is out of reach says nothing either way,
    /// and whether canaries fall silent is [`SilenceRule`]'s question.
    pub min_reporting_ppm: u32,
}

/// When hard failures stop a stage (layer 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardRule {
    /// Stop at this many failed canaries (at least 1).
    pub max_failed: u32,
    /// Or at this share of those attempted; 0 switches the share off.
    pub max_failed_ppm: u32,
    /// Share of the error budget for the comparison with controls.
    pub weight: u32,
}

impl Default for HardRule {
    /// The first failure is looked at; weight 2.
    fn default() -> Self {
        Self { max_failed: 1, max_failed_ppm: 0, weight: 2 }
    }
}

impl HardRule {
    /// The default with a third of the budget or more beside `rules` and `silence`: over up to five stages, two of
    /// five canaries against none of 195 controls then take the candidate back.
    pub fn beside(rules: impl IntoIterator<Item = (OnBreach, JudgedBy)>, silence: SilenceRule) -> Self {
        let spends = |(on_breach, judged_by): &(OnBreach, JudgedBy)| {
            *on_breach != OnBreach::Observe && *judged_by == JudgedBy::Statistical
        };
        let rules = u32::try_from(rules.into_iter().filter(spends).count()).unwrap_or(u32::MAX);
        let others = rules.saturating_add(silence.weight);
        Self { weight: others.div_ceil(2).max(2), ..Self::default() }
    }
}

/// Silence as an SLI: canaries that stop reporting while controls report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilenceRule {
    /// What a breach does.
    pub on_breach: OnBreach,
    /// Share of the error budget; 0 switches it off.
    pub weight: u32,
}

impl Default for SilenceRule {
    fn default() -> Self {
        Self { on_breach: OnBreach::RollBack, weight: 1 }
    }
}

/// Everything the judge sees at one look at one stage.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'a> {
    /// The rules, in the order of [`DeviceOutcome::slos`].
    pub slos: &'a [SloRule<'a>],
    /// Canaries and controls, in any order.
    pub devices: &'a [DeviceOutcome<'a>],
    /// Recent windows merged over each arm, in any order.
    pub merged: &'a [MergedWindow],
    /// Minimum devices, windows and reporting.
    pub needs: Needs,
    /// Layer 0.
    pub hard: HardRule,
    /// Silence as an SLI.
    pub silence: SilenceRule,
    /// The rollout's error budget as it stood when the stage opened.
    pub budget: Budget,
    /// Planned looks, and how many are reached.
    pub looks: Looks,
    /// Seed of the permutations: fixed per rollout and stage (for example from the object's uid).
    pub seed: u64,
}
