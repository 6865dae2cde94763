//! One rule, from what devices report to what the core may believe.
//!
//! A shell knows its devices through [`Device`]: what each has said, and what the draw made of it ([`Facts`]). From there
//! the way is the same for a controller with a real fleet and for a simulation with a made-up one:
//!
//! 1. [`count`] adds a device to the [`modelfleet_rollout::FleetView`] that the core decides on.
//! 2. [`Facts::arm`] says whether it is a canary, a control, or neither.
//! 3. [`compared`] says which devices are compared with each other: those with the same chances in every draw.
//!    [`watched`] says which share a value of a label that the stage watches.
//!    [`sites`] says which share a place, so that an outage there is told from silence of the candidate's.
//! 4. [`StageWindows`] says from which window on a device counts, [`Arms::gather`] counts both arms.
//! 5. [`LookPlan`] plans the looks of a stage, [`Progress`] says which are reached.
//! 6. [`Question::ask`] puts the question to the judge, [`put_names`] names devices and strata in its answer, and [`evidence`]
//!    puts that into the core's words.
//!
//! Words: a *look* is one planned evaluation of a stage; *evidence* is what the judge's answer tells the core; what
//! devices report are *windows* and their *counts*. There is no clock, no chance and no IO here, and nothing is allocated
//! for a single device.

mod after_swap;
mod answer;
mod arms;
mod compared;
mod count;
mod daily_rhythm;
mod facts;
mod looks;
mod merged;
mod names;
mod question;
mod recorded_places;
mod sites;
mod watched;
mod windows;

pub use answer::{Wording, evidence, verdict};
pub use arms::{Arms, Device, Subject};
pub use compared::compared;
pub use count::count;
pub use daily_rhythm::away_by_rhythm;
pub use facts::{Facts, Moment};
pub use looks::{LookPlan, Progress, Reported};
pub use merged::{MERGED_WINDOWS_MAX, Measured, SAMPLE_MAX, merged_window};
pub use names::{Names, put_names, set_aside_command};
pub use question::{Answer, Asked, Question, device_number, stage_seed};
pub use recorded_places::{CutOffAgain, cut_off_again};
pub use sites::{CutOff, SITE_LABELS, sites};
pub use watched::watched;
pub use windows::{AHEAD_MAX, StageWindows, Start, is_ahead};
