//! A table that is read is whole, and makes a profile that counts each reading or is refused.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::register::{profile, rows};
use modelfleet_crds::model_version::Datatype;

fuzz_target!(|bytes: &[u8]| {
    let Ok(rows) = rows::read(bytes, &[]) else { return };
    assert!((0..rows.count()).all(|index| rows.row(index).len() == rows.features.len()));
    if let Ok(features) = profile::profile(&rows, Datatype::Fp32) {
        for (index, feature) in features.iter().enumerate() {
            let readings = rows.readings(index).filter(|value| !value.is_nan()).count();
            let counted: i64 = feature.counts.iter().sum();
            assert_eq!(usize::try_from(counted), Ok(readings));
            assert_eq!(feature.counts.len(), feature.edges.len() + 1);
        }
    }
});
