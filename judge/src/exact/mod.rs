//! Exact tests: valid for five canaries because canaries are picked at random, not because of a model.

pub mod change;
pub mod exposure;
pub mod far;
pub mod fisher;
pub mod flags;
pub mod groups;
pub mod permutation;
pub mod pick_tail;
pub mod ratio;
pub mod scores;
pub mod tail_scan;
pub mod worst_group;
