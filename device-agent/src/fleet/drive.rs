//! Predicts for many devices at a steady rate, on threads of its own: a slow model then holds up predictions,
//! never connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use modelfleet_agent_core::recorder::key;
use modelfleet_protocol::ids::{DeviceId, ModelName};
use modelfleet_protocol::model::Values;
use modelfleet_protocol::selector::Labels;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::class_of;
use super::rows::{Class, Traffic};
use crate::config::FleetArgs;
use crate::serve::{Model, Models};
use crate::tensor::{Elements, NamedTensor, shaped};

/// A device takes at most one part in so many of a thread, so that a slow model does not starve its
/// neighbours, which on real devices it could not.
const SHARE: u32 = 10;
/// Truths of one device that wait to be told at most.
const TRUTHS_MAX: usize = 1024;
/// Longest sleep, so that a stop is noticed.
const NAP: Duration = Duration::from_millis(100);

/// A device that is played.
pub(super) struct Played {
    pub(super) id: DeviceId,
    pub(super) labels: Labels,
    pub(super) models: Arc<Models>,
}

/// The threads that predict, and what they have done.
#[derive(Default)]
pub(super) struct Driver {
    /// Predictions so far.
    pub(super) predictions: Arc<AtomicU64>,
    /// Those without an answer.
    pub(super) failed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    traffic: Traffic,
    model: Option<ModelName>,
    period: Duration,
    patience: Duration,
    truth_delay: Duration,
    positive_share: Option<f64>,
    predictions: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Driver {
    /// Starts the threads; each plays its part of the devices.
    pub(super) fn start(
        args: &FleetArgs,
        traffic: Traffic,
        played: Vec<Played>,
        stop: CancellationToken,
    ) -> std::io::Result<Driver> {
        let mut driver = Driver::default();
        let shared = Arc::new(Shared {
            traffic,
            model: args.model.clone(),
            period: Duration::from_secs_f64(1.0 / args.rate),
            patience: Duration::from_millis(args.common.prediction_timeout_ms),
            truth_delay: Duration::from_millis(args.truth_delay_ms),
            positive_share: args.positive_share,
            predictions: driver.predictions.clone(),
            failed: driver.failed.clone(),
        });
        let threads = args.threads.max(1);
        let mut parts: Vec<Vec<Player>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, device) in played.into_iter().enumerate() {
            parts[index % threads].push(Player::new(device, &shared, args.seed));
        }
        for players in parts {
            let (shared, stop) = (shared.clone(), stop.clone());
            let thread = std::thread::Builder::new().name("predict".into());
            driver.threads.push(thread.spawn(move || play(players, &shared, &stop))?);
        }
        Ok(driver)
    }

    /// Waits for the threads, which end at the stop.
    pub(super) fn join(self) {
        for thread in self.threads {
            // A panic has been printed by its thread.
            let _ = thread.join();
        }
    }
}

/// Lets the players predict when they are due.
fn play(mut players: Vec<Player>, shared: &Shared, stop: &CancellationToken) {
    let start = Instant::now();
    let first = |(index, player): (usize, &mut Player)| {
        let phase = player.random.random::<f64>();
        Reverse((start + shared.period.mul_f64(phase), index))
    };
    let mut due: BinaryHeap<_> = players.iter_mut().enumerate().map(first).collect();
    while let Some(&Reverse((at, index))) = due.peek() {
        let now = Instant::now();
        if stop.is_cancelled() {
            return;
        }
        if at > now {
            std::thread::sleep((at - now).min(NAP));
            continue;
        }
        due.pop();
        players[index].turn(shared, now);
        let took = now.elapsed();
        // What was missed is not made up for: a device measures now or not at all.
        let next = (at + shared.period).max(now + took * SHARE);
        due.push(Reverse((next, index)));
    }
}

/// One device's readings, in an order of its own.
struct Player {
    models: Arc<Models>,
    class: Vec<String>,
    random: SmallRng,
    positive: Shuffled,
    negative: Shuffled,
    truths: VecDeque<(Instant, u64, bool, Arc<Model>)>,
    sent: u64,
    id: DeviceId,
}

