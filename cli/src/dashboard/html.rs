//! Pages as HTML. Texts of users, devices and other programs are always escaped by the templates.

mod device;
mod layout;
mod lists;
mod rollout;

pub use device::{device, devices, unreachable};
pub use layout::{Frame, message};
pub use lists::{alarms, model, overview};
pub use rollout::rollout;
