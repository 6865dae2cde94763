//! The details of a build: its self-test and its reference profile. Small ones are part of the plan. Large ones are in a
//! file beside the model, which the plan names by its digest, so that a plan stays below what brokers take.

use serde::{Deserialize, Serialize};

use crate::bins::EDGES_MAX;
use crate::ids::Digest;
use crate::model::{ModelBuild, Profile, SelfTest};
use crate::texts;

/// Most bytes of a details file; a larger one is not downloaded.
pub const DETAILS_BYTES_MAX: u64 = 1024 * 1024;
/// Details of more bytes than these are in a file. Two builds whose details are in their plan then leave it below 64 KiB,
/// which hosted brokers take.
pub const INLINE_BYTES_MAX: usize = 8 * 1024;
/// Most features of a reference profile.
const FEATURES_MAX: usize = 4096;

/// The file with the details of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetailsFile {
    /// Where it is.
    pub uri: String,
    /// What its bytes must hash to.
    pub digest: Digest,
    /// How many bytes there are, at most [`DETAILS_BYTES_MAX`].
    pub size_bytes: u64,
}

/// The details of a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Golden inputs and what the model must answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub self_test: Vec<SelfTest>,
    /// What the training data looked like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Why bytes are no details, although their digest is right.
#[derive(Debug, thiserror::Error)]
pub enum DetailsError {
    /// More bytes than a details file may have.
    #[error("the details file has {0} bytes; at most {DETAILS_BYTES_MAX} are allowed")]
    Size(u64),
    /// Not the JSON of details.
    #[error("the details file cannot be read")]
    Json(#[source] serde_json::Error),
    /// A list longer than its bound, or parts that contradict each other.
    #[error("the details file is invalid: {0}")]
    Content(&'static str),
}

impl Details {
    /// Reads a details file and holds its bounds.
    ///
    /// # Errors
    /// When it is too large, no details, or beyond a bound.
    pub fn from_json(bytes: &[u8]) -> Result<Details, DetailsError> {
        if bytes.len() as u64 > DETAILS_BYTES_MAX {
            return Err(DetailsError::Size(bytes.len() as u64));
        }
        let details: Details = serde_json::from_slice(bytes).map_err(DetailsError::Json)?;
        if details.is_empty() {
            return Err(DetailsError::Content("it has neither a self-test nor a reference profile"));
        }
        details.broken_bound().map_or(Ok(details), |what| Err(DetailsError::Content(what)))
    }

    /// The bytes of a details file.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("details have no maps, and numbers and texts always serialize")
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.self_test.is_empty() && self.profile.is_none()
    }

    fn broken_bound(&self) -> Option<&'static str> {
        broken_bound(&self.self_test, self.profile.as_ref())
    }
}

impl ModelBuild {
    /// The details that this description holds; empty if there are none, or if they are in a file only.
    #[must_use]
    pub fn details_held(&self) -> Details {
        Details { self_test: self.self_test.clone(), profile: self.profile.clone() }
    }

    /// This description with the content of its details file.
    #[must_use]
    pub fn with_details(&self, details: Details) -> ModelBuild {
        ModelBuild { self_test: details.self_test, profile: details.profile, ..self.clone() }
    }

    /// The description as a plan carries it: without details that are in a file.
    #[must_use]
    pub fn as_sent(mut self) -> ModelBuild {
        if self.details.is_some() {
            (self.self_test, self.profile) = (Vec::new(), None);
        }
        self
    }

    /// Whether nothing of the build's details is missing here. A device does not load a build before.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.details.is_none() || !self.self_test.is_empty() || self.profile.is_some()
    }
}

/// The first bound of a build's details that is broken, if any.
pub(crate) fn broken_bound(self_test: &[SelfTest], profile: Option<&Profile>) -> Option<&'static str> {
    if let Some(what) = texts::too_long_in_details(self_test, profile) {
        return Some(what);
    }
    let well_formed = profile.is_none_or(well_formed);
    (!well_formed).then_some("the bins of a reference profile are wrong")
}

fn well_formed(profile: &Profile) -> bool {
    let sorted = |edges: &[f64]| edges.windows(2).all(|w| w[0] < w[1]) && edges.len() <= EDGES_MAX;
    profile.features.len() <= FEATURES_MAX
        && profile.features.iter().all(|f| sorted(&f.edges) && f.counts.0.len() == f.edges.len() + 1)
        && profile.confidence.iter().all(|c| sorted(&c.edges) && c.counts.0.len() == c.edges.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bins::Bins;
    use crate::model::{FeatureProfile, Values};

    fn feature(edges: Vec<f64>, counts: usize) -> FeatureProfile {
        let counts = Bins(vec![1; counts]);
        FeatureProfile { name: "vibration".into(), expected_min: 0.1, expected_max: 1.0, edges, counts }
    }

    fn of(features: Vec<FeatureProfile>) -> Details {
        Details { profile: Some(Profile { features, confidence: None }), ..Details::default() }
    }

    #[test]
    fn details_survive_the_file_bit_by_bit() {
        let values = |values| Values { name: "x".into(), values, texts: Vec::new() };
        let case = SelfTest {
            inputs: vec![values(vec![0.1 + 0.2, f64::NAN, 1e-300])],
            outputs: vec![values(vec![1.0 / 3.0])],
            tolerance: 1e-4,
        };
        let details = Details { self_test: vec![case], ..of(vec![feature(vec![0.1, 0.3], 3)]) };
        assert_eq!(Details::from_json(&details.to_json()).unwrap(), details);
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let long = "x".repeat(texts::NAME_BYTES_MAX + 1);
        let named = of(vec![FeatureProfile { name: long, ..feature(vec![0.1], 2) }]);
        for bad in [
            b"".to_vec(),
            b"{}".to_vec(),
            b"{\"profile\":1}".to_vec(),
            of(vec![feature(vec![0.2, 0.1], 3)]).to_json(),
            of(vec![feature(vec![0.2], 3)]).to_json(),
            named.to_json(),
            vec![b' '; usize::try_from(DETAILS_BYTES_MAX).unwrap() + 1],
        ] {
            assert!(
                Details::from_json(&bad).is_err(),
                "{}",
                String::from_utf8_lossy(&bad[..bad.len().min(80)])
            );
        }
    }
}
