//! The builds on disk: two slots per model, and which build stays in them.
//!
//! | active build | the other slot holds | a build that is wanted and not on disk |
//! |---|---|---|
//! | none | the build that is wanted | is downloaded |
//! | on probation, or never stable | the build to go back to | waits for the end of the probation, unless there is no build to go back to |
//! | stable and proven | the build that is wanted; else the last that ran well | is downloaded, and takes the place |
//!
//! During a switch both the old and the new build count as active. A build that may not run holds no slot. Nothing is downloaded
//! before there is a slot for it, so a build that is wanted is never deleted again.

use std::sync::Arc;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;

use crate::plan::build::Build;
use crate::plan::orders::Orders;
use crate::saved::Slot;

/// Builds per model.
const SLOTS_MAX: usize = 2;

/// The builds of one model that are on disk, complete and verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotTable {
    slots: Vec<Slot>,
}

/// What each build is used for at the moment.
pub(crate) struct SlotUses<'a> {
    pub active: Option<Digest>,
    /// The build that answers.
    pub serving: Option<Digest>,
    /// The build that the shell is switching to.
    pub switching: Option<Digest>,
    pub shadow: Option<Digest>,
    /// The build that is wanted, unless its attempt has ended.
    pub wanted: Option<Digest>,
    /// The build to go back to.
    pub way_back: Option<Digest>,
    pub orders: &'a Orders,
}

/// How important it is to keep a build on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Retention {
    /// It may not run, and is unused: deleted in any case.
    None,
    /// Neither proven nor wanted: stays while there is room.
    Low,
    /// It ran well on this device: stays while there is room.
    Proven,
    /// It is about to be loaded, or runs in shadow.
    Wanted,
    /// The device goes back to it if the active build fails.
    WayBack,
    /// It answers, or is about to.
    Active,
}

impl SlotTable {
    pub fn restored(slots: Vec<Slot>) -> SlotTable {
        SlotTable { slots }
    }

    pub fn saved(&self) -> Vec<Slot> {
        self.slots.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn builds(&self) -> impl Iterator<Item = &ModelBuild> {
        self.slots.iter().map(|slot| &*slot.build)
    }

    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.slots.iter().map(|slot| slot.build.digest)
    }

    pub fn get(&self, digest: &Digest) -> Option<&Slot> {
        self.slots.iter().find(|slot| &slot.build.digest == digest)
    }

