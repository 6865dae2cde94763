//! What survives a restart, and when it is written.

pub(crate) mod record_writes;
pub mod saved;
pub(crate) mod sequence;
pub(crate) mod unsaved_windows;
