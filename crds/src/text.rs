//! Strings with a form of their own. The API has no floats: a value travels as the text that a person wrote,
//! and code gets an exact integer from it.

mod amount;
mod bound;
mod decimal;
mod duration;
mod percent;

pub use amount::{Amount, CountOrShare};
pub use bound::{Bound, BoundValue};
pub use decimal::{Decimal, Reading};
pub use duration::DurationText;
pub use percent::Percent;

use std::fmt;

/// A text that does not have the form its type asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    text: String,
    wanted: &'static str,
}

impl Malformed {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.to_owned(), wanted }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is refused: {}", self.text, self.wanted)
    }
}

impl std::error::Error for Malformed {}

/// The digits of `text` as an integer. Signs and blanks, which `i64::from_str` would take, are refused.
fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `whole.fraction` times ten to the `scale`, exactly; nothing when a digit would be lost or the sum
/// overflows.
fn scaled(text: &str, scale: u32) -> Option<i64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (digits(whole)?, fraction),
        None => (digits(text)?, "0"),
    };
    digits(fraction)?;
    let kept = fraction.trim_end_matches('0');
    let missing = scale.checked_sub(u32::try_from(kept.len()).ok()?)?;
    let below = if kept.is_empty() { 0 } else { digits(kept)?.checked_mul(10_i64.checked_pow(missing)?)? };
    whole.checked_mul(10_i64.checked_pow(scale)?)?.checked_add(below)
}

/// A string type with its schema: the boilerplate that all of them share.
macro_rules! string_form {
    ($(#[$doc:meta])* $name:ident, max: $max:literal, $($keyword:literal: $value:tt),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "maxLength": $max, $($keyword: $value),+ })
            }
        }
    };
}
use string_form;
