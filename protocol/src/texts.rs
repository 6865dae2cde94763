//! How long the texts of a plan may be. A device repeats some of them in its state, which has room for all its models
//! only while each text is short.

use crate::model::{ModelBuild, Profile, SelfTest};
use crate::plan::{Candidate, Plan};

/// Longest name: of an attempt, a tensor, a feature, a filter, an indicator, an engine or an operator set; bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Longest text of a version, bytes.
pub const VERSION_BYTES_MAX: usize = 256;
/// Longest address or signature, bytes.
pub const ADDRESS_BYTES_MAX: usize = 8192;

fn name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
}

/// The first text of a plan that is too long, if any. The texts of its builds are not looked at.
pub(crate) fn too_long(plan: &Plan) -> Option<&'static str> {
    let short = |candidate: &Candidate| name(&candidate.rollout) && name(&candidate.membership.salt);
    let spread = |candidate: &Candidate| {
        let strata = candidate.membership.clauses.iter().flat_map(|clause| &clause.spread_by);
        strata.into_iter().all(|key| name(key))
    };
    let indicators = plan.observe.indicators.iter();
    let feature = |feature: &Option<String>| feature.as_deref().is_none_or(name);
    let rules: [(bool, &str); 3] = [
        (plan.candidate.iter().all(short), "the name of an attempt is too long"),
        (plan.candidate.iter().all(spread), "the name of a label is too long"),
        (
            indicators.clone().all(|i| name(&i.name) && feature(&i.feature)),
            "the name of an indicator is too long",
        ),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

/// The first text of a build that is too long, if any.
pub(crate) fn too_long_in(build: &ModelBuild) -> Option<&'static str> {
    let labels = build.device_labels.iter().flat_map(|(key, value)| [key, value]);
    let tensors = build.inputs.iter().chain(&build.outputs);
    let decision = build.decision.iter().flat_map(|d| [Some(&d.output), d.confidence.as_ref()]).flatten();
    let filters = build.pre_filters.iter().flat_map(|filter| [&filter.name, &filter.feature]);
    let names = labels
        .chain(build.engines.iter())
        .chain(build.opsets.keys())
        .chain(tensors.flat_map(|tensor| [&tensor.name, &tensor.datatype]))
        .chain(decision)
        .chain(filters);
    let details = build.details.iter().map(|file| &file.uri);
    let mut addresses = build.signatures.iter().chain([&build.uri]).chain(details);
    let version = build.version.pre.len() + build.version.build.len();
    if !names.into_iter().all(|text| name(text)) {
        return Some("a name in a build is too long");
    }
    if !addresses.all(|text| text.len() <= ADDRESS_BYTES_MAX) {
        return Some("the address or a signature of a build is too long");
    }
    (version > VERSION_BYTES_MAX).then_some("the version of a build is too long")
}

/// The first text of a build's details that is too long, if any.
pub(crate) fn too_long_in_details(self_test: &[SelfTest], profile: Option<&Profile>) -> Option<&'static str> {
    let tests = self_test.iter().flat_map(|test| test.inputs.iter().chain(&test.outputs));
    let features = profile.into_iter().flat_map(|profile| &profile.features);
    let mut names = tests.map(|values| &values.name).chain(features.map(|feature| &feature.name));
    (!names.all(|text| name(text))).then_some("a name in a build is too long")
}
