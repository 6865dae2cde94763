//! Loading and self-tests run on threads of their own: a model that hangs stops neither plans, nor other models, nor going
//! back. Each has a deadline. A thread that hangs far beyond it can only be ended with the process.
//!
//! A build that must answer is loaded at once. Other loads are queued, and a few run at a time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use modelfleet_agent_core::build::Build;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{Failure, FailureCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Time limit of a load with its self-test. After twice this time, the process is ended.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Each megabyte of a model adds this to it: slow flash memory is no fault of the model.
const TIME_LIMIT_PER_MEBIBYTE: Duration = Duration::from_secs(1);
/// Loads that run at a time, besides those of builds that must answer.
const SIDE_BY_SIDE_MAX: usize = 2;

/// What a build is loaded for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To test it, for this model.
    Admit(ModelName),
    /// To answer requests for this model.
    Switch(ModelName),
    /// To run in shadow for this model.
    Shadow(ModelName),
}

/// A load that has ended.
pub(super) struct Loaded<T> {
    number: u64,
    /// Its result; an error if the work panicked.
    pub outcome: Result<T, String>,
}

/// What a load that has ended was for.
#[derive(Debug)]
pub(super) struct Ended {
    pub purpose: Purpose,
    pub build: Build,
    /// No other load ran at the same time, so the memory that the process took belongs to this one.
    pub alone: bool,
}

struct Load {
    purpose: Purpose,
    build: Build,
    time_limit: Duration,
    since: Instant,
    alone: bool,
    /// Its result is not needed any more: it is late, or another build is wanted.
    dropped: bool,
}

type Work<T> = Box<dyn FnOnce() -> T + Send + Sync>;

struct Waiting<T> {
    purpose: Purpose,
    build: Build,
    work: Work<T>,
}

/// The loads that run, and those that wait.
pub(super) struct Loads<T> {
    running: BTreeMap<u64, Load>,
    waiting: VecDeque<Waiting<T>>,
    next: u64,
    done: mpsc::Sender<Loaded<T>>,
}

