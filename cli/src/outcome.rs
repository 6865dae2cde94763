//! The exit code of the process.

use std::process::ExitCode;

/// How a command ended. The numbers are part of the interface: CI scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, or the rollout ended as asked.
    Done,
    /// It failed or was refused; also a wrong command line.
    Failed,
    /// The rollout was rolled back, and that was not what was asked for.
    RolledBack,
    /// The rollout did not end in time.
    TimedOut,
    /// The rollout does not go on without a person.
    Stalled,
    /// The rollout succeeded, and a rollback was asked for.
    Succeeded,
}

/// The numbers, as `--help` shows them.
pub const EXIT_CODES: &str = "Exit codes:
  0  success; with --for: the rollout ended as asked
  1  failure: an error, a refusal or a wrong command line
  2  the rollout was rolled back, and --for did not ask for that
  3  timeout
  4  the rollout is stalled and needs a person
  5  the rollout succeeded, and --for asked for rolled-back";

impl Outcome {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::RolledBack => 2,
            Outcome::TimedOut => 3,
            Outcome::Stalled => 4,
            Outcome::Succeeded => 5,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(outcome.code())
    }
}
