//! What in the stages of a rollout may surprise people later: warnings of `plan` and of `lint` in the same words.

use modelfleet_evidence::LookPlan;
use modelfleet_judge::sizing::{NO_CONTROLS, can_show, fewest_canaries, fewest_fleet, stage_share_ppb};
use modelfleet_protocol::draw::{Floor, Target};
use modelfleet_protocol::membership::LISTED_MAX;
use modelfleet_rollout::Stage;
use modelfleet_simulation::{Objective, Setup};

use crate::units::span;

/// All devices, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// How to have controls in a last stage for all.
pub const HOLD_BACK: &str = "To keep controls, set holdback: 5%";

/// The last stage takes all devices: no controls are left.
#[must_use]
pub fn no_controls(stages: &[Stage], holdback_ppm: u32) -> Option<String> {
    let last = stages.last()?;
    let only = if stages.len() == 1 { ONE_STAGE } else { "" };
    takes_all(last, holdback_ppm).then(|| format!("in stage {}, {NO_CONTROLS}. {HOLD_BACK}{only}", last.name))
}

/// What a rollout of one stage for all does without.
const ONE_STAGE: &str = ". As this is the only stage, no device is spared, and neither statistics nor failed devices roll back by \
                         themselves: they pause. An SLO with judgedBy: Plain rolls back without a comparison, but nothing limits \
                         its false rollbacks. Better: put a stage of a part of the devices before it";

/// A stage without a bake time ends with the windows that count as evidence at all. The last of several is meant to: the
/// version was watched before.
#[must_use]
pub fn no_bake(stages: &[Stage], index: usize, window_ms: u64) -> Option<String> {
    let stage = stages.get(index)?;
    let is_last = index + 1 == stages.len();
    let windows = u64::from(stage.limits.min_windows);
    let length = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    (stage.bake_ms == 0 && (!is_last || stages.len() == 1)).then(|| {
        format!(
            "the stage ends as soon as most of its devices have reported {windows} windows of {} (limits.minWindows): that is too little \
             to find anything but great harm, and the stage may pass unjudged, because too few events were seen; set bake",
            length(window_ms)
        )
    })
}

/// A number of devices that is too large to list is a bound: it grows when devices join.
#[must_use]
pub fn grows(stage: &Stage) -> Option<String> {
    let Target::Count(devices) = stage.target else { return None };
    (devices > LISTED_MAX as u64).then(|| {
        format!(
            "a number above {LISTED_MAX} grows with the fleet, because so many devices cannot be listed: when as many devices join \
             as there are now, twice as many have the version; to say so plainly, use a percentage"
        )
    })
}

/// A fleet of so many devices is small: warnings name what holds there, because the size of the fleet is not known.
const SMALL_FLEET: u64 = 80;
/// The largest fleet that is looked at for what a share of it comes to.
const LARGE_FLEET: u64 = 10_000;
/// What one objective that a test decides about may spend of the error budget in a stage, parts per billion, as if every
/// stage before had spent its share. `gates`: how many such objectives there are.
#[must_use]
pub fn share_ppb(setup: &Setup, index: usize, gates: usize) -> u64 {
    let stages = u16::try_from(setup.parts.stages.len()).unwrap_or(u16::MAX);
    let index = u16::try_from(index).unwrap_or(u16::MAX);
    let others = u64::from(setup.hard.weight + setup.silence.weight);
    stage_share_ppb(setup.parts.error_budget_ppm, stages, index, gates as u64 + others)
}

