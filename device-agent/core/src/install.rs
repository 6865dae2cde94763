//! From bytes on disk to a build that may answer: slots, attempts, and loading.

pub(crate) mod admission;
pub(crate) mod attempts;
pub(crate) mod slots;
