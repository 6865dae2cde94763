//! What a broker does with what Modelfleet needs of it, tried out: messages below a topic of our own, which are cleared at the
//! end. No type of the MQTT library leaves this folder.

mod session;

use std::time::Duration;

use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::topic::ROOT;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet};
use tokio::time::Instant;

use super::subscriptions::QUIET;
use super::{BrokerSettings, MqttError, settings};
use session::{ANSWER_WITHIN, Session};

/// Bytes of each of the many retained messages, about those of a device's state.
const STATE_BYTES: usize = 600;
/// Bytes of the largest plan in its envelope.
const PLAN_BYTES: usize = ENVELOPE_BYTES_MAX;
/// No further retained message is waited for after this time without one.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// A last will and a takeover are there by then.
const WITHIN: Duration = Duration::from_secs(5);

/// Why a broker could not be tried to the end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] MqttError),
    /// The connection ended.
    #[error("the broker ended the connection instead of going on to {doing}")]
    Ended {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer.
    #[error("the broker did not {doing} within {} s", within.as_secs_f32())]
    Silent {
        /// What it did not do.
        doing: &'static str,
        /// The time that it had.
        within: Duration,
    },
    /// Another answer than the protocol allows.
    #[error("the broker did not {doing} but sent {packet}")]
    Odd {
        /// What it did not do.
        doing: &'static str,
        /// What came.
        packet: String,
    },
    /// A message could not be put on its way.
    #[error("send to the broker")]
    Send(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub what: &'static str,
    /// Whether it is as Modelfleet needs it; `None`: it is told, and nothing rests on it.
    pub good: Option<bool>,
    /// What the broker did.
    pub found: String,
}

fn finding(what: &'static str, good: impl Into<Option<bool>>, found: impl Into<String>) -> Finding {
    Finding { what, good: good.into(), found: found.into() }
}

/// Tries a broker with so many retained messages. Takes some seconds, more with a slow broker.
///
/// # Errors
/// When the broker does not answer or ends a connection.
pub async fn check(settings: &BrokerSettings, messages: usize) -> Result<Vec<Finding>, CheckError> {
    let run = format!("{:08x}", rand::random::<u32>());
    let trial = Trial { settings, base: format!("{ROOT}/_controller/check-{run}"), run, messages };
    let mut session = Session::open(trial.options("a")?).await?;
    let mut findings = trial.terms(&session);
    findings.push(trial.store(&mut session).await?);
    findings.extend(trial.wildcard().await?);
    findings.push(trial.large(&mut session).await?);
    findings.push(trial.last_will().await?);
    findings.push(trial.takeover().await?);
    findings.push(trial.kept_session().await?);
    findings.push(trial.shared().await?);
    findings.push(trial.clear(&mut session).await?);
    Ok(findings)
}

/// Whether the broker has all that Modelfleet needs.
#[must_use]
pub fn is_enough(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.good != Some(false))
}

/// The findings as a table.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let wide = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let verdict = match finding.good {
            Some(true) => "good",
            Some(false) => "BAD",
            None => "-",
        };
        format!("{:wide$}  {verdict:4}  {}\n", finding.what, finding.found)
    };
    findings.iter().map(line).collect()
}

/// Whether the largest plan is within what the broker says that it takes.
fn takes_plans(session: &Session) -> bool {
    session.said(|terms| terms.max_packet_size).is_none_or(|bytes| bytes as usize >= PLAN_BYTES + 1024)
}

struct Trial<'a> {
    settings: &'a BrokerSettings,
    run: String,
    /// Everything is below it.
    base: String,
    messages: usize,
}

