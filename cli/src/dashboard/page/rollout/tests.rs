use std::sync::Arc;

use modelfleet_crds::RolloutStatus;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dashboard::html;
use crate::units::percent;

fn now() -> Timestamp {
    "2026-08-03T12:00:00Z".parse().unwrap()
}

/// A rollout in its second stage, with this much of each thing.
fn sample(number: i64, phase: &str) -> Rollout {
    let verdict = |slo: &str, verdict: &str, estimate: Option<&str>| {
        json!({
            "slo": slo, "verdict": verdict, "judgedBy": "Statistical", "value": format!("{}.4%", number % 90),
            "measured": format!("errors {number} % (1 to 3), controls 1.1 %, at most 1 %; 20 and 60 devices"),
            "estimate": estimate, "low": "0.4", "high": "3.2", "devices": number, "windows": number * 7, "spentPpm": number * 3,
            "sentence": "no harm is shown", "at": "2026-08-02T12:00:00Z",
        })
    };
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "pump-1.2.0", "namespace": "plant", "uid": "u", "generation": 1},
        "spec": {
            "model": "pump", "version": "1.2.0",
            "stages": [
                {"name": "canary", "devices": "5", "bake": "1d"},
                {"name": "early", "devices": "10%", "bake": "7d"},
                {"name": "full", "devices": "100%", "bake": "14d", "approval": "Required"},
            ],
            "slos": [
                {"name": "errors", "metric": "ErrorRate", "threshold": "1%"},
                {"name": "slow", "metric": "LatencyP95", "threshold": "500ms"},
                {"name": "drift", "metric": "FeaturePsi", "feature": "vibration", "threshold": "0.2"},
            ],
        },
        "status": {
            "observedGeneration": 1, "phase": phase, "message": format!("waits for {number} devices"),
            "stage": {"name": "early", "index": 1, "startedAt": "2026-08-01T12:00:00Z", "bakeEndsAt": "2026-08-08T12:00:00Z",
                      "deadlineAt": "2026-08-15T12:00:00Z"},
            "counts": {"eligible": number * 4, "reachable": number * 3, "offered": number * 3, "downloaded": number * 2,
                       "activated": number + 2, "confirmed": number, "failed": 1, "incompatible": 2, "ownTrouble": 3,
                       "silentAfterActivation": 4, "unreachable": number},
            "watch": {"windows": number * 24, "levelPercent": number % 101, "state": ""},
            "judge": {"errorBudgetPpm": 10_000, "spentPpm": number, "looks": 2},
            "verdicts": [verdict("slow", "Undecided", None), verdict("errors", "Healthy", Some("1.3"))],
            "margins": [{"stage": "early", "marginPpm": 5_000_000, "basis": "Planner"}],
            "decisions": [
                {"at": "2026-08-01T12:00:00Z", "stage": "canary", "decision": "Start", "reason": "Started"},
                {"at": "2026-08-02T12:00:00Z", "stage": "early", "decision": "Advance", "reason": "StageStarted", "message": "m"},
            ],
            "failures": [{"device": "pump-7", "code": "CrashLoop"}],
            "conditions": [{"type": "Stalled", "status": "True", "reason": "DeadlinePassed", "message": "act",
                            "lastTransitionTime": "2026-08-02T12:00:00Z"}],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn objects(rollout: &Rollout) -> Objects {
    Objects { rollouts: vec![Arc::new(rollout.clone())], ..Objects::default() }
}

fn page(rollout: &Rollout) -> RolloutPage {
    super::rollout(&objects(rollout), "plant", "pump-1.2.0", now()).unwrap()
}

/// The figures of a page as they are read: field, form, text.
fn figures(html: &str) -> Vec<(String, bool, String)> {
    let each = html.split("<span data-field=\"").skip(1);
    each.map(|rest| {
        let (field, rest) = rest.split_once('"').unwrap();
        let (attributes, rest) = rest.split_once('>').unwrap();
        let text = rest.split_once("</span>").unwrap().0;
        (field.to_owned(), attributes.contains("data-form=\"ppm\""), text.to_owned())
    })
    .collect()
}

/// Every number that is marked as one of the object is that of the object.
fn numbers_are_those_of_the_object(rollout: &Rollout) -> usize {
    let html = html::rollout(&page(rollout)).into_string();
    let object: Value = serde_json::to_value(rollout).unwrap();
    let figures = figures(&html);
    for (field, ppm, text) in &figures {
        let value = object.pointer(field).unwrap_or_else(|| panic!("{field} is no field"));
        let wanted = match value {
            Value::Number(number) if *ppm => percent(number.as_i64().unwrap()),
            Value::Number(number) => number.to_string(),
            value => value.as_str().unwrap().to_owned(),
        };
        assert_eq!(*text, wanted, "{field}");
    }
    figures.len()
}

#[test]
fn each_number_on_a_page_is_that_of_the_status() {
    // The message, eleven counts, three of the budget, two of the watch, and of two verdicts all that they have.
    assert_eq!(numbers_are_those_of_the_object(&sample(20, "Progressing")), 1 + 11 + 3 + 2 + 8 + 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_number_is_that_of_the_status_whatever_it_is(number in 0_i64..300_000, phase in 0_usize..8) {
        let phases = ["Queued", "Progressing", "AwaitingApproval", "Paused", "RollingBack", "RolledBack", "Succeeded", "Stalled"];
        numbers_are_those_of_the_object(&sample(number, phases[phase]));
    }

    /// Counts that a device changed meanwhile may not fit together: the parts of the bar still are those of the eligible ones.
    #[test]
    fn parts_of_the_bar_add_up(eligible in 0_i64..50, activated in 0_i64..50, confirmed in 0_i64..50, failed in 0_i64..50) {
        let told = counts(&DeviceCounts { eligible, activated, confirmed, failed, ..DeviceCounts::default() });
        prop_assert!(told.parts.iter().all(|(.., count)| *count >= 0), "{:?}", told.parts);
        prop_assert_eq!(told.parts.iter().map(|(.., count)| count).sum::<i64>(), eligible);
    }
}

#[test]
fn it_says_what_decides_next_and_when() {
    let told = page(&sample(20, "Progressing")).next.join("\n");
    assert!(
        told.contains("Look 3 of 6 decides next: due at 2026-08-05T00:00:00Z (in 1 day 12 hours)"),
        "{told}"
    );
    assert!(told.contains("The bake time is over at 2026-08-08T12:00:00Z (in 5 days); then a Healthy verdict and the approval of a person start stage full."), "{told}");
    assert!(told.contains("Without a verdict it pauses until a person decides at 2026-08-15"), "{told}");
    assert_eq!(page(&sample(20, "Succeeded")).next, Vec::<String>::new());
    assert!(page(&sample(20, "AwaitingApproval")).next[0].contains("A person approves stage full"));
}

#[test]
fn stages_say_what_is_over_and_what_is_to_come() {
    let states = |phase| page(&sample(1, phase)).stages.iter().map(|stage| stage.state).collect::<Vec<_>>();
    use StepState::{Current, Done, TakenBack, ToCome};
    assert_eq!(states("Progressing"), [Done, Current, ToCome]);
    assert_eq!(states("RolledBack"), [TakenBack, TakenBack, ToCome]);
    assert_eq!(states("Succeeded"), [Done, Done, Done]);
}

#[test]
fn a_tile_shows_the_difference_where_there_is_one_and_no_zero_where_there_is_none() {
    let page = page(&sample(20, "Progressing"));
    let [errors, slow, drift] = page.tiles.as_slice() else { panic!() };
    let plot = errors.plot.as_ref().unwrap();
    assert_eq!((plot.points.len(), plot.points[0].ratio, plot.margin), (1, [0.4, 1.3, 3.2], Some(5.0)));
    assert_eq!(
        plot.looks.iter().map(|(_, reached)| *reached).collect::<Vec<_>>(),
        [true, true, false, false, false, false]
    );
    assert_eq!((slow.plot.as_ref(), drift.verdict), (None, None));
    let html = html::rollout(&page).into_string();
    assert!(html.contains("Harm with the version is 1.3 times that of the controls, between 0.4 and 3.2; the stage has to rule out 5 times; 2 of 6 looks are over"), "{html}");
}

#[test]
fn texts_of_others_are_no_markup() {
    let mut rollout = sample(1, "Progressing");
    let status = rollout.status.as_mut().unwrap();
    status.message = Some("<script>alert(1)</script>".into());
    status.verdicts[0].sentence = Some("\"><img src=x>".into());
    let html = html::rollout(&page(&rollout)).into_string();
    assert!(!html.contains("<script>alert") && !html.contains("<img"), "{html}");
}

#[test]
fn a_rollout_that_the_controller_has_not_seen_has_a_page() {
    let mut rollout = sample(1, "Progressing");
    rollout.status = None;
    let html = html::rollout(&page(&rollout)).into_string();
    assert!(html.contains("The controller has not seen this rollout yet"), "{html}");
    rollout.status = Some(RolloutStatus::default());
    assert!(!html::rollout(&page(&rollout)).into_string().is_empty());
}
