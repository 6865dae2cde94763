//! A number for all indicators, or one for each by name.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Most names: more than a rollout has objectives.
const NAMES_MAX: usize = 256;

/// A number for all indicators, or one for each by name; who is not named has the default.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerSli {
    /// For all.
    All(f64),
    /// By name of the objective.
    By(BTreeMap<String, f64>),
}

impl Default for PerSli {
    fn default() -> PerSli {
        PerSli::By(BTreeMap::new())
    }
}

impl PerSli {
    /// The number of the indicator with this name.
    #[must_use]
    pub fn of(&self, name: &str, default: f64) -> f64 {
        match self {
            PerSli::All(number) => *number,
            PerSli::By(numbers) => numbers.get(name).copied().unwrap_or(default),
        }
    }

    pub(super) fn all(&self, holds: impl Fn(f64) -> bool) -> bool {
        match self {
            PerSli::All(number) => holds(*number),
            PerSli::By(numbers) => numbers.values().all(|number| holds(*number)),
        }
    }
}

impl<'de> Deserialize<'de> for PerSli {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<PerSli, D::Error> {
        from.deserialize_any(Reader)
    }
}

/// Says what is allowed where it is neither.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = PerSli;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a number for all SLOs such as 0.02, or one by the name of each such as {error-rate: 0.02}",
        )
    }

    fn visit_f64<E>(self, number: f64) -> Result<PerSli, E> {
        Ok(PerSli::All(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<PerSli, E> {
        Ok(PerSli::All(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<PerSli, E> {
        Ok(PerSli::All(number as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PerSli, A::Error> {
        let mut numbers = BTreeMap::new();
        while let Some((name, number)) = map.next_entry()? {
            if numbers.len() == NAMES_MAX {
                return Err(serde::de::Error::custom("has more than 256 names"));
            }
            numbers.insert(name, number);
        }
        Ok(PerSli::By(numbers))
    }
}
