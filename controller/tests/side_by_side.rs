//! Fleets side by side: none waits for another one's lock or look, and what is urgent waits for no look at all.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(dead_code, reason = "the objects are those of another test too")]

#[path = "stubborn/controller.rs"]
mod controller;
#[path = "stubborn/objects.rs"]
mod objects;
#[path = "stubborn/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use controller::{controller, key, sent};
use modelfleet_controller::context::{Context, unless};
use modelfleet_controller::http::{self, Shown, Stand};
use modelfleet_controller::mqtt::Feed;
use modelfleet_controller::observe::observe;
use modelfleet_controller::reconcile::reconcile;
use modelfleet_controller::run::{Scope, note, receive, rollout_changed};
use modelfleet_crds::Rollout;
use modelfleet_fleet::Source;
use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::topic::device_root;
use objects::{of, rollout, versions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What takes longer than this waits for something that it must not wait for.
const LIMIT: Duration = Duration::from_secs(30);

/// A device of a fleet connects.
fn hear(context: &Context, namespace: &str, device: &str) {
    let namespace: Namespace = namespace.parse().unwrap();
    let id: DeviceId = device.parse().unwrap();
    let topic = format!("{}/presence", device_root(&namespace, &id));
    let presence = json!({"online": true, "since": 1, "connection": 1}).to_string();
    let message = Feed::Message { topic: &topic, payload: presence.as_bytes(), retained: false };
    receive(context, &Scope::All, message, &CancellationToken::new());
}

fn devices(context: &Context, namespace: &str) -> usize {
    context.fleets.named(&namespace.parse().unwrap()).locked().index.len()
}

/// The other fleet is written all the time; here its lock is held by a thread that gives it back at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fleet_that_is_locked_keeps_no_other_from_its_messages_and_its_abort() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (_server, context, _broker) = controller(of(versions(), vec![active])).await;
    let context = Arc::new(context);
    let busy = context.fleets.named(&"busy".parse().unwrap());
    busy.locked().index.note(&"m".parse().unwrap(), Source::Plan);
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let _held = busy.locked();
        locked.send(()).unwrap();
        released.recv_timeout(2 * LIMIT)
    });
    is_locked.recv().unwrap();
    let shared = Arc::clone(&context);
    let all = async move {
        hear(&shared, "plant", "pump-1");
        assert_eq!(devices(&shared, "plant"), 1);
        reconcile(&shared, &key()).await.unwrap();
        assert!(sent(&shared).unwrap().candidate.is_none(), "the abort is out");
        let shown = Shown { metrics: shared.metrics.clone(), stand: Arc::default() };
        shown.set(Stand::Leading(Arc::clone(&shared)));
        for path in ["/healthz", "/readyz", "/metrics", "/malformed"] {
            assert!(!answer(shown.clone(), path).await.is_empty(), "{path}");
        }
    };
    tokio::time::timeout(LIMIT, tokio::spawn(all)).await.expect("nothing waits for the other fleet").unwrap();
    release.send(()).unwrap();
    assert_eq!(holder.join().unwrap(), Ok(()), "it was locked to the end");
}

/// What the server of health and numbers answers.
async fn answer(shown: Shown, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(address, shown, true, stop.clone()));
    let mut stream = loop {
        match tokio::net::TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
    text
}

/// While a fleet is looked at, its own messages are folded, and the look does not see them.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_keeps_no_message_of_its_own_fleet_waiting() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({}));
    let (_server, context, _broker) = controller(of(versions(), vec![active])).await;
    hear(&context, "plant", "pump-1");
    let context = Arc::new(context);
    let (heard, hears) = std::sync::mpsc::channel();
    let snapshot = observe(&context, &key());
    let never = CancellationToken::new();
    let look = unless(&never, move || {
        let before = snapshot.fleet.as_ref().unwrap().len();
        hears.recv_timeout(LIMIT).expect("the message is folded while this looks");
        (before, snapshot.fleet.unwrap().len())
    });
    let (looked, ()) = tokio::join!(look, async {
        hear(&context, "plant", "pump-2");
        heard.send(()).unwrap();
    });
    assert_eq!((looked, devices(&context, "plant")), (Some((1, 1)), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_interrupted_is_not_waited_for() {
    let (interrupt, began) = (CancellationToken::new(), Arc::new(tokio::sync::Notify::new()));
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let begins = Arc::clone(&began);
    let token = interrupt.clone();
    let look = tokio::spawn(async move {
        unless(&token, move || {
            begins.notify_one();
            finished.recv_timeout(2 * LIMIT)
        })
        .await
    });
    began.notified().await;
    interrupt.cancel();
    let ended = tokio::time::timeout(LIMIT, look).await.expect("it does not wait").unwrap();
    assert_eq!(ended, None);
    finish.send(()).expect("the look itself still runs");
}

/// The edit arrives while the model is looked at: that reconcile writes nothing, and the next one takes the version back.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_interrupts_a_look_at_its_own_model_and_another_edit_does_not() {
    for (edit, interrupts) in [(json!({"abort": true}), true), (json!({"promote": "full"}), false)] {
        let active = rollout("1.2.0", Some("Progressing"), &json!({}));
        let edited = rollout("1.2.0", Some("Progressing"), &edit).1;
        let (server, context, _broker) = controller(of(versions(), vec![active])).await;
        let edited: Rollout = serde_json::from_value(edited).unwrap();
        context.work.now(key());
        let job = context.work.take_due().ok().unwrap();
        rollout_changed(&context, &edited, false);
        let done = reconcile(&context, &key()).await.unwrap();
        assert_eq!(done.interrupted, interrupts, "{edit}");
        assert_eq!(server.writes().is_empty(), interrupts, "what is interrupted writes nothing");
        note(&context, &key(), job.evidence_since, Ok(done), 0.5);
        context.work.done(&key(), Duration::from_secs(60));
        assert_eq!(context.work.take_urgent().is_ok(), interrupts, "{edit}");
    }
}
