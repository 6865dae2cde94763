//! Where a YAML text is wrong, and how: line, column and field, in words for the person who wrote it.

use std::borrow::Cow;
use std::fmt;

use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Location, MessageFormatter, UserMessageFormatter};

use super::{DEPTH_MAX, OBJECTS_MAX};

/// What is wrong in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextProblem {
    /// Line and column, counted from 1; nothing when the reader does not say.
    pub place: Option<(u64, u64)>,
    /// The field, such as `fleet.strata[0].share`; empty when the text is wrong before any field is read.
    pub field: String,
    /// What is wrong.
    pub what: String,
}

impl TextProblem {
    /// The problem that the reader found while it read this field.
    pub(super) fn of(error: &Error, field: String) -> TextProblem {
        let place = error.location().map(|place: Location| (place.line(), place.column()));
        let innermost = innermost(error);
        TextProblem { place, field, what: Words.format_message(innermost).into_owned() }
    }
}

/// `line 2, column 12: fleet.devices: must be a whole number, 0 or more`.
impl fmt::Display for TextProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for TextProblem {}

/// What an alias stands for is wrong where it is written, and the reader wraps that.
fn innermost(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => innermost(error),
        other => other,
    }
}

/// The reader's errors in this program's words, where its own speak to programmers.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        let several = |all: &[&str]| all.join(", ");
        Cow::Owned(match error {
            Error::InvalidScalar { ty, .. } => match *ty {
                "floating point" => "must be a number such as 0.5".to_owned(),
                "boolean" => "must be true or false".to_owned(),
                ty if ty.starts_with('u') => "must be a whole number, 0 or more".to_owned(),
                ty if ty.starts_with('i') => "must be a whole number".to_owned(),
                ty => format!("must be a {ty}"),
            },
            Error::SerdeUnknownField { field, expected, .. } => {
                format!("unknown field `{field}`; the fields here are {}", several(expected))
            }
            Error::SerdeUnknownVariant { variant, expected, .. } => {
                format!("`{variant}` is not allowed; allowed are {}", several(expected))
            }
            Error::SerdeMissingField { field, .. } => format!("field `{field}` is missing"),
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("field `{key}` is written twice"),
            Error::DuplicateMappingKey { key: None, .. } => "a field is written twice".to_owned(),
            Error::NonFiniteFloat { value, .. } => format!("{value} is not a finite number"),
            Error::UnknownAnchor { .. } => "an alias (*) names an anchor (&) that is not there".to_owned(),
            Error::Budget { breach, .. } => too_much(breach),
            Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => TOO_MANY.to_owned(),
            _ => return UserMessageFormatter.format_message(error),
        })
    }
}

const TOO_MANY: &str = "it expands to too many values; use fewer aliases, or split the file";

fn too_much(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Documents { .. } => format!("it holds more than {OBJECTS_MAX} objects; split the file"),
        BudgetBreach::Depth { .. } => format!("it is nested more than {DEPTH_MAX} levels deep"),
        _ => TOO_MANY.to_owned(),
    }
}
