//! What the parts of a reconcile have come to: when each wants to be looked at again, and what failed.

use modelfleet_protocol::time::Time;

use crate::error::Error;

/// What the parts of a reconcile have come to. One that fails keeps no other from being done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    wake: Option<Time>,
    errors: Vec<Error>,
}

impl Tally {
    /// Notes a part; `None` when it failed.
    pub(super) fn note(&mut self, part: Result<Option<Time>, Error>) -> Option<()> {
        match part {
            Ok(wake) => {
                self.wake(wake);
                Some(())
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Notes when to look again.
    pub(super) fn wake(&mut self, at: Option<Time>) {
        self.wake = self.wake.into_iter().chain(at).min();
    }

    /// Notes a failure.
    pub(super) fn fail(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Notes failures.
    pub(super) fn fail_each(&mut self, errors: Vec<Error>) {
        self.errors.extend(errors);
    }

    /// The end of it: when to look again, or the first error. A conflict goes before all others, because it is over as
    /// soon as we look again.
    pub(super) fn done<T>(mut self, good: impl FnOnce(Option<Time>) -> T) -> Result<T, Error> {
        let conflict = self.errors.iter().position(|error| matches!(error, Error::Conflict { .. }));
        match self.errors.is_empty() {
            true => Ok(good(self.wake)),
            false => Err(self.errors.swap_remove(conflict.unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wish_wins_and_a_conflict_before_all_errors() {
        let mut tally = Tally::default();
        assert_eq!(tally.note(Ok(Some(Time(9)))), Some(()));
        tally.wake(None);
        tally.wake(Some(Time(4)));
        assert!(matches!(tally.done(|wake| wake), Ok(Some(Time(4)))));
        let mut tally = Tally::default();
        tally.fail(Error::Slow);
        assert_eq!(tally.note(Err(Error::Conflict { what: "status".into() })), None);
        assert!(matches!(tally.done(|_| ()), Err(Error::Conflict { .. })));
    }
}
