//! Distances, detectors and measures against scipy, scikit-learn and River: `tests/golden/make.sh` makes the vectors.
#![allow(clippy::unwrap_used)]

mod charts;
mod distances;
mod gate;
mod quality;
mod streams;
mod summaries;
