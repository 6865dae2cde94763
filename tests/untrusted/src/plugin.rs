//! What the plugin reads: files of people.

use modelfleet_cli::commands::plan::yearly::YearlyArguments;
use modelfleet_cli::commands::{lint as lint_command, plan};
use modelfleet_cli::register::inputs::FilledInput;
use modelfleet_cli::register::model_signing::{PublisherKey, signed_digests};
use modelfleet_cli::register::rows::Cells;
use modelfleet_cli::register::{profile, rows};
use modelfleet_cli::{rollout_file, rollout_setup, yaml_file};
use modelfleet_crds::model_version::{Datatype, Tensor};
use modelfleet_judge::record::{Answer, Record};
use modelfleet_simulation::{Effort, Scenario, Setup};

const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n\
                       spec: {model: pump, version: 1.0.0, selector: {matchLabels: {age: old}}}\n";

/// The key that has signed the bundle in the corpus.
const PUBLISHER: &str = include_str!("../publisher.pem");

/// Plans by the formula, as `plan --runs 0` does: the simulation is of the same stages and takes seconds.
fn planned(setup: &Setup, scenario: &Scenario) {
    let effort = Effort { runs: 0, device_windows: 0, seed: 1 };
    let yearly = YearlyArguments { per_year: Some(12_000), per_year_expected: None };
    let _ = plan::sizing(setup, scenario, effort, yearly);
}

/// A bundle of OpenSSF Model Signing: without the key's signature none is read.
#[must_use]
pub fn model_signing(bytes: &[u8]) -> bool {
    let key = PublisherKey::of_pem(PUBLISHER).expect("a P-256 key");
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = PublisherKey::of_pem(text);
    }
    signed_digests(bytes, &key).is_ok_and(|digests| !digests.is_empty())
}

/// Any text can be checked.
#[must_use]
pub fn lint(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let _ = lint_command::lint(text);
    rollout_file::rollout_of(text).is_ok()
}

/// A Rollout that the API server would take is planned or refused.
#[must_use]
pub fn rollout(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(rollout) = rollout_file::rollout_of(text) else { return false };
    let Ok(setup) = rollout_setup::setup(&rollout) else { return false };
    planned(&setup, &Scenario::default());
    true
}

/// A scenario whose numbers are good can be planned for.
#[must_use]
pub fn scenario(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(scenario) = yaml_file::document_of::<Scenario>(text) else { return false };
    if scenario.check().is_err() {
        return false;
    }
    let rollout = rollout_file::rollout_of(ROLLOUT).expect("a good rollout");
    let setup = rollout_setup::setup(&rollout).expect("a good rollout");
    planned(&setup, &scenario);
    true
}

/// A recorded look that is read is judged again or refused, and the same each time.
#[must_use]
pub fn judge_record(bytes: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(bytes) else { return false };
    let Ok(record) = Record::from_line(line) else { return false };
    let Ok(first) = record.replay() else { return false };
    let again = record.replay().expect("it was judged before");
    assert!(Answer::of(&first) == Answer::of(&again));
    true
}

/// A table that is read is whole, and makes a profile that counts each reading or says what it leaves out.
#[must_use]
pub fn training_rows(bytes: &[u8]) -> bool {
    let Ok(table) = rows::open(bytes) else { return false };
    // Every third column as texts.
    let wanted: Vec<(usize, bool)> = (0..table.names.len()).map(|column| (column, column % 3 == 2)).collect();
    let Ok(rows) = table.rows(&wanted) else { return false };
    let tensor = Tensor { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, -1] };
    let input = FilledInput { tensor, columns: (0..rows.columns.len()).collect() };
    let profile = profile::profile(std::slice::from_ref(&input), &rows);
    let numbers = rows.columns.iter().filter_map(|column| match &column.cells {
        Cells::Numbers(numbers) => Some(numbers),
        Cells::Texts(texts) => {
            assert_eq!(texts.len(), rows.count);
            None
        }
    });
    for (numbers, feature) in numbers.zip(&profile.features) {
        assert_eq!(numbers.len(), rows.count);
        let readings = numbers.iter().filter(|value| !value.is_nan()).count();
        let counted: i64 = feature.counts.iter().sum();
        assert!(feature.edges.is_empty() || usize::try_from(counted) == Ok(readings));
        assert!(feature.edges.is_empty() || feature.counts.len() == feature.edges.len() + 1);
    }
    true
}