impl Trial<'_> {
    fn options(&self, name: &str) -> Result<rumqttc::v5::MqttOptions, CheckError> {
        let identity = format!("check-{}-{name}", self.run);
        let mut options = settings::options(&BrokerSettings { identity, ..self.settings.clone() })?;
        // What the broker takes is found out, not what the library would keep us from sending.
        options.set_connection_timeout(ANSWER_WITHIN.as_secs());
        Ok(options)
    }

    /// As deep as the topics of reports.
    fn state(&self, number: usize) -> String {
        format!("{}/{:02x}/device-{number}/report/model", self.base, number % 256)
    }

    fn terms(&self, session: &Session) -> Vec<Finding> {
        let available = |flag: Option<u8>| flag != Some(0);
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let (retain, wildcard) = (
            available(session.said(|t| t.retain_available)),
            available(session.said(|t| t.wildcard_subscription_available)),
        );
        let packet = session.said(|t| t.max_packet_size);
        let qos = session.said(|t| t.max_qos).unwrap_or(2);
        vec![
            finding("MQTT 5", true, "the connection was accepted"),
            finding("retained messages", retain, yes(retain)),
            finding("wildcard subscriptions", wildcard, yes(wildcard)),
            finding("highest QoS", qos >= 1, qos.to_string()),
            finding(
                "largest packet",
                takes_plans(session),
                packet.map_or("no limit told".to_owned(), |bytes| format!("{bytes} bytes")),
            ),
            finding("receive maximum", None, session.said(|t| t.receive_max).unwrap_or(u16::MAX).to_string()),
            finding("topic aliases", None, session.said(|t| t.topic_alias_max).unwrap_or(0).to_string()),
        ]
    }

    async fn store(&self, session: &mut Session) -> Result<Finding, CheckError> {
        let began = Instant::now();
        let messages = (0..self.messages).map(|number| (self.state(number), vec![b'x'; STATE_BYTES]));
        let taken = session.publish_all("acknowledge retained messages", messages).await?;
        let found = format!("{taken} of {} in {:.1} s", self.messages, began.elapsed().as_secs_f64());
        Ok(finding("takes retained messages, QoS 1", taken == self.messages, found))
    }

    /// What a controller hears that subscribes: the retained messages, and a message to itself behind them.
    async fn wildcard(&self) -> Result<[Finding; 2], CheckError> {
        let mut session = Session::open(self.options("b")?).await?;
        let (sync, filter) = (format!("{}/sync", self.base), format!("{}/+/+/report/+", self.base));
        session.subscribe(&[&sync]).await?;
        let (granted, early) = session.subscribe(&[&filter]).await?;
        session.send(&sync, b"marker".to_vec(), false)?;
        let subscribed = Instant::now();
        let mut before = early.iter().filter(|came| came.retained).count();
        let (mut behind, mut marker, mut longest) = (0, None, Duration::ZERO);
        let mut last = Instant::now();
        while before + behind < self.messages || marker.is_none() {
            let Some(came) = session.message("send retained messages", GIVE_UP_AFTER).await? else { break };
            let now = Instant::now();
            if came.topic == sync.as_bytes() {
                marker = Some(now);
            } else if came.retained && marker.is_some() {
                longest = longest.max(now - last);
                behind += 1;
            } else if came.retained {
                before += 1;
            }
            last = now;
        }
        let (all, took) = (before + behind, last - subscribed);
        let found = format!("{all} of {} in {:.1} s", self.messages, took.as_secs_f64());
        let whole = finding("sends all to a wildcard subscription", granted && all == self.messages, found);
        let order = match marker {
            None => finding("order", false, "a message to the subscriber itself did not come back"),
            Some(_) if behind == 0 => finding("order", true, "all come before a later message"),
            Some(_) => {
                let found = format!(
                    "{behind} come behind a later message, with pauses up to {} ms",
                    longest.as_millis()
                );
                finding("order", longest < QUIET, found)
            }
        };
        Ok([whole, order])
    }

    async fn large(&self, session: &mut Session) -> Result<Finding, CheckError> {
        const WHAT: &str = "keeps the largest plan";
        if !takes_plans(session) {
            return Ok(finding(WHAT, false, format!("{PLAN_BYTES} bytes are more than it takes")));
        }
        let topic = format!("{}/plan", self.base);
        session.publish_all("keep the largest plan", [(topic.clone(), vec![b'p'; PLAN_BYTES])]).await?;
        let mut reader = Session::open(self.options("c")?).await?;
        let (_, mut early) = reader.subscribe(&[&topic]).await?;
        let came = match early.pop() {
            Some(came) => Some(came),
            None => reader.message("send the largest plan", WITHIN).await?,
        };
        let bytes = came.map_or(0, |came| came.payload.len());
        Ok(finding(WHAT, bytes == PLAN_BYTES, format!("{bytes} of {PLAN_BYTES} bytes came back")))
    }

    async fn last_will(&self) -> Result<Finding, CheckError> {
        let topic = format!("{}/will", self.base);
        let mut reader = Session::open(self.options("d")?).await?;
        reader.subscribe(&[&topic]).await?;
        let mut options = self.options("e")?;
        options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, true, None));
        // Cut without a word.
        drop(Session::open(options).await?);
        let began = Instant::now();
        let came = reader.message("publish a last will", WITHIN).await?;
        let found = came.as_ref().map_or("it did not come".to_owned(), |_| {
            format!("came {} ms after the connection was cut", began.elapsed().as_millis())
        });
        Ok(finding("last will", came.is_some(), found))
    }

    async fn takeover(&self) -> Result<Finding, CheckError> {
        let mut first = Session::open(self.options("f")?).await?;
        let _second = Session::open(self.options("f")?).await?;
        let ended = match first.next("end the first connection", WITHIN).await {
            Ok(Packet::Disconnect(_)) | Err(CheckError::Ended { .. }) => true,
            Ok(_) | Err(_) => false,
        };
        let found = if ended { "ends the first connection" } else { "leaves both connections" };
        Ok(finding("a second connection with a client id", None, found))
    }

    async fn kept_session(&self) -> Result<Finding, CheckError> {
        let mut options = self.options("g")?;
        options.set_clean_start(false).set_session_expiry_interval(Some(60));
        drop(Session::open(options.clone()).await?);
        let is_kept = Session::open(options).await?.is_resumed;
        // Nothing of it is left behind.
        drop(Session::open(self.options("g")?).await?);
        let found = if is_kept { "kept for as long as the client asks" } else { "not kept" };
        Ok(finding("session after a cut", None, found))
    }

    async fn shared(&self) -> Result<Finding, CheckError> {
        let mut session = Session::open(self.options("h")?).await?;
        if session.said(|t| t.shared_subscription_available) == Some(0) {
            return Ok(finding("shared subscriptions", None, "no"));
        }
        let (granted, early) =
            session.subscribe(&[&format!("$share/check/{}/+/+/report/+", self.base)]).await?;
        let came = !early.is_empty() || session.message("send", Duration::from_secs(1)).await?.is_some();
        let found = match (granted, came) {
            (false, _) => "refused",
            (true, false) => "yes, without retained messages",
            (true, true) => "yes, with retained messages",
        };
        Ok(finding("shared subscriptions", None, found))
    }

    async fn clear(&self, session: &mut Session) -> Result<Finding, CheckError> {
        let others = ["plan", "will"].map(|end| format!("{}/{end}", self.base));
        let topics = (0..self.messages).map(|number| self.state(number)).chain(others);
        session.publish_all("clear retained messages", topics.map(|topic| (topic, Vec::new()))).await?;
        let mut reader = Session::open(self.options("i")?).await?;
        let (_, early) = reader.subscribe(&[&format!("{}/#", self.base)]).await?;
        let mut left = early.len();
        while reader.message("send what is left", Duration::from_secs(1)).await?.is_some() {
            left += 1;
        }
        Ok(finding("clears retained messages", left == 0, format!("{left} are left")))
    }
}
