//! What is told: about what, and what turned out to be so.

use modelfleet_protocol::time::Time;

use crate::recorder::key;

/// What turned out to be so.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Whether there was what an alarm would have been about.
    Alarm(bool),
    /// The class, as a text; a whole number is a class too.
    Class(Box<str>),
    /// The value.
    Number(f64),
}

impl Truth {
    /// Orders truths that were told at the same moment, so that every order of arrival ends alike.
    pub(super) fn rank(&self) -> (u8, u64) {
        match self {
            Truth::Alarm(alarm) => (0, u64::from(*alarm)),
            Truth::Class(class) => (1, key(class)),
            Truth::Number(number) => (2, number.to_bits()),
        }
    }
}

/// About what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The prediction with this key: [`key`] of its id.
    Prediction(u64),
    /// A span of time. Where the truth is an alarm, its end is the event, and alarms from its beginning on were right; else
    /// every alarm in it was false.
    Span {
        /// [`key`] of the span's name. A name that was told before is corrected.
        key: u64,
        /// The first moment.
        from: Time,
        /// The end: the event itself.
        until: Time,
    },
}

/// One line of truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// About what.
    pub about: About,
    /// What turned out to be so; about a span only whether there was something.
    pub truth: Truth,
    /// When it was found out: of two lines about the same, the later one counts.
    pub at: Time,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booking {
    /// It counts.
    Booked,
    /// It counts in the place of what was told before.
    Replaced,
    /// The same was told before.
    Known,
    /// A later line about the same is known.
    Older,
    /// It does not count.
    Refused(Refused),
}

/// Why a line does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// No prediction of this id is kept.
    UnknownPrediction,
    /// No prediction was made before the end of the span.
    NoPredictions,
    /// The build was registered without a decision.
    NoDecision,
    /// No answer is kept that could be compared with it.
    NoAnswer,
    /// The answer is of another type.
    WrongType,
    /// It is not finite.
    NotFinite,
    /// It speaks of the future.
    Future,
    /// It speaks of a time that is not kept any more.
    TooOld,
    /// A span ends before it begins, or is longer than what is kept.
    WrongSpan,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Refused; 9] = [
        Refused::UnknownPrediction,
        Refused::NoPredictions,
        Refused::NoDecision,
        Refused::NoAnswer,
        Refused::WrongType,
        Refused::NotFinite,
        Refused::Future,
        Refused::TooOld,
        Refused::WrongSpan,
    ];

    /// Its name, for counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refused::UnknownPrediction => "UnknownPrediction",
            Refused::NoPredictions => "NoPredictions",
            Refused::NoDecision => "NoDecision",
            Refused::NoAnswer => "NoAnswer",
            Refused::WrongType => "WrongType",
            Refused::NotFinite => "NotFinite",
            Refused::Future => "Future",
            Refused::TooOld => "TooOld",
            Refused::WrongSpan => "WrongSpan",
        }
    }

    /// The reason and what to do, in one sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Refused::UnknownPrediction => {
                "no prediction of this id is known (any more): check the id, and that it came within the days that are kept"
            }
            Refused::NoPredictions => {
                "this device made no prediction before that time: check the device and the date"
            }
            Refused::NoDecision => {
                "the model was registered without a decision, so there is no alarm to compare the truth with: give the class \
                 or the number, or register it with one"
            }
            Refused::NoAnswer => {
                "of this prediction no answer is known, because the fallback answered: tell true or false, or leave it out"
            }
            Refused::WrongType => {
                "the model's answer is of another type: give a class for a class, and a number for a number"
            }
            Refused::NotFinite => "the number is not finite: give a finite number",
            Refused::Future => "it speaks of the future by this device's clock: check the date and the clock",
            Refused::TooOld => {
                "it speaks of a time before the days that are kept: it cannot be counted any more"
            }
            Refused::WrongSpan => {
                "the span ends before it begins, or is longer than the days that are kept: check both times"
            }
        }
    }
}
