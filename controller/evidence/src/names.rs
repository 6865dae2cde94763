//! The judge knows devices and strata by number; people know them by id and by label.

use std::collections::BTreeSet;

use modelfleet_judge::{Assessment, Few, FewKind, Verdict};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::selector::Labels;

use modelfleet_rollout::Stage;

use crate::{Arms, Subject};

/// What people call the devices in the arms.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The id of a device.
    pub id: &'a dyn Fn(&Subject) -> Option<DeviceId>,
    /// The labels of a device.
    pub labels: &'a dyn Fn(&Subject) -> Option<&'a Labels>,
}

impl Names<'_> {
    /// What the devices of a stratum or group have in common, by one of them: `site=north, model=a`. Empty where no label makes
    /// it, or they are not known.
    fn in_common(&self, subject: &Subject, keys: &[String]) -> String {
        let labels = (self.labels)(subject);
        let of = |key: &String| Some(format!("{key}={}", labels?.get(key)?));
        keys.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    }
}

/// Puts names for the numbers of devices, strata and groups into all sentences of an answer about a stage. What has no name
/// keeps its number.
pub fn put_names(assessment: &mut Assessment, arms: &Arms, names: Names<'_>, stage: &Stage) {
    let mut words: Vec<(String, String)> = Vec::new();
    for few in assessment.per_slo.iter().filter_map(|record| record.few.as_ref()) {
        words.extend(of(few, arms, names, stage));
    }
    // A longer number first: a shorter one may be its beginning.
    words.sort_by_key(|(number, _)| std::cmp::Reverse(number.len()));
    words.dedup();
    let records = assessment.per_slo.iter_mut().map(|record| &mut record.sentence);
    for sentence in records.chain([&mut assessment.sentence]) {
        for (number, name) in &words {
            if sentence.contains(number.as_str()) {
                *sentence = sentence.replace(number.as_str(), name);
            }
        }
    }
}

/// The command that sets aside the few devices that hold a stage up, as far as the sentences name them; `None`: none is
/// named, or what holds the stage up is not theirs.
#[must_use]
pub fn set_aside_command(
    rollout: &str,
    assessment: &Assessment,
    arms: &Arms,
    names: Names<'_>,
) -> Option<String> {
    let held = assessment.per_slo.iter().filter(|record| record.verdict == Verdict::Undecided);
    let few = held.filter(|record| !record.relative_harm).filter_map(|record| record.few.as_ref());
    let numbers = few.filter(|few| few.kind == FewKind::Devices).flat_map(|few| &few.named);
    let id = |number: &u32| {
        let subject = arms.subjects().iter().find(|subject| subject.number == *number)?;
        (names.id)(subject)
    };
    let ids: BTreeSet<DeviceId> = numbers.filter_map(id).collect();
    let ids: Vec<&str> = ids.iter().map(DeviceId::as_str).collect();
    (!ids.is_empty()).then(|| format!("kubectl modelfleet set-aside {rollout} {}", ids.join(" ")))
}

fn of(few: &Few, arms: &Arms, names: Names<'_>, stage: &Stage) -> Vec<(String, String)> {
    let device = |number: &u32| {
        let subject = arms.subjects().iter().find(|subject| subject.number == *number)?;
        Some((format!("device {number}"), (names.id)(subject)?.to_string()))
    };
    let mut words: Vec<(String, String)> = few.named.iter().filter_map(device).collect();
    let subject = |is: &dyn Fn(&Subject) -> bool| arms.subjects().iter().find(|subject| is(subject));
    let (number, subject, labels) = match few.kind {
        FewKind::Devices => return words,
        FewKind::Stratum { number, .. } => {
            let one = subject(&|subject| subject.stratum == number);
            (format!("in stratum {number}:"), one, &stage.spread_by[..])
        }
        FewKind::Watched { label, value, .. } => {
            let place = usize::from(label);
            let one = subject(&|subject| subject.watched.get(place) == Some(&value));
            let key = stage.watch_by.get(place..=place).unwrap_or_default();
            (format!("in group {label}/{value}:"), one, key)
        }
    };
    let labels = subject.map(|subject| names.in_common(subject, labels)).filter(|labels| !labels.is_empty());
    words.extend(labels.map(|labels| (number, format!("where {labels}:"))));
    words
}
