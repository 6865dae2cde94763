//! Security floors: versions of a model that no device may run any more.
//!
//! A rollback goes to any version from the floor on. Floors only rise: what was forbidden once stays forbidden, also on a
//! device that hears an older list later.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::ids::ModelName;
use crate::model::ModelBuild;

/// Most models with a floor.
pub const FLOORS_MAX: usize = 64;

/// The lowest version of each model that may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecurityFloors(BTreeMap<ModelName, Version>);

/// Why a build may not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model} {version} may not run: versions below {floor} are forbidden for good")]
pub struct BelowFloor {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: Version,
    /// The lowest that may run.
    pub floor: Version,
}

impl SecurityFloors {
    /// Floors of these models; of a model that is named twice, the higher one. At most [`FLOORS_MAX`] of them, the first
    /// by name.
    #[must_use]
    pub fn of(floors: impl IntoIterator<Item = (ModelName, Version)>) -> SecurityFloors {
        let mut all = SecurityFloors::default();
        floors.into_iter().for_each(|(model, version)| all.raise_one(model, version));
        all.0 = all.0.into_iter().take(FLOORS_MAX).collect();
        all
    }

    /// Takes over what `newer` forbids; nothing that was forbidden is allowed again.
    pub fn raise(&mut self, newer: &SecurityFloors) {
        for (model, version) in &newer.0 {
            if self.0.len() < FLOORS_MAX || self.0.contains_key(model) {
                self.raise_one(model.clone(), version.clone());
            }
        }
    }

    fn raise_one(&mut self, model: ModelName, version: Version) {
        let floor = self.0.entry(model).or_insert_with(|| version.clone());
        // Build metadata orders nothing.
        if version.cmp_precedence(floor).is_gt() {
            *floor = version;
        }
    }

    /// The lowest version of a model that may run, if there is one.
    #[must_use]
    pub fn of_model(&self, model: &ModelName) -> Option<&Version> {
        self.0.get(model)
    }

    /// Models and their lowest versions.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelName, &Version)> {
        self.0.iter()
    }

    /// Whether there are no more than [`FLOORS_MAX`].
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.0.len() <= FLOORS_MAX
    }

    /// Passes if the build may run.
    ///
    /// # Errors
    /// When its version lies below the floor of its model.
    pub fn check(&self, build: &ModelBuild) -> Result<(), BelowFloor> {
        match self.0.get(&build.model) {
            Some(floor) if build.version.cmp_precedence(floor).is_lt() => Err(BelowFloor {
                model: build.model.clone(),
                version: build.version.clone(),
                floor: floor.clone(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(version: &str) -> ModelBuild {
        let text = format!(
            r#"{{"model":"pump","version":"{version}","digest":"sha256:{}","uri":"","sizeBytes":1,"format":"Onnx"}}"#,
            "0".repeat(64)
        );
        serde_json::from_str(&text).unwrap()
    }

    fn floors(version: &str) -> SecurityFloors {
        SecurityFloors::of([("pump".parse().unwrap(), version.parse().unwrap())])
    }

    #[test]
    fn what_lies_below_the_floor_may_not_run_and_a_way_back_above_it_may() {
        let floors = floors("1.4.0");
        for good in ["1.4.0", "1.4.0+rebuilt", "1.4.1", "2.0.0"] {
            floors.check(&build(good)).unwrap();
        }
        for bad in ["1.3.9", "1.4.0-rc.1", "0.9.0"] {
            let told = floors.check(&build(bad)).unwrap_err().to_string();
            assert!(told.contains("below 1.4.0 are forbidden for good"), "{told}");
        }
        let other = ModelBuild { model: "valve".parse().unwrap(), ..build("0.0.1") };
        floors.check(&other).unwrap();
        SecurityFloors::default().check(&build("0.0.1")).unwrap();
    }

    #[test]
    fn floors_are_bounded_and_known_ones_rise_when_there_is_no_room() {
        let model = |i: usize| -> ModelName { format!("m-{i:03}").parse().unwrap() };
        let many = |version: &str| {
            SecurityFloors::of((0..2 * FLOORS_MAX).map(|i| (model(i), version.parse().unwrap())))
        };
        let mut all = many("1.0.0");
        all.raise(&floors("1.0.0"));
        all.raise(&many("2.0.0"));
        assert_eq!(all, many("2.0.0"));
        assert_eq!(all.0.len(), FLOORS_MAX);
    }

    proptest! {
        #[test]
        fn no_order_of_lists_allows_again_what_one_of_them_forbade(
            told in proptest::collection::vec((0_u64..4, 0_u64..4), 1..6),
            asked in (0_u64..4, 0_u64..4),
        ) {
            let version = |(major, minor): (u64, u64)| Version::new(major, minor, 0);
            let mut held = SecurityFloors::default();
            for floor in &told {
                held.raise(&floors(&version(*floor).to_string()));
            }
            let build = build(&version(asked).to_string());
            let forbidden = told.iter().any(|floor| asked < *floor);
            prop_assert_eq!(held.check(&build).is_err(), forbidden);
        }
    }
}
