//! Orders of single devices: which are to be looked at, and each looked at in its turn.
//!
//! They have a queue of their own, apart from the models': a hundred thousand of them keep no rollout waiting. A device is
//! looked at when its object, its state, its override at the broker or a version that it is pinned to changes.

mod carry_out;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use modelfleet_crds::DeviceOrder;
use modelfleet_model::device_order::{STANDS, cleared_at, owner, stand};
use modelfleet_protocol::ids::{DeviceId, Namespace};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::context::Context;

/// A device of a fleet.
pub type DeviceKey = (Namespace, DeviceId);

/// Devices that are looked at together: versions are read once for all of them.
const BATCH_MAX: usize = 1_000;
/// A look that failed is repeated after this time.
const AGAIN: Duration = Duration::from_secs(10);

/// The orders of single devices.
#[derive(Default)]
pub struct DeviceOrders {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Default)]
struct State {
    /// Every object, by the device that it names and by its own name.
    objects: BTreeMap<DeviceKey, BTreeMap<String, Arc<DeviceOrder>>>,
    /// How many objects of a namespace stand where: [`stand`].
    stands: BTreeMap<(Namespace, &'static str), i64>,
    due: BTreeSet<DeviceKey>,
    later: BTreeSet<(Instant, DeviceKey)>,
}

impl State {
    /// Takes an object in the place of the one of its name; `None`: it is gone.
    fn put(&mut self, key: &DeviceKey, name: String, object: Option<Arc<DeviceOrder>>) {
        let after = object.as_deref().map(stand);
        let objects = self.objects.entry(key.clone()).or_default();
        let before = match object {
            Some(object) => objects.insert(name, object),
            None => objects.remove(&name),
        };
        if objects.is_empty() {
            self.objects.remove(key);
        }
        for (word, more) in
            before.as_deref().map(stand).map(|word| (word, -1)).into_iter().chain(after.map(|word| (word, 1)))
        {
            *self.stands.entry((key.0.clone(), word)).or_default() += more;
        }
    }

    /// How many objects of a namespace stand where.
    fn stands_of(&self, namespace: &Namespace) -> [(&'static str, i64); 5] {
        STANDS.map(|word| (word, self.stands.get(&(namespace.clone(), word)).copied().unwrap_or(0)))
    }
}

impl DeviceOrders {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at these devices soon.
    pub fn ask(&self, namespace: &Namespace, devices: impl IntoIterator<Item = DeviceId>) {
        let mut devices = devices.into_iter().peekable();
        if devices.peek().is_none() {
            return;
        }
        self.locked().due.extend(devices.map(|device| (namespace.clone(), device)));
        self.woken.notify_one();
    }

    /// Looks at a device soon, where an object names it.
    pub fn ask_if_named(&self, namespace: &Namespace, device: &DeviceId) {
        let key = (namespace.clone(), device.clone());
        let mut state = self.locked();
        if state.objects.contains_key(&key) {
            state.due.insert(key);
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Looks at a device at a moment.
    pub fn ask_at(&self, key: DeviceKey, at: Instant) {
        self.locked().later.insert((at, key));
        self.woken.notify_one();
    }

    /// Looks at every device of a namespace that an object names, or at those of them that are pinned to a version of `model`.
    pub fn ask_all(&self, namespace: &Namespace, model: Option<&str>) {
        let pins = |object: &Arc<DeviceOrder>| {
            object.spec.models.iter().any(|order| order.pin.is_some() && Some(order.model.as_str()) == model)
        };
        let mut state = self.locked();
        let of = state.objects.iter().filter(|((of, _), _)| of == namespace);
        let of = of.filter(|(_, objects)| model.is_none() || objects.values().any(pins));
        let keys: Vec<DeviceKey> = of.map(|(key, _)| key.clone()).collect();
        state.due.extend(keys);
        drop(state);
        self.woken.notify_one();
    }

    /// The objects that name a device.
    #[must_use]
    pub fn of(&self, key: &DeviceKey) -> Vec<Arc<DeviceOrder>> {
        self.locked().objects.get(key).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// An object as it was after our last write.
    fn keep(&self, key: &DeviceKey, object: DeviceOrder) {
        let mut state = self.locked();
        let name = object.name_any();
        let known = state.objects.get(key).and_then(|objects| objects.get(&name));
        if known.is_some_and(|known| known.uid() == object.uid()) {
            state.put(key, name, Some(Arc::new(object)));
        }
    }

    /// How many orders of a namespace stand where, for metrics.
    fn stands_of(&self, namespace: &Namespace) -> [(&'static str, i64); 5] {
        self.locked().stands_of(namespace)
    }

    /// The devices whose turn it is, as soon as there are any.
    async fn next(&self, clock: &Clock) -> Vec<DeviceKey> {
        loop {
            let next = {
                let mut state = self.locked();
                let now = clock.steady();
                while let Some((at, key)) = state.later.pop_first() {
                    if at > now {
                        state.later.insert((at, key));
                        break;
                    }
                    state.due.insert(key);
                }
                let batch: Vec<DeviceKey> =
                    std::iter::from_fn(|| state.due.pop_first()).take(BATCH_MAX).collect();
                if !batch.is_empty() {
                    return batch;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.woken.notified() => {}
                },
                None => self.woken.notified().await,
            }
        }
    }
}

/// An object changed or is gone.
pub fn order_changed(ctx: &Context, object: &DeviceOrder, gone: bool) {
    let namespace = object.namespace().and_then(|namespace| namespace.parse::<Namespace>().ok());
    let Some(key) = namespace.zip(object.spec.device.parse::<DeviceId>().ok()) else { return };
    let name = object.name_any();
    {
        let mut state = ctx.orders.locked();
        state.put(&key, name, (!gone).then(|| Arc::new(object.clone())));
        state.due.insert(key.clone());
    }
    ctx.metrics.orders.show(key.0.as_str(), ctx.orders.stands_of(&key.0));
    // What a retired device has retained must not count until its turn comes.
    if let Some(owner) = owner(&ctx.orders.of(&key)).filter(|owner| owner.spec.retired) {
        let was_known = ctx.fleets.named(&key.0).locked().index.retire(&key.1, cleared_at(owner));
        if was_known {
            ctx.metrics.devices(ctx.fleets.devices());
        }
    }
    ctx.orders.woken.notify_one();
}

/// Looks at devices as they are asked for, until `stop`.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) {
    loop {
        let batch = tokio::select! {
            () = stop.cancelled() => return,
            batch = ctx.orders.next(&ctx.clock) => batch,
        };
        let of = Arc::clone(&ctx);
        let devices = batch.clone();
        // In a task of its own: a defect that panics ends this look and not the controller.
        let done = tokio::spawn(async move { carry_out::look(&of, devices).await }).await;
        let again = match done {
            Ok(again) => again,
            Err(panicked) => {
                tracing::error!(error = %panicked, "the look at single devices panicked; it is repeated");
                batch
            }
        };
        let at = ctx.clock.steady() + AGAIN;
        again.into_iter().for_each(|key| ctx.orders.ask_at(key, at));
    }
}
