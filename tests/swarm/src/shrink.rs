//! From a seed that breaks a law to the fewest faults that still break one.

use crate::faults::Faults;
use crate::habits::Habits;
use crate::world::{Outcome, play_among};

/// Leaves out one fault after the other, as long as a law is still broken. Another law may be broken in the end; it is a
/// failure all the same.
#[must_use]
pub fn shrink(seed: u64, mut faults: Faults, habits: &Habits) -> (Faults, Outcome) {
    let mut outcome = play_among(seed, faults.clone(), habits.clone());
    for fault in faults.0.clone() {
        let fewer = Faults(faults.0.iter().copied().filter(|other| *other != fault).collect());
        let without = play_among(seed, fewer.clone(), habits.clone());
        if without.broken.is_some() {
            (faults, outcome) = (fewer, without);
        }
    }
    (faults, outcome)
}
