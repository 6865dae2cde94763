//! Statuses with every field set.
#![allow(dead_code)] // Each test target uses its part.

use serde_json::{Value, json};

const AT: &str = "2026-08-01T12:00:00Z";

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "observedGeneration": 3, "lastTransitionTime": AT,
        "reason": "AwaitingReports", "message": "m".repeat(200),
    })
}

fn verdict(index: usize) -> Value {
    json!({
        "slo": format!("error-rate-{index}"), "verdict": "Undecided", "judgedBy": "Statistical",
        "value": "2.4%", "threshold": "1%",
        "measured": "errors 2.4 % (1.3 to 3.2), controls 1.1 %, at most 1 %; 20 and 60 devices",
        "estimate": "2.1", "low": "1.3", "high": "3.2",
        "devices": 20, "windows": 3360, "spentPpm": 310, "sentence": "s".repeat(160), "at": AT,
    })
}

fn decision() -> Value {
    json!({
        "at": AT, "stage": "early-adopter", "decision": "Hold", "reason": "InsufficientDevices",
        "message": "m".repeat(120),
    })
}

fn clause(stage: &str, strata: usize, devices: usize) -> Value {
    let key = |index| vec![format!("old-{index}"), "heavy".to_owned()];
    let mut clause = json!({
        "stage": stage, "selector": { "matchLabels": { "ring": "bench" } }, "spreadBy": ["age", "load"],
    });
    // A list of no items is not written, neither by the types nor here.
    if strata > 0 {
        clause["strata"] = (0..strata)
            .map(|i| json!({ "key": key(i), "bound": "0666666666666666", "total": 80, "target": 2 }))
            .collect();
    }
    if devices > 0 {
        clause["devices"] = (0..devices).map(|i| format!("pump-{i:04}")).collect();
    }
    clause
}

/// A canary of named devices, a stage of listed ones, and two of shares.
fn clauses(fill: &Fill) -> Value {
    let mut listed = clause("early-adopter", fill.strata, 0);
    if fill.ranks > 0 {
        listed["ranks"] = json!("A".repeat(8 * fill.ranks));
    }
    json!([clause("canary", 0, 64), listed, clause("broad", fill.strata, 0)])
}

/// How full a status is.
pub struct Fill {
    strata: usize,
    ranks: usize,
    verdicts: usize,
    state: usize,
}

/// A large rollout: eight objectives, four stages of sixteen strata, a long history.
pub const LARGE: Fill = Fill { strata: 32, ranks: 0, verdicts: 8, state: 8192 };
/// Every list at its bound.
pub const FULL: Fill = Fill { strata: 64, ranks: 512, verdicts: 16, state: 8192 };

/// A status with every field set and with texts of the length that they have in practice.
pub fn status(fill: &Fill) -> Value {
    let conditions = ["Ready", "Progressing", "Paused", "Degraded", "RolledBack", "Stalled"];
    let failure = |i: usize| json!({ "device": format!("pump-{i:04}"), "code": "SelfTestMismatch", "message": "m".repeat(100), "at": AT });
    json!({
        "observedGeneration": 3, "phase": "RollingBack", "message": "m".repeat(300),
        "stage": { "name": "early-adopter", "index": 1, "startedAt": AT, "bakeEndsAt": AT, "deadlineAt": AT },
        "stageSummary": "2/4 early-adopter", "updated": "20/200", "verdictSummary": "Degraded",
        "counts": {
            "eligible": 200, "reachable": 187, "offered": 20, "downloaded": 19, "activated": 19, "confirmed": 18,
            "failed": 1, "incompatible": 0, "ownTrouble": 0, "silentAfterActivation": 0, "unreachable": 1,
        },
        "membership": {
            "salt": "5d41402abc4b2a76",
            "clauses": clauses(fill),
        },
        "judge": { "errorBudgetPpm": 10_000, "spentPpm": 1_250, "looks": 42, "state": "s".repeat(fill.state) },
        "verdicts": (0..fill.verdicts).map(verdict).collect::<Vec<_>>(),
        "decisions": (0..32).map(|_| decision()).collect::<Vec<_>>(),
        "failures": (0..16).map(failure).collect::<Vec<_>>(),
        "margins": [{ "stage": "canary", "marginPpm": 5_000_000, "basis": "Planner" }],
        "wayBack": r#"[{"selector":{"matchLabels":{"site":"north"}},"version":"1.3.0"},{"selector":{},"version":"1.2.0"}]"#,
        "rollback": {
            "startedAt": AT, "deadlineAt": AT, "remaining": 3, "lastDeviceBackAt": AT, "reason": "SloBreach",
        },
        "figures": {
            "devicesExposed": 20, "detectedAt": AT, "detectionMs": 5_400_000, "safeAt": AT, "timeToSafeMs": 240_000,
        },
        "planRevision": 17, "epoch": 4, "startedAt": AT, "finishedAt": AT, "retryToken": "one",
        "conditions": conditions.map(condition),
    })
}

pub fn version_status() -> Value {
    json!({
        "observedGeneration": 1, "stage": "Rejected", "reason": "SloBreach", "message": "m".repeat(300),
        "rejectedBy": { "rollout": "pump-anomaly-1-4-0", "reason": "SloBreach", "time": AT, "retryToken": "" },
        "devices": "site=north", "productionFor": [{ "selector": r#"{"matchLabels":{"site":"north"}}"#, "order": 3 }],
        "verifiedAt": AT, "promotedAt": AT, "promotedBy": "pump-anomaly-1-4-0",
        "conditions": [condition("Ready"), condition("Verified")],
    })
}
