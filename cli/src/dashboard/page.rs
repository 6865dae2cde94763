//! What pages say: from objects and a moment, without IO.

pub mod alarms;
pub mod model;
pub mod overview;
pub mod rollout;
