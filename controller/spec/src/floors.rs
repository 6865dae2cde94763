//! How many devices a stage takes at least, so that harm to them could be shown.

use modelfleet_evidence::LookPlan;
use modelfleet_judge::sizing::{provable_sizes, stage_share_ppb};
use modelfleet_judge::{HardRule, JudgedBy, OnBreach, SilenceRule};
use modelfleet_protocol::draw::{Floor, Target};
use modelfleet_rollout::Stage;

use crate::Objective;

/// What the stage at `index` of `stages` takes at least, of which `up_to_ppm` of the devices may be raised to.
///
/// The judge compares canaries with controls: with one canary of forty devices even the worst outcome is seen once in
/// forty by chance, and nothing follows from it. A stage of all devices has no controls, and one of a number of
/// devices is as large as a person said.
pub(super) fn floors(
    stage: &Stage,
    (index, stages): (usize, usize),
    up_to_ppm: u32,
    objectives: &[Objective],
    error_budget_ppm: u32,
    window_ms: u64,
) -> Vec<Floor> {
    let decides = |o: &&Objective| o.judged_by == JudgedBy::Statistical && o.on_breach != OnBreach::Observe;
    let gates = objectives.iter().filter(decides).count() as u64;
    let raised = matches!(stage.target, Target::Ppm(1..1_000_000)) && up_to_ppm > 0 && gates > 0;
    if !raised {
        return Vec::new();
    }
    let silence = SilenceRule::default();
    let hard = HardRule::beside(objectives.iter().map(|o| (o.on_breach, o.judged_by)), silence);
    let weights = gates + u64::from(hard.weight) + u64::from(silence.weight);
    let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let share_ppb = stage_share_ppb(error_budget_ppm, short(stages), short(index), weights);
    let looks = LookPlan::of(stage, window_ms).planned();
    let sizes = provable_sizes(share_ppb, looks, up_to_ppm);
    sizes.into_iter().map(|(pool, devices)| Floor { pool, devices }).collect()
}
