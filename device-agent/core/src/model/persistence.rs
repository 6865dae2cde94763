//! A model as it is saved, and as it is restored after a restart.

use modelfleet_protocol::ids::ModelName;

use super::ManagedModel;
use super::replies::{ReplyDeadlines, Requests};
use crate::download::Download;
use crate::install::admission::Admission;
use crate::install::attempts::AttemptLog;
use crate::install::slots::SlotTable;
use crate::interface::{Identity, Limits};
use crate::observe::windows::ObservedWindows;
use crate::persist::unsaved_windows::UnsavedWindows;
use crate::plan::orders::Orders;
use crate::report::schedule::ReportSchedule;
use crate::saved::{SavedModel, SeenOrders};
use crate::serve::engine_ends::EngineEnds;
use crate::serve::probation::ProvingTotals;
use crate::serve::serving::Serving;
use crate::serve::shadow::ShadowRun;
use crate::trust::TrustRules;

impl ManagedModel {
    /// A model that is new on this device. `seen`: the newest plans that were accepted for it.
    pub fn new(name: ModelName, seen: SeenOrders) -> ManagedModel {
        ManagedModel::from_saved(name, SavedModel { seen, ..SavedModel::default() })
    }

    /// A model as it was saved. Windows that cannot be read are left out.
    pub fn restored(
        name: ModelName,
        saved: SavedModel,
        windows: Option<&[u8]>,
        identity: &Identity,
        limits: &Limits,
        trust: &TrustRules,
    ) -> ManagedModel {
        let seen = saved.seen.attributed(trust.start_keys());
        let mut model = ManagedModel::from_saved(name, SavedModel { seen, ..saved });
        model.choose_target(identity, limits, trust);
        model.windows = windows.map_or_else(ObservedWindows::default, ObservedWindows::from_bytes);
        model
    }

    fn from_saved(name: ModelName, saved: SavedModel) -> ManagedModel {
        let SavedModel {
            seen,
            plan,
            directive,
            slots,
            active,
            attempts,
            parts,
            reverts,
            loads,
            report_sequence,
        } = saved;
        ManagedModel {
            name,
            orders: Orders::restored(seen, plan, directive),
            slots: SlotTable::restored(slots),
            attempts: AttemptLog::restored(attempts),
            download: Download::restored(parts),
            admission: Admission::default(),
            serving: Serving::restored(active.as_ref().map(|active| active.digest), loads),
            active,
            shadow: ShadowRun::default(),
            totals: ProvingTotals::default(),
            engine_ends: EngineEnds::default(),
            replies: ReplyDeadlines::default(),
            requests_before: Requests::default(),
            memory_suspect: None,
            windows: ObservedWindows::default(),
            unsaved: UnsavedWindows::default(),
            schedule: ReportSchedule::default(),
            report_sequence,
            reverts,
        }
    }

    /// What must survive a restart. The windows have a record of their own.
    pub fn saved(&self) -> SavedModel {
        SavedModel {
            seen: self.orders.seen().clone(),
            plan: self.orders.plan().cloned(),
            directive: self.orders.directive().cloned(),
            slots: self.slots.saved(),
            active: self.active.clone(),
            attempts: self.attempts.saved(),
            parts: self.download.partial().collect(),
            reverts: self.reverts,
            loads: self.serving.unfinished_loads(),
            report_sequence: self.report_sequence,
        }
    }

    pub fn windows_record(&self) -> Vec<u8> {
        self.windows.to_bytes()
    }
}
