//! The signed plans that the device took last, byte for byte. When a broker has none of a model that the device holds one of,
//! the device sends its own: a controller whose cluster and broker have lost what is in production gets it back, by its own
//! signature.
//!
//! A lost or rotten file harms nothing: it is left out, and other devices hold the same plan.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::state::MODELS_MAX;
use tracing::debug;

/// A broker that has a plan sends it within this time of the subscription.
const SOONEST: Duration = Duration::from_secs(2);
/// Devices send their plans spread over this time: 100 000 devices that all find an empty broker send 170 plans a second,
/// until the controller has the first one and publishes its own.
const SPREAD: Duration = Duration::from_mins(10);

/// The plans that the device took last.
pub struct HeldPlans {
    /// `None`: nothing is kept, because many devices live in one process.
    dir: Option<PathBuf>,
    orders: Mutex<BTreeMap<ModelName, Order>>,
}

impl HeldPlans {
    /// Keeps plans in this folder, and takes those for kept that `open` finds signed by a trusted key.
    #[must_use]
    pub fn open(dir: &Path, open: impl Fn(&Bytes) -> Option<Plan>) -> HeldPlans {
        let mut orders = BTreeMap::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(model) = name.to_str().and_then(|name| name.parse::<ModelName>().ok()) else { continue };
            let Some(plan) = read(&entry.path()).and_then(|bytes| open(&bytes)) else { continue };
            if plan.model == model && orders.len() < MODELS_MAX {
                orders.insert(model, plan.order);
            }
        }
        HeldPlans { dir: Some(dir.to_owned()), orders: Mutex::new(orders) }
    }

    /// Keeps nothing.
    #[must_use]
    pub fn none() -> HeldPlans {
        HeldPlans { dir: None, orders: Mutex::default() }
    }

    /// How long a device waits after its subscription before it sends its plans. `random`: from 0 to 1.
    #[must_use]
    pub fn wait(random: f64) -> Duration {
        SOONEST + SPREAD.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Keeps a plan that is newer than the one that is kept. A disk that takes no writes is no trouble of the plan's.
    pub fn keep(&self, plan: &Plan, envelope: &Bytes) {
        let Some(dir) = &self.dir else { return };
        let mut orders = self.lock();
        let known = orders.get(&plan.model);
        if known.is_none() && orders.len() >= MODELS_MAX
            || known.is_some_and(|known| !plan.order.replaces(known))
        {
            return;
        }
        match write(dir, &plan.model, envelope) {
            Ok(()) => drop(orders.insert(plan.model.clone(), plan.order)),
            Err(error) => debug!(model = %plan.model, %error, "the plan was not kept"),
        }
    }

    /// The models of which a plan is kept.
    #[must_use]
    pub fn models(&self) -> Vec<ModelName> {
        self.lock().keys().cloned().collect()
    }

    /// The kept plan of a model.
    #[must_use]
    pub fn of(&self, model: &ModelName) -> Option<Bytes> {
        read(&self.dir.as_ref()?.join(model.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Option<Bytes> {
    let bounded =
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= ENVELOPE_BYTES_MAX as u64);
    bounded.then(|| fs::read(path).ok().map(Bytes::from)).flatten()
}

/// Writes beside the old file and renames: after a power cut there is the old plan, the new one, or none.
fn write(dir: &Path, model: &ModelName, envelope: &Bytes) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    // No model has a name that begins with a point.
    let fresh = dir.join(format!(".{model}"));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(envelope)?;
    fs::rename(&fresh, dir.join(model.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(model: &str, revision: u64) -> Plan {
        let text = format!(
            r#"{{"namespace":"plant","model":"{model}","epoch":1,"revision":{revision},"issued":0,"expires":9}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn opened(dir: &Path) -> HeldPlans {
        HeldPlans::open(dir, |bytes| serde_json::from_slice(bytes).ok())
    }

    fn envelope(plan: &Plan) -> Bytes {
        serde_json::to_vec(plan).unwrap().into()
    }

    #[test]
    fn the_newest_plan_of_each_model_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let held = opened(dir.path());
        for (model, revision) in [("pump", 2), ("pump", 3), ("pump", 1), ("fan", 7)] {
            held.keep(&plan(model, revision), &envelope(&plan(model, revision)));
        }
        let again = opened(dir.path());
        let models: Vec<String> = again.models().iter().map(ToString::to_string).collect();
        assert_eq!(models, ["fan", "pump"]);
        let pump: ModelName = "pump".parse().unwrap();
        assert_eq!(again.of(&pump), Some(envelope(&plan("pump", 3))));
        again.keep(&plan("pump", 2), &envelope(&plan("pump", 2)));
        assert_eq!(again.of(&pump), Some(envelope(&plan("pump", 3))), "an older one replaces nothing");
    }

    #[test]
    fn what_is_rotten_or_too_large_or_of_another_model_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rotten"), b"{").unwrap();
        fs::write(dir.path().join("other"), envelope(&plan("pump", 1))).unwrap();
        fs::write(dir.path().join("large"), vec![b' '; ENVELOPE_BYTES_MAX + 1]).unwrap();
        assert!(opened(dir.path()).models().is_empty());
    }

    #[test]
    fn no_more_models_are_kept_than_a_device_runs() {
        let dir = tempfile::tempdir().unwrap();
        let held = opened(dir.path());
        for i in 0..MODELS_MAX + 3 {
            let plan = plan(&format!("m{i}"), 1);
            held.keep(&plan, &envelope(&plan));
        }
        assert_eq!(held.models().len(), MODELS_MAX);
    }

    #[test]
    fn devices_spread_what_they_send_over_ten_minutes() {
        assert_eq!(HeldPlans::wait(0.0), Duration::from_secs(2));
        assert_eq!(HeldPlans::wait(1.0), Duration::from_secs(602));
    }
}
