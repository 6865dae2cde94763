//! Measures of how good a model's answers are, with and without labels.

mod apdex;
mod cbpe;
mod classification;
mod interval;
mod regression;
mod two_proportions;

pub use apdex::apdex_ppm;
pub use cbpe::{CalibratedBins, ConceptAlarm};
pub use classification::Confusion;
pub use interval::{clopper_pearson, wilson};
pub use regression::RegressionErrors;
pub use two_proportions::{TwoProportions, two_proportions};
