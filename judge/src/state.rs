//! What is carried from look to look: small, integer, versioned, as text.
//!
//! The observations are rebuilt from retained reports; only what cannot be rebuilt is kept here: which
//! looks are spent, what they cost, the running maximum of the e-process, and that harm, once shown, stays.

use crate::observations::Counts;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Most rules a state can hold; keeps the text below 8 KiB.
pub const MAX_RULES: usize = 32;
/// Longest text that is read.
pub const MAX_TEXT: usize = 8 * 1024;
/// No probability is more: what is read as spent is cut to it.
const WHOLE_PPB: u64 = 1_000_000_000;

/// What is kept for one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SloState {
    /// Whose state it is: a hash of the rule's name, so that rules may be edited while a stage runs.
    pub key: u64,
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
    /// Looks reached when the margin was judged last; 0 before the first time.
    pub judged_look: u16,
    /// It was ruled out then: Healthy until the next look.
    pub healthy: bool,
    /// The margin that was judged then.
    pub margin_ppm: u64,
    /// Looks already used for harm to a few devices or to one stratum.
    pub few_looks: u16,
    /// Spent on that so far, parts per billion.
    pub few_spent_ppb: u64,
    /// What of it was found, or holds the stage up: 0 nothing, 1 devices, 2 and more a stratum.
    pub few: u32,
    /// Canaries' windows in the stages before this one, and how many of them were bad.
    pub earlier: Counts,
    /// The same in this stage, as of the newest look.
    pub seen: Counts,
}

impl SloState {
    /// The last test rejected, and harm was not shown: what it found has ended ([`crate::decide::transient`]).
    pub(crate) const fn shows_what_has_ended(&self) -> bool {
        !self.degraded && self.threshold_ppb > 0 && self.p_value_ppb <= self.threshold_ppb
    }

    /// Spent by all tests, parts per billion.
    pub const fn total_ppb(&self) -> u64 {
        self.spent_ppb.saturating_add(self.anytime_ppb).saturating_add(self.few_spent_ppb)
    }
}

/// The state of one stage's judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageState {
    /// One per SLO, in the order of the rules; behind them those of rules that are there no more.
    pub slos: Vec<SloState>,
    /// Silence.
    pub silence: SloState,
    /// Layer 0: `looks_used` counts tests, `p_value_ppb` and `threshold_ppb` are of the last one.
    pub hard: SloState,
    /// Failed canaries at the last test of layer 0.
    pub hard_failed: u32,
    /// Spent by rules that are there no more and for which there was no room, parts per billion.
    pub retired_ppb: u64,
    /// A text that could not be read stood here: see [`StageState::unreadable`].
    pub unreadable: bool,
}

/// A state text that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    /// Longer than 8 KiB or more than 32 rules.
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

const VERSION: &str = "judge3";
/// Written before harm to a few was looked for: its rules lack the last seven numbers.
const VERSION_BEFORE: &str = "judge2";
/// Stands for a state that could not be read.
const UNREADABLE: &str = "unreadable";

impl StageState {
    /// The state of a stage that has not been looked at.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of a stage whose text could not be read. Starting anew could forget harm that was shown and
    /// budget that was spent, so such a stage is not tested and does not pass any more: it waits for a human.
    pub fn unreadable() -> Self {
        Self { unreadable: true, ..Self::default() }
    }

    /// The state of the stage after this one: what canaries went through stays known, all else begins anew.
    #[must_use]
    pub fn next_stage(&self) -> Self {
        let slos = self.slos.iter().map(|old| SloState {
            key: old.key,
            earlier: old.earlier.plus(old.seen),
            ..SloState::default()
        });
        Self { slos: slos.collect(), ..Self::default() }
    }

    /// What the stage has spent so far, parts per billion.
    pub fn spent_ppb(&self) -> u64 {
        let parts = self.slos.iter().chain([&self.silence, &self.hard]).map(SloState::total_ppb);
        parts.fold(self.retired_ppb, u64::saturating_add)
    }

