//! The windows of one model, kept apart by build, and what the recorders record.

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::report::INDEX_MAX;
use modelfleet_protocol::window::WindowSummary;

use super::build_windows::{BuildWindows, Cut};
use crate::agent::context::StepContext;
use crate::install::slots::SlotTable;
use crate::interface::{Output, RecordingTarget, Role};

/// Builds whose windows are kept: the one that answers, the one to go back to, the one in shadow, and one that is going.
pub(super) const BUILDS_MAX: usize = 4;

/// What the tallies rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Basis {
    /// Identifies the plan's indicators and windows.
    pub observe_id: u64,
    /// The first window of evidence.
    pub since_index: u64,
    /// Length of a window, milliseconds; 0: no plan yet.
    pub window_ms: u64,
}

/// The windows of one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObservedWindows {
    builds: Vec<BuildWindows>,
    basis: Basis,
    /// The build and window length that each recorder records.
    live: Option<(Digest, u64)>,
    shadow: Option<(Digest, u64)>,
}

impl ObservedWindows {
    pub fn restored(builds: Vec<BuildWindows>, basis: Basis) -> ObservedWindows {
        ObservedWindows { builds, basis, ..ObservedWindows::default() }
    }

    pub fn basis(&self) -> Basis {
        self.basis
    }

    pub fn builds(&self) -> &[BuildWindows] {
        &self.builds
    }

    pub fn is_empty(&self) -> bool {
        self.builds.is_empty()
    }

    pub fn of(&self, digest: &Digest) -> Option<&BuildWindows> {
        self.builds.iter().find(|windows| &windows.digest() == digest)
    }

    fn of_mut(&mut self, digest: Digest) -> &mut BuildWindows {
        let at = self.builds.iter().position(|windows| windows.digest() == digest).unwrap_or_else(|| {
            if self.builds.len() >= BUILDS_MAX {
                self.builds.remove(0);
            }
            self.builds.push(BuildWindows::new(digest));
            self.builds.len() - 1
        });
        &mut self.builds[at]
    }

    /// Forgets the windows of builds that are not on disk any more.
    pub fn keep_only(&mut self, slots: &SlotTable) {
        self.builds.retain(|windows| slots.contains(&windows.digest()));
    }

    /// The recorder closed a window of this build. Returns whether it counts.
    pub fn close_window(
        &mut self,
        digest: Digest,
        window_ms: u64,
        window: &WindowSummary,
        observe: &Observe,
        slots: &SlotTable,
        ctx: &StepContext<'_>,
    ) -> bool {
        let Some(slot) = slots.get(&digest) else { return false };
        // No right clock produces a later window, and no reader accepts it.
        if window_ms != observe.window_ms || window_ms == 0 || window.index > INDEX_MAX {
            return false;
        }
        let cut = Cut { indicators: &observe.indicators, profile: slot.build.profile.as_ref() };
        let (since, past_max) = (self.basis.since_index, ctx.limits.history_windows.max(1));
        self.of_mut(digest).add(window, since, past_max, cut);
        true
    }

    /// All that ground truth says of a window by now. Returns whether that has changed anything.
    pub fn set_truth(
        &mut self,
        digest: Digest,
        window_ms: u64,
        index: u64,
        counters: &Counters,
        observe: &Observe,
        slots: &SlotTable,
    ) -> bool {
        let Some(slot) = slots.get(&digest) else { return false };
        if window_ms != observe.window_ms || self.of(&digest).is_none() {
            return false;
        }
        let cut = Cut { indicators: &observe.indicators, profile: slot.build.profile.as_ref() };
        self.of_mut(digest).set_truth(index, counters, cut)
    }

    /// The plan has changed: works out again what counts as evidence, and by which indicators. Windows of another length
    /// are useless, and dropped. Returns whether anything changed.
    pub fn rebase(&mut self, observe: &Observe, slots: &SlotTable) -> bool {
        let window_ms = observe.window_ms;
        let since_index = observe.since.window_index(window_ms);
        let basis = Basis { observe_id: observe.id(), since_index, window_ms };
        let before = std::mem::replace(&mut self.basis, basis);
        if before == basis {
            return false;
        }
        if before.window_ms != window_ms && before.window_ms != 0 {
            self.builds.clear();
        }
        for windows in &mut self.builds {
            let profile = slots.get(&windows.digest()).and_then(|slot| slot.build.profile.as_ref());
            let cut = Cut { indicators: &observe.indicators, profile };
            windows.rebase(since_index, before.observe_id == basis.observe_id, cut);
        }
        true
    }

    /// Tells the recorder of this role what to record, if that has changed.
    pub fn record(
        &mut self,
        model: &ModelName,
        role: Role,
        digest: Option<Digest>,
        window_ms: u64,
        slots: &SlotTable,
        ctx: &mut StepContext<'_>,
    ) {
        let build = digest.and_then(|digest| slots.build(&digest));
        let wanted = build.as_ref().map(|build| (build.digest, window_ms));
        let recorded = if role == Role::Live { &mut self.live } else { &mut self.shadow };
        if *recorded != wanted {
            *recorded = wanted;
            ctx.emit(Output::Observe(RecordingTarget { model: model.clone(), build, window_ms, role }));
        }
    }
}
