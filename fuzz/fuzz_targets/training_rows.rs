//! A table that is read is whole, and makes a profile that counts each reading or says what it leaves out.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::register::inputs::FilledInput;
use modelfleet_cli::register::rows::Cells;
use modelfleet_cli::register::{profile, rows};
use modelfleet_crds::model_version::{Datatype, Tensor};

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = rows::open(bytes) else { return };
    // Every third column as texts.
    let wanted: Vec<(usize, bool)> = (0..table.names.len()).map(|column| (column, column % 3 == 2)).collect();
    let Ok(rows) = table.rows(&wanted) else { return };
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
});
