//! What is carried from look to look: small, integer, versioned, as text.
//!
//! The evidence itself is rebuilt from retained reports; only what cannot be rebuilt is kept here: which
//! looks are spent, what they cost, the running maximum of the e-process, and that harm, once shown, stays.

use std::fmt::Write as _;

/// Most rules a state can hold; keeps the text below 8 KiB.
pub const MAX_RULES: usize = 64;
/// Longest text that is read.
pub const MAX_TEXT: usize = 8 * 1024;

/// What is kept for one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SloState {
    /// Harm was shown: stays for the stage.
    pub degraded: bool,
    /// Looks already used.
    pub looks_used: u16,
    /// Spent so far, parts per billion.
    pub spent_ppb: u64,
    /// Share that layer 2 has spent, parts per billion.
    pub anytime_ppb: u64,
    /// p-value of the last test, parts per billion.
    pub p_value_ppb: u64,
    /// Threshold of the last test, parts per billion.
    pub threshold_ppb: u64,
    /// Largest natural logarithm of the e-value so far, in thousandths.
    pub log_e_milli: i64,
}

/// The state of one stage's judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageState {
    /// One per SLO, in the order of the rules.
    pub slos: Vec<SloState>,
    /// Silence.
    pub silence: SloState,
    /// Layer 0: `looks_used` counts tests, `p_value_ppb` and `threshold_ppb` are of the last one.
    pub hard: SloState,
    /// Failed canaries at the last test of layer 0.
    pub hard_failed: u32,
}

/// A state text that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    /// Longer than 8 KiB or more than 64 rules.
    TooLong,
    /// Written by a version that this one does not know.
    Version,
    /// Not of the form that [`StageState::to_text`] writes.
    Malformed,
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "judge state is longer than 8 KiB",
            Self::Version => "judge state has an unknown version",
            Self::Malformed => "judge state is malformed",
        })
    }
}

impl std::error::Error for StateError {}

const VERSION: &str = "judge1";

impl StageState {
    /// The state of a stage that has not been looked at.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of the SLO at `index`; a fresh one if it was never judged.
    pub fn slo(&self, index: usize) -> SloState {
        self.slos.get(index).copied().unwrap_or_default()
    }

    /// As text, at most 8 KiB, read back by [`StageState::from_text`].
    pub fn to_text(&self) -> String {
        let mut text = format!("{VERSION};{}", self.hard_failed);
        let rules = self.slos.iter().take(MAX_RULES);
        for s in [&self.hard, &self.silence].into_iter().chain(rules) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ";{},{},{},{},{},{},{}",
                u8::from(s.degraded),
                s.looks_used,
                s.spent_ppb,
                s.anytime_ppb,
                s.p_value_ppb,
                s.threshold_ppb,
                s.log_e_milli
            );
        }
        text
    }

    /// Reads what [`StageState::to_text`] wrote.
    ///
    /// # Errors
    /// [`StateError`] says whether it is too long, of another version, or damaged. Never panics.
    pub fn from_text(text: &str) -> Result<Self, StateError> {
        if text.len() > MAX_TEXT {
            return Err(StateError::TooLong);
        }
        let mut parts = text.split(';');
        if parts.next() != Some(VERSION) {
            return Err(StateError::Version);
        }
        let hard_failed = number(parts.next())?;
        let hard = entry(parts.next())?;
        let silence = entry(parts.next())?;
        let slos = parts.map(|part| entry(Some(part))).collect::<Result<Vec<_>, _>>()?;
        if slos.len() > MAX_RULES {
            return Err(StateError::TooLong);
        }
        Ok(Self { slos, silence, hard, hard_failed })
    }
}

fn number<T: std::str::FromStr>(part: Option<&str>) -> Result<T, StateError> {
    part.ok_or(StateError::Malformed)?.parse().map_err(|_| StateError::Malformed)
}

fn entry(part: Option<&str>) -> Result<SloState, StateError> {
    let mut fields = part.ok_or(StateError::Malformed)?.split(',');
    let degraded: u8 = number(fields.next())?;
    let state = SloState {
        degraded: degraded != 0,
        looks_used: number(fields.next())?,
        spent_ppb: number(fields.next())?,
        anytime_ppb: number(fields.next())?,
        p_value_ppb: number(fields.next())?,
        threshold_ppb: number(fields.next())?,
        log_e_milli: number(fields.next())?,
    };
    if fields.next().is_some() || degraded > 1 { Err(StateError::Malformed) } else { Ok(state) }
}