    fn get_mut(&mut self, digest: &Digest) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| &slot.build.digest == digest)
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.get(digest).is_some()
    }

    /// Whether all that this description of a build names is on disk: its bytes, and its details file if it has one.
    pub fn holds(&self, build: &Build) -> bool {
        self.get(&build.digest).is_some_and(|slot| build.completed_from(&slot.build).is_some())
    }

    /// The description of a build on disk.
    pub fn build(&self, digest: &Digest) -> Option<Build> {
        self.get(digest).map(|slot| slot.build.clone())
    }

    pub fn is_proven(&self, digest: &Digest) -> bool {
        self.get(digest).is_some_and(|slot| slot.proven)
    }

    pub fn is_stable(&self, digest: &Digest) -> bool {
        self.get(digest).is_some_and(|slot| slot.stable)
    }

    /// Adds a build whose download is complete. If its bytes are there already, only its description changes.
    pub fn add(&mut self, build: Build, stable: bool) {
        match self.get_mut(&build.digest) {
            Some(slot) => slot.build = build,
            None => {
                let (engine, activated) = (String::new(), Time::ZERO);
                self.slots.push(Slot { build, stable, proven: false, engine, activated });
            }
        }
    }

    /// Removes a build. Returns whether it was there.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.slots.len();
        self.slots.retain(|slot| &slot.build.digest != digest);
        self.slots.len() != before
    }

    /// A plan calls the build stable.
    pub fn mark_stable(&mut self, digest: &Digest) {
        if let Some(slot) = self.get_mut(digest) {
            slot.stable = true;
        }
    }

    /// Whether the build has come through probation here.
    pub fn set_proven(&mut self, digest: &Digest, proven: bool) {
        if let Some(slot) = self.get_mut(digest) {
            slot.proven = proven;
        }
    }

    pub fn set_engine(&mut self, digest: &Digest, engine: String) {
        if let Some(slot) = self.get_mut(digest) {
            slot.engine = engine;
        }
    }

    /// The build answers since `activated`, with this engine (empty: the same as before). Returns whether that is new.
    pub fn started(&mut self, digest: &Digest, activated: Time, engine: String) -> bool {
        let Some(slot) = self.get_mut(digest) else { return false };
        let other_engine = !engine.is_empty() && slot.engine != engine;
        let changed = slot.activated != activated || other_engine;
        slot.activated = activated;
        if other_engine {
            slot.engine = engine;
        }
        changed
    }

    /// Takes the descriptions of builds from the newest plan, so that older plans can be freed. A description that names
    /// another details file comes with that file: until then the build keeps the one that it was tested by.
    pub fn describe_from(&mut self, plan: &Arc<Plan>) {
        for slot in &mut self.slots {
            let described = Build::in_plan(plan, &slot.build.digest);
            if let Some(build) = described.and_then(|build| build.completed_from(&slot.build)) {
                slot.build = build;
            }
        }
    }

    /// The build to go back to from `active`: it has come through probation here, and may run. The plan's
    /// stable build comes first.
    pub fn way_back(&self, active: Option<&Digest>, orders: &Orders) -> Option<&Slot> {
        self.slots
            .iter()
            .filter(|s| Some(&s.build.digest) != active && s.proven && !orders.bars(&s.build.digest))
            .max_by_key(|s| (Some(s.build.digest) == orders.stable(), s.stable))
    }

    /// The build that ran before `candidate`.
    pub fn ran_before(&self, candidate: &Digest, stable: Option<Digest>) -> Option<&Slot> {
        let others = self.slots.iter().filter(|slot| &slot.build.digest != candidate && slot.proven);
        others.max_by_key(|slot| (Some(slot.build.digest) == stable, slot.activated))
    }

    /// Whether no other build here has come through probation.
    pub fn has_no_other_proven(&self, digest: &Digest) -> bool {
        self.slots.iter().all(|slot| &slot.build.digest == digest || !slot.proven)
    }

    /// Whether there is a slot for a build that is wanted and not on disk.
    pub fn has_room(&self, uses: &SlotUses<'_>) -> bool {
        let taken = self.slots.iter().filter(|slot| self.retention(slot, uses) > Retention::Wanted);
        taken.count() < SLOTS_MAX
    }

    /// Builds that must be deleted.
    pub fn surplus(&self, uses: &SlotUses<'_>) -> Vec<Digest> {
        let rank = |slot: &Slot| (self.retention(slot, uses), slot.build.digest);
        let mut ranked: Vec<(Retention, Digest)> = self.slots.iter().map(rank).collect();
        ranked.sort_by_key(|r| std::cmp::Reverse(r.0));
        let goes = |(i, (retention, digest)): (usize, (Retention, Digest))| {
            let no_room = i >= SLOTS_MAX && retention < Retention::Wanted;
            (retention == Retention::None || no_room).then_some(digest)
        };
        ranked.into_iter().enumerate().filter_map(goes).collect()
    }

    fn retention(&self, slot: &Slot, uses: &SlotUses<'_>) -> Retention {
        let digest = Some(slot.build.digest);
        let settled = uses.active.is_some_and(|active| self.is_stable(&active) && self.is_proven(&active));
        if [uses.active, uses.serving, uses.switching].contains(&digest) {
            Retention::Active
        } else if uses.orders.bars(&slot.build.digest) {
            Retention::None
        } else if uses.way_back == digest && !settled {
            Retention::WayBack
        } else if [uses.wanted, uses.shadow].contains(&digest) {
            Retention::Wanted
        } else if slot.proven {
            Retention::Proven
        } else {
            Retention::Low
        }
    }
}