    /// Brings the rules' states into the order of their names, fresh ones for new names. What rules had that are
    /// gone is kept behind them, harm first; where there is no room, their spending is.
    pub(crate) fn arrange<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut gone = std::mem::take(&mut self.slos);
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for name in names.take(MAX_RULES) {
            let number = seen.entry(name).or_default();
            let key = key(name, *number);
            *number += 1;
            let old = gone.iter().position(|s| s.key == key).map(|at| gone.swap_remove(at));
            self.slos.push(old.unwrap_or(SloState { key, ..SloState::default() }));
        }
        gone.retain(|s| *s != SloState { key: s.key, ..SloState::default() });
        gone.sort_unstable_by_key(|s| (!s.degraded, s.key));
        for (place, old) in (self.slos.len()..).zip(gone) {
            if place < MAX_RULES {
                self.slos.push(old);
            } else {
                self.retired_ppb = self.retired_ppb.saturating_add(old.total_ppb());
            }
        }
    }

    /// As text, at most 8 KiB, read back by [`StageState::from_text`].
    pub fn to_text(&self) -> String {
        if self.unreadable {
            return format!("{VERSION};{UNREADABLE}");
        }
        let mut text = format!("{VERSION};{};{}", self.hard_failed, self.retired_ppb.min(WHOLE_PPB));
        let rules = self.slos.iter().take(MAX_RULES);
        for s in [&self.hard, &self.silence].into_iter().chain(rules) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ";{:x},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                s.key,
                u8::from(s.degraded),
                s.looks_used,
                s.spent_ppb.min(WHOLE_PPB),
                s.anytime_ppb.min(WHOLE_PPB),
                s.p_value_ppb.min(WHOLE_PPB),
                s.threshold_ppb.min(WHOLE_PPB),
                s.log_e_milli,
                s.judged_look,
                u8::from(s.healthy),
                s.margin_ppm,
                s.few_looks,
                s.few_spent_ppb.min(WHOLE_PPB),
                s.few,
                s.earlier.known,
                s.earlier.bad(),
                s.seen.known,
                s.seen.bad()
            );
        }
        text
    }

    /// Reads what [`StageState::to_text`] wrote.
    ///
    /// An empty text is the state of a stage that has not been looked at.
    ///
    /// # Errors
    /// [`StateError`] says whether it is too long, of another version, or damaged. Never panics. Do not start anew
    /// then, harm and spending would be forgotten: [`StageState::unreadable`] is for that.
    pub fn from_text(text: &str) -> Result<Self, StateError> {
        if text.is_empty() {
            return Ok(Self::new());
        }
        if text.len() > MAX_TEXT {
            return Err(StateError::TooLong);
        }
        let mut parts = text.split(';');
        let few = match parts.next() {
            Some(VERSION) => true,
            Some(VERSION_BEFORE) => false,
            _ => return Err(StateError::Version),
        };
        let entry = |part| entry(part, few);
        let failed = parts.next();
        if failed == Some(UNREADABLE) && parts.clone().next().is_none() {
            return Ok(Self::unreadable());
        }
        let hard_failed = number(failed)?;
        let retired_ppb = number::<u64>(parts.next())?.min(WHOLE_PPB);
        let hard = entry(parts.next())?;
        let silence = entry(parts.next())?;
        let slos = parts.map(|part| entry(Some(part))).collect::<Result<Vec<_>, _>>()?;
        if slos.len() > MAX_RULES {
            return Err(StateError::TooLong);
        }
        Ok(Self { slos, silence, hard, hard_failed, retired_ppb, unreadable: false })
    }
}

/// FNV-1a over the name and over how many rules of that name come before it.
fn key(name: &str, number: u64) -> u64 {
    let bytes = name.bytes().chain(number.to_le_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn number<T: std::str::FromStr>(part: Option<&str>) -> Result<T, StateError> {
    part.ok_or(StateError::Malformed)?.parse().map_err(|_| StateError::Malformed)
}

fn flag(part: Option<&str>) -> Result<bool, StateError> {
    match number::<u8>(part)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StateError::Malformed),
    }
}

fn counts<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Result<Counts, StateError> {
    Ok(Counts::new(number(fields.next())?, number(fields.next())?))
}

fn entry(part: Option<&str>, few: bool) -> Result<SloState, StateError> {
    let mut fields = part.ok_or(StateError::Malformed)?.split(',');
    let ppb = |part| Ok(number::<u64>(part)?.min(WHOLE_PPB));
    let key = fields.next().ok_or(StateError::Malformed)?;
    let state = SloState {
        key: u64::from_str_radix(key, 16).map_err(|_| StateError::Malformed)?,
        degraded: flag(fields.next())?,
        looks_used: number(fields.next())?,
        spent_ppb: ppb(fields.next())?,
        anytime_ppb: ppb(fields.next())?,
        p_value_ppb: ppb(fields.next())?,
        threshold_ppb: ppb(fields.next())?,
        log_e_milli: number(fields.next())?,
        judged_look: number(fields.next())?,
        healthy: flag(fields.next())?,
        margin_ppm: number(fields.next())?,
        few_looks: if few { number(fields.next())? } else { 0 },
        few_spent_ppb: if few { ppb(fields.next())? } else { 0 },
        few: if few { number(fields.next())? } else { 0 },
        earlier: if few { counts(&mut fields)? } else { Counts::default() },
        seen: if few { counts(&mut fields)? } else { Counts::default() },
    };
    if fields.next().is_some() { Err(StateError::Malformed) } else { Ok(state) }
}
