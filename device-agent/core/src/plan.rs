//! What the controller wants: plans and overrides that were accepted, and the build that follows from them.

pub mod build;
pub(crate) mod desired;
pub(crate) mod intake;
pub(crate) mod orders;
pub(crate) mod seen;
