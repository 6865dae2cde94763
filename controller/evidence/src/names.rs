//! The judge knows devices and strata by number; people know them by id and by label.

use modelfleet_judge::{Assessment, Few, FewKind};
use modelfleet_protocol::ids::DeviceId;

use crate::{Arms, Subject};

/// What the numbers in the judge's sentences are called.
pub struct Names<'a> {
    /// The id of a device in the arms.
    pub id: &'a dyn Fn(&Subject) -> Option<DeviceId>,
    /// The labels of a stratum, by one of its devices; empty: it has none.
    pub stratum: &'a dyn Fn(&Subject) -> String,
}

/// Puts names for the numbers of devices and strata into all sentences of an answer. What has no name keeps its number.
pub fn put_names(assessment: &mut Assessment, arms: &Arms, names: &Names<'_>) {
    let mut words: Vec<(String, String)> = Vec::new();
    for few in assessment.per_slo.iter().filter_map(|record| record.few.as_ref()) {
        words.extend(of(few, arms, names));
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

fn of(few: &Few, arms: &Arms, names: &Names<'_>) -> Vec<(String, String)> {
    let device = |number: &u32| {
        let subject = arms.subjects().iter().find(|subject| subject.number == *number)?;
        Some((format!("device {number}"), (names.id)(subject)?.to_string()))
    };
    let mut words: Vec<(String, String)> = few.named.iter().filter_map(device).collect();
    if let FewKind::Stratum { number, .. } = few.kind {
        let subject = arms.subjects().iter().find(|subject| subject.stratum == number);
        let labels = subject.map(names.stratum).filter(|labels| !labels.is_empty());
        words.extend(labels.map(|labels| (format!("in stratum {number}:"), format!("where {labels}:"))));
    }
    words
}
