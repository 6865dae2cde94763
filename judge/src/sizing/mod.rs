//! What a stage of a given size can prove, before it starts: the harm that it finds, the harm that a pass rules out, the
//! devices that it needs.

mod breaks;
pub mod few;
pub mod fleet_rates;
pub mod harm;
pub mod proof;
pub mod reach;
pub mod remaining;
pub mod sample_size;
pub mod yearly;

pub use few::few_proof;
pub use fleet_rates::{FleetRates, fleet_rates};
pub use harm::{default_margin_ppm, events_to_decision, power_ppm, smallest_harm_ppm, smallest_margin_ppm};
pub use proof::{NO_CONTROLS, StageProof, StageSize, prove};
pub use reach::{can_show, fewest_canaries, fewest_fleet, provable_sizes, stage_share_ppb, unreachable};
pub use remaining::{devices_for_bound, devices_to_meet, remaining_bound_ppm};
pub use sample_size::per_group;
pub use yearly::{
    YearlyRate, device_ms_to_show, expected_in, is_shown_above, is_shown_below, least_device_ms,
    lowest_shown_milli, yearly_rate,
};
