//! What a watched model does: how far distributions are apart, whether a stream of values has changed, how good answers are.
//!
//! Pure and without a promise about false alarms of its own: each detector's run lengths and delays are measured in
//! `docs/detectors.md`. One population stability index, with one smoothing ([`distance::psi`]), for device, controller and
//! library alike.

pub mod detect;
pub mod distance;
pub mod quality;
