//! A device's way to the broker: one connection after the other, the newest message of each kind, and what arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_agent_core::held_plans::{self, HeldPlans};
use modelfleet_agent_core::interface::Input;
use modelfleet_protocol::envelope::{Signed, open_plan, open_signed_override, open_signed_plan};
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic, device_filters};

use super::{Deed, Device, DeviceEvent, Lent, RECONNECT_MAX_MS, Wish};
use crate::broker::{Connection, Frame, Note};
use crate::network::drawn;

/// The spread of the fleet's reconnects, as shipped, milliseconds: of what devices send when they find no plan.
const RECONNECT_SPREAD_MS: u64 = 30_000;
/// A build has answered for so long before contact with the broker speaks for it, milliseconds.
const SHORTEST_MS: u64 = 60_000;

/// After a connection that lasted this long, the next wait is short again; as shipped, milliseconds.
const STEADY_AFTER_MS: u64 = 60_000;
/// The longest wait, as shipped, milliseconds.
const BACKOFF_MAX_MS: u64 = 120_000;

/// Which retained message is on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Presence,
    State,
    Report(ModelName),
}

#[derive(Debug, Default)]
pub(super) struct Link {
    pub connection: Option<Connection>,
    subscribed: bool,
    waiting: BTreeMap<Item, Arc<[u8]>>,
    flight: BTreeMap<u64, (Item, Arc<[u8]>)>,
    next: u64,
    will: Option<Presence>,
    /// The order of the plan of each model that the broker has sent on this connection.
    plans: BTreeMap<ModelName, Order>,
    /// When this connection was open.
    since: Time,
    /// Connections in a row that ended soon, such as those of two devices with one id.
    short: u32,
}

impl Device {
    /// The world has opened the connection that it wished for.
    pub fn opened(&mut self, connection: Connection) {
        if let Some(process) = &mut self.process {
            process.link.connection = Some(connection);
            process.link.subscribed = false;
            process.link.plans.clear();
        }
    }

    /// A note of the broker arrives.
    pub fn noted(&mut self, connection: Connection, note: Note, lent: &mut Lent<'_>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let (namespace, id) = (self.identity.namespace.clone(), self.identity.device.clone());
        let Some(process) = self.process.as_mut().filter(|p| p.link.connection == Some(connection)) else {
            return wishes;
        };
        for shown in self.shown.values_mut() {
            let long_enough = lent.now.since_ms(shown.since) >= SHORTEST_MS;
            shown.heard = note != Note::Closed && (shown.heard || long_enough);
        }
        match note {
            Note::Accepted => {
                wishes.push(Wish::Send(Frame::Subscribe(device_filters(&namespace, &id).to_vec())))
            }
            Note::Subscribed(_) => {
                process.link.subscribed = true;
                process.link.since = lent.now;
                let wait_ms = held_plans::wait_ms(RECONNECT_SPREAD_MS, lent.chance.unit());
                wishes.push(Wish::After(wait_ms, DeviceEvent::PlansDue(connection)));
                self.feed(Input::Connected { payload_bytes_max: usize::MAX }, lent, &mut wishes);
                self.feed(Input::BrokerHeard, lent, &mut wishes);
                self.flush(&mut wishes);
            }
            Note::Acknowledged(number) => {
                process.link.flight.remove(&number);
                self.feed(Input::BrokerHeard, lent, &mut wishes);
            }
            Note::Message { topic, payload, .. } => {
                self.feed(Input::BrokerHeard, lent, &mut wishes);
                self.heard(&topic, &payload, lent, &mut wishes);
            }
            Note::Closed => self.lost(lent, &mut wishes),
        }
        wishes
    }

    fn heard(&mut self, topic: &str, payload: &Arc<[u8]>, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        let Ok(topic) = Topic::parse(topic) else { return };
        if payload.is_empty() || topic.namespace != self.identity.namespace {
            return;
        }
        let input = match topic.channel {
            Channel::Plan(model) => open_signed_plan(&[*lent.key], payload)
                .ok()
                .filter(|plan| plan.what.model == model && plan.what.namespace == topic.namespace)
                .map(|Signed { what: plan, by }| {
                    let (epoch, revision) = (plan.order.epoch, plan.order.revision);
                    self.hold(&plan, payload);
                    self.deeds.push(Deed::HeardPlan(model, epoch, revision));
                    Input::Plan(Signed { what: Arc::new(plan), by })
                }),
            Channel::Override(_) => open_signed_override(&[*lent.key], payload)
                .ok()
                .filter(|order| order.what.device == self.identity.device)
                .map(|Signed { what: order, by }| Input::Override(Signed { what: Box::new(order), by })),
            _ => None,
        };
        if let Some(input) = input {
            self.feed(input, lent, wishes);
        }
    }

