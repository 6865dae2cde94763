//! `status`: the progress of a rollout, and waiting for its end.

mod view;

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use futures::stream::StreamExt;
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};
use modelfleet_crds::text::DurationText;
use modelfleet_crds::{Rollout, conditions};

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::manifest::{self, ManifestError, Output};
use crate::outcome::{EXIT_CODES, Outcome};
use crate::printing::{self, AnswerError};
use crate::rollout_patch;

/// The command line of `status`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct StatusArguments {
    /// Name of the rollout.
    pub rollout: String,

    /// Print each change until the rollout ends.
    #[arg(long, short)]
    pub watch: bool,

    /// Wait until the rollout has ended: succeeded, rolled-back, or finished (either).
    #[arg(long = "for", value_enum, value_name = "END")]
    pub awaited: Option<Awaited>,

    /// Longest time to wait, such as 30m.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub timeout: Option<Duration>,

    /// Print the object in this format.
    #[arg(long, short, value_enum, conflicts_with_all = ["watch", "awaited"])]
    pub output: Option<Output>,
}

/// The end that is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Awaited {
    /// The version is in production.
    Succeeded,
    /// The version was taken back from every reachable device.
    RolledBack,
    /// Either.
    Finished,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It was deleted.
    #[error("wait for rollout {0}: the rollout was deleted")]
    Deleted(String),
    /// The object cannot be printed.
    #[error(transparent)]
    Print(#[from] ManifestError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// How far a rollout is, for a caller that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Running,
    Succeeded,
    RolledBack,
    Stalled,
}

/// Shows a rollout, or waits for its end.
///
/// # Errors
/// When it is not there, or the API server does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &StatusArguments) -> Result<Outcome, StatusError> {
    let cluster = Cluster::connect(flags).await?;
    let rollout = rollout_patch::get(&cluster, &arguments.rollout).await?;
    if let Some(output) = arguments.output {
        printing::answer(&manifest::render(&rollout, output)?)?;
        return Ok(Outcome::Done);
    }
    let waits = arguments.watch || arguments.awaited.is_some() || arguments.timeout.is_some();
    if !waits {
        printing::answer(&view::text(&rollout, Timestamp::now()))?;
        return Ok(Outcome::Done);
    }
    let awaited = arguments.awaited.unwrap_or(Awaited::Finished);
    let mut last = rollout;
    let follow = follow(&cluster, arguments, awaited, &mut last);
    let outcome = match arguments.timeout {
        None => follow.await?,
        Some(timeout) => match tokio::time::timeout(timeout, follow).await {
            Ok(outcome) => outcome?,
            Err(_) => Outcome::TimedOut,
        },
    };
    printing::answer(&view::text(&last, Timestamp::now()))?;
    Ok(outcome)
}

async fn follow(
    cluster: &Cluster,
    arguments: &StatusArguments,
    awaited: Awaited,
    last: &mut Rollout,
) -> Result<Outcome, StatusError> {
    if let Some(outcome) = outcome(progress(last), awaited) {
        return Ok(outcome);
    }
    let mut printed = String::new();
    let mut watched = watcher::watch_object(cluster.api::<Rollout>(), &arguments.rollout)
        .default_backoff()
        .into_stream()
        .boxed();
    loop {
        match watched.try_next().await {
            Ok(Some(Some(rollout))) => *last = rollout,
            Ok(Some(None) | None) => return Err(StatusError::Deleted(arguments.rollout.clone())),
            // The stream goes on by itself; a server that restarts is no end of a rollout of weeks.
            Err(error) => {
                printing::note(&format!(
                    "the watch of rollout {} was interrupted, trying again: {error}",
                    arguments.rollout
                ));
                continue;
            }
        }
        let line = view::line(last);
        if arguments.watch && line != printed {
            printing::answer(&format!("{}  {line}\n", Timestamp::now().strftime("%H:%M:%SZ")))?;
            printed = line;
        }
        if let Some(outcome) = outcome(progress(last), awaited) {
            return Ok(outcome);
        }
    }
}

