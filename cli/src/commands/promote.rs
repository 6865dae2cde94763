//! `promote`: `spec.promote: <stage>`.

use clap::Args;
use modelfleet_crds::Rollout;
use serde_json::json;

use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError, is_current};

/// The command line of `promote`.
#[derive(Debug, Args)]
#[command(
    after_help = "Promote never overrides proven harm.\nWithout the plugin: kubectl patch rollout NAME \
                        --type merge -p '{\"spec\":{\"promote\":\"STAGE\"}}'"
)]
pub struct PromoteArguments {
    /// Name of the rollout.
    pub rollout: String,

    /// The stage to start. Default: the one after the current stage.
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,
}

/// Why a stage was not let begin.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The API server did not make the change.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// There is no such stage.
    #[error("promote rollout {rollout}: it has no stage {stage:?}; its stages are {stages}")]
    NoStage {
        /// The rollout.
        rollout: String,
        /// What was asked for.
        stage: String,
        /// What there is.
        stages: String,
    },
    /// The stage is not to come.
    #[error("promote rollout {rollout}: stage {stage} has already started; name a later stage")]
    Begun {
        /// The rollout.
        rollout: String,
        /// The stage.
        stage: String,
    },
    /// There is no stage after the present one.
    #[error(
        "promote rollout {rollout}: {stage} is the last stage; if it is held because it is undecided, set spec.onUndecided: Promote"
    )]
    Last {
        /// The rollout.
        rollout: String,
        /// The stage.
        stage: String,
    },
}

/// Lets a stage begin.
///
/// # Errors
/// When there is no such stage, the rollout has ended, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &PromoteArguments) -> Result<Outcome, PromoteError> {
    let cluster = Cluster::connect(flags).await.map_err(IntentError::from)?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await.map_err(IntentError::from)?;
    rollout_patch::not_ended(&before, "promote")?;
    let stage = stage(&before, arguments.stage.as_deref())?;
    let patch = json!({ "spec": { "promote": stage } });
    let (_, changes) = rollout_patch::apply(&cluster, &before, "promote", patch, false).await?;
    printing::answer(&changes).map_err(IntentError::from)?;
    Ok(Outcome::Done)
}

fn stage(rollout: &Rollout, wanted: Option<&str>) -> Result<String, PromoteError> {
    let name = || rollout.metadata.name.clone().unwrap_or_default();
    let stages: Vec<&str> = rollout.spec.stages.iter().map(|stage| stage.name.as_str()).collect();
    let current = is_current(rollout);
    let present = rollout.status.as_ref().and_then(|status| status.stage.as_ref());
    let next = present.map_or(0, |stage| usize::try_from(stage.index).unwrap_or(0) + 1);
    if let Some(wanted) = wanted {
        let (rollout, stage) = (name(), wanted.to_owned());
        return match stages.iter().position(|stage| *stage == wanted) {
            // After a retry the status still speaks about the attempt before.
            Some(index) if index < next && current => Err(PromoteError::Begun { rollout, stage }),
            Some(_) => Ok(stage),
            None => Err(PromoteError::NoStage { rollout, stage, stages: stages.join(", ") }),
        };
    }
    stages.get(next).map(|stage| (*stage).to_owned()).ok_or_else(|| PromoteError::Last {
        rollout: name(),
        stage: present.map(|stage| stage.name.clone()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::rollout::status::StageProgress;
    use modelfleet_crds::{RolloutSpec, RolloutStatus};

    fn at(index: i64) -> Rollout {
        let mut rollout = Rollout::new("pump", RolloutSpec::new("pump", "1.0.0"));
        let stage = StageProgress { index, name: format!("stage {index}"), ..StageProgress::default() };
        rollout.metadata.generation = Some(1);
        rollout.status = Some(RolloutStatus {
            stage: Some(stage),
            observed_generation: Some(1),
            ..RolloutStatus::default()
        });
        rollout
    }

    #[test]
    fn the_next_stage_is_the_one_after_the_present() {
        assert_eq!(stage(&at(0), None).unwrap(), "early-adopter");
        assert_eq!(stage(&at(0), Some("full")).unwrap(), "full");
        let fresh = Rollout::new("pump", RolloutSpec::new("pump", "1.0.0"));
        assert_eq!(stage(&fresh, None).unwrap(), "canary");
        assert!(stage(&at(3), None).unwrap_err().to_string().contains("last stage"));
        assert!(stage(&at(2), Some("canary")).unwrap_err().to_string().contains("already started"));
        assert!(stage(&at(0), Some("half")).unwrap_err().to_string().contains("canary, early-adopter"));
    }
}
