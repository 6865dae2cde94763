//! Devices that cannot run a build, and why: reported before it is offered to any device.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use modelfleet_protocol::admission;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::state::{FailureCode, Phase};

use crate::fleet::Fleet;
use crate::intern::Number;
use crate::view::Lens;

/// Most reasons that are told; the rest are counted.
const REASONS_MAX: usize = 4;

/// Devices of a stage that cannot run a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unable {
    /// How many.
    pub devices: u64,
    /// Why, with how many, the most frequent first, for people.
    pub why: String,
}

/// Devices with one reason, and that reason as one of them has it.
type Reasons = BTreeMap<FailureCode, (u64, String)>;

impl Fleet {
    /// Of the devices that the stage could draw, those that cannot run `build`: as they found out themselves in this
    /// attempt, or as labels and capabilities tell beforehand.
    #[must_use]
    pub fn unable(&self, lens: &Lens<'_>, build: &ModelBuild) -> Unable {
        let model = self.texts.models.find(lens.model);
        let attempt = self.texts.rollouts.find(&lens.attempt.to_owned());
        // What depends on labels and capabilities alone is worked out once for each pair.
        let mut known: BTreeMap<(Number, Number), Option<(FailureCode, String)>> = BTreeMap::new();
        let mut reasons = Reasons::new();
        let matching = self.matching(lens.selector);
        for (_, device) in self.devices.devices() {
            if !matching.get(device.labels as usize).copied().unwrap_or(false) {
                continue;
            }
            let tried = model.and_then(|model| device.model(model)?.attempt);
            let tried = tried.filter(|tried| Some(tried.rollout) == attempt);
            let told = tried.filter(|tried| tried.phase == Phase::Incompatible).and_then(|tried| tried.code);
            let foreseen = || {
                let refusal = known.entry((device.labels, device.capabilities)).or_insert_with(|| {
                    // Who tells of no engine at all may not have told yet.
                    let can = self.texts.capabilities.get(device.capabilities);
                    let can = can.filter(|can| !can.engines.is_empty())?;
                    let labels = self.texts.labels.get(device.labels)?;
                    let refused = admission::check(labels, can, build, Mode::Live).err()?;
                    Some((refused.code, refused.detail))
                });
                refusal.clone()
            };
            let Some((code, why)) = told.map(|code| (code, lacks(code).to_owned())).or_else(foreseen) else {
                continue;
            };
            reasons.entry(code).or_insert((0, why)).0 += 1;
        }
        unable_from(reasons)
    }
}

fn unable_from(reasons: Reasons) -> Unable {
    let devices = reasons.values().map(|(count, _)| count).sum();
    let mut list: Vec<(u64, String)> = reasons.into_values().collect();
    list.sort_by_key(|(count, _)| Reverse(*count));
    let more: u64 = list.iter().skip(REASONS_MAX).map(|(count, _)| count).sum();
    let mut parts: Vec<String> =
        list.into_iter().take(REASONS_MAX).map(|(count, why)| format!("{count} because {why}")).collect();
    if more > 0 {
        parts.push(format!("{more} for other reasons"));
    }
    Unable { devices, why: parts.join(", ") }
}

/// What a device that found out itself lacks; it gave the detail, which is not kept.
fn lacks(code: FailureCode) -> &'static str {
    match code {
        FailureCode::EngineMissing => "they have no engine that runs it",
        FailureCode::OpsetMissing => "their engine lacks an operator set that the model imports",
        FailureCode::OperatorMissing => "their engine lacks an operator that the model uses",
        FailureCode::MemoryShort => "they have too little memory for it",
        FailureCode::LabelMissing => "they lack a label that the version requires",
        FailureCode::FormatUnknown => "their agent does not support its format",
        FailureCode::VersionForbidden => "their trust document forbids the version for good",
        _ => "they gave no reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reasons_come_first_and_the_rest_is_counted() {
        let codes = [
            FailureCode::EngineMissing,
            FailureCode::OpsetMissing,
            FailureCode::OperatorMissing,
            FailureCode::MemoryShort,
            FailureCode::LabelMissing,
            FailureCode::FormatUnknown,
        ];
        let reasons = codes.iter().zip(1..).map(|(code, n)| (*code, (n, lacks(*code).to_owned()))).collect();
        let unable = unable_from(reasons);
        assert_eq!(unable.devices, 21);
        assert_eq!(
            unable.why,
            "6 because their agent does not support its format, 5 because they lack a label that the version requires, 4 because \
             they have too little memory for it, 3 because their engine lacks an operator that the model uses, 3 for \
             other reasons"
        );
        assert_eq!(unable_from(Reasons::new()), Unable::default());
    }
}
