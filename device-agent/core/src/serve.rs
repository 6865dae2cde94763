//! Which build answers, which one runs in shadow, and how a new build proves itself.

mod active;
pub(crate) mod engine_ends;
pub(crate) mod probation;
pub(crate) mod serving;
pub(crate) mod shadow;
