//! Where rows lie: a folder for each resolution, namespace, model and day.
//!
//! `minutes/NAMESPACE/MODEL/2026-11-30/all-0123456789abcdef.parquet`. Rows of whole days lie by month. A file is written once
//! under its name and never changed; files that begin with `part-` are merged into one that begins with `all-`.

use std::fmt;

use crate::day::{DAY_MS, Date};

/// Which windows lie together, by their length; and for how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Windows shorter than a minute.
    Seconds,
    /// Windows from a minute on, and minutes of shorter ones.
    Minutes,
    /// Windows from an hour on, and hours of shorter ones.
    Hours,
    /// Windows from a day on, and days of shorter ones.
    Days,
}

impl Tier {
    /// All, finest first.
    pub const ALL: [Tier; 4] = [Tier::Seconds, Tier::Minutes, Tier::Hours, Tier::Days];

    /// Where windows of this length lie.
    #[must_use]
    pub fn of_window(window_ms: u64) -> Tier {
        match window_ms {
            ..60_000 => Tier::Seconds,
            60_000..3_600_000 => Tier::Minutes,
            3_600_000..DAY_MS => Tier::Hours,
            DAY_MS.. => Tier::Days,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tier::Seconds => "seconds",
            Tier::Minutes => "minutes",
            Tier::Hours => "hours",
            Tier::Days => "days",
        }
    }

    /// How long a row is that was merged for it from finer ones, milliseconds.
    #[must_use]
    pub fn step_ms(self) -> u64 {
        match self {
            Tier::Seconds => 1_000,
            Tier::Minutes => 60_000,
            Tier::Hours => 3_600_000,
            Tier::Days => DAY_MS,
        }
    }

    /// The next coarser one.
    #[must_use]
    pub fn coarser(self) -> Option<Tier> {
        Tier::ALL.into_iter().find(|other| *other > self)
    }

    /// How many days rows are kept; `None`: for good. Windows of seconds, minutes and hours as long as a store of time series
    /// keeps points of that resolution: 30 days, 90 days, two years.
    #[must_use]
    pub fn kept_days(self) -> Option<u64> {
        match self {
            Tier::Seconds => Some(30),
            Tier::Minutes => Some(90),
            Tier::Hours => Some(730),
            Tier::Days => None,
        }
    }

    fn by_month(self) -> bool {
        self == Tier::Days
    }
}

/// A folder of files that belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Namespace of the fleet.
    pub namespace: String,
    /// Model.
    pub model: String,
    /// Resolution.
    pub tier: Tier,
    /// The first moment of its time, milliseconds since 1970: of a day, or of a month where rows are days.
    pub from_ms: u64,
}

impl Place {
    /// Where a row of this tier lies that begins at this moment.
    #[must_use]
    pub fn of(namespace: &str, model: &str, tier: Tier, start_ms: u64) -> Place {
        let date = Date::of(start_ms);
        let first = if tier.by_month() { Date { day: 1, ..date } } else { date };
        let from_ms = first.start_ms();
        Place { namespace: namespace.to_owned(), model: model.to_owned(), tier, from_ms }
    }

    /// One past the last moment of its time, milliseconds since 1970.
    #[must_use]
    pub fn to_ms(&self) -> u64 {
        if !self.tier.by_month() {
            return self.from_ms.saturating_add(DAY_MS);
        }
        let date = Date::of(self.from_ms);
        match date.month {
            12 => Date { year: date.year + 1, month: 1, day: 1 }.start_ms(),
            month => Date { month: month + 1, ..date }.start_ms(),
        }
    }

    /// Reads the path of a file below the history's address: where it lies, and its name. `None`: not one of ours.
    #[must_use]
    pub fn parse(path: &str) -> Option<(Place, &str)> {
        let mut parts = path.split('/');
        let (tier, namespace, model) = (parts.next()?, parts.next()?, parts.next()?);
        let (time, name) = (parts.next()?, parts.next()?);
        let tier = Tier::ALL.into_iter().find(|known| known.name() == tier)?;
        let mut numbers = time.split('-').map(|number| number.parse::<i64>().ok());
        let (year, month) = (numbers.next()??, u8::try_from(numbers.next()??).ok()?);
        let day = if tier.by_month() { 1 } else { u8::try_from(numbers.next()??).ok()? };
        let place = Place::of(namespace, model, tier, Date { year, month, day }.start_ms());
        let is_ours = name.ends_with(".parquet") && parts.next().is_none() && place.file(name) == path;
        is_ours.then_some((place, name))
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        format!("{self}/{name}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = Date::of(self.from_ms);
        write!(f, "{}/{}/{}/{year:04}-{month:02}", self.tier.name(), self.namespace, self.model)?;
        if self.tier.by_month() { Ok(()) } else { write!(f, "-{day:02}") }
    }
}

/// Whether a file is still to be merged with others.
#[must_use]
pub fn is_part(name: &str) -> bool {
    name.starts_with("part-")
}

/// The name of what a leader writes: the same for each try, another one for each leader.
#[must_use]
pub fn part_of_leader(epoch: u64, number: u64) -> String {
    format!("part-{epoch:012}-{number:08}.parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back() {
        let at = 1_796_083_200_000 - 1;
        for (tier, path) in [
            (Tier::Seconds, "seconds/plant/m/2026-11-30/part-1.parquet"),
            (Tier::Hours, "hours/plant/m/2026-11-30/part-1.parquet"),
            (Tier::Days, "days/plant/m/2026-11/part-1.parquet"),
        ] {
            let place = Place::of("plant", "m", tier, at);
            assert_eq!(place.file("part-1.parquet"), path);
            assert_eq!(Place::parse(path), Some((place.clone(), "part-1.parquet")));
            assert_eq!(place.to_ms(), at + 1, "both end with November");
        }
        for other in [
            "years/plant/m/2026/x.parquet",
            "hours/plant/m/2026-11-31/x.parquet",
            "hours/plant/m/2026-11-30/x.csv",
            "hours/plant/m/2026-11-30/more/x.parquet",
            "hours/plant/m",
        ] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
        assert_eq!(Place::of("p", "m", Tier::Days, at).to_ms(), Date::of(at + 1).start_ms());
    }
}
