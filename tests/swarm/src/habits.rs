//! What people do more often in one run than in another, so that situations are met that mere chance seldom reaches.

use std::fmt;
use std::str::FromStr;

use modelfleet_number::chance::Chance;

/// One habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// People act every few minutes, not every few hours.
    Hasty,
    /// Stages bake for minutes, and windows are short.
    ShortStages,
    /// A rollout is created while others of its model are under way.
    Queues,
    /// What was rolled back is tried again, and `abort` is left set half of the time.
    Retries,
    /// Devices confirm a version after hours only.
    LongProbation,
    /// Good versions are rolled out without objectives: their stages pass on exposure.
    NoObjectives,
    /// Versions that were rejected are rolled out again under another name.
    RollsOutRejected,
    /// Objectives so tight that no fleet of this size can meet them: no stage gets a verdict.
    TightObjectives,
    /// Rollouts are left alone until they have ended.
    HandsOff,
}

/// All habits, in the order in which a seed draws them.
pub const ALL: [Habit; 9] = [
    Habit::Hasty,
    Habit::ShortStages,
    Habit::Queues,
    Habit::Retries,
    Habit::LongProbation,
    Habit::NoObjectives,
    Habit::RollsOutRejected,
    Habit::TightObjectives,
    Habit::HandsOff,
];

/// The habits of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Habits(pub Vec<Habit>);

impl Habits {
    /// Each with a chance of one in six.
    #[must_use]
    pub fn drawn_by(seed: u64) -> Habits {
        let chance = &mut Chance::fork(seed, 4);
        Habits(ALL.into_iter().filter(|_| chance.below(6) == 0).collect())
    }

    /// Whether people have this habit.
    #[must_use]
    pub fn has(&self, habit: Habit) -> bool {
        self.0.contains(&habit)
    }
}

impl fmt::Display for Habits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|habit| format!("{habit:?}")).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl FromStr for Habits {
    type Err = String;

    fn from_str(text: &str) -> Result<Habits, String> {
        if text == "none" {
            return Ok(Habits::default());
        }
        let one = |name: &str| {
            let found = ALL.into_iter().find(|habit| format!("{habit:?}") == name);
            found.ok_or_else(|| format!("{name} is no habit; there are {ALL:?}"))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Habits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_read_back_as_they_are_written() {
        for habits in [Habits::default(), Habits(vec![Habit::Queues]), Habits(ALL.to_vec())] {
            assert_eq!(habits.to_string().parse(), Ok(habits));
        }
        assert!("Queues,Yodels".parse::<Habits>().unwrap_err().starts_with("Yodels is no habit"));
    }
}
