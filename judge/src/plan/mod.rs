//! The planner: what a stage can prove, before it starts.

mod breaks;
pub mod habits;
pub mod harm;
pub mod proof;
pub mod reach;
pub mod remaining;
pub mod sample_size;

pub use habits::{Habits, habits};
pub use harm::{default_margin_ppm, events_to_decision, power_ppm, smallest_harm_ppm, smallest_margin_ppm};
pub use proof::{NO_CONTROLS, StageProof, StageShape, prove};
pub use reach::{can_show, fewest_canaries, fewest_fleet, unreachable};
pub use remaining::{devices_for_bound, devices_to_meet, remaining_bound_ppm};
pub use sample_size::per_group;
