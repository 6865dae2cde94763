//! Numbers and whole verdicts against scipy: `tests/golden/make.sh` makes the vectors.
#![allow(clippy::unwrap_used)]

mod anytime;
mod exact;
mod planner;
mod tails;
mod verdicts;
