//! Closed windows as rows: what is written where, compacted and kept, and what a report makes of them. No IO and no clock.
//!
//! A [`row::Row`] is what the sampled devices of one model, version, arm and stratum counted in one window. The leader
//! writes rows as small files and merges them into one file for each model and day ([`compact`]). A row that is written
//! twice counts once, because every reader keeps the best row of each key ([`row::best`]): so every step may be repeated,
//! and a program that is killed between two steps loses nothing.

pub mod backlog;
pub mod compact;
pub mod costs;
pub mod counters;
pub mod day;
pub mod outgoing;
pub mod place;
pub mod report;
pub mod row;
pub mod scored;
pub mod series;
