//! What is counted of predictions, by window and by build.

pub(crate) mod backlog;
pub(crate) mod build_windows;
mod histograms;
pub(crate) mod history;
mod prediction;
pub mod recorder;
pub(crate) mod windows;
mod windows_record;
