use proptest::prelude::*;

use super::*;

fn objects(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/tests/objects").join(folder);
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn what_the_server_takes_is_good() {
    for (name, text) in objects("good") {
        for object in yaml_file::objects(&text).unwrap() {
            let kind = object["kind"].as_str().unwrap();
            assert_eq!(schemas()[kind].problems(&object), [], "{name}");
        }
    }
}

#[test]
fn what_only_the_controller_refuses_is_an_error_too() {
    let stages = "[{name: a, devices: \"5\", limits: {minDevices: 50}}, {name: b, devices: 100%}]";
    let found = errors(&format!("{HEAD}spec: {{model: pump, version: 1.0.0, stages: {stages}}}"));
    assert!(found[0].contains("minDevices is 50, but the stage has only 5 devices"), "{found:?}");
}

#[test]
fn what_the_server_refuses_is_an_error() {
    for (name, text) in objects("bad") {
        let found = lint(&text).unwrap();
        assert!(found.iter().any(|findings| !findings.errors.is_empty()), "{name}");
    }
}

fn errors(text: &str) -> Vec<String> {
    let findings = lint(text).unwrap().remove(0);
    findings.errors.into_iter().map(|problem| problem.to_string()).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let findings = lint(text).unwrap().remove(0);
    assert_eq!(findings.errors, []);
    findings.warnings.into_iter().map(|problem| problem.to_string()).collect()
}

const HEAD: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n";

#[test]
fn errors_name_the_field_and_what_is_allowed() {
    let rollout = |spec: &str| errors(&format!("{HEAD}spec: {{model: pump, version: 1.0.0, {spec}}}"));
    assert_eq!(rollout(""), [""; 0]);
    let wrong_kind = rollout("stages: [{name: all, devices: 5}]");
    assert!(
        wrong_kind[0].contains("spec.stages[0].devices") && wrong_kind[0].contains("quotes"),
        "{wrong_kind:?}"
    );
    assert_eq!(
        rollout("observe: {window: 1h 30m}"),
        [
            "spec.observe.window must be a duration such as 7d, 1h30m, 30s or 500ms: whole numbers of at most six digits, \
          each with its unit d, h, m, s or ms, from long to short, each unit at most once, without spaces"
        ]
    );
    assert_eq!(rollout("observe: {window: soon}").len(), 1);
    assert_eq!(rollout("observe: {window: 00s}"), ["spec.observe.window must be longer than 0s, such as 1h"]);
    let number = rollout("observe: {window: 90}");
    assert!(number[0].contains("is 90; in quotes it must be a duration such as 7d"), "{number:?}");
    let count = rollout("holdback: \"5\"");
    assert!(count[0].starts_with("spec.holdback must be a percentage from 0% to 100%"), "{count:?}");
    let local = rollout("fetch: {window: {start: \"22:00\", end: \"05:00\", timezone: Device}}");
    assert_eq!(local, ["spec.fetch.window.timezone is \"Device\"; allowed are \"UTC\""]);
    assert!(rollout("pased: true")[0].contains("spec.pased is not a field"));
    assert!(rollout("onUndecided: Wait")[0].contains("Hold"));
    let last = rollout("stages: [{name: canary, devices: 5%}]");
    assert_eq!(last, ["spec.stages: the last stage must have devices: 100%"]);
    let shrinking =
        rollout("stages: [{name: a, devices: 10%}, {name: b, devices: 5%}, {name: c, devices: 100%}]");
    assert!(shrinking[0].contains("must not have fewer"), "{shrinking:?}");
    let bound = rollout("slos: [{name: p95, metric: LatencyP95, threshold: 5%}]");
    assert!(bound[0].contains("500ms"), "{bound:?}");
    let twice = rollout("stages: [{name: a, devices: 5%}, {name: a, devices: 100%}]");
    assert!(twice[0].contains("\"a\" twice"), "{twice:?}");
    assert!(errors("apiVersion: modelfleet.io/v1alpha1\nkind: Rolout\n")[0].contains("kind"));
}

#[test]
fn advice_is_given_on_what_the_server_takes() {
    let rollout = |spec: &str| warnings(&format!("{HEAD}spec: {{model: pump, version: 1.0.0, {spec}}}"));
    let plain = rollout("slos: []");
    assert!(
        plain.iter().any(|text| text.contains("spreadBy")) && plain.iter().any(|text| text.contains("slos"))
    );
    let hasty = rollout(
        "stages: [{name: a, devices: 5%, spreadBy: [age], bake: 1m, maxWait: 1m}, {name: b, devices: 100%}]",
    );
    assert!(hasty[0].contains("end Undecided") && hasty[0].contains("take 5 hours"), "{hasty:?}");
    let alone = rollout("stages: [{name: early, devices: 20%, spreadBy: [age]}, {name: all, devices: 100%}]");
    assert!(alone[0].starts_with("spec.holdback is 0%: in stage all, no controls are left"), "{alone:?}");
    assert_eq!(rollout("stages: [{name: all, devices: 100%, bake: 7d}], holdback: 5%"), [""; 0]);
    let at_once = rollout("stages: [{name: all, devices: 100%}], holdback: 5%");
    assert!(at_once[0].starts_with("spec.stages[0].bake is 0s: the stage ends as soon"), "{at_once:?}");
    let ours = lint("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n").unwrap();
    assert!(
        ours.len() == 1 && ours[0].errors.is_empty() && ours[0].warnings[0].message.contains("not checked")
    );
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "[a-z:{}\\[\\]0-9 \n\"&*-]{0,120}") {
        let _ = lint(&text);
    }

    #[test]
    fn wrong_values_never_panic(value in "[a-z0-9%.{}\\[\\]:, -]{0,30}", field in "model|version|stages|slos|abort|holdback") {
        let _ = lint(&format!("{HEAD}spec:\n  {field}: {value}\n"));
    }
}

#[test]
fn a_first_stage_of_too_few_devices_is_warned_of() {
    let stages = |first: &str| {
        let stages =
            format!("[{{name: a, devices: \"{first}\", spreadBy: [age]}}, {{name: b, devices: 100%}}]");
        let text = format!("{HEAD}spec: {{model: pump, version: 1.0.0, holdback: 5%, stages: {stages}}}");
        warnings(&text).into_iter().find(|message| message.starts_with("spec.stages[0].devices"))
    };
    let message = stages("1").unwrap();
    assert!(
        message.contains("is 1: in a fleet of fewer than")
            && message.contains("in a fleet of 80, use 3 devices or more"),
        "{message}"
    );
    assert!(stages("2").is_some_and(|message| message.contains("is 2: in a fleet of fewer than")));
    assert!(stages("2%").is_some_and(|message| message.contains("devices or fewer")));
    assert_eq!((stages("3"), stages("10%")), (None, None));
}

#[test]
fn a_probation_that_the_requests_counted_on_cannot_fill_is_warned_of() {
    let message = |probation: &str, samples: u32| {
        let slo = format!("{{name: slow, metric: LatencyP95, threshold: 500ms, minSamples: {samples}}}");
        let text =
            format!("{HEAD}spec: {{model: pump, version: 1.0.0, probation: {probation}, slos: [{slo}]}}");
        warnings(&text).into_iter().find(|message| message.starts_with("spec.probation"))
    };
    let short = message("{minPredictions: 10, timeout: 10m}", 20).unwrap();
    assert!(short.contains("it takes 30 minutes until a device has answered 10 requests at 20"), "{short}");
    assert_eq!(message("{minPredictions: 10, timeout: 30m}", 20), None);
    assert_eq!(message("{minPredictions: 10, timeout: 10m}", 1), None, "nothing is known of the rate");
}
