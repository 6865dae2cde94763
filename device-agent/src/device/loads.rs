//! Loading and self-tests run beside the loop: a model that never comes to an end stops neither plans nor a way
//! back. Each has a deadline; a thread that is stuck far beyond it can only be ended with the process.

use std::collections::BTreeMap;
use std::time::Duration;

use modelfleet_agent_core::build::Build;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::state::{Failure, FailureCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Time that any load and self-test has; as much again until the process is ended.
const PATIENCE: Duration = Duration::from_secs(120);
/// What each megabyte of a model adds to it: slow flash is no fault of the model.
const PATIENCE_PER_MEBIBYTE: Duration = Duration::from_secs(1);

/// What a build is loaded for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be asked its golden inputs.
    Admit,
    /// To answer for this model.
    Switch(ModelName),
    /// To run beside what answers for this model.
    Shadow(ModelName),
}

/// A load that came to its end.
pub(super) struct Loaded<T> {
    number: u64,
    /// What came of it; the error where the work itself fell over.
    pub outcome: Result<T, String>,
}

struct Load {
    purpose: Purpose,
    build: Build,
    patience: Duration,
    since: Instant,
    /// Nobody waits for it any more: it is late, or something else is wanted.
    dropped: bool,
}

/// The loads that run.
pub(super) struct Loads<T> {
    running: BTreeMap<u64, Load>,
    next: u64,
    done: mpsc::Sender<Loaded<T>>,
}

impl<T: Send + 'static> Loads<T> {
    /// None yet; what ends is told to `done`.
    pub fn new(done: mpsc::Sender<Loaded<T>>) -> Loads<T> {
        Loads { running: BTreeMap::new(), next: 0, done }
    }

    /// Begins a load. One for the same purpose that still runs is not waited for any more.
    pub fn begin(&mut self, purpose: Purpose, build: Build, work: impl FnOnce() -> T + Send + 'static) {
        self.drop(&purpose);
        let mebibytes = u32::try_from(build.size_bytes >> 20).unwrap_or(u32::MAX);
        let patience = PATIENCE + PATIENCE_PER_MEBIBYTE.saturating_mul(mebibytes);
        let (number, done) = (self.next, self.done.clone());
        self.next += 1;
        let load = Load { purpose, build, patience, since: Instant::now(), dropped: false };
        self.running.insert(number, load);
        let work = tokio::task::spawn_blocking(work);
        tokio::spawn(async move {
            let outcome = work.await.map_err(|e| e.to_string());
            // Without a loop nobody waits for it.
            let _ = done.send(Loaded { number, outcome }).await;
        });
    }

    /// Waits no more for loads of this purpose.
    pub fn drop(&mut self, purpose: &Purpose) {
        for load in self.running.values_mut().filter(|load| load.purpose == *purpose) {
            load.dropped = true;
        }
    }

    /// Whether a load of this build is waited for.
    pub fn is_awaited(&self, purpose: &Purpose, build: &Build) -> bool {
        self.running.values().any(|l| !l.dropped && l.purpose == *purpose && l.build.digest == build.digest)
    }

    /// What a load that has ended was for; `None` when nobody waits for it any more.
    pub fn ended(&mut self, loaded: &Loaded<T>) -> Option<(Purpose, Build)> {
        let load = self.running.remove(&loaded.number)?;
        (!load.dropped).then_some((load.purpose, load.build))
    }

    /// Loads that have had their time, each once, with what is said of them.
    pub fn late(&mut self, now: Instant) -> Vec<(Purpose, Build, Failure)> {
        let late = self.running.values_mut().filter(|l| !l.dropped && now >= l.since + l.patience);
        late.map(|load| {
            load.dropped = true;
            let detail = format!("not loaded and tested within {} s", load.patience.as_secs());
            (load.purpose.clone(), load.build.clone(), Failure::new(FailureCode::LoadRefused, detail))
        })
        .collect()
    }

    /// A build whose thread is stuck: it has had its time twice.
    pub fn stuck(&self, now: Instant) -> Option<&Build> {
        self.running.values().find(|load| now >= load.since + load.patience * 2).map(|load| &load.build)
    }

    /// When to look for late or stuck ones next.
    pub fn next_look(&self) -> Option<Instant> {
        let times = |load: &Load| if load.dropped { 2 } else { 1 };
        self.running.values().map(|load| load.since + load.patience * times(load)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::ids::Digest;

    fn build(n: u8) -> Build {
        let text = format!(
            r#"{{"model":"pump","version":"1.{n}.0","digest":"{}","uri":"https://m/{n}","sizeBytes":1000,"format":"Onnx"}}"#,
            Digest([n; 32])
        );
        Build::from(serde_json::from_str::<modelfleet_protocol::model::ModelBuild>(&text).unwrap())
    }

    #[tokio::test]
    async fn a_load_that_never_ends_is_refused_once_and_then_stuck() {
        let (done, mut ended) = mpsc::channel(4);
        let mut loads = Loads::new(done);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        loads.begin(Purpose::Admit, build(2), move || wait.recv().is_ok());
        let start = Instant::now();
        assert!(loads.late(start).is_empty() && loads.stuck(start).is_none());
        let looked = loads.next_look().unwrap();
        let late = loads.late(looked);
        assert_eq!(late.len(), 1);
        assert_eq!((&late[0].0, late[0].2.code), (&Purpose::Admit, FailureCode::LoadRefused));
        assert!(loads.late(looked).is_empty(), "it is said once");

        // Going back does not wait behind it.
        let back = Purpose::Switch("pump".parse().unwrap());
        loads.begin(back.clone(), build(1), || true);
        let first = ended.recv().await.unwrap();
        assert_eq!(
            loads.ended(&first).map(|(purpose, b)| (purpose, b.digest)),
            Some((back, build(1).digest))
        );

        assert!(loads.stuck(looked).is_none());
        assert_eq!(loads.stuck(loads.next_look().unwrap()).map(|b| b.digest), Some(build(2).digest));
        release.send(()).unwrap();
        let last = ended.recv().await.unwrap();
        assert!(loads.ended(&last).is_none(), "nobody waits for it any more");
        assert!(loads.next_look().is_none());
    }

    #[tokio::test]
    async fn a_newer_switch_takes_the_place_of_an_older_one_and_a_panic_is_an_outcome() {
        let (done, mut ended) = mpsc::channel(4);
        let mut loads = Loads::new(done);
        let switch = Purpose::Switch("pump".parse().unwrap());
        loads.begin(switch.clone(), build(2), || panic!("the engine fell over"));
        loads.begin(switch.clone(), build(1), || ());
        assert!(loads.is_awaited(&switch, &build(1)) && !loads.is_awaited(&switch, &build(2)));
        let mut seen = Vec::new();
        for _ in 0..2 {
            let loaded = ended.recv().await.unwrap();
            seen.push((loads.ended(&loaded).map(|(_, b)| b.digest), loaded.outcome.is_ok()));
        }
        seen.sort();
        assert_eq!(seen, [(None, false), (Some(build(1).digest), true)]);
    }
}
