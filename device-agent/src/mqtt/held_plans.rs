//! The signed plans that the device took last, byte for byte. When a broker has none of a model that the device holds one of, or
//! an older one, the device sends its own: a controller whose cluster and broker have lost what is in production gets it back, by its own
//! signature.
//!
//! A lost or rotten file harms nothing: it is left out, and other devices hold the same plan.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use modelfleet_agent_core::held_plans;
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use tokio::time::Instant;
use tracing::debug;

/// The plans that the device took last.
pub struct HeldPlans {
    /// `None`: nothing is kept, because many devices live in one process.
    dir: Option<PathBuf>,
    kept: Mutex<held_plans::HeldPlans>,
    /// The core's clock counts from here.
    began: Instant,
    /// Version of the trust document under which they were looked at.
    checked_under: AtomicU64,
}

impl HeldPlans {
    /// Keeps plans in this folder, and takes those for kept that `open` finds signed by a trusted key.
    #[must_use]
    pub fn open(dir: &Path, open: impl Fn(&Bytes) -> Option<Plan>) -> HeldPlans {
        let mut kept = held_plans::HeldPlans::default();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(model) = name.to_str().and_then(|name| name.parse::<ModelName>().ok()) else { continue };
            let Some(plan) = read(&entry.path()).and_then(|bytes| open(&bytes)) else { continue };
            if plan.model == model && kept.takes(&plan) {
                kept.kept(&plan);
            }
        }
        let (kept, began) = (Mutex::new(kept), Instant::now());
        HeldPlans { dir: Some(dir.to_owned()), kept, began, checked_under: AtomicU64::new(0) }
    }

    /// The keys of this version of the trust document count: a plan that `open` finds signed by none of them is not kept any
    /// more. Each version is looked at once.
    pub fn check_again(&self, version: u64, open: impl Fn(&Bytes) -> Option<Plan>) {
        let Some(dir) = &self.dir else { return };
        if self.checked_under.swap(version, Ordering::Relaxed) == version {
            return;
        }
        self.lock()
            .keep_only(|model| read(&dir.join(model.as_str())).is_some_and(|bytes| open(&bytes).is_some()));
    }

    /// Keeps nothing.
    #[must_use]
    pub fn none() -> HeldPlans {
        let (kept, began) = (Mutex::default(), Instant::now());
        HeldPlans { dir: None, kept, began, checked_under: AtomicU64::new(0) }
    }

    /// How long a device waits after its subscription before it sends its plans. `spread`: of the reconnects of the fleet;
    /// `random`: from 0 to 1.
    #[must_use]
    pub fn wait(spread: Duration, random: f64) -> Duration {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(held_plans::wait_ms(spread_ms, random))
    }

    /// Keeps a plan that is newer than the one that is kept. A disk that takes no writes is no trouble of the plan's.
    pub fn keep(&self, plan: &Plan, envelope: &Bytes) {
        let Some(dir) = &self.dir else { return };
        let mut kept = self.lock();
        if !kept.takes(plan) {
            return;
        }
        match write(dir, &plan.model, envelope) {
            Ok(()) => kept.kept(plan),
            Err(error) => debug!(model = %plan.model, %error, "the plan was not kept"),
        }
    }

    /// The kept plans that are to be sent now. `at_broker`: the order of the plan that the broker has sent on this
    /// connection; `None`: it has sent none.
    #[must_use]
    pub fn to_send(
        &self,
        now: Instant,
        at_broker: impl Fn(&ModelName) -> Option<Order>,
    ) -> Vec<(ModelName, Bytes)> {
        let Some(dir) = &self.dir else { return Vec::new() };
        let mut kept = self.lock();
        let now_ms = now.saturating_duration_since(self.began).as_millis();
        let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        for model in kept.due(now_ms, at_broker) {
            if let Some(envelope) = read(&dir.join(model.as_str())) {
                kept.sent(&model, now_ms);
                due.push((model, envelope));
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, held_plans::HeldPlans> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn keep(held: &HeldPlans, model: &str, revision: u64) {
        held.keep(&plan(model, revision), &envelope(&plan(model, revision)));
    }

    fn all(held: &HeldPlans, now: Instant) -> Vec<(String, Bytes)> {
        held.to_send(now, |_| None).into_iter().map(|(model, bytes)| (model.to_string(), bytes)).collect()
    }

    #[test]
    fn the_newest_plan_of_each_model_survives_a_restart() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let held = opened(dir.path());
        for (model, revision) in [("pump", 2), ("pump", 3), ("pump", 1), ("fan", 7)] {
            keep(&held, model, revision);
        }
        let again = opened(dir.path());
        keep(&again, "pump", 2);
        let newest =
            [("fan", 7), ("pump", 3)].map(|(m, revision)| (m.to_owned(), envelope(&plan(m, revision))));
        assert_eq!(all(&again, now), newest, "an older one replaces nothing");
    }

    #[test]
    fn a_plan_is_not_sent_where_the_broker_has_it_and_not_at_once_again() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let held = opened(dir.path());
        keep(&held, "pump", 2);
        let at_broker = |revision: u64| move |_: &ModelName| Some(plan("pump", revision).order);
        assert!(held.to_send(now, at_broker(2)).is_empty(), "the broker has it");
        assert_eq!(held.to_send(now, at_broker(1)).len(), 1, "the broker has an older one");
        assert_eq!(all(&held, now + Duration::from_hours(12)).len(), 0);
        assert_eq!(all(&held, now + Duration::from_hours(25)).len(), 1);
    }

    #[test]
    fn what_is_rotten_or_too_large_or_of_another_model_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rotten"), b"{").unwrap();
        fs::write(dir.path().join("other"), envelope(&plan("pump", 1))).unwrap();
        fs::write(dir.path().join("large"), vec![b' '; ENVELOPE_BYTES_MAX + 1]).unwrap();
        assert!(all(&opened(dir.path()), Instant::now()).is_empty());
    }

    #[test]
    fn a_plan_whose_key_counts_no_more_gives_way_to_an_older_one_of_another_key() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let held = opened(dir.path());
        keep(&held, "pump", u64::MAX);
        keep(&held, "fan", 1);
        let counts = |bytes: &Bytes| {
            serde_json::from_slice(bytes).ok().filter(|plan: &Plan| plan.order.revision < u64::MAX)
        };
        held.check_again(1, counts);
        assert_eq!(all(&held, now).len(), 1, "the fan's");
        keep(&held, "pump", 7);
        assert_eq!(all(&held, now), [("pump".to_owned(), envelope(&plan("pump", 7)))]);
    }
}
