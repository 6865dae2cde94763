use modelfleet_crds::Metric;
use modelfleet_crds::model_version::{Artifact, Baseline, BaselineMetric, FeatureBaseline, ModelFormat};
use modelfleet_crds::rollout::{BreachAction, JudgedBy, RelativeTo};
use modelfleet_crds::text::{Amount, Bound, Decimal};

use super::*;

fn rollout(edit: impl FnOnce(&mut RolloutSpec)) -> Rollout {
    let mut spec = RolloutSpec::new("m", "1.0.0");
    edit(&mut spec);
    let mut rollout = Rollout::new("r", spec);
    rollout.metadata.uid = Some("5c0c1c3e-0000-0000-0000-000000000000".into());
    rollout
}

fn version(edit: impl FnOnce(&mut ModelVersionSpec)) -> ModelVersionSpec {
    let mut spec = ModelVersionSpec {
        model: "m".into(),
        version: "1.0.0".into(),
        artifact: Artifact {
            uri: "file:///m.onnx".into(),
            digest: format!("sha256:{}", "0".repeat(64)),
            size_bytes: 10,
            format: ModelFormat::Onnx,
            ir_version: None,
            details: None,
        },
        signature: Default::default(),
        opsets: vec![],
        requires: Default::default(),
        self_test: vec![],
        baseline: None,
        pipeline: None,
        fallback: None,
        lineage: None,
        signatures: vec![],
    };
    edit(&mut spec);
    spec
}

fn slo(metric: Metric, threshold: &str) -> modelfleet_crds::rollout::Slo {
    let mut slo = modelfleet_crds::rollout::default_slos().remove(0);
    slo.metric = metric;
    slo.threshold = Bound::from(threshold);
    slo
}

/// Only where statistics decide, and only where the spec allows it, is a stage larger than its percentage.
#[test]
fn a_stage_is_raised_only_where_it_may_be_and_helps() {
    let canaries = |edit: fn(&mut RolloutSpec)| {
        validate(&rollout(edit), Some(&version(|_| {}))).unwrap().policy.share(0).of(40)
    };
    assert_eq!(canaries(|_| {}), 4);
    assert_eq!(canaries(|spec| spec.stages[0].provable_up_to = Percent::from("0%")), 1);
    assert_eq!(canaries(|spec| spec.stages[0].provable_up_to = Percent::from("7.5%")), 1, "3 are too few");
    assert_eq!(canaries(|spec| spec.slos.clear()), 1);
    assert_eq!(canaries(|spec| spec.slos.iter_mut().for_each(|slo| slo.judged_by = JudgedBy::Plain)), 1);
    assert_eq!(canaries(|spec| spec.error_budget = Percent::from("10%")), 3, "a larger budget needs fewer");
}

/// The spec is refused, and the condition's message names the field and says these words.
fn check(edit: impl FnOnce(&mut RolloutSpec), of: &ModelVersionSpec, words: &[&str]) {
    let problem = validate(&rollout(edit), Some(of)).unwrap_err();
    for word in words {
        assert!(problem.to_string().contains(word), "{problem} lacks {word:?}");
    }
}

#[test]
fn the_defaults_can_work() {
    let valid = validate(&rollout(|_| {}), Some(&version(|_| {}))).unwrap();
    assert_eq!(valid.policy.stage_count(), 4);
    assert_eq!(valid.objectives.len(), 4);
    // In a small fleet the canary grows to what can show harm, and to no more than a fifth.
    let canaries = |fleet| valid.policy.share(0).of(fleet);
    assert_eq!([3, 8, 12, 20].map(canaries), [1; 4], "a fifth of so few could show nothing either");
    assert_eq!((canaries(40), canaries(80), canaries(200), canaries(100_000)), (4, 3, 5, 2_500));
    assert_eq!(valid.policy.share(1).of(40), 4, "the next stage is as large as it says");
    assert_eq!(valid.objectives[2].indicator.threshold, 500_000_000, "milliseconds become nanoseconds");
    assert_eq!(valid.silent_after_ms, 3 * 3_600_000);
    assert!(validate(&rollout(|_| {}), None).is_ok(), "an unknown version is waited for");
}

#[test]
fn an_objective_that_nobody_can_report_is_refused_with_what_to_do() {
    let plain = version(|_| {});
    check(|s| s.slos = vec![slo(Metric::FeaturePsi, "0.2")], &plain, &["spec.slos[0].metric", "profile"]);
    check(|s| s.slos = vec![slo(Metric::Accuracy, "95%")], &plain, &["pipeline.decision"]);
    check(|s| s.slos = vec![slo(Metric::LowConfidenceRate, "5%")], &plain, &["baseline.confidence"]);
    check(|s| s.slos = vec![slo(Metric::ShadowAgreement, "95%")], &plain, &["live stages", "remove"]);
    check(|s| s.slos = vec![slo(Metric::OutOfRangeRate, "1%")], &plain, &["expected ranges"]);
    let feature = FeatureBaseline {
        name: "rms".into(),
        expected_min: None,
        expected_max: None,
        edges: vec![Decimal::from("1")],
        counts: vec![5, 5],
        missing: Default::default(),
    };
    let profiled = version(|v| {
        v.baseline = Some(Baseline { features: vec![feature], ..Baseline::default() });
    });
    let named = |s: &mut RolloutSpec| {
        s.slos = vec![slo(Metric::FeaturePsi, "0.2")];
        s.slos[0].feature = Some("nose".into());
    };
    check(named, &profiled, &["spec.slos[0].feature", "nose", "rms"]);
    let worst = rollout(|s| s.slos = vec![slo(Metric::FeaturePsi, "0.2")]);
    assert!(validate(&worst, Some(&profiled)).is_ok());
}

