//! Makes predictions for many devices at a steady rate, on threads of its own, so that a slow model delays predictions but
//! never connections. A model that hangs keeps its thread; the devices of that thread get another one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use modelfleet_agent::serve::Models;
use modelfleet_protocol::ids::{DeviceId, ModelName};
use modelfleet_protocol::selector::Labels;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::arguments::LoadArgs;
use crate::player::Player;
use crate::question::Question;
use crate::rows::Traffic;

/// A device takes at most one part in so many of a thread, so that a slow model does not starve its
/// neighbours, which on real devices it could not.
const SHARE: u32 = 10;
/// Longest sleep, so that a stop is noticed.
const NAP: Duration = Duration::from_millis(100);
/// Threads that hang at once at most; with more, devices share the fate of the model.
const LOST_MAX: usize = 64;

/// A device that runs here.
pub(crate) struct Played {
    pub(crate) id: DeviceId,
    pub(crate) labels: Labels,
    pub(crate) models: Arc<Models>,
}

/// The threads that predict, and what they have done.
#[derive(Default)]
pub(crate) struct Driver {
    /// Predictions so far.
    pub(crate) predictions: Arc<AtomicU64>,
    /// Those without an answer.
    pub(crate) failed: Arc<AtomicU64>,
    watch: Option<JoinHandle<()>>,
}

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) traffic: Traffic,
    pub(crate) model: Option<ModelName>,
    period: Duration,
    pub(crate) time_limit: Duration,
    pub(crate) truth_delay: Duration,
    pub(crate) positive_share: Option<f64>,
    pub(crate) predictions: Arc<AtomicU64>,
    pub(crate) failed: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Driver {
    /// Starts the threads; each plays its part of the devices.
    pub(crate) fn start(
        args: &LoadArgs,
        traffic: Traffic,
        played: Vec<Played>,
        stop: CancellationToken,
    ) -> std::io::Result<Driver> {
        let mut driver = Driver::default();
        let shared = Arc::new(Shared {
            traffic,
            model: args.model.clone(),
            period: Duration::from_secs_f64(1.0 / args.rate),
            time_limit: Duration::from_millis(args.common.prediction_timeout_ms),
            truth_delay: Duration::from_millis(args.truth_delay_ms),
            positive_share: args.positive_share,
            predictions: driver.predictions.clone(),
            failed: driver.failed.clone(),
            stop,
        });
        let threads = args.threads.max(1);
        let mut parts: Vec<Vec<Player>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, device) in played.into_iter().enumerate() {
            parts[index % threads].push(Player::new(device, &shared, args.seed));
        }
        let start = |players| Worker::start(Arc::new(Mutex::new(Part::of(players, shared.period))), &shared);
        let workers = parts.into_iter().map(start).collect::<Result<Vec<Worker>, _>>()?;
        let thread = std::thread::Builder::new().name("watch".into());
        driver.watch = Some(thread.spawn(move || watch(workers, &shared))?);
        Ok(driver)
    }

    /// Waits for the threads, which end at the stop; not for those that hang.
    pub(crate) fn join(self) {
        // A panic has been printed by its thread.
        let _ = self.watch.map(JoinHandle::join);
    }
}

