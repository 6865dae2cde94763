//! What one truth adds to the counters of a window.

use modelfleet_protocol::generated::Counters;

use super::kept::{Given, Kept};
use super::told::{Refused, Truth};
use crate::recorder::key;

/// An error counts as at most this, in the value's unit, so that a wrong unit in one line drowns no other.
const ERROR_MAX: f64 = 1e6;
/// A relative error counts as at most this, in millionths: a thousand times the true value.
const PERCENTAGE_PPM_MAX: f64 = 1e9;

/// What a build answered for one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Answer<'a> {
    /// Nothing that truth could be compared with.
    #[default]
    None,
    /// A class that is a whole number.
    Label(i64),
    /// A class that is a text.
    Word(&'a str),
    /// A number.
    Number(f64),
}

/// How a build's decision reads a class or a number as an alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum AlarmRule {
    /// It has none.
    #[default]
    None,
    /// This class is an alarm.
    Label(i64),
    /// Values at or above this are alarms.
    AtLeast(f64),
    /// Values at or below this are alarms.
    AtMost(f64),
}

impl AlarmRule {
    /// Whether a class with this key would have been an alarm.
    fn is_class(self, class: u64) -> Option<bool> {
        match self {
            AlarmRule::Label(label) => Some(label_key(label) == class),
            _ => None,
        }
    }

    /// Whether this number would have been an alarm.
    fn is_number(self, number: f64) -> Option<bool> {
        match self {
            AlarmRule::AtLeast(least) => Some(number >= least),
            AlarmRule::AtMost(most) => Some(number <= most),
            _ => None,
        }
    }
}

/// The key of a class that is a whole number: that of its digits.
pub(super) fn label_key(label: i64) -> u64 {
    key(&label.to_string())
}

/// What this truth adds to the window of this prediction.
pub(super) fn contribution(kept: &Kept, rule: AlarmRule, truth: &Truth) -> Result<Counters, Refused> {
    let mut counters = Counters::default();
    let given = kept.given();
    let alarm = match (truth, given) {
        (Truth::Alarm(alarm), _) => {
            kept.positive().ok_or(Refused::NoDecision)?;
            Some(*alarm)
        }
        (_, Given::Nothing) => return Err(Refused::NoAnswer),
        (Truth::Class(class), Given::Class(given)) => class_counts(&mut counters, rule, key(class), given),
        (Truth::Number(number), Given::Class(given)) => {
            let class = whole(*number).map(label_key).ok_or(Refused::WrongType)?;
            class_counts(&mut counters, rule, class, given)
        }
        (Truth::Number(number), Given::Number(given)) => {
            if !number.is_finite() || !given.is_finite() {
                return Err(Refused::NotFinite);
            }
            value_counts(&mut counters, *number, given);
            rule.is_number(*number)
        }
        (Truth::Class(_), Given::Number(_)) => return Err(Refused::WrongType),
    };
    if let (Some(said), Some(was)) = (kept.positive(), alarm) {
        alarm_counts(&mut counters, said, was);
    }
    Ok(counters)
}

/// The true class of a truth about a prediction whose answer is a class.
pub(super) fn true_class(truth: &Truth) -> Option<(u64, Box<str>)> {
    match truth {
        Truth::Class(class) => Some((key(class), class.clone())),
        Truth::Number(number) => {
            let text = whole(*number)?.to_string();
            Some((key(&text), text.into()))
        }
        Truth::Alarm(_) => None,
    }
}

fn class_counts(counters: &mut Counters, rule: AlarmRule, class: u64, given: u64) -> Option<bool> {
    counters.class_known = 1;
    counters.class_right = u64::from(class == given);
    rule.is_class(class)
}

pub(super) fn alarm_counts(counters: &mut Counters, said: bool, was: bool) {
    match (said, was) {
        (true, true) => counters.true_positive = 1,
        (true, false) => counters.false_positive = 1,
        (false, false) => counters.true_negative = 1,
        (false, true) => counters.false_negative = 1,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Bounded, and not negative.
fn value_counts(counters: &mut Counters, number: f64, given: f64) {
    let error = (given - number).abs().min(ERROR_MAX);
    counters.value_known = 1;
    counters.absolute_error_micros = (error * 1e6).round() as u64;
    counters.squared_error_micros = (error * error * 1e6).round() as u64;
    if number != 0.0 {
        counters.percentage_known = 1;
        let share = ((given - number) / number).abs() * 1e6;
        counters.percentage_error_ppm = share.min(PERCENTAGE_PPM_MAX).round() as u64;
    }
}

/// A number as a whole one, if it is.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // Looked at in the same line.
fn whole(number: f64) -> Option<i64> {
    let label = number as i64;
    (label as f64 == number && number.abs() < 9e15).then_some(label)
}
