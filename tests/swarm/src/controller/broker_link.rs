//! A controller's connection to the simulated broker: what arrives is handed to the shipped intake, and what the shell has put
//! out goes to the network.

use std::sync::{Arc, PoisonError};

use modelfleet_controller::mqtt::Feed;
use modelfleet_controller::mqtt::subscriptions::{Heard, QUIET};
use modelfleet_controller::run::{self, Scope};
use modelfleet_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;

use super::{Controller, ControllerEvent, ControllerLent, ControllerWish, Leader, RECONNECT_MAX_MS};
use crate::api_server::locked;
use crate::broker::{Connection, Frame, Note};
use crate::network::drawn;

/// After a retained message that came too late it is asked so much later whether more have come, milliseconds.
const QUIET_AGAIN_MS: u64 = 2_000;

impl Controller {
    /// What has been heard to its end is told to the shell.
    pub(super) fn quiet(&mut self, wishes: &mut Vec<ControllerWish>) {
        let steady = self.clocks.steady();
        let Some(leader) = self.process.as_mut().and_then(|process| process.leader.as_mut()) else { return };
        let heard = leader.subscriptions.quiet(steady);
        let wanted = leader.outbox.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = leader.subscriptions.is_complete(&wanted);
        let receive = |feed: Feed<'_>| run::receive(&leader.ctx, &Scope::All, feed, &leader.leave);
        match heard {
            Some(Heard::Plans) => {
                receive(Feed::PlansHeard);
                receive(Feed::Heard { fleets: &[], all });
            }
            Some(Heard::Fleets(fleets)) => receive(Feed::Heard { fleets: &fleets, all }),
            None => {
                if let Some(at) = leader.subscriptions.quiet_at() {
                    let wait = at.saturating_duration_since(steady).as_millis();
                    let wait_ms = u64::try_from(wait).unwrap_or(u64::MAX).saturating_add(1);
                    wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Quiet));
                }
            }
        }
    }

    /// A note of the broker arrives.
    pub fn noted(
        &mut self,
        connection: Connection,
        note: Note,
        lent: &mut ControllerLent<'_>,
    ) -> Vec<ControllerWish> {
        let mut wishes = Vec::new();
        let steady = self.clocks.steady();
        let leader = self.process.as_mut().and_then(|process| process.leader.as_mut());
        let Some(leader) = leader.filter(|leader| leader.connection == Some(connection)) else {
            return wishes;
        };
        let ctx = Arc::clone(&leader.ctx);
        let receive =
            |feed: Feed<'_>, leave: &CancellationToken| run::receive(&ctx, &Scope::All, feed, leave);
        match note {
            Note::Accepted => {
                leader.accepted = true;
                leader.subscriptions.reconnect();
                receive(Feed::Connected, &leader.leave);
            }
            Note::Subscribed(granted) => {
                let (marker, refused) = leader.subscriptions.answered(&granted, steady);
                if !refused.is_empty() {
                    receive(Feed::Denied { filters: &refused }, &leader.leave);
                }
                if let Some(marker) = marker {
                    let topic = leader.sync_topic.clone();
                    wishes.push(leader.packet(topic, marker.to_string().into_bytes(), false));
                }
            }
            Note::Message { topic, payload, .. } if topic == leader.sync_topic => {
                if leader.subscriptions.marked(&payload, steady) {
                    let wait_ms = u64::try_from(QUIET.as_millis()).unwrap_or(u64::MAX);
                    wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Quiet));
                }
            }
            Note::Message { topic, payload, retained } => {
                if retained {
                    leader.subscriptions.retained(steady);
                    let fleet = Topic::parse(&topic).ok().map(|topic| topic.namespace);
                    if let Some(fleet) = fleet.filter(|fleet| leader.subscriptions.late(fleet, steady)) {
                        self.reached.insert("fleet unheard".to_owned());
                        receive(Feed::Unheard(&fleet), &leader.leave);
                        wishes.push(ControllerWish::After(QUIET_AGAIN_MS, ControllerEvent::Quiet));
                    }
                }
                receive(Feed::Message { topic: &topic, payload: &payload, retained }, &leader.leave);
            }
            Note::Acknowledged(_) => {}
            Note::Closed => {
                leader.connection = None;
                leader.accepted = false;
                receive(Feed::Lost("the connection was closed".to_owned()), &leader.leave);
                let wait_ms = 200 + drawn(lent.chance, RECONNECT_MAX_MS);
                wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Knock));
            }
        }
        self.carry(lent, &mut wishes);
        wishes
    }

    /// What the shell has put out goes to the network.
    pub(super) fn drain(&mut self, wishes: &mut Vec<ControllerWish>) {
        let Some(leader) = self.process.as_mut().and_then(|process| process.leader.as_mut()) else { return };
        let frames =
            std::mem::take(&mut *leader.outbox.frames.lock().unwrap_or_else(PoisonError::into_inner));
        for (topic, payload) in frames {
            let fleet = leader.ctx.fleets.named(&"plant".parse().expect("a DNS label"));
            let settled = leader.ctx.fleets.link_of(&fleet.locked()).settled;
            if !settled {
                let text = format!("published on {topic} before all that devices had retained was heard");
                wishes.push(ControllerWish::Broken(text));
            }
            if leader.connection.is_some() {
                let after = locked(&self.server).stored.len();
                if let ControllerWish::Send(frame) = leader.packet(topic, payload, true) {
                    wishes.push(ControllerWish::Publish { frame, after });
                }
            }
        }
    }
}

impl Leader {
    fn packet(&mut self, topic: String, payload: Vec<u8>, retain: bool) -> ControllerWish {
        self.numbers += 1;
        ControllerWish::Send(Frame::Publish { id: self.numbers, topic, payload: payload.into(), retain })
    }
}
