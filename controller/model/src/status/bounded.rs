//! Keeps a status below its promised size, whatever its lists hold.

use modelfleet_crds::rollout::RolloutStatus;

use modelfleet_rollout::clip;

/// What a Rollout's status may come to as JSON, in bytes: the object is to stay below 32 KiB at any fleet
/// size, and a kilobyte is left for the rest of it.
pub const BYTES_MAX: usize = 31 * 1024;

/// How much of what is told to people is kept. What decides (the judge's memory, membership, plan) is never cut. The memory of the
/// watch goes when all else is short and the status still does not fit: a watch that is begun anew with
/// every status finds nothing, so this is for a status that has all of its strata, verdicts and named devices at once.
struct Measure {
    /// Newest decisions.
    decisions: usize,
    /// Failed devices.
    failures: usize,
    /// Bytes of a verdict's sentence.
    sentence: usize,
    /// Bytes of a decision's message.
    message: usize,
    /// What devices measured, of each verdict.
    measured: bool,
    /// The memory of the watch.
    watch: bool,
}

/// Tried in this order until the status fits.
const MEASURES: [Measure; 5] = [
    Measure { decisions: 32, failures: 16, sentence: 120, message: 120, measured: true, watch: true },
    Measure { decisions: 16, failures: 8, sentence: 120, message: 120, measured: true, watch: true },
    Measure { decisions: 8, failures: 4, sentence: 80, message: 80, measured: true, watch: true },
    Measure { decisions: 4, failures: 1, sentence: 40, message: 40, measured: false, watch: true },
    Measure { decisions: 4, failures: 1, sentence: 40, message: 40, measured: false, watch: false },
];

/// The status, with as much of its lists and sentences as fits.
#[must_use]
pub fn bounded(mut status: RolloutStatus) -> RolloutStatus {
    for measure in &MEASURES {
        if size(&status) <= BYTES_MAX {
            break;
        }
        let older = status.decisions.len().saturating_sub(measure.decisions);
        status.decisions.drain(..older);
        status.failures.truncate(measure.failures);
        if !measure.measured {
            status.verdicts.iter_mut().for_each(|verdict| verdict.measured = None);
        }
        if !measure.watch
            && let Some(watch) = &mut status.watch
        {
            watch.state = String::new();
        }
        for decision in &mut status.decisions {
            decision.message = clip(&decision.message, measure.message);
        }
        for sentence in status.verdicts.iter_mut().filter_map(|verdict| verdict.sentence.as_mut()) {
            *sentence = clip(sentence, measure.sentence);
        }
    }
    status
}

fn size(status: &RolloutStatus) -> usize {
    serde_json::to_vec(status).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::membership::LISTED_MAX;
    use serde_json::json;

    use super::*;

    fn full() -> RolloutStatus {
        let at = "2026-08-01T12:00:00Z";
        let stratum = |i: usize| json!({ "key": [format!("old-{i}"), "heavy"], "bound": "0666666666666666", "total": 80, "target": 2 });
        let clause = |stage: &str| json!({ "stage": stage, "selector": {}, "strata": (0..64).map(stratum).collect::<Vec<_>>() });
        let mut listed = clause("broad");
        listed["ranks"] = json!("A".repeat(8 * LISTED_MAX));
        let verdict = |i: usize| {
            json!({
                "slo": format!("error-rate-{i}"), "verdict": "Undecided", "judgedBy": "Statistical",
                "devices": 20, "windows": 3360, "spentPpm": 310, "sentence": "s".repeat(200), "at": at,
                "measured": "t".repeat(160),
            })
        };
        let decision = json!({
            "at": at, "stage": "early-adopter", "decision": "Hold", "reason": "Paused", "message": "m".repeat(200),
        });
        let failure = json!({ "device": "pump-0001", "code": "CrashLoop", "message": "", "at": at });
        let condition = json!({
            "type": "Ready", "status": "True", "observedGeneration": 3, "lastTransitionTime": at,
            "reason": "AwaitingReports", "message": "m".repeat(512),
        });
        let status = json!({
            "judge": { "errorBudgetPpm": 10_000, "spentPpm": 1, "looks": 4, "state": "s".repeat(8 * 1024) },
            "watch": { "state": "w".repeat(8 * 1024) },
            "membership": { "salt": "s", "clauses": [clause("early-adopter"), listed] },
            "verdicts": (0..16).map(verdict).collect::<Vec<_>>(),
            "decisions": vec![decision; 32],
            "failures": vec![failure; 16],
            "conditions": vec![condition; 6],
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn every_list_at_its_bound_fits_and_what_decides_stays() {
        let full = full();
        assert!(size(&full) > 32 * 1024, "the test must have something to cut: {}", size(&full));
        let cut = bounded(full.clone());
        assert!(size(&cut) <= BYTES_MAX, "{} bytes", size(&cut));
        assert_eq!((&cut.judge, &cut.membership), (&full.judge, &full.membership));
        assert_eq!(cut.verdicts.len(), 16);
        assert_eq!(cut.decisions.last().map(|d| &d.at), full.decisions.last().map(|d| &d.at));
        assert_eq!(bounded(cut.clone()), cut, "bounding twice changes nothing");
    }

    #[test]
    fn the_watch_keeps_its_memory_while_there_is_room() {
        let mut full = full();
        full.membership.as_mut().unwrap().clauses.pop();
        let cut = bounded(full.clone());
        assert!(size(&cut) <= BYTES_MAX, "{} bytes", size(&cut));
        assert_eq!(cut.watch, full.watch);
    }

    #[test]
    fn a_small_status_is_left_alone() {
        let small = RolloutStatus { decisions: full().decisions, ..RolloutStatus::default() };
        assert_eq!(bounded(small.clone()), small);
    }
}
