//! The commands, one file each. `register` has its own folder.

pub mod abort;
pub mod broker_acl;
pub mod completion;
pub mod diff;
pub mod enrol;
pub mod explain;
pub mod history;
pub mod hold;
pub mod install;
pub mod judge;
pub mod keygen;
pub mod lineage;
pub mod lint;
pub mod pause;
pub mod pin;
pub mod plan;
pub mod promote;
pub mod release;
pub mod resume;
pub mod retire;
pub mod retry;
pub mod set_aside;
pub mod simulate;
pub mod status;
pub mod trust;