/// Indices in random order, shuffled again at every end.
struct Shuffled(Vec<u32>, usize);

impl Shuffled {
    fn of(count: usize, random: &mut SmallRng) -> Shuffled {
        let mut order: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
        order.shuffle(random);
        Shuffled(order, 0)
    }

    fn next(&mut self, random: &mut SmallRng) -> usize {
        if self.1 >= self.0.len() {
            self.0.shuffle(random);
            self.1 = 0;
        }
        self.1 += 1;
        self.0[self.1 - 1] as usize
    }
}

impl Player {
    fn new(device: Played, shared: &Shared, seed: u64) -> Player {
        // Each device has a stream of its own: one more device does not change the others.
        let hash = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(device.id.as_str()).finalize();
        let seed = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"));
        let mut random = SmallRng::seed_from_u64(seed);
        let class = class_of(&device.labels, &shared.traffic.columns);
        let rows = &shared.traffic.classes[&class];
        let positive = Shuffled::of(rows.positive.len(), &mut random);
        let negative = Shuffled::of(rows.negative.len(), &mut random);
        let (models, id, truths) = (device.models, device.id, VecDeque::new());
        Player { models, class, random, positive, negative, truths, sent: 0, id }
    }

    fn turn(&mut self, shared: &Shared, now: Instant) {
        while let Some((_, key, truth, model)) = self.truths.pop_front_if(|(at, ..)| *at <= now) {
            // A prediction under a build that was taken back may be forgotten by now.
            let _ = model.truth(key, truth);
        }
        match &shared.model {
            Some(name) => {
                if let Some(model) = self.models.get(name) {
                    self.predict(shared, &model, now);
                }
            }
            None => {
                for model in self.models.all() {
                    self.predict(shared, &model, now);
                }
            }
        }
    }

    fn predict(&mut self, shared: &Shared, model: &Arc<Model>, now: Instant) {
        let Some(live) = model.live() else { return };
        let class = &shared.traffic.classes[&self.class];
        let (truth, row) = self.reading(class, shared.positive_share);
        let inputs = [tensor(live.build.inputs.first(), row)];
        self.sent += 1;
        let key = key(&format!("{}-{}", self.id, self.sent));
        let failed = model.predict(key, &inputs, shared.patience).is_err();
        shared.predictions.fetch_add(1, Ordering::Relaxed);
        shared.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        if shared.traffic.truth && self.truths.len() < TRUTHS_MAX {
            self.truths.push_back((now + shared.truth_delay, key, truth, model.clone()));
        }
    }

    fn reading<'a>(&mut self, class: &'a Class, positive_share: Option<f64>) -> (bool, &'a [f32]) {
        let (positive, negative) = (class.positive.len(), class.negative.len());
        #[allow(clippy::cast_precision_loss)] // A file has few rows.
        let share = positive_share.unwrap_or(positive as f64 / (positive + negative).max(1) as f64);
        let truth = negative == 0 || (positive > 0 && self.random.random::<f64>() < share);
        if truth {
            (true, &class.positive[self.positive.next(&mut self.random)])
        } else {
            (false, &class.negative[self.negative.next(&mut self.random)])
        }
    }
}

/// A reading as the model takes it; one row of floats where its signature is not known or does not fit.
fn tensor(signature: Option<&modelfleet_protocol::model::Tensor>, row: &[f32]) -> NamedTensor {
    let plain =
        |name: String| NamedTensor { name, shape: vec![1, row.len()], data: Elements::F32(row.to_vec()) };
    let Some(signature) = signature else { return plain("features".into()) };
    let flat = signature.datatype == "FP32" && signature.shape.len() == 2;
    if flat {
        return plain(signature.name.clone());
    }
    let values = row.iter().map(|&x| f64::from(x)).collect();
    let values = Values { name: signature.name.clone(), values };
    shaped(signature, &values).unwrap_or_else(|| plain(signature.name.clone()))
}