/// Some of the devices, and when each is due.
struct Part {
    players: Vec<Player>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Part {
    fn of(mut players: Vec<Player>, period: Duration) -> Part {
        let start = Instant::now();
        let first = |(index, player): (usize, &mut Player)| {
            Reverse((start + period.mul_f64(player.random.random::<f64>()), index))
        };
        let due = players.iter_mut().enumerate().map(first).collect();
        Part { players, due }
    }

    /// Who is due, since when, and what it asks; else how long to wait.
    fn next(&mut self, shared: &Shared, now: Instant) -> Result<(usize, Instant, Vec<Question>), Duration> {
        match self.due.peek() {
            Some(&Reverse((at, _))) if at > now => return Err((at - now).min(NAP)),
            Some(_) => {}
            None => return Err(NAP),
        }
        let Some(Reverse((at, index))) = self.due.pop() else { return Err(NAP) };
        Ok((index, at, self.players[index].turn(shared, now)))
    }
}

/// What a thread is at.
enum Hand {
    /// Nothing that could hang.
    Free,
    /// This prediction, of this device, which was due then.
    Busy { asked: Arc<Question>, since: Instant, index: usize, at: Instant },
    /// Something that hangs, or did: another thread plays its devices.
    Left,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins something that could hang; false where another thread plays the devices by now.
fn begins(hand: &Mutex<Hand>, busy: Hand) -> bool {
    let mut hand = lock(hand);
    let own = !matches!(*hand, Hand::Left);
    if own {
        *hand = busy;
    }
    own
}

/// Lets the devices predict when they are due, until the stop or until the thread was given up.
fn play(part: &Mutex<Part>, hand: &Mutex<Hand>, shared: &Shared) {
    while !shared.stop.is_cancelled() {
        let now = Instant::now();
        let next = lock(part).next(shared, now);
        let (index, at, asked) = match next {
            Ok(turn) => turn,
            Err(wait) => {
                std::thread::sleep(wait);
                continue;
            }
        };
        for asked in asked {
            let in_shadow = asked.in_shadow();
            for asked in [Some(asked), in_shadow].into_iter().flatten().map(Arc::new) {
                if !begins(hand, Hand::Busy { asked: asked.clone(), since: Instant::now(), index, at }) {
                    return lock(part).due.push(Reverse((at + shared.period, index)));
                }
                let answered = asked.run();
                if matches!(std::mem::replace(&mut *lock(hand), Hand::Free), Hand::Left) {
                    return;
                }
                asked.count(answered, shared);
            }
        }
        // What was missed is not made up for: a device measures now or not at all.
        let next = (at + shared.period).max(now + now.elapsed() * SHARE);
        lock(part).due.push(Reverse((next, index)));
    }
}

/// A thread and its devices.
struct Worker {
    part: Arc<Mutex<Part>>,
    hand: Arc<Mutex<Hand>>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(part: Arc<Mutex<Part>>, shared: &Arc<Shared>) -> std::io::Result<Worker> {
        let hand = Arc::new(Mutex::new(Hand::Free));
        let (devices, own, shared) = (part.clone(), hand.clone(), shared.clone());
        let thread = std::thread::Builder::new().name("predict".into());
        let thread = thread.spawn(move || play(&devices, &own, &shared))?;
        Ok(Worker { part, hand, thread })
    }

    fn is_late(&self) -> bool {
        matches!(&*lock(&self.hand), Hand::Busy { asked, since, .. } if since.elapsed() > asked.time_limit())
    }

    /// Gives the prediction up that is late, and lets its device be due again.
    fn leave(&self, shared: &Shared) {
        let mut hand = lock(&self.hand);
        let Hand::Busy { asked, index, at, .. } = std::mem::replace(&mut *hand, Hand::Left) else {
            // It has ended meanwhile; the thread ends with the next one, as another has its devices.
            return;
        };
        drop(hand);
        asked.count(asked.give_up(), shared);
        let next = (at + shared.period).max(Instant::now());
        lock(&self.part).due.push(Reverse((next, index)));
    }
}

/// Replaces threads whose prediction does not end in time, and waits for the others at the stop.
fn watch(mut workers: Vec<Worker>, shared: &Arc<Shared>) {
    let mut lost: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.is_cancelled() {
        std::thread::sleep(NAP);
        lost.retain(|thread| !thread.is_finished());
        for worker in &mut workers {
            if lost.len() >= LOST_MAX || !worker.is_late() {
                continue;
            }
            match Worker::start(worker.part.clone(), shared) {
                Ok(fresh) => {
                    let hung = std::mem::replace(worker, fresh);
                    hung.leave(shared);
                    lost.push(hung.thread);
                    warn!(threads = lost.len(), "a prediction hangs; its devices get another thread");
                }
                Err(error) => error!(%error, "cannot start a thread for devices whose prediction hangs"),
            }
        }
    }
    for worker in workers {
        while !worker.thread.is_finished() && !worker.is_late() {
            std::thread::sleep(NAP / 10);
        }
    }
}