impl<T: Send + 'static> Loads<T> {
    /// No loads yet. Those that end are sent to `done`.
    pub fn new(done: mpsc::Sender<Loaded<T>>) -> Loads<T> {
        Loads { running: BTreeMap::new(), waiting: VecDeque::new(), next: 0, done }
    }

    /// Starts a load, or queues it. If the same load is under way, it goes on; a load of another build for the same purpose
    /// is dropped.
    pub fn begin(
        &mut self,
        purpose: Purpose,
        build: Build,
        work: impl FnOnce() -> T + Send + Sync + 'static,
    ) {
        if self.is_awaited(&purpose, &build) {
            return;
        }
        self.drop(&purpose);
        self.waiting.push_back(Waiting { purpose, build, work: Box::new(work) });
        self.take_turns();
    }

    fn take_turns(&mut self) {
        loop {
            let counts = |l: &Load| !l.dropped && !matches!(l.purpose, Purpose::Switch(_));
            let room = self.running.values().filter(|l| counts(l)).count() < SIDE_BY_SIDE_MAX;
            let may = |w: &Waiting<T>| room || matches!(w.purpose, Purpose::Switch(_));
            let Some(next) = self.waiting.iter().position(may).and_then(|at| self.waiting.remove(at)) else {
                return;
            };
            self.start(next);
        }
    }

    fn start(&mut self, Waiting { purpose, build, work }: Waiting<T>) {
        let mebibytes = u32::try_from(build.size_bytes >> 20).unwrap_or(u32::MAX);
        let time_limit = TIME_LIMIT + TIME_LIMIT_PER_MEBIBYTE.saturating_mul(mebibytes);
        let (number, done) = (self.next, self.done.clone());
        self.next += 1;
        let alone = self.running.is_empty();
        self.running.values_mut().for_each(|load| load.alone = false);
        let load = Load { purpose, build, time_limit, since: Instant::now(), alone, dropped: false };
        self.running.insert(number, load);
        let work = tokio::task::spawn_blocking(work);
        tokio::spawn(async move {
            let outcome = work.await.map_err(|e| e.to_string());
            // Without a loop nothing waits for it.
            let _ = done.send(Loaded { number, outcome }).await;
        });
    }

    /// Drops the loads of this purpose.
    pub fn drop(&mut self, purpose: &Purpose) {
        self.drop_those(|p, _| p == purpose);
    }

    /// Drops the load of this build.
    pub fn drop_build(&mut self, purpose: &Purpose, digest: &Digest) {
        self.drop_those(|p, build| p == purpose && build.digest == *digest);
    }

    fn drop_those(&mut self, which: impl Fn(&Purpose, &Build) -> bool) {
        for load in self.running.values_mut().filter(|load| which(&load.purpose, &load.build)) {
            load.dropped = true;
        }
        self.waiting.retain(|load| !which(&load.purpose, &load.build));
        self.take_turns();
    }

    /// Whether a load of this build is under way or queued.
    pub fn is_awaited(&self, purpose: &Purpose, build: &Build) -> bool {
        let same = |p: &Purpose, b: &Build| p == purpose && b.digest == build.digest;
        self.running.values().any(|l| !l.dropped && same(&l.purpose, &l.build))
            || self.waiting.iter().any(|w| same(&w.purpose, &w.build))
    }

    /// The purpose of a load that has ended; `None` if it was dropped.
    pub fn ended(&mut self, loaded: &Loaded<T>) -> Option<Ended> {
        let load = self.running.remove(&loaded.number)?;
        self.take_turns();
        let Load { purpose, build, alone, dropped, .. } = load;
        (!dropped).then_some(Ended { purpose, build, alone })
    }

    /// Loads that exceeded their time limit, each once, with the failure to report.
    pub fn late(&mut self, now: Instant) -> Vec<(Purpose, Build, Failure)> {
        let late = self.running.values_mut().filter(|l| !l.dropped && now >= l.since + l.time_limit);
        let late = late.map(|load| {
            load.dropped = true;
            let detail = format!("loading and testing took more than {} s", load.time_limit.as_secs());
            (load.purpose.clone(), load.build.clone(), Failure::new(FailureCode::LoadRefused, detail))
        });
        let late = late.collect();
        self.take_turns();
        late
    }

    /// A build whose load hangs: it has taken twice its time limit.
    pub fn stuck(&self, now: Instant) -> Option<&Build> {
        self.running.values().find(|load| now >= load.since + load.time_limit * 2).map(|load| &load.build)
    }

    /// When to check for late or hanging loads next.
    pub fn next_look(&self) -> Option<Instant> {
        let times = |load: &Load| if load.dropped { 2 } else { 1 };
        self.running.values().map(|load| load.since + load.time_limit * times(load)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// A load that lasts until it is released.
    fn hang() -> (std::sync::mpsc::Sender<()>, impl FnOnce() -> bool + Send + Sync) {
        let (release, wait) = std::sync::mpsc::channel();
        let wait = std::sync::Mutex::new(wait);
        (release, move || wait.into_inner().is_ok_and(|wait| wait.recv().is_ok()))
    }

    fn admit(model: &str) -> Purpose {
        Purpose::Admit(model.parse().unwrap())
    }

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
        let (release, hung) = hang();
        loads.begin(admit("pump"), build(2), hung);
        let start = Instant::now();
        assert!(loads.late(start).is_empty() && loads.stuck(start).is_none());
        let looked = loads.next_look().unwrap();
        let late = loads.late(looked);
        assert_eq!(late.len(), 1);
        assert_eq!((&late[0].0, late[0].2.code), (&admit("pump"), FailureCode::LoadRefused));
        assert!(loads.late(looked).is_empty(), "it is said once");

        // Going back does not wait behind it.
        let back = Purpose::Switch("pump".parse().unwrap());
        loads.begin(back.clone(), build(1), || true);
        let first = ended.recv().await.unwrap();
        assert_eq!(
            loads.ended(&first).map(|ended| (ended.purpose, ended.build.digest)),
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
            seen.push((loads.ended(&loaded).map(|ended| ended.build.digest), loaded.outcome.is_ok()));
        }
        seen.sort();
        assert_eq!(seen, [(None, false), (Some(build(1).digest), true)]);
    }

    #[tokio::test]
    async fn every_model_is_loaded_whatever_else_is_and_hung_ones_give_way() {
        let (done, mut ended) = mpsc::channel(64);
        let mut loads = Loads::new(done);
        let ((first, hung), (second, hung_too)) = (hang(), hang());
        loads.begin(admit("hung-1"), build(1), hung);
        loads.begin(admit("hung-2"), build(2), hung_too);
        let models: Vec<String> = (3..16).map(|n| format!("model-{n}")).collect();
        for (n, model) in (3..).zip(&models) {
            loads.begin(admit(model), build(n), || true);
        }
        // What shall answer does not wait for its turn, and what is under way is not begun twice.
        let back = Purpose::Switch("hung-1".parse().unwrap());
        loads.begin(back.clone(), build(0), || true);
        loads.begin(back.clone(), build(0), || panic!("it is under way"));
        let loaded = ended.recv().await.unwrap();
        let answers = loads.ended(&loaded).unwrap();
        assert_eq!((answers.purpose, answers.alone), (back, false));

        // Those that hang have had their time; all others are loaded, a few at a time.
        assert_eq!(loads.late(loads.next_look().unwrap()).len(), 1);
        let mut seen = Vec::new();
        while seen.len() < models.len() {
            let loaded = ended.recv().await.unwrap();
            assert!(loads.running.values().filter(|load| !load.dropped).count() <= SIDE_BY_SIDE_MAX);
            let Purpose::Admit(model) = loads.ended(&loaded).unwrap().purpose else { panic!() };
            seen.push(model.to_string());
        }
        assert_eq!(seen, models);
        drop((first, second));
    }
}
