//! Numbers for Prometheus. The names are a promise: `manifests/README.md` lists them.
//!
//! Labels are bounded: namespaces, rollouts and models that exist, and words of ours. A device is never a label.
//! What belongs to a rollout goes with it.

mod closed_windows;
mod orders;
pub mod telling;
pub mod traces;
mod trust;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use modelfleet_protocol::plan::Order;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::Channel;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use closed_windows::{HistoryMetrics, RemoteWriteMetrics};
pub use orders::OrderMetrics;
pub use trust::TrustMetrics;
pub use watch::WatchMetrics;

use telling::TellingMetrics;
use traces::TraceMetrics;

use crate::model_metrics::ModelMetrics;

/// Labels by name; every metric has a fixed list of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels(pub Vec<(&'static str, String)>);

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel as _;
        self.0.iter().try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

/// All numbers; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Model and version that each rollout is shown with.
    shown: Arc<Mutex<BTreeMap<RolloutLabels, Labels>>>,
    info: Family<Labels, Gauge>,
    phase: Family<Labels, Gauge>,
    stage: Family<Labels, Gauge>,
    devices: Family<Labels, Gauge>,
    left_out: Family<Labels, Gauge>,
    other_plan: Family<Labels, Gauge>,
    wrong_clocks: Family<Labels, Gauge>,
    plan_issued: Family<Labels, Gauge>,
    plan_expires: Family<Labels, Gauge>,
    spent: Family<Labels, Gauge>,
    /// The trust document of each fleet.
    pub trust: TrustMetrics,
    /// Orders of single devices.
    pub orders: OrderMetrics,
    /// The watch over versions in production.
    pub watch: WatchMetrics,
    /// Decisions by kind of event.
    pub decisions: Family<Labels, Counter>,
    /// Duration of reconciles.
    pub reconcile_seconds: Histogram,
    /// Failed reconciles by variant of the error.
    pub reconcile_errors: Family<Labels, Counter>,
    messages: Family<Labels, Counter>,
    /// The same, looked up once: millions of messages arrive in a row.
    by_channel: Arc<[(&'static str, Counter)]>,
    /// Messages that could not be read.
    pub malformed: Counter,
    /// Plans sent.
    pub plans: Counter,
    /// From the first evidence of a change to the plan that follows from it.
    pub evidence_to_plan_seconds: Histogram,
    /// Subscriptions that the broker refused.
    pub subscriptions_denied: Counter,
    /// How often a fleet was found not to be heard to its end after it had counted as heard.
    pub late_retained: Counter,
    /// Kinds that cannot be watched: since when, and why.
    broken_watches: Arc<Mutex<BTreeMap<String, (Instant, String)>>>,
    /// Since when the broker accepts connections and nothing of ours comes back on them.
    stuck_since: Arc<Mutex<Option<Instant>>>,
    broker_connected: Gauge,
    broker_settled: Gauge,
    index_devices: Gauge,
    /// Whether this process leads.
    pub leader: Gauge,
    /// Artifact checks by result.
    pub artifact_checks: Family<Labels, Counter>,
    /// Spans that were sent to a collector.
    pub traces: TraceMetrics,
    /// What was told to event sinks.
    pub telling: TellingMetrics,
    /// What devices measured.
    pub models: ModelMetrics,
    /// Writing of history.
    pub history: HistoryMetrics,
    /// Sending by remote write.
    pub remote_write: RemoteWriteMetrics,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// One rollout for its gauges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub rollout: String,
}

/// What the gauges of a rollout show.
pub struct RolloutNumbers<'a> {
    /// Its model.
    pub model: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its phase.
    pub phase: &'a str,
    /// Index of its stage.
    pub stage: i64,
    /// Devices by denominator.
    pub devices: [(&'static str, i64); 11],
    /// Error budget spent, millionths.
    pub spent_ppm: i64,
}

/// Every phase, so that the gauge of a phase that was left reads zero.
const PHASES: [&str; 8] = [
    "Queued",
    "Progressing",
    "AwaitingApproval",
    "Paused",
    "RollingBack",
    "RolledBack",
    "Succeeded",
    "Stalled",
];
/// What a message is counted as whose topic is none of ours.
pub const UNKNOWN_CHANNEL: &str = "unknown";
/// Denominators of [`RolloutNumbers::devices`].
const DENOMINATORS: [&str; 11] = [
    "eligible",
    "reachable",
    "offered",
    "downloaded",
    "activated",
    "confirmed",
    "failed",
    "incompatible",
    "own_trouble",
    "silent",
    "unreachable",
];

impl Metrics {
    /// All numbers at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let messages: Family<Labels, Counter> = Family::default();
        let mut registry = Registry::with_prefix("modelfleet");
        let models = ModelMetrics::new(&mut registry);
        let history = HistoryMetrics::new(&mut registry);
        let remote_write = RemoteWriteMetrics::new(&mut registry);
        let metrics = Metrics {
            registry: Arc::new(Mutex::new(registry)),
            models,
            history,
            remote_write,
            info: Family::default(),
            phase: Family::default(),
            stage: Family::default(),
            devices: Family::default(),
            left_out: Family::default(),
            other_plan: Family::default(),
            wrong_clocks: Family::default(),
            plan_issued: Family::default(),
            plan_expires: Family::default(),
            spent: Family::default(),
            trust: TrustMetrics::default(),
            orders: OrderMetrics::default(),
            telling: TellingMetrics::default(),
            traces: TraceMetrics::default(),
            watch: WatchMetrics::default(),
            decisions: Family::default(),
            reconcile_seconds: seconds(),
            reconcile_errors: Family::default(),
            by_channel: Channel::NAMES
                .into_iter()
                .chain([UNKNOWN_CHANNEL])
                .map(|channel| (channel, messages.get_or_create(&label("channel", channel)).clone()))
                .collect(),
            messages,
            malformed: Counter::default(),
            plans: Counter::default(),
            evidence_to_plan_seconds: seconds(),
            index_devices: Gauge::default(),
            subscriptions_denied: Counter::default(),
            late_retained: Counter::default(),
            broken_watches: Arc::default(),
            stuck_since: Arc::default(),
            broker_connected: Gauge::default(),
            broker_settled: Gauge::default(),
            shown: Arc::default(),
            leader: Gauge::default(),
            artifact_checks: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("rollout", "1 for each rollout, with its model and version", self.info.clone());
        r.register("rollout_phase", "1 for the phase that a rollout is in", self.phase.clone());
        r.register("rollout_stage", "Position of the current stage, from 0", self.stage.clone());
        r.register("rollout_devices", "Devices of a rollout by state", self.devices.clone());
        let help = "Devices of the fleet of a rollout that are left out, because their state breaks a limit";
        r.register("rollout_devices_left_out", help, self.left_out.clone());
        let help =
            "Connected devices of a rollout that hold another plan ten minutes after the newest was sent";
        r.register("rollout_devices_on_other_plan", help, self.other_plan.clone());
        let help = "Devices of the fleet of a rollout whose clocks are wrong by more than ten minutes";
        r.register("rollout_devices_clock_wrong", help, self.wrong_clocks.clone());
        let help = "When the plan that the broker holds was issued, in seconds since 1970";
        r.register_with_unit("plan_issued_timestamp", help, Unit::Seconds, self.plan_issued.clone());
        let help = "When the plan that the broker holds ends, in seconds since 1970";
        r.register_with_unit("plan_expires_timestamp", help, Unit::Seconds, self.plan_expires.clone());
        r.register(
            "rollout_error_budget_spent_ppm",
            "Error budget spent, in millionths of probability of a false rollback",
            self.spent.clone(),
        );
        self.trust.register(&mut r);
        self.orders.register(&mut r);
        self.telling.register(&mut r);
        self.traces.register(&mut r);
        self.watch.register(&mut r);
        r.register("decisions", "Transitions of rollouts by reason of their Event", self.decisions.clone());
        let duration = self.reconcile_seconds.clone();
        r.register_with_unit("reconcile_duration", "Duration of a reconcile", Unit::Seconds, duration);
        let errors = self.reconcile_errors.clone();
        r.register("reconcile_errors", "Failed reconciles by variant of the error", errors);
        r.register("mqtt_messages", "Messages from the broker by channel", self.messages.clone());
        r.register("mqtt_malformed", "Messages that could not be read", self.malformed.clone());
        r.register("plans_published", "Plans sent to the broker", self.plans.clone());
        let latency = self.evidence_to_plan_seconds.clone();
        let help = "Time from the first evidence of a change until the resulting plan is sent";
        r.register_with_unit("evidence_to_plan", help, Unit::Seconds, latency);
        r.register("index_devices", "Devices in the index", self.index_devices.clone());
        r.register("broker_connected", "1 while the broker is connected", self.broker_connected.clone());
        let help = "1 once all retained messages of the broker have been read";
        r.register("broker_settled", help, self.broker_settled.clone());
        let denied = self.subscriptions_denied.clone();
        r.register("broker_subscriptions_denied", "Subscriptions that the broker refused", denied);
        let help = "How often retained messages of a fleet came after all seemed to be there";
        r.register("broker_late_retained", help, self.late_retained.clone());
        r.register("leader", "1 while this process leads", self.leader.clone());
        let checks = self.artifact_checks.clone();
        r.register("artifact_checks", "Checks of artifacts by result", checks);
    }

    /// Shows a rollout.
    pub fn show(&self, at: &RolloutLabels, numbers: &RolloutNumbers<'_>) {
        let info = at.with(&[("model", numbers.model), ("version", numbers.version)]);
        self.info.get_or_create(&info).set(1);
        // A rollout under an old name, or a new attempt, may be of another version: that one's series goes.
        let before = self.shown().insert(at.clone(), info.clone());
        if let Some(before) = before.filter(|before| *before != info) {
            self.info.remove(&before);
        }
        for phase in PHASES {
            let labels = at.with(&[("phase", phase)]);
            self.phase.get_or_create(&labels).set(i64::from(phase == numbers.phase));
        }
        self.stage.get_or_create(&at.with(&[])).set(numbers.stage);
        self.spent.get_or_create(&at.with(&[])).set(numbers.spent_ppm);
        for (denominator, count) in numbers.devices {
            self.devices.get_or_create(&at.with(&[("denominator", denominator)])).set(count);
        }
    }

    /// Shows what a look at a rollout's fleet found beside the rollout's own devices.
    pub fn show_fleet(&self, at: &RolloutLabels, left_out: u64, other_plan: u64, wrong_clocks: u64) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.left_out.get_or_create(&at.with(&[])).set(signed(left_out));
        self.other_plan.get_or_create(&at.with(&[])).set(signed(other_plan));
        self.wrong_clocks.get_or_create(&at.with(&[])).set(signed(wrong_clocks));
    }

    /// Shows since when and until when the plan of a model is good; `None`: there is none.
    pub fn show_plan(&self, namespace: &str, model: &str, order: Option<&Order>) {
        let labels = Labels(vec![("namespace", namespace.to_owned()), ("model", model.to_owned())]);
        let seconds = |at: Time| i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX);
        for (gauge, at) in [
            (&self.plan_issued, order.map(|order| order.issued)),
            (&self.plan_expires, order.map(|order| order.expires)),
        ] {
            match at {
                Some(at) => {
                    gauge.get_or_create(&labels).set(seconds(at));
                }
                None => {
                    gauge.remove(&labels);
                }
            }
        }
    }

    /// The connection to the broker: whether it stands, and whether all that was retained is here.
    pub fn link(&self, connected: bool, settled: bool) {
        self.broker_connected.set(i64::from(connected));
        self.broker_settled.set(i64::from(settled));
    }

    /// What was told last of the connection, as [`Metrics::link`] takes it: no lock is asked for.
    #[must_use]
    pub fn last_link(&self) -> (bool, bool) {
        (self.broker_connected.get() == 1, self.broker_settled.get() == 1)
    }

    /// A kind cannot be watched, and why. It counts from the first time on until it is well again.
    pub fn watch_broke(&self, kind: &str, why: &str, now: Instant) {
        let mut broken = self.watches();
        let since = broken.get(kind).map_or(now, |(since, _)| *since);
        broken.insert(kind.to_owned(), (since, why.to_owned()));
    }

    /// A kind is watched.
    pub fn watch_is_well(&self, kind: &str) {
        // Asked with every event: as a rule all are.
        let mut broken = self.watches();
        if !broken.is_empty() {
            broken.remove(kind);
        }
    }

    /// A kind that cannot be watched, for how long, and why.
    #[must_use]
    pub fn broken_watch(&self, now: Instant) -> Option<(String, Duration, String)> {
        let broken = self.watches();
        let (kind, (since, why)) = broken.iter().min_by_key(|(_, (since, _))| *since)?;
        Some((kind.clone(), now.saturating_duration_since(*since), why.clone()))
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, String)>> {
        self.broken_watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker has accepted a connection: from now on messages of ours have to come back.
    pub fn broker_accepts(&self, now: Instant) {
        self.stuck().get_or_insert(now);
    }

    /// A message of ours has come back, or there is no broker that could send one.
    pub fn broker_moves(&self) {
        *self.stuck() = None;
    }

    /// For how long nothing of ours has come back from a broker that accepts connections.
    #[must_use]
    pub fn broker_stuck_for(&self, now: Instant) -> Duration {
        self.stuck().map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn stuck(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stuck_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a message from the broker; `channel` is one of [`Channel::NAMES`], or [`UNKNOWN_CHANNEL`].
    pub fn message(&self, channel: &str) {
        if let Some((_, counter)) = self.by_channel.iter().find(|(name, _)| *name == channel) {
            counter.inc();
        }
    }

    /// How many devices are in memory.
    pub fn devices(&self, devices: usize) {
        self.index_devices.set(i64::try_from(devices).unwrap_or(i64::MAX));
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<RolloutLabels, Labels>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, at: &RolloutLabels, model: &str, version: &str) {
        self.info.remove(&at.with(&[("model", model), ("version", version)]));
        if let Some(shown) = self.shown().remove(at) {
            self.info.remove(&shown);
        }
        for phase in PHASES {
            self.phase.remove(&at.with(&[("phase", phase)]));
        }
        self.models.forget(at);
        self.stage.remove(&at.with(&[]));
        self.spent.remove(&at.with(&[]));
        self.left_out.remove(&at.with(&[]));
        self.other_plan.remove(&at.with(&[]));
        self.wrong_clocks.remove(&at.with(&[]));
        self.watch.forget(at);
        for denominator in DENOMINATORS {
            self.devices.remove(&at.with(&[("denominator", denominator)]));
        }
    }

    /// All numbers as OpenMetrics text.
    ///
    /// # Errors
    /// Never, as far as a String takes what is written to it.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl RolloutLabels {
    fn with(&self, more: &[(&'static str, &str)]) -> Labels {
        let mut labels = vec![("namespace", self.namespace.clone()), ("rollout", self.rollout.clone())];
        labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Labels(labels)
    }
}

/// One label.
#[must_use]
pub fn label(name: &'static str, value: &str) -> Labels {
    Labels(vec![(name, value.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_shown_with_one_version() {
        let metrics = Metrics::new();
        let at = RolloutLabels { namespace: "plant".into(), rollout: "r".into() };
        let show = |version| {
            let devices = DENOMINATORS.map(|name| (name, 0));
            let numbers =
                RolloutNumbers { model: "m", version, phase: "Queued", stage: 0, devices, spent_ppm: 0 };
            metrics.show(&at, &numbers);
        };
        let shown = || {
            let text = metrics.text().unwrap();
            text.lines().filter(|line| line.starts_with("modelfleet_rollout{")).count()
        };
        show("1.0.0");
        show("1.1.0");
        assert_eq!(shown(), 1);
        assert!(metrics.text().unwrap().contains("version=\"1.1.0\"} 1"));
        metrics.forget(&at, "m", "1.0.0");
        assert_eq!(shown(), 0, "whatever version the object that is gone names");
    }
}
