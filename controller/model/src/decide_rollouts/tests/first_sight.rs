//! After a start devices are read one by one: until all are here the figures of before stand.

use super::*;
use crate::rollout_status::decided_status;

#[test]
fn the_figures_of_before_stand_until_the_fleet_is_seen_whole() {
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let stage = stage.device("d1", "old", "1.1.0").device("d2", "new", "1.0.0");
    let mut stage = stage.rollout("1.1.0", progressing(), |_| {});
    let tell = |stage: &mut Stage, before: &modelfleet_crds::RolloutStatus| {
        let outcome = stage.outcomes().remove(0);
        decided_status(decided(&outcome), Some(before), None, Some(1), NOW)
    };
    let before = stage.objects.rollouts[0].status.clone().unwrap();
    let whole = tell(&mut stage, &before);
    assert_eq!((whole.updated.as_deref(), whole.counts.unwrap().eligible), (Some("1/2"), 2));
    // Another leader, which has heard nothing yet.
    stage.index = Index::new(100);
    stage.index.note(&key(), Source::Plan);
    let after = tell(&mut stage, &whole);
    assert_eq!((after.updated, after.counts), (whole.updated, whole.counts));
}
