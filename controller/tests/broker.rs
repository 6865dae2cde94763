//! The connection to brokers that do what good ones do seldom: acknowledge out of order, cut, and fall silent.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::time::Duration;

use modelfleet_controller::mqtt::{self, BrokerSettings, Feed, Outbox as _, Publisher};
use modelfleet_test_support::wait::LIMIT;
use modelfleet_test_support::wire::{Peer, Terms, Wire};
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the connection told, as far as the tests look at it.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Connected,
    Lost,
    PlansHeard,
    Moves,
    Retained,
    Heard,
    Unheard,
}

/// A controller's connection under way.
struct Line {
    publisher: Publisher,
    told: mpsc::UnboundedReceiver<Told>,
    stop: CancellationToken,
}

impl Line {
    fn to(wire: &Wire, beat: Duration) -> Line {
        let settings = BrokerSettings {
            url: format!("mqtt://127.0.0.1:{}", wire.port()),
            user: None,
            password: None,
            ca_pem: None,
            client_certificate: None,
            identity: "test".into(),
            beat,
        };
        let (publisher, broker) = mqtt::prepare(&settings).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let run = broker.run(stop.clone(), move |feed| {
            let word = match feed {
                Feed::Connected => Told::Connected,
                Feed::Lost(_) => Told::Lost,
                Feed::PlansHeard => Told::PlansHeard,
                Feed::Moves => Told::Moves,
                Feed::Heard { fleets: [_, ..], .. } => Told::Heard,
                Feed::Unheard(_) => Told::Unheard,
                Feed::Message { retained: true, .. } => Told::Retained,
                _ => return,
            };
            // A test that has ended listens no more.
            let _ = tell.send(word);
        });
        tokio::spawn(run);
        Line { publisher, told, stop }
    }

    /// Waits until it tells this.
    async fn tells(&mut self, word: Told) {
        while self.tells_next().await != word {}
    }

    /// The next of these words.
    async fn tells_next_of(&mut self, words: &[Told]) -> Told {
        loop {
            let told = self.tells_next().await;
            if words.contains(&told) {
                return told;
            }
        }
    }

    async fn tells_next(&mut self) -> Told {
        let next = tokio::time::timeout(LIMIT, self.told.recv()).await;
        next.expect("it tells something").expect("it runs")
    }

    fn publish(&self, number: u32) {
        self.publisher.publish_retained("mf/1/plant/plan/m", number.to_string().into_bytes()).unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Answers the subscription to plans, and sends the first marker and the message after a quiet second back.
fn hears_plans(peer: &mut Peer) {
    peer.grant_subscription();
    while &returns(peer).payload[..] != b"quiet" {}
}

/// Acknowledges the controller's next message to itself and sends it back.
fn returns(peer: &mut Peer) -> Publish {
    let message = peer.message();
    peer.send_back(&message);
    message
}

const RECEIVE_MAX: u16 = 20;
const TERMS: Terms = Terms { receive_max: Some(RECEIVE_MAX), packet_bytes_max: None };

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_out_of_order_and_a_cut_leave_a_connection_that_publishes() {
    let wire = Wire::start();
    let mut line = Line::to(&wire, Duration::from_secs(30));
    let mut peer = wire.accept(TERMS);
    hears_plans(&mut peer);
    line.tells(Told::PlansHeard).await;
    // The numbers of messages go round: once all are in use, and all are acknowledged but the oldest, the next message
    // gets that one's number.
    for number in 0..u32::from(RECEIVE_MAX) {
        line.publish(number);
    }
    let sent: Vec<u16> = (0..RECEIVE_MAX).map(|_| peer.unacknowledged().pkid).collect();
    sent.iter().skip(1).rev().for_each(|pkid| peer.acknowledge(*pkid));
    for number in 0..u32::from(RECEIVE_MAX) {
        line.publish(100 + number);
    }
    // What has a number of its own still comes; then the one that has not, and nothing behind it.
    let mut after = 0;
    while let Some(Packet::Publish(_)) = peer.next_within(Duration::from_millis(500)) {
        after += 1;
    }
    assert!(after < RECEIVE_MAX, "the numbers have met");
    drop(peer);
    line.tells(Told::Lost).await;
    let mut peer = wire.accept(TERMS);
    line.tells(Told::Connected).await;
    hears_plans(&mut peer);
    line.tells(Told::PlansHeard).await;
    line.publish(7);
    let message = peer.unacknowledged();
    assert_eq!(&message.payload[..], b"7", "nothing of the connection before comes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_of_ours_comes_back_is_given_up() {
    let wire = Wire::start();
    let mut line = Line::to(&wire, Duration::from_millis(100));
    let mut peer = wire.accept(TERMS);
    hears_plans(&mut peer);
    line.tells(Told::PlansHeard).await;
    let beat = peer.unacknowledged();
    peer.acknowledge(beat.pkid);
    peer.send_back(&beat);
    line.tells(Told::Moves).await;
    // From here on it answers pings alone.
    line.tells(Told::Lost).await;
    let mut peer = wire.accept(TERMS);
    hears_plans(&mut peer);
    line.tells(Told::PlansHeard).await;
}

/// Brokers other than Mosquitto send what they have retained behind messages that came later.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_comes_behind_the_marker_is_heard_before_plans_are_complete() {
    let wire = Wire::start();
    let mut line = Line::to(&wire, Duration::from_secs(30));
    let mut peer = wire.accept(TERMS);
    peer.grant_subscription();
    let marker = returns(&mut peer);
    let topic = "mf/1/plant/plan/m".into();
    peer.send_back(&Publish { topic, retain: true, ..marker });
    assert_eq!(&returns(&mut peer).payload[..], b"quiet");
    let told = [line.tells_next().await, line.tells_next().await, line.tells_next().await];
    assert_eq!(told, [Told::Connected, Told::Moves, Told::Retained]);
    line.tells(Told::PlansHeard).await;
}

/// A broker that goes on with what it has retained long after it has answered everything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_after_a_fleet_was_heard_makes_it_unheard_until_it_is_quiet_again() {
    let wire = Wire::start();
    let mut line = Line::to(&wire, Duration::from_secs(30));
    let mut peer = wire.accept(TERMS);
    hears_plans(&mut peer);
    line.tells(Told::PlansHeard).await;
    line.publisher.subscribe_to(["plant".parse().unwrap()].into());
    // The word that wakes the connection comes before or behind the subscription.
    let mut marker = loop {
        match peer.next() {
            Some(Packet::Publish(wake)) => assert_eq!(&wake.payload[..], b"wake"),
            Some(Packet::Subscribe(asked)) => {
                peer.answer_subscription(asked.pkid, &vec![1; asked.filters.len()]);
                break returns(&mut peer);
            }
            other => panic!("{other:?}"),
        }
    };
    while &marker.payload[..] != b"quiet" {
        marker = returns(&mut peer);
    }
    line.tells(Told::Heard).await;
    let topic = "mf/1/plant/device/f0/pump-001/state".into();
    let late = Publish { topic, retain: true, ..marker };
    for seconds in [2, 4] {
        peer.send_back(&late);
        assert_eq!(line.tells_next_of(&[Told::Unheard, Told::Heard]).await, Told::Unheard);
        let began = std::time::Instant::now();
        while &returns(&mut peer).payload[..] != b"quiet" {}
        assert_eq!(line.tells_next_of(&[Told::Unheard, Told::Heard]).await, Told::Heard);
        let waited = began.elapsed().as_secs_f64();
        assert!(waited > f64::from(seconds) - 0.5, "{waited} s of {seconds}");
    }
}