    /// The plans that are on disk, as far as a trusted key signed them.
    pub(super) fn held_plans(&self, lent: &Lent<'_>) -> HeldPlans {
        let mut held = HeldPlans::default();
        for (model, envelope) in self.disk.plans() {
            let plan = open_plan(&[*lent.key], envelope).ok().filter(|plan| plan.model == *model);
            if let Some(plan) = plan.filter(|plan| held.takes(plan)) {
                held.kept(&plan);
            }
        }
        held
    }

    /// Keeps the plan that the broker has sent, if it is newer than the one that is held.
    fn hold(&mut self, plan: &Plan, envelope: &Arc<[u8]>) {
        let Some(process) = &mut self.process else { return };
        process.link.plans.insert(plan.model.clone(), plan.order);
        if process.held.takes(plan) && self.disk.write_plan(&plan.model, envelope) {
            process.held.kept(plan);
        }
    }

    /// Sends the plans that the broker should have, and has not sent. Not retained: what is lost on the way is sent again.
    pub(super) fn send_held_plans(
        &mut self,
        connection: Connection,
        lent: &Lent<'_>,
        wishes: &mut Vec<Wish>,
    ) {
        let Some(process) = &mut self.process else { return };
        if process.link.connection != Some(connection) || !process.link.subscribed {
            return;
        }
        let (plans, now_ms) = (&process.link.plans, lent.now.0);
        for model in process.held.due(now_ms, |model| plans.get(model).copied()) {
            let Some(payload) = self.disk.plan(&model).cloned() else { continue };
            process.held.sent(&model, now_ms);
            process.link.next += 1;
            let (id, device) = (process.link.next, self.identity.device.clone());
            let channel = Channel::HeldPlan(device, model);
            let topic = Topic { namespace: self.identity.namespace.clone(), channel }.name();
            self.deeds.push(Deed::Publishes);
            self.reached.insert("held plan sent".to_owned());
            wishes.push(Wish::Send(Frame::Publish { id, topic, payload, retain: false }));
        }
    }

    fn lost(&mut self, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        let Some(process) = &mut self.process else { return };
        let link = &mut process.link;
        link.connection = None;
        let open = std::mem::take(&mut link.subscribed);
        for (item, payload) in std::mem::take(&mut link.flight).into_values() {
            // A presence belongs to its connection.
            if item != Item::Presence {
                link.waiting.entry(item).or_insert(payload);
            }
        }
        let lasted = lent.now.since_ms(link.since) > STEADY_AFTER_MS;
        link.short =
            if open && !lasted { link.short.saturating_add(1) } else { link.short * u32::from(!open) };
        let backoff_ms = if link.short > 1 { (1_000 << link.short.min(20)).min(BACKOFF_MAX_MS) } else { 0 };
        if open {
            self.feed(Input::Disconnected, lent, wishes);
        }
        let random_ms = drawn(lent.chance, RECONNECT_MAX_MS);
        let wait_ms = (1_000 + random_ms).max(backoff_ms / 2 + random_ms.min(backoff_ms / 2));
        wishes.push(Wish::After(wait_ms, DeviceEvent::Knock));
    }

    pub(super) fn knock(&mut self, will: Presence) -> Wish {
        let topic = self.topic(Channel::Presence(self.identity.device.clone()));
        let payload: Arc<[u8]> = serde_json::to_vec(&will).unwrap_or_default().into();
        if let Some(process) = &mut self.process {
            process.link.will = Some(will);
            process.link.waiting.remove(&Item::Presence);
        }
        Wish::Connect(Frame::Connect { client: self.client(), will: Some((topic, payload)) })
    }

    fn topic(&self, channel: Channel) -> String {
        Topic { namespace: self.identity.namespace.clone(), channel }.name()
    }

    fn topic_of(&self, item: &Item) -> String {
        let device = self.identity.device.clone();
        self.topic(match item {
            Item::Presence => Channel::Presence(device),
            Item::State => Channel::State(device),
            Item::Report(model) => Channel::Report(device, model.clone()),
        })
    }

    pub(super) fn publish(&mut self, item: Item, payload: Vec<u8>, wishes: &mut Vec<Wish>) {
        if let Some(process) = &mut self.process {
            process.link.waiting.insert(item, payload.into());
        }
        self.flush(wishes);
    }

    fn flush(&mut self, wishes: &mut Vec<Wish>) {
        loop {
            let Some(link) = self.process.as_mut().map(|p| &mut p.link).filter(|link| link.subscribed) else {
                return;
            };
            let Some((item, payload)) = link.waiting.pop_first() else { return };
            link.next += 1;
            let id = link.next;
            link.flight.insert(id, (item.clone(), Arc::clone(&payload)));
            let topic = self.topic_of(&item);
            self.deeds.push(Deed::Publishes);
            wishes.push(Wish::Send(Frame::Publish { id, topic, payload, retain: true }));
        }
    }
}
