//! What is watched: one sequence of numbers each.

use std::fmt;
use std::str::FromStr;

/// Most objectives of a rollout.
const OBJECTIVES_MAX: u32 = 16;
/// Most groups of devices that are watched by themselves.
pub const GROUPS_MAX: usize = 32;
/// Most features that are watched.
pub const FEATURES_MAX: u16 = 128;

/// One sequence of numbers. Ordered, so that a restarted controller goes through them alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Devices of one group, by label and value (`site=north`), with any objective broken.
    Group(String),
    /// Devices with this objective broken, by its name.
    Objective(String),
    /// Devices that report nothing.
    Silence,
    /// The confidence of the answers.
    Confidence,
    /// The values of a feature, by its place in the reference profile.
    Feature(u16),
}

impl Stream {
    /// Its share of the alarm budget of a layer. Fixed by its kind, so that a stream that comes or goes changes no other one's;
    /// those of all streams together are at most 1.
    #[must_use]
    pub fn weight(&self) -> f64 {
        match self {
            Stream::Group(_) => 0.3 / GROUPS_MAX as f64,
            Stream::Objective(_) => 0.4 / f64::from(OBJECTIVES_MAX),
            Stream::Silence => 0.05,
            Stream::Confidence => 0.05,
            Stream::Feature(_) => 0.2 / f64::from(FEATURES_MAX),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Group(name) => write!(f, "g{name}"),
            Stream::Objective(name) => write!(f, "o{name}"),
            Stream::Silence => f.write_str("s"),
            Stream::Confidence => f.write_str("c"),
            Stream::Feature(place) => write!(f, "f{place}"),
        }
    }
}

/// A text that names no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStream;

impl FromStr for Stream {
    type Err = NoStream;

    fn from_str(text: &str) -> Result<Stream, NoStream> {
        let kind = text.chars().next().ok_or(NoStream)?;
        let name = text.get(kind.len_utf8()..).unwrap_or_default();
        match kind {
            'g' => Ok(Stream::Group(name.to_owned())),
            'o' => Ok(Stream::Objective(name.to_owned())),
            's' => Ok(Stream::Silence),
            'c' => Ok(Stream::Confidence),
            'f' => name.parse().map(Stream::Feature).map_err(|_| NoStream),
            _ => Err(NoStream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_back_from_its_text_and_all_weights_are_one_budget() {
        let all = [
            Stream::Group("site=north".into()),
            Stream::Objective("error-rate".into()),
            Stream::Silence,
            Stream::Confidence,
            Stream::Feature(127),
        ];
        for stream in &all {
            assert_eq!(stream.to_string().parse(), Ok(stream.clone()));
        }
        let counts = [GROUPS_MAX as f64, f64::from(OBJECTIVES_MAX), 1.0, 1.0, f64::from(FEATURES_MAX)];
        let sum: f64 = all.iter().zip(counts).map(|(stream, count)| stream.weight() * count).sum();
        assert!(sum <= 1.0 + 1e-9, "{sum}");
        assert_eq!("x".parse::<Stream>(), Err(NoStream));
        assert_eq!("".parse::<Stream>(), Err(NoStream));
    }
}
