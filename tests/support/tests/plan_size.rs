//! How large a plan is for a model with many features. Hosted brokers take messages of 64 to 128 KiB.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::details::{DetailsFile, INLINE_BYTES_MAX};
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::{
    Bound, Clause, EXCLUDED_MAX, LISTED_MAX, ListedRanks, Membership, NAMED_MAX, STRATA_MAX, Stratum,
};
use modelfleet_protocol::model::{FeatureProfile, Format, ModelBuild, Profile, SelfTest, Values};
use modelfleet_protocol::plan::{STABLE_FOR_MAX, StableFor};
use modelfleet_protocol::selector::Selector;
use modelfleet_test_support::pump_plan::{candidate, plan, pump_build, sealed};

/// As many as `register` takes for the reference profile.
const FEATURES: usize = 128;
/// As many bins as it makes.
const BINS: usize = 10;
/// What hosted brokers take at least.
const PLAN_BYTES_WANTED: usize = 64 * 1024;

fn sorted(mut edges: Vec<f64>) -> Vec<f64> {
    edges.sort_by(f64::total_cmp);
    edges
}

/// A build with a reference profile of 128 features and so many cases of self-test.
fn build(version: &str, cases: usize) -> ModelBuild {
    let value = |number: usize| (number as f64 * 1.234_567).sin() * 1000.0;
    let feature = |number: usize| FeatureProfile {
        name: format!("sensor-{number:03}-vibration"),
        expected_min: value(number),
        expected_max: value(number + 1),
        edges: sorted((1..BINS).map(|edge| value(number + edge)).collect()),
        counts: Bins((0..BINS).map(|bin| 4_000 + bin as u64).collect()),
    };
    let case = |case: usize| SelfTest {
        inputs: vec![Values {
            name: "features".into(),
            // The elements of an input are 32-bit floats, and are written as such.
            values: (0..FEATURES).map(|number| f64::from(value(number + case) as f32)).collect(),
            texts: Vec::new(),
        }],
        outputs: vec![Values { name: "score".into(), values: vec![value(case)], texts: Vec::new() }],
        tolerance: 1e-4,
    };
    ModelBuild {
        profile: Some(Profile { features: (0..FEATURES).map(feature).collect(), confidence: None }),
        self_test: (0..cases).map(case).collect(),
        ..pump_build(version, b"model", "https://models.example/m".into())
    }
}

/// The same with its details in a file, as a plan carries it.
fn build_with_file(version: &str, cases: usize) -> ModelBuild {
    let build = build(version, cases);
    let bytes = build.details_held().to_json();
    assert!(bytes.len() > INLINE_BYTES_MAX, "{}", bytes.len());
    let uri =
        format!("https://models.example/pump-anomaly/{version}/{}.details.json", Digest::of(&bytes).hex());
    let details = Some(DetailsFile { uri, digest: Digest::of(&bytes), size_bytes: bytes.len() as u64 });
    ModelBuild { format: Format::OnnxWithDetails, details, ..build }.as_sent()
}

/// Size of a signed plan with a stable build and a candidate, bytes.
fn bytes(build: impl Fn(&str) -> ModelBuild) -> usize {
    let plan = plan(1, Some(build("1.0.0")), Some(candidate("r", build("1.1.0"))));
    plan.check().unwrap();
    sealed(&plan).len()
}

#[test]
fn a_plan_with_two_builds_of_128_features_is_below_64_kib_when_their_details_are_in_files() {
    let (inline, full) = (bytes(|version| build(version, 0)), bytes(|version| build(version, 16)));
    let sent = bytes(|version| build_with_file(version, 16));
    println!(
        "signed plan: {inline} bytes with two profiles, {full} with 16 cases of self-test each, {sent} with files"
    );
    assert!(sent < PLAN_BYTES_WANTED && inline > PLAN_BYTES_WANTED && full <= ENVELOPE_BYTES_MAX);
    // Stable builds for eight selectors, one for all others, and a candidate.
    let own = |at: usize| StableFor {
        selector: Selector::default(),
        build: build_with_file(&format!("1.{at}.0"), 16),
    };
    let mut most =
        plan(1, Some(build_with_file("1.0.0", 16)), Some(candidate("r", build_with_file("2.0.0", 16))));
    most.stable_for = (1..=STABLE_FOR_MAX).map(own).collect();
    most.check().unwrap();
    let most = sealed(&most).len();
    println!("signed plan of ten builds with files: {most} bytes");
    assert!(most < PLAN_BYTES_WANTED, "{most}");
}

/// Whatever the stages say, a plan lists at most 512 ranks, names at most 64 devices and excludes 128.
#[test]
fn the_largest_membership_leaves_a_plan_of_two_builds_below_64_kib() {
    let mut clause = Clause::default();
    clause.ranks.extend((1..=LISTED_MAX as u64).map(|rank| u64::MAX / (LISTED_MAX as u64 + 1) * rank));
    clause.devices =
        (0..NAMED_MAX).map(|i| format!("pump-in-the-northern-hall-{i:06}").parse().unwrap()).collect();
    clause.spread_by = vec!["age".into(), "load".into()];
    clause.strata = (0..STRATA_MAX)
        .map(|i| Stratum { key: vec![format!("commissioned-{i}"), "heavy".into()], below: Bound(i as u64) })
        .collect();
    let with_names = Clause { ranks: ListedRanks::default(), devices: vec![], ..clause.clone() };
    let exclude =
        (0..EXCLUDED_MAX).map(|i| format!("pump-in-the-northern-hall-{i:06}").parse().unwrap()).collect();
    let mut candidate = candidate("r", build_with_file("1.1.0", 16));
    candidate.membership = Membership { salt: "uid/1".into(), clauses: vec![clause, with_names], exclude };
    let plan = plan(1, Some(build_with_file("1.0.0", 16)), Some(candidate));
    plan.check().unwrap();
    let sent = sealed(&plan).len();
    println!("signed plan of two builds with files and the largest membership: {sent} bytes");
    assert!(sent < PLAN_BYTES_WANTED, "{sent}");
}

#[test]
fn two_builds_with_the_largest_details_that_a_plan_carries_leave_it_below_64_kib() {
    // One feature more, and `register` writes a file.
    let of = |features: usize| {
        let build = build("1.0.0", 0);
        let mut profile = build.profile.clone().unwrap();
        profile.features.truncate(features);
        ModelBuild { profile: Some(profile), ..build }
    };
    let most =
        (1..FEATURES).filter(|&features| of(features).details_held().to_json().len() <= INLINE_BYTES_MAX);
    let most = most.max().unwrap();
    let sent = bytes(|version| ModelBuild { version: version.parse().unwrap(), ..of(most) });
    println!("signed plan with {most} features in each of two builds: {sent} bytes");
    assert!(sent < PLAN_BYTES_WANTED, "{sent}");
}
