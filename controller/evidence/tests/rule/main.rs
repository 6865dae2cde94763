//! The rule on devices that are made up by hand: each test holds one of its sentences.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

mod answer;
mod arms;
mod facts;
mod sites;

use modelfleet_evidence::{Arms, Device, Facts, Moment, StageWindows};
use modelfleet_judge::Counts;
use modelfleet_protocol::state::Phase;
use modelfleet_protocol::time::Time;

/// Length of a window.
const WINDOW_MS: u64 = 1_000;
/// The stage opens in the middle of window 100.
const OPENED: Time = Time(100_500);
/// And with one window of warm-up its first window that counts is 102.
const FIRST: u64 = 102;

/// A device with one window for each index from 0 on, all of them good, until it stopped.
#[derive(Clone, Copy)]
struct Made {
    facts: Facts,
    number: u32,
    stratum: u16,
    site: u16,
    activated: Time,
    until: u64,
}

impl Device for &Made {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn stratum(&self) -> u16 {
        self.stratum
    }

    /// Of the second label that is watched, by its number.
    fn watched(&self) -> [u16; 4] {
        [0, 1 + (self.number % 2) as u16, 0, 0]
    }

    fn site(&self) -> u16 {
        self.site
    }

    fn activated(&self) -> Time {
        self.activated
    }

    fn reported_until(&self) -> u64 {
        self.until
    }

    fn past(&self, objective: usize) -> Counts {
        Counts::new(600 + objective as u64, 0)
    }

    fn since(&self, _: usize, first: u64) -> Counts {
        Counts::new(self.until.saturating_sub(first), 0)
    }
}

/// A device that is connected and was heard just now.
fn facts() -> Facts {
    Facts { matching: true, known: true, online: true, heard_at: moment().now, ..Facts::default() }
}

fn canary(number: u32, activated: Time) -> Made {
    let facts = Facts { member: true, phase: Some(Phase::Confirmed), since: activated, ..facts() };
    Made { facts, number, stratum: 0, site: 0, activated, until: 120 }
}

fn control(number: u32) -> Made {
    Made { facts: facts(), number, stratum: 0, site: 0, activated: Time::ZERO, until: 120 }
}

fn stage() -> StageWindows {
    StageWindows::new(WINDOW_MS, 1, 0, OPENED)
}

fn moment() -> Moment {
    Moment { now: Time(120_000), silent_after_ms: 3_000, probation_ms: 10_000, ..Moment::default() }
}

fn gathered(devices: &[Made]) -> Arms {
    let mut arms = Arms::default();
    arms.gather(devices.iter(), 2, &stage(), &moment(), 7);
    arms
}

/// Known windows of each device in the arms.
fn known(devices: &[Made]) -> Vec<u64> {
    gathered(devices).outcomes().iter().map(|outcome| outcome.slos[0].post.known).collect()
}
