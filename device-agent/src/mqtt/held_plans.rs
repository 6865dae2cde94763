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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::state::MODELS_MAX;
use tokio::time::Instant;
use tracing::debug;

/// A broker that has a plan sends it within this time of the subscription.
const SOONEST: Duration = Duration::from_secs(2);
/// Devices send their plans spread over so many times the spread of their reconnects, which is ten minutes by default, and
/// over ten minutes at most: a controller waits no longer than a quarter of an hour. 100 000 devices that all find an empty
/// broker send 170 plans a second, until the controller has the first one and publishes its own.
const SPREADS: u32 = 20;
const SPREAD_MAX: Duration = Duration::from_mins(10);
/// The same plan is sent once in this time: a model that was cleared on purpose has no plan at the broker either, and a line
/// that breaks often must not carry its plan each time.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// The plans that the device took last.
pub struct HeldPlans {
    /// `None`: nothing is kept, because many devices live in one process.
    dir: Option<PathBuf>,
    kept: Mutex<BTreeMap<ModelName, Kept>>,
    /// Version of the trust document under which they were looked at.
    checked_under: AtomicU64,
}

#[derive(Clone, Copy)]
struct Kept {
    order: Order,
    sent: Option<Instant>,
}

impl HeldPlans {
    /// Keeps plans in this folder, and takes those for kept that `open` finds signed by a trusted key.
    #[must_use]
    pub fn open(dir: &Path, open: impl Fn(&Bytes) -> Option<Plan>) -> HeldPlans {
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(model) = name.to_str().and_then(|name| name.parse::<ModelName>().ok()) else { continue };
            let Some(plan) = read(&entry.path()).and_then(|bytes| open(&bytes)) else { continue };
            if plan.model == model && kept.len() < MODELS_MAX {
                kept.insert(model, Kept { order: plan.order, sent: None });
            }
        }
        HeldPlans { dir: Some(dir.to_owned()), kept: Mutex::new(kept), checked_under: AtomicU64::new(0) }
    }

    /// The keys of this version of the trust document count: a plan that `open` finds signed by none of them is not kept any
    /// more. Each version is looked at once.
    pub fn check_again(&self, version: u64, open: impl Fn(&Bytes) -> Option<Plan>) {
        let Some(dir) = &self.dir else { return };
        if self.checked_under.swap(version, Ordering::Relaxed) == version {
            return;
        }
        self.lock()
            .retain(|model, _| read(&dir.join(model.as_str())).is_some_and(|bytes| open(&bytes).is_some()));
    }

    /// Keeps nothing.
    #[must_use]
    pub fn none() -> HeldPlans {
        HeldPlans { dir: None, kept: Mutex::default(), checked_under: AtomicU64::new(0) }
    }

    /// How long a device waits after its subscription before it sends its plans. `spread`: of the reconnects of the fleet;
    /// `random`: from 0 to 1.
    #[must_use]
    pub fn wait(spread: Duration, random: f64) -> Duration {
        SOONEST + spread.saturating_mul(SPREADS).min(SPREAD_MAX).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Keeps a plan that is newer than the one that is kept. A disk that takes no writes is no trouble of the plan's.
    pub fn keep(&self, plan: &Plan, envelope: &Bytes) {
        let Some(dir) = &self.dir else { return };
        let mut kept = self.lock();
        let known = kept.get(&plan.model);
        if known.is_none() && kept.len() >= MODELS_MAX
            || known.is_some_and(|known| !plan.order.replaces(&known.order))
        {
            return;
        }
        match write(dir, &plan.model, envelope) {
            Ok(()) => drop(kept.insert(plan.model.clone(), Kept { order: plan.order, sent: None })),
            Err(error) => debug!(model = %plan.model, %error, "the plan was not kept"),
        }
    }

    /// The kept plans that are to be sent now, as `is_missing` says of a model that the broker has no plan of it.
    #[must_use]
    pub fn to_send(&self, now: Instant, is_missing: impl Fn(&ModelName) -> bool) -> Vec<(ModelName, Bytes)> {
        let Some(dir) = &self.dir else { return Vec::new() };
        let mut due = Vec::new();
        for (model, kept) in self.lock().iter_mut().filter(|(model, _)| is_missing(model)) {
            let again = kept.sent.is_none_or(|sent| now.saturating_duration_since(sent) >= AGAIN_AFTER);
            if let Some(envelope) = again.then(|| read(&dir.join(model.as_str()))).flatten() {
                kept.sent = Some(now);
                due.push((model.clone(), envelope));
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, Kept>> {
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
        held.to_send(now, |_| true).into_iter().map(|(model, bytes)| (model.to_string(), bytes)).collect()
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
    fn a_plan_is_sent_once_a_day_where_the_broker_has_none() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let held = opened(dir.path());
        keep(&held, "pump", 1);
        assert!(held.to_send(now, |_| false).is_empty(), "the broker has it");
        assert_eq!(all(&held, now).len(), 1);
        assert_eq!(all(&held, now + AGAIN_AFTER / 2).len(), 0);
        assert_eq!(all(&held, now + AGAIN_AFTER).len(), 1);
        keep(&held, "pump", 2);
        assert_eq!(all(&held, now + AGAIN_AFTER).len(), 1, "another plan");
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

    #[test]
    fn no_more_models_are_kept_than_a_device_runs() {
        let dir = tempfile::tempdir().unwrap();
        let held = opened(dir.path());
        (0..MODELS_MAX + 3).for_each(|i| keep(&held, &format!("m{i}"), 1));
        assert_eq!(all(&held, Instant::now()).len(), MODELS_MAX);
    }

    #[test]
    fn devices_spread_what_they_send_and_are_done_before_the_controller_waits_no_longer() {
        let wait = |spread_s, random| HeldPlans::wait(Duration::from_secs(spread_s), random).as_secs();
        assert_eq!([wait(30, 0.0), wait(30, 1.0), wait(1, 1.0), wait(3_600, 1.0)], [2, 602, 22, 602]);
    }
}
