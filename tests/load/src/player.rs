//! The readings of one device, and when their ground truth is reported.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use modelfleet_agent::serve::{Model, Models};
use modelfleet_agent::tensor::{Elements, NamedTensor, shaped};
use modelfleet_agent_core::recorder::key;
use modelfleet_agent_core::truth::{About, Told, Truth};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::model::Values;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::drive::{Played, Shared};
use crate::fleet::class_of;
use crate::question::Question;
use crate::rows::Class;

/// Ground truths of one device that wait to be reported, at most.
const TRUTHS_MAX: usize = 1024;

/// One device's readings, in an order of its own.
pub(crate) struct Player {
    models: Arc<Models>,
    class: Vec<String>,
    pub(crate) random: SmallRng,
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
    pub(crate) fn new(device: Played, shared: &Shared, seed: u64) -> Player {
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

    /// Tells truths that are due, and measures: what is asked of its models now.
    pub(crate) fn turn(&mut self, shared: &Shared, now: Instant) -> Vec<Question> {
        while let Some((_, key, truth, model)) = self.truths.pop_front_if(|(at, ..)| *at <= now) {
            // A prediction under a build that was taken back may be forgotten by now.
            let at = self.models.now();
            let line = Told { about: About::Prediction(key), truth: Truth::Alarm(truth), at };
            let _ = model.book(at, &[line]);
        }
        let models = match &shared.model {
            Some(name) => self.models.get(name).into_iter().collect(),
            None => self.models.all(),
        };
        models.into_iter().filter_map(|model| self.ask(shared, model, now)).collect()
    }

    fn ask(&mut self, shared: &Shared, model: Arc<Model>, now: Instant) -> Option<Question> {
        let live = model.live()?;
        let class = &shared.traffic.classes[&self.class];
        let (truth, row) = self.reading(class, shared.positive_share);
        let inputs = Arc::from([tensor(live.build.inputs.first(), row)]);
        self.sent += 1;
        let key = key(&format!("{}-{}", self.id, self.sent));
        if shared.traffic.truth && self.truths.len() < TRUTHS_MAX {
            self.truths.push_back((now + shared.truth_delay, key, truth, model.clone()));
        }
        Some(Question::live(model, live, key, inputs, shared.time_limit))
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
    let values = Values { name: signature.name.clone(), values, texts: Vec::new() };
    shaped(signature, &values).unwrap_or_else(|| plain(signature.name.clone()))
}
