//! Measures of how good a model's answers are, with and without labels.

mod apdex;
mod cbpe;
mod classification;
mod regression;

pub use apdex::apdex_ppm;
pub use cbpe::{CalibratedBins, ConceptAlarm};
pub use classification::Confusion;
pub use regression::RegressionErrors;