/// The first stage has so few devices that no outcome of them would be rare enough to take anything back; the size of the
/// fleet is not known.
#[must_use]
pub fn too_few(setup: &Setup, gates: usize) -> Option<String> {
    let stage = setup.parts.stages.first()?;
    let share = share_ppb(setup, 0, gates);
    let looks = LookPlan::of(stage, setup.window_ms()).planned();
    let shows = |fleet: u64| {
        let canaries = stage.target.of(fleet).max(Floor::of(&stage.floors, fleet));
        can_show(canaries, fleet - canaries, share, looks)
    };
    let alone = |fleet: u64| stage.target.of(fleet) >= fleet;
    if gates == 0 || alone(SMALL_FLEET) || shows(SMALL_FLEET) {
        return None;
    }
    let cure = match fewest_canaries(SMALL_FLEET, share, looks) {
        Some(fewest) => format!("; in a fleet of {SMALL_FLEET}, use {fewest} devices or more"),
        None => String::new(),
    };
    let below = match stage.target {
        Target::Count(canaries) => match fewest_fleet(canaries, share, looks) {
            Some(fleet) => format!("in a fleet of fewer than {fleet} devices"),
            None => "in any fleet".to_owned(),
        },
        Target::Ppm(_) | Target::AllBut(_) => {
            let most = (SMALL_FLEET..=LARGE_FLEET).rev().find(|&fleet| !shows(fleet)).unwrap_or(SMALL_FLEET);
            format!("in a fleet of {most} devices or fewer")
        }
    };
    Some(format!(
        "{below}, harm to so few devices can never be proven, so statistics can never cause a rollback{cure}"
    ))
}

/// Devices are asked so seldom that they cannot prove themselves in their probation.
#[must_use]
pub fn slow_probation(setup: &Setup, requests_per_window: u64) -> Option<String> {
    let probation = &setup.parts.probation;
    let window_ms = setup.window_ms();
    let takes = u128::from(probation.min_predictions) * u128::from(window_ms);
    let takes_ms = u64::try_from(takes.div_ceil(u128::from(requests_per_window.max(1)))).unwrap_or(u64::MAX);
    let length = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    (takes_ms > probation.timeout_ms).then(|| {
        format!(
            "probation.timeout is {}, but it takes {} until a device has answered {} requests at {requests_per_window} per window \
             of {}: devices are confirmed no earlier, and the stage waits for them; raise probation.timeout or lower \
             probation.minPredictions",
            length(probation.timeout_ms),
            length(takes_ms),
            probation.min_predictions,
            length(window_ms)
        )
    })
}

/// Requests that a window has at least, if the objectives count on more than one.
#[must_use]
pub fn requests_counted_on(objectives: &[Objective]) -> Option<u64> {
    objectives.iter().map(|objective| objective.min_samples).max().filter(|&most| most > 1)
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
    fn a_stage_without_a_bake_time_is_warned_of_where_nothing_was_watched_before() {
        let stages = stages();
        assert!(no_bake(&stages, 3, 3_600_000).is_none(), "the version was watched before");
        assert!(no_bake(&stages[..1], 0, 3_600_000).is_none());
        let said = no_bake(&stages[3..], 0, 3_600_000).unwrap_or_default();
        assert!(said.contains("5 windows of 1 hour") && said.contains("unjudged"), "{said}");
    }

    #[test]
    fn a_number_that_is_too_large_to_list_is_warned_of() {
        let of = |target| grows(&Setup::stage("early", target, 60));
        assert_eq!((of(Target::Count(512)), of(Target::Ppm(900_000))), (None, None));
        assert!(of(Target::Count(513)).is_some_and(|text| text.contains("grows with the fleet")));
    }

    #[test]
    fn the_only_stage_for_all_is_told_what_it_does_without() {
        let said = no_controls(&stages()[3..], 0).unwrap_or_default();
        assert!(said.contains("no device is spared") && said.contains("judgedBy: Plain"), "{said}");
        assert!(no_controls(&stages(), 0).is_some_and(|said| !said.contains("spared")));
    }

    #[test]
    fn a_hold_back_keeps_controls() {
        assert!(no_controls(&stages(), 0).is_some_and(|message| message.contains("holdback: 5%")));
        assert_eq!(no_controls(&stages(), 50_000), None);
        assert_eq!(no_controls(&stages()[..3], 0), None);
    }
}
