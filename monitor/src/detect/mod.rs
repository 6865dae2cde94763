//! Change detectors on a stream of values. None of them decides a rollout; they watch one stream.
//!
//! Each has the source in its docs and, where River 0.26.1 has it, alarms and warns at the same values on the same
//! streams (`tests/golden/make.sh`). After an alarm the next value starts a fresh detector. What each costs in false
//! alarms and delay is in `docs/detectors.md`, measured by `examples/detectors`: [`Adwin`] is the default;
//! [`PageHinkley`] and [`Eddm`] alarm on noise with their usual settings.

mod adwin;
mod baseline;
mod cusum;
mod ddm;
mod e_detector;
mod eddm;
mod ewma;
mod hddm;
mod kswin;
mod mean;
mod page_hinkley;
mod twister;

pub use adwin::Adwin;
pub use cusum::Cusum;
pub use ddm::Ddm;
pub use e_detector::{BETS, EDetector, threshold_nats};
pub use eddm::Eddm;
pub use ewma::Ewma;
pub use hddm::HddmA;
pub use kswin::Kswin;
pub use mean::{Welford, ZScore};
pub use page_hinkley::PageHinkley;

/// What a detector says about the newest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Nothing seen.
    Stable,
    /// A change may have begun.
    Warning,
    /// A change is called; the next value starts afresh.
    Drift,
}

/// A detector fed one value at a time. Non-finite values are left out.
pub trait Detector {
    /// Takes one value.
    fn update(&mut self, value: f64) -> Signal;
}
