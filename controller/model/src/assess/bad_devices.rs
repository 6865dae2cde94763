//! The devices behind shown harm, as counts by label set.

use std::collections::BTreeMap;

use modelfleet_judge::{Arm, Assessment, DeviceOutcome, HardAction, Observations, Verdict};

use super::Judged;
use crate::shared_labels::{Group, sentence};
use modelfleet_fleet::intern::Number;

/// What shows the harm.
enum Shown {
    /// Hard failures.
    Failures,
    /// An objective, by its number.
    Objective(usize),
    /// Silence.
    Silence,
}

/// The labels that the bad canaries share, as a sentence; nothing where no harm is shown.
pub(super) fn shared_labels(
    judged: &Judged<'_>,
    observations: &Observations<'_>,
    assessment: &Assessment,
) -> String {
    let (Some(shown), Some(fleet)) = (shown(assessment), judged.fleet) else { return String::new() };
    let mut sets: BTreeMap<Number, (u64, u64)> = BTreeMap::new();
    for (subject, device) in judged.subjects.iter().zip(observations.devices) {
        let Some(bad) = bad(&shown, observations, device) else { continue };
        let (all_bad, all_good) = sets.entry(subject.labels).or_default();
        *all_bad += u64::from(bad);
        *all_good += u64::from(!bad);
    }
    let group = |(number, (bad, good)): (Number, (u64, u64))| {
        Some(Group { labels: fleet.labels_numbered(number)?, bad, good })
    };
    sentence(&sets.into_iter().filter_map(group).collect::<Vec<_>>())
}

fn shown(assessment: &Assessment) -> Option<Shown> {
    if assessment.hard_stop.as_ref().is_some_and(|stop| stop.action == HardAction::RollBackAll) {
        return Some(Shown::Failures);
    }
    let records = assessment.per_slo.iter().chain(&assessment.silence);
    // The one that the sentence is about. The plain rule knows the arm as a whole, not its devices.
    let harm = records.into_iter().find(|record| record.verdict == Verdict::Degraded)?;
    match harm.slo {
        Some(slo) if harm.promised => Some(Shown::Objective(slo as usize)),
        Some(_) => None,
        None => Some(Shown::Silence),
    }
}

/// Whether a canary is one of those that the sentence counts as bad; nothing for a device that it does not count.
fn bad(shown: &Shown, observations: &Observations<'_>, device: &DeviceOutcome<'_>) -> Option<bool> {
    if device.arm != Arm::Canary {
        return None;
    }
    match shown {
        Shown::Failures => {
            let failed = device.hard_failure.is_some();
            (device.attempted || failed).then_some(failed)
        }
        Shown::Objective(slo) => {
            let allowed = u64::from(observations.slos.get(*slo)?.allowance_ppm);
            let post = device.slos.get(*slo)?.post;
            (post.known > 0).then(|| post.share_ppm() > allowed)
        }
        Shown::Silence => (device.active && device.attempted).then_some(!device.reporting),
    }
}