/// How waiting ends; nothing when it does not end yet.
fn outcome(progress: Progress, awaited: Awaited) -> Option<Outcome> {
    match (progress, awaited) {
        (Progress::Running, _) => None,
        (Progress::Succeeded, Awaited::Succeeded | Awaited::Finished) => Some(Outcome::Done),
        (Progress::Succeeded, Awaited::RolledBack) => Some(Outcome::Succeeded),
        (Progress::RolledBack, Awaited::RolledBack) => Some(Outcome::Done),
        (Progress::RolledBack, Awaited::Succeeded | Awaited::Finished) => Some(Outcome::RolledBack),
        (Progress::Stalled, _) => Some(Outcome::Stalled),
    }
}

/// What the conditions say, if they speak about the present spec.
fn progress(rollout: &Rollout) -> Progress {
    if !rollout_patch::is_current(rollout) {
        return Progress::Running;
    }
    let holds = |kind: &str| {
        let conditions = rollout.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    if holds(conditions::ROLLED_BACK) {
        Progress::RolledBack
    } else if holds(conditions::READY) {
        Progress::Succeeded
    // An overdue rollback is stalled as well, and still goes on.
    } else if holds(conditions::STALLED) && !holds(conditions::PROGRESSING) {
        Progress::Stalled
    } else {
        Progress::Running
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let milliseconds = DurationText::from(text).milliseconds().map_err(|error| error.to_string())?;
    Ok(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use modelfleet_crds::{RolloutSpec, RolloutStatus};

    fn with(generation: i64, observed: i64, holding: &[&str]) -> Rollout {
        let mut rollout = Rollout::new("pump", RolloutSpec::new("pump", "1.0.0"));
        rollout.metadata.generation = Some(generation);
        let condition = |kind: &&str| Condition {
            type_: (*kind).to_owned(),
            status: "True".into(),
            reason: "R".into(),
            message: String::new(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: Some(observed),
        };
        rollout.status = Some(RolloutStatus {
            observed_generation: Some(observed),
            conditions: holding.iter().map(condition).collect(),
            ..RolloutStatus::default()
        });
        rollout
    }

    #[test]
    fn the_end_is_read_from_conditions_of_the_present_spec() {
        assert_eq!(progress(&with(2, 2, &["Ready"])), Progress::Succeeded);
        assert_eq!(progress(&with(2, 2, &["RolledBack", "Stalled", "Degraded"])), Progress::RolledBack);
        assert_eq!(progress(&with(2, 2, &["Stalled", "Paused"])), Progress::Stalled);
        assert_eq!(progress(&with(2, 2, &["Stalled", "Progressing"])), Progress::Running);
        assert_eq!(progress(&with(2, 2, &["Progressing"])), Progress::Running);
        // A retry was just wished for: what the status says is about the attempt before.
        assert_eq!(progress(&with(3, 2, &["RolledBack", "Stalled"])), Progress::Running);
        let fresh = Rollout::new("pump", RolloutSpec::new("pump", "1.0.0"));
        assert_eq!(progress(&fresh), Progress::Running);
    }

    #[test]
    fn each_end_has_its_exit_code() {
        let code = |progress, awaited| outcome(progress, awaited).map(Outcome::code);
        assert_eq!(code(Progress::Succeeded, Awaited::Finished), Some(0));
        assert_eq!(code(Progress::RolledBack, Awaited::RolledBack), Some(0));
        assert_eq!(code(Progress::RolledBack, Awaited::Finished), Some(2));
        assert_eq!(code(Progress::RolledBack, Awaited::Succeeded), Some(2));
        assert_eq!(code(Progress::Stalled, Awaited::Succeeded), Some(4));
        assert_eq!(code(Progress::Succeeded, Awaited::RolledBack), Some(5));
        assert_eq!(code(Progress::Running, Awaited::Finished), None);
    }
}
