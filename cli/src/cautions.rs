//! What in the stages of a rollout surprises people later: said by `plan` and by `lint` in the same words.

use modelfleet_judge::plan::NO_CONTROLS;
use modelfleet_protocol::draw::Target;
use modelfleet_rollout::Stage;

/// All devices, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// How to have controls in a last stage for all.
pub const HOLD_BACK: &str = "set holdback: 5% to keep controls";

/// The last stage takes everybody: nobody is left to compare with.
#[must_use]
pub fn no_controls(stages: &[Stage], holdback_ppm: u32) -> Option<String> {
    let last = stages.last()?;
    takes_all(last, holdback_ppm).then(|| format!("in {} {NO_CONTROLS}; {HOLD_BACK}", last.name))
}

fn takes_all(stage: &Stage, holdback_ppm: u32) -> bool {
    holdback_ppm == 0 && matches!(stage.target, Target::Ppm(WHOLE_PPM..) | Target::AllBut(0))
}

#[cfg(test)]
mod tests {
    use modelfleet_simulation::Setup;

    use super::*;

    fn stages() -> Vec<Stage> {
        vec![
            Setup::stage("pilot", Target::Count(10), 60),
            Setup::stage("early", Target::Ppm(100_000), 60),
            Setup::stage("broad", Target::Ppm(500_000), 60),
            Setup::stage("full", Target::Ppm(1_000_000), 0),
        ]
    }

    #[test]
    fn a_hold_back_keeps_controls() {
        assert!(no_controls(&stages(), 0).is_some_and(|said| said.contains("holdback: 5%")));
        assert_eq!(no_controls(&stages(), 50_000), None);
        assert_eq!(no_controls(&stages()[..3], 0), None);
    }
}