#[test]
fn a_bound_relative_to_the_baseline_is_worked_out() {
    let measured = version(|v| {
        let metric = BaselineMetric { name: Metric::LatencyP95, value: Decimal::from("80") };
        v.baseline = Some(Baseline { metrics: vec![metric], ..Baseline::default() });
    });
    let relative = |metric| {
        move |s: &mut RolloutSpec| {
            s.slos = vec![slo(metric, "150%")];
            s.slos[0].relative_to = RelativeTo::Baseline;
            s.slos[0].judged_by = JudgedBy::Plain;
        }
    };
    let valid = validate(&rollout(relative(Metric::LatencyP95)), Some(&measured)).unwrap();
    assert_eq!(valid.objectives[0].indicator.threshold, 120_000_000);
    check(relative(Metric::ErrorRate), &measured, &["spec.slos[0].relativeTo", "ErrorRate"]);
}

/// Histograms are most of a report: devices send those that are merged.
#[test]
fn devices_keep_histograms_of_as_many_windows_as_the_plain_rule_merges() {
    let asked = |metric, threshold: &'static str, for_windows| {
        let plain = move |s: &mut RolloutSpec| {
            s.slos = vec![slo(metric, threshold)];
            (s.slos[0].judged_by, s.slos[0].for_windows) = (JudgedBy::Plain, for_windows);
        };
        validate(&rollout(plain), None).unwrap().policy.parts().observe.histogram_windows
    };
    assert_eq!(asked(Metric::LatencyP95, "500ms", 12), 12);
    assert_eq!(asked(Metric::LatencyP95, "500ms", 3), 0, "as many as devices send anyway");
    assert_eq!(asked(Metric::ErrorRate, "1%", 12), 0, "counters are there for all windows");
}

/// What `kubectl explain` says that a stage without `maxWait` waits.
#[test]
fn the_default_of_max_wait_is_the_one_that_is_told() {
    let definitions = modelfleet_crds::definitions::all();
    let texts = definitions.iter().map(|definition| serde_json::to_value(definition).unwrap());
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let pointer = format!("{spec}/stages/items/properties/maxWait/description");
    let told = texts.filter_map(|value| value.pointer(&pointer)?.as_str().map(str::to_owned)).next().unwrap();
    let (_, least) = told.split_once("Default: as long as `bake`, at least `").unwrap();
    let least_ms = DurationText::from(least.split('`').next().unwrap()).milliseconds().unwrap();
    let valid = validate(&rollout(|_| {}), None).unwrap();
    for stage in &valid.policy.parts().stages {
        // One window of warm-up and five of settling time come on top: nothing is known before.
        let known_ms = 6 * 3_600_000;
        assert_eq!(stage.max_wait_ms, stage.bake_ms.max(least_ms) + known_ms, "{}", stage.name);
    }
}

#[test]
fn a_stage_waits_from_when_labels_can_be_known() {
    let hours = |spec: &dyn Fn(&mut RolloutSpec)| {
        let late = rollout(|s| {
            s.slos = vec![slo(Metric::Accuracy, "90%"), slo(Metric::ErrorRate, "1%")];
            s.slos[0].label_delay = Some("72h".into());
            s.stages[3].max_wait = Some("2h".into());
            spec(s);
        });
        let valid = validate(&late, None).unwrap();
        let late = [0, 1].map(|slo: usize| valid.objectives[slo].late_windows(3_600_000));
        (valid.policy.stage(3).max_wait_ms / 3_600_000, late)
    };
    assert_eq!(hours(&|_| {}), (2 + 6 + 72, [72, 0]));
    let watched = |s: &mut RolloutSpec| s.slos[0].on_breach = BreachAction::Observe;
    assert_eq!(hours(&watched).0, 2 + 6, "an objective that is only observed holds nothing up");
    let settles = |s: &mut RolloutSpec| s.observe.settling_windows = Some(0);
    assert_eq!(hours(&settles).0, 2 + 1 + 72);
}

#[test]
fn what_devices_cannot_do_is_refused() {
    let plain = version(|_| {});
    check(|s| s.holdback = Percent::from("5"), &plain, &["spec.holdback", "percent"]);
    check(|s| s.stages[1].devices = Amount::from("1%"), &plain, &["spec.stages[1].devices"]);
    check(|s| s.observe.window = "0s".into(), &plain, &["spec.observe.window"]);
    check(|s| s.slos[0].threshold = Bound::from("500ms"), &plain, &["spec.slos[0].threshold", "percent"]);
}

#[test]
fn what_devices_would_refuse_is_refused_first() {
    let plain = version(|_| {});
    check(|s| s.observe.window = "500ms".into(), &plain, &["spec.observe.window", "at least 1 second"]);
    check(|s| s.fetch.spread = "9000h".into(), &plain, &["spec.fetch.spread", "a year"]);
}

#[test]
fn a_spec_that_cannot_work_leaves_enough_to_go_back() {
    let broken = rollout(|s| {
        s.slos = vec![slo(Metric::FeaturePsi, "0.2")];
        s.observe.window = "soon".into();
        s.stages[0].bake = "a while".into();
        s.stages[1].rollback_deadline = "2h".into();
        s.rollback.policy = RollbackPolicy::Manual;
    });
    assert!(validate(&broken, Some(&version(|_| {}))).is_err());
    let left = stand_in(&broken, 2);
    let parts = left.policy.parts();
    assert_eq!((parts.rollout.as_str(), parts.version.as_str()), ("r", "1.0.0"));
    assert_eq!(parts.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().len(), 4);
    assert_eq!(parts.stages[1].rollback_deadline_ms, 2 * 3_600_000);
    assert_eq!((parts.rollback, left.objectives.len()), (CoreRollbackPolicy::Manual, 0));
}
