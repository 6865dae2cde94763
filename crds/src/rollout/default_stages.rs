//! The stages of a rollout that names none.

use super::stage::{Approval, Stage, StageLimits, StageMode};
use crate::text::{Amount, DurationText, Percent};

/// Canary, early adopter, broad, full. The last one has no bake of its own: the version has been watched for
/// five weeks by then, and stays watched for as long as the rollout exists.
#[must_use]
pub fn default_stages() -> Vec<Stage> {
    vec![
        Stage { provable_up_to: Percent::from("20%"), ..stage("canary", "2.5%", "7d", "15m") },
        stage("early-adopter", "10%", "14d", "2h"),
        stage("broad", "50%", "14d", "4h"),
        stage("full", "100%", "0s", "8h"),
    ]
}

fn stage(name: &str, devices: &str, bake: &str, rollback_deadline: &str) -> Stage {
    Stage {
        name: name.to_owned(),
        devices: Amount::from(devices),
        provable_up_to: Percent::from("0%"),
        spread_by: Vec::new(),
        watch_by: Vec::new(),
        selector: None,
        bake: DurationText::from(bake),
        approval: Approval::default(),
        approval_timeout: None,
        limits: StageLimits::default(),
        rollback_deadline: DurationText::from(rollback_deadline),
        max_wait: None,
        margin: None,
        mode: StageMode::default(),
    }
}
