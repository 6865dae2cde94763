use modelfleet_crds::RolloutSpec;
use modelfleet_crds::rollout::{RelativeTo, StageLimits};
use modelfleet_crds::text::Bound;
use modelfleet_rollout::Policy;

use modelfleet_crds::DeviceSelector;

use super::*;

fn rollout() -> Rollout {
    Rollout::new("pump-1-1-0", RolloutSpec::new("pump", "1.1.0"))
}

#[test]
fn the_defaults_make_a_rollout_that_works() {
    let setup = setup(&rollout()).unwrap();
    let policy = Policy::new(setup.parts.clone()).unwrap();
    assert_eq!(policy.stage_count(), 4);
    assert_eq!((setup.window_ms(), setup.warmup_windows), (3_600_000, 1));
    assert_eq!(policy.stage(0).bake_ms, 7 * 24 * 3_600_000);
    let names: Vec<&str> = setup.objectives.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["error-rate", "timeout-rate", "latency-p95", "availability"]);
}

#[test]
fn a_merged_value_breaks_its_bound_at_its_own_share() {
    let setup = setup(&rollout()).unwrap();
    let shares: Vec<u32> = setup.objectives.iter().map(|o| o.breach_share_ppm).collect();
    assert_eq!(shares, [10_000, 10_000, 50_000, 1_000]);
}

#[test]
fn both_selectors_must_hold() {
    let mut rollout = rollout();
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    rollout.spec.selector.match_labels = labels(&[("site", "north")]);
    let stage = &mut rollout.spec.stages[0];
    stage.selector =
        Some(DeviceSelector { match_labels: labels(&[("ring", "bench")]), ..Default::default() });
    stage.limits = StageLimits { min_windows: 7, ..StageLimits::default() };
    rollout.spec.slos[0].threshold = Bound::from("95%");
    rollout.spec.slos[0].relative_to = RelativeTo::Baseline;
    let setup = setup(&rollout).unwrap();
    let first = &setup.parts.stages[0];
    assert!(first.selector.matches(&labels(&[("site", "north"), ("ring", "bench")])));
    assert!(!first.selector.matches(&labels(&[("site", "south"), ("ring", "bench")])));
    assert!(!first.selector.matches(&labels(&[("site", "north")])));
    assert_eq!(first.limits.min_windows, 7);
}

#[test]
fn what_cannot_be_read_names_its_field() {
    let mut rollout = rollout();
    rollout.spec.stages[1].bake = "soon".into();
    let error = setup(&rollout).unwrap_err().to_string();
    assert!(error.starts_with("spec.stages[1].bake: "), "{error}");
}
