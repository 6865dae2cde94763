//! What a connection is in the middle of: its subscription, and messages that are not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::outbox::Message;

/// The agent hears of the broker at most this often.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// Longest that the broker may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(20);

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker has not accepted it yet.
    #[default]
    Knocking,
    /// Accepted. Until the subscription is answered nothing is sent.
    Accepted {
        /// The answer must have come by then.
        until: Instant,
    },
    /// Subscribed: messages go in both directions.
    Open,
}

impl Stage {
    /// Accepted now.
    pub(super) fn accepted() -> Stage {
        Stage::Accepted { until: Instant::now() + SUBSCRIBE_TIMEOUT }
    }

    /// Waits until the broker is late with its answer; for ever where none is due.
    pub(super) async fn late(self) {
        match self {
            Stage::Accepted { until } => tokio::time::sleep_until(until).await,
            Stage::Knocking | Stage::Open => std::future::pending().await,
        }
    }
}

/// One connection under way.
#[derive(Default)]
pub(super) struct Flight {
    /// How far it is.
    pub(super) stage: Stage,
    heard: Option<Instant>,
    handed: VecDeque<Message>,
    sent: BTreeMap<u16, Message>,
}

impl Flight {
    /// Messages that are not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    /// The library has this message now.
    pub(super) fn handed(&mut self, message: Message) {
        self.handed.push_back(message);
    }

    /// The oldest message that was handed over got this packet number.
    pub(super) fn numbered(&mut self, number: u16) {
        if let Some(message) = self.handed.pop_front() {
            self.sent.insert(number, message);
        }
    }

    /// The broker has answered the message of this packet number.
    pub(super) fn acknowledged(&mut self, number: u16) -> Option<Message> {
        self.sent.remove(&number)
    }

    /// What was not acknowledged, in no order.
    pub(super) fn unacknowledged(&mut self) -> impl Iterator<Item = Message> {
        std::mem::take(&mut self.sent).into_values().chain(std::mem::take(&mut self.handed))
    }

    /// Whether the agent is to be told that the broker was heard now.
    pub(super) fn news(&mut self) -> bool {
        let news = self.heard.is_none_or(|at| at.elapsed() >= HEARD_EVERY);
        if news {
            self.heard = Some(Instant::now());
        }
        news
    }
}
