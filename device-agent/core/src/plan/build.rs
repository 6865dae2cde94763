//! A handle on the description of a build that is cheap to copy.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use modelfleet_protocol::details::Details;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Plan;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::interface::FetchedDetails;

/// The description of a build. It may be part of a plan that many agents share (in the simulated world), so that a
/// slot holds a pointer and not a copy.
#[derive(Clone)]
pub struct Build(Source);

#[derive(Clone)]
enum Source {
    Stable(Arc<Plan>),
    StableFor(Arc<Plan>, usize),
    Candidate(Arc<Plan>),
    Own(Arc<ModelBuild>),
}

impl Build {
    /// The stable build of a plan.
    #[must_use]
    pub fn stable(plan: &Arc<Plan>) -> Option<Build> {
        plan.stable.is_some().then(|| Build(Source::Stable(Arc::clone(plan))))
    }

    /// The candidate build of a plan.
    #[must_use]
    pub fn candidate(plan: &Arc<Plan>) -> Option<Build> {
        plan.candidate.is_some().then(|| Build(Source::Candidate(Arc::clone(plan))))
    }

    /// The build of `plan` with this digest.
    #[must_use]
    pub fn in_plan(plan: &Arc<Plan>, digest: &Digest) -> Option<Build> {
        let own = (0..plan.stable_for.len()).map(|at| Build(Source::StableFor(Arc::clone(plan), at)));
        own.chain(Build::stable(plan)).chain(Build::candidate(plan)).find(|build| &build.digest == digest)
    }
}

impl Build {
    /// This description with the details that another description of the same bytes holds. `None`: it names another
    /// details file, whose content is not here.
    #[must_use]
    pub fn completed_from(&self, held: &Build) -> Option<Build> {
        let Some(file) = &self.details else { return Some(self.clone()) };
        let same = held.details.as_ref().is_some_and(|of| of.digest == file.digest);
        (same && held.is_complete()).then(|| Build::from(self.with_details(held.details_held())))
    }

    /// This description with the details file that was downloaded. `None`: it names another file.
    pub(crate) fn completed_by(&self, fetched: Option<&FetchedDetails>) -> Option<Build> {
        let Some(file) = &self.details else { return Some(self.clone()) };
        let fetched = fetched.filter(|fetched| fetched.file == file.digest)?;
        Some(Build::from(self.with_details(Details::clone(&fetched.details))))
    }

    /// What stands for the addresses of the build: it changes when one of them does.
    pub(crate) fn addresses(&self) -> Digest {
        match &self.details {
            None => Digest::of(self.uri.as_bytes()),
            Some(file) => Digest::of(format!("{} {}", self.uri, file.uri).as_bytes()),
        }
    }
}

impl From<ModelBuild> for Build {
    fn from(build: ModelBuild) -> Build {
        Build(Source::Own(Arc::new(build)))
    }
}

impl Deref for Build {
    type Target = ModelBuild;
    fn deref(&self) -> &ModelBuild {
        match &self.0 {
            Source::Stable(plan) => {
                plan.stable.as_ref().expect("Build::stable looked, and plans are immutable")
            }
            Source::StableFor(plan, at) => &plan.stable_for[*at].build,
            Source::Candidate(plan) => {
                &plan.candidate.as_ref().expect("Build::candidate looked, and plans are immutable").build
            }
            Source::Own(build) => build,
        }
    }
}

impl PartialEq for Build {
    fn eq(&self, other: &Build) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.model, self.version, self.digest)
    }
}

impl Serialize for Build {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Build {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Build, D::Error> {
        ModelBuild::deserialize(from).map(Build::from)
    }
}
