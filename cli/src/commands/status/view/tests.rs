use super::*;

const ROLLOUT: &str = r#"
apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: {name: pump-1-1-0, generation: 1}
spec: {model: pump-anomaly, version: 1.1.0}
status:
  observedGeneration: 1
  phase: Progressing
  message: 3 of 20 devices still have to report 5 windows
  stage: {name: early-adopter, index: 1, startedAt: "2026-08-01T12:00:00Z", bakeEndsAt: "2026-08-15T12:00:00Z"}
  stageSummary: 2/4 early-adopter
  updated: 19/200
  verdictSummary: Undecided
  counts: {eligible: 200, reachable: 187, offered: 20, downloaded: 19, activated: 19, confirmed: 18, failed: 1, unreachable: 1}
  judge: {errorBudgetPpm: 10000, spentPpm: 1250, looks: 42}
  verdicts:
  - {slo: latency-p95, verdict: Healthy, judgedBy: Statistical, value: 12ms, threshold: 500ms, devices: 18, windows: 90}
  - {slo: error-rate, verdict: Undecided, judgedBy: Statistical, value: 0.4%, threshold: 1%, devices: 18, windows: 90,
     sentence: "0.9 times the rate without the version (0.4 to 1.9)"}
  failures:
  - {device: pump-0007, code: SelfTestMismatch, message: "label is 1, not -1"}
"#;

fn rollout() -> Rollout {
    serde_saphyr::from_str(ROLLOUT).unwrap()
}

fn noon() -> Timestamp {
    "2026-08-02T13:30:00Z".parse().unwrap()
}

#[test]
fn a_rollout_under_way() {
    assert_eq!(
        text(&rollout(), noon()),
        "\
rollout/pump-1-1-0   pump-anomaly 1.1.0   Progressing
  stage      early-adopter (2 of 4), started 1 day 1 hour ago, bakes until 2026-08-15T12:00:00Z
  now        3 of 20 devices still have to report 5 windows
  devices    200 eligible, 187 reachable; 20 offered, 19 downloaded, 19 activated, 18 confirmed
             1 failed, 0 cannot run it, 0 silent since activation, 1 unreachable
  budget     0.125% of 1% spent in 42 looks (chance of a false rollback)

SLO           VERDICT     VALUE   BOUND   DEVICES   WINDOWS   WHY
error-rate    Undecided   0.4%    1%      18        90        0.9 times the rate without the version (0.4 to 1.9)
latency-p95   Healthy     12ms    500ms   18        90

DEVICE      FAILED WITH        WHY
pump-0007   SelfTestMismatch   label is 1, not -1
"
    );
    assert_eq!(
        line(&rollout()),
        "Progressing  2/4 early-adopter  19/200 updated  Undecided  3 of 20 devices still have to report 5 windows"
    );
}

#[test]
fn a_rollout_that_was_rolled_back() {
    let mut ended = rollout();
    let status: modelfleet_crds::RolloutStatus = serde_saphyr::from_str(
        r#"
observedGeneration: 1
phase: RolledBack
message: rolled back from canary
finishedAt: "2026-08-01T12:10:00Z"
rollback: {startedAt: "2026-08-01T12:05:00Z", remaining: 0, lastDeviceBackAt: "2026-08-01T12:09:00Z", reason: SloBreach}
figures: {devicesExposed: 5, detectionMs: 300000, timeToSafeMs: 240000}
"#,
    )
    .unwrap();
    ended.status = Some(status);
    assert_eq!(
        text(&ended, noon()),
        "\
rollout/pump-1-1-0   pump-anomaly 1.1.0   RolledBack
  ended      rolled back from canary
  rollback   SloBreach, started 2026-08-01T12:05:00Z, last device back at 2026-08-01T12:09:00Z
  figures    5 devices ran the version, harm was proven after 5 minutes, the last device was back 4 minutes later
"
    );
}

#[test]
fn a_rollout_that_the_controller_has_not_seen() {
    let mut fresh = rollout();
    fresh.status = None;
    assert!(text(&fresh, noon()).contains("is it running?"));
    let mut changed = rollout();
    changed.metadata.generation = Some(2);
    assert!(text(&changed, noon()).contains("last change"));
}
