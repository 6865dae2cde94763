//! What a connection is in the middle of: its subscription, and messages that are not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use tokio::time::Instant;

use super::outbox::Message;

/// The core is told that the broker answered at most this often.
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
}

/// What the broker is late with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The answer to the subscription.
    Subscription,
    /// An acknowledgement. It may answer pings all the while, and nothing is sent any more once enough is unanswered.
    Acknowledgement,
}

impl Late {
    /// As text.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Late::Subscription => "the subscription was not answered",
            Late::Acknowledgement => "messages were not acknowledged",
        }
    }
}

/// Waits until an answer of the broker is late; for ever if none is due.
pub(super) async fn late(due: Option<(Instant, Late)>) -> Late {
    match due {
        Some((at, what)) => {
            tokio::time::sleep_until(at).await;
            what
        }
        None => std::future::pending().await,
    }
}

/// Waits until a moment; for ever if there is none.
pub(super) async fn at(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
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
    /// Since when an acknowledgement is waited for.
    waits: Option<Instant>,
    /// When the broker has sent all plans that it has.
    plans_due: Option<Instant>,
    /// The order of the plan that it has sent, of each model.
    plans: BTreeMap<ModelName, Order>,
    /// A message was refused because of the key that signed it, under this version of the trust document.
    refused_under: Option<u64>,
}

impl Flight {
    /// Messages that are not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    /// The next answer that the broker owes, and its deadline. `time_limit`: for an acknowledgement.
    pub(super) fn due(&self, time_limit: Duration) -> Option<(Instant, Late)> {
        match self.stage {
            Stage::Knocking => None,
            Stage::Accepted { until } => Some((until, Late::Subscription)),
            Stage::Open => self.waits.map(|since| (since + time_limit, Late::Acknowledgement)),
        }
    }

    /// The subscription stands: the broker has this long to send the plans that it has.
    pub(super) fn wait_for_plans(&mut self, wait: Duration) {
        self.plans_due = Some(Instant::now() + wait);
    }

    /// When the broker has sent all plans that it has; `None`: not subscribed yet, or over.
    pub(super) fn plans_due(&self) -> Option<Instant> {
        self.plans_due
    }

    /// The broker has sent a plan.
    pub(super) fn plan_came(&mut self, plan: &Plan) {
        if self.plans_due.is_some() {
            self.plans.insert(plan.model.clone(), plan.order);
        }
    }

    /// The order of the plan of this model that the broker has sent; `None`: it has sent none.
    pub(super) fn plan_of(&self, model: &ModelName) -> Option<Order> {
        self.plans.get(model).copied()
    }

    /// The wait for plans is over.
    pub(super) fn plans_sent(&mut self) {
        self.plans_due = None;
        self.plans.clear();
    }

    /// A message was refused because of the key that signed it. `version`: of the trust document that is followed; 0: none.
    pub(super) fn refused_for_key(&mut self, version: u64) {
        self.refused_under = Some(version);
    }

    /// This version of the trust document is followed. Returns whether what was refused may be accepted now.
    pub(super) fn followed(&mut self, version: u64) -> bool {
        self.refused_under.take_if(|refused| *refused < version).is_some()
    }

    /// The library has this message now.
    pub(super) fn handed(&mut self, message: Message) {
        self.waits.get_or_insert_with(Instant::now);
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
        let message = self.sent.remove(&number);
        // Each one shows that the line moves; how long a message takes is the line's affair.
        self.waits = (self.len() > 0).then(Instant::now);
        message
    }

    /// What was not acknowledged, in no order.
    pub(super) fn unacknowledged(&mut self) -> impl Iterator<Item = Message> {
        std::mem::take(&mut self.sent).into_values().chain(std::mem::take(&mut self.handed))
    }

    /// Whether the core must be told now that the broker answered.
    pub(super) fn news(&mut self) -> bool {
        let news = self.heard.is_none_or(|at| at.elapsed() >= HEARD_EVERY);
        if news {
            self.heard = Some(Instant::now());
        }
        news
    }
}
