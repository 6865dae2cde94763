//! Verdicts with an error promise, for fleets of devices.
//!
//! A rollout puts a candidate model on some devices (canaries) and leaves others alone (controls). This
//! crate says whether the candidate does harm, and promises how often it is wrong: over a whole rollout of
//! an unchanged model the chance of a [`Verdict::Degraded`] is at most the [`Budget`] (1 % by default),
//! whatever the spread between devices, bursts of errors, or number of looks. The method has four layers:
//!
//! - **Layer 0, hard stops** ([`decide::hard_stop`]): failed loads, crash loops, self-reverts.
//! - **Layer 1, exact** ([`decide::exact_layer`]): each device's change against its own past, ranked among
//!   canaries and controls, permuted within strata, at planned looks with alpha spending.
//! - **Layer 2, any time** ([`decide::anytime_layer`]): for large stages, an e-process and a confidence
//!   sequence on the ratio of canary to control, at every window.
//! - **Plain rule** ([`decide::plain`]): a merged value over its threshold for so many windows in a row;
//!   carries no error promise, and says so.
//!
//! The crate is pure: no files, clock, threads or chance of its own. Time and seeds are arguments, stored
//! numbers are integers, logarithms go through `libm`: the same bytes give the same verdict on every machine.
//!
//! # How to call it
//!
//! Once per closed window (or at least at each planned look) fold the reports into an [`Observations`] and call
//! [`assess`]. Keep [`Assessment::state`] (text, at most 8 KiB) and hand it in the next time; start a stage
//! with [`StageState::new`]; where the text cannot be read, go on with [`StageState::unreadable`], because a new one
//! would forget harm. Calling twice with the same input gives the same answer and spends nothing twice.
//! At the end of a stage add [`Assessment::spent_ppb`] to the rollout's [`Budget::spent_ppb`].
//!
//! ```
//! use modelfleet_judge::*;
//!
//! let slos = [SloRule::statistical("false alarms", 50_000)]; // at most 5 % of device-windows
//! let history = Counts::new(600, 6);
//! let counts = |bad| [SloCounts { history, post: Counts::new(60, bad) }];
//! let (harmed, calm) = (counts(12), counts(0));
//! let device = |id: u32| {
//!     let arm = if id < 5 { Arm::Canary } else { Arm::Control };
//!     DeviceOutcome::new(id, 0, arm, if id < 3 { &harmed } else { &calm })
//! };
//! let devices: Vec<_> = (0..200).map(device).collect();
//! let observations = Observations {
//!     slos: &slos,
//!     devices: &devices,
//!     merged: &[],
//!     needs: Needs { min_devices: 5, min_windows: 30, min_reporting_ppm: 800_000 },
//!     hard: HardRule::default(),
//!     silence: SilenceRule::default(),
//!     budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
//!     looks: Looks { reached: 6, planned: 6 },
//!     seed: 7,
//! };
//! let assessment = assess(&observations, &StageState::new());
//! assert_eq!(assessment.verdict, Verdict::Degraded);
//! assert_eq!(assessment.advice, Advice::RollBack);
//! println!("{}", assessment.sentence);
//! // false alarms beyond its limit on 3 of 5 with it, 0 of 195 without
//! ```
//!
//! # What the caller has to see to
//!
//! - Canaries were picked **at random within each stratum** among the devices given here. A hand-picked
//!   canary loses the promise; differencing against the own past only softens that.
//! - [`SloCounts::post`] counts whole windows **since the stage opened** for every device; for a canary
//!   only those after its activation and warm-up. Start each control where a canary of its stratum starts
//!   ([`matched_start`]): otherwise canaries have fewer windows and other hours of the day, and the promise is
//!   lost (up to 5 % false rollbacks instead of 1 %). What small difference is left, in history too, is evened
//!   out ([`exact::exposure`]); canaries that lack more than a tenth of the controls' windows are not compared.
//! - A window whose ground truth has not arrived is not *known*; it is counted when it arrives.
//! - A device that never ran the candidate because it cannot (incompatible) is not in the list.

pub mod anytime;
pub mod decide;
pub mod exact;
pub mod record;
pub mod sizing;

mod align;
mod assessment;
mod budget;
mod observations;
mod sentence;
mod state;

pub use align::{matched_start, matched_start_of};
pub use assessment::{
    Advice, Assessment, Coverage, Exposure, Few, FewKind, FewProof, HardAction, HardStop, Incident,
    IncidentKind, SloVerdict, Verdict, WatchedProof,
};
pub use budget::{Budget, Looks, Spending};
pub use decide::assess;
pub use decide::silence::{Place, gone_quiet};
pub use observations::{
    AfterSwap, Arm, Counts, DeviceOutcome, HardRule, JudgedBy, MergedWindow, Needs, Observations, OnBreach,
    SilenceRule, SloCounts, SloRule, WATCHED_MAX, YearlyLimit,
};
pub use state::{SloState, StageState, StateError};
