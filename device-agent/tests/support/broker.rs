//! A real Mosquitto with passwords, and a client that sees everything on it.

use std::collections::HashMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::{DeviceState, ModelState, Phase};
use modelfleet_protocol::topic::{Channel, Topic};
use prost::Message as _;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};

use super::{MODEL, NAMESPACE, skipped, wait};

pub const PASSWORD: &str = "of-all-devices";
const USERS: [&str; 4] = ["console", "pump-001", "pump-002", "watch-001"];

pub struct Mosquitto {
    pub port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker that asks nobody for a password.
    pub fn anonymous(dir: &Path) -> Option<Mosquitto> {
        Mosquitto::with(dir, "allow_anonymous true\n")
    }

    /// Starts a broker with passwords and rights; `None`, with a notice, where there is none.
    pub fn start(dir: &Path) -> Option<Mosquitto> {
        let rights = format!(
            "allow_anonymous false\npassword_file {dir}/passwords\nacl_file {dir}/acl\n",
            dir = dir.display()
        );
        Mosquitto::with(dir, &rights)
    }

    fn with(dir: &Path, rights: &str) -> Option<Mosquitto> {
        if program().is_none() {
            skipped("mosquitto is not installed");
            return None;
        }
        let passwords = dir.join("passwords");
        fs::write(&passwords, "").unwrap();
        for user in USERS {
            let status =
                Command::new("mosquitto_passwd").arg("-b").arg(&passwords).args([user, PASSWORD]).status();
            assert!(status.unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let acl = "pattern readwrite mf/1/+/device/+/%u/#\npattern read mf/1/+/plan/+\n\
                   user console\ntopic readwrite mf/1/#\n";
        fs::write(dir.join("acl"), acl).unwrap();
        let config = format!(
            "listener {port} 127.0.0.1\n{rights}persistence true\npersistence_location {dir}/\n\
             max_packet_size 1048576\nuser root\n",
            dir = dir.display()
        );
        fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let mut broker = Mosquitto { port, dir: dir.to_owned(), child: None };
        broker.up();
        Some(broker)
    }

    pub fn up(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("broker.log")).unwrap();
        let mut command = Command::new(program().unwrap());
        command.arg("-c").arg(self.dir.join("mosquitto.conf")).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        wait("the broker", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = rustix::process::Pid::from_child(&child);
            // An orderly end, so that retained messages are written.
            rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("mosquitto")).find(|file| file.is_file())
}

/// Sees what is retained and writes plans, as a controller does.
pub struct Console {
    client: Client,
    seen: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Console {
    pub fn connect(broker: &Mosquitto) -> Console {
        let mut options = MqttOptions::new("console", "127.0.0.1", broker.port);
        options.set_credentials("console", PASSWORD);
        options.set_max_packet_size(Some(1024 * 1024));
        options.set_outgoing_inflight_upper_limit(16);
        let (client, mut connection) = Client::new(options, 16);
        let seen: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        let (into, again) = (seen.clone(), client.clone());
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        again.try_subscribe("mf/1/#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
                        into.lock().unwrap().insert(topic, message.payload.to_vec());
                    }
                    Ok(_) => {}
                    // The broker is restarted by some tests.
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
                }
            }
        });
        Console { client, seen }
    }

    pub fn publish(&self, channel: Channel, payload: Vec<u8>) {
        let topic = Topic { namespace: NAMESPACE.parse().unwrap(), channel }.name();
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).unwrap();
    }

    pub fn publish_plan(&self, plan: &modelfleet_protocol::plan::Plan) {
        self.publish(Channel::Plan(plan.model.clone()), super::sealed(plan));
    }

    fn get(&self, channel: Channel) -> Option<Vec<u8>> {
        let topic = Topic { namespace: NAMESPACE.parse().unwrap(), channel }.name();
        self.seen.lock().unwrap().get(&topic).cloned()
    }

    pub fn state(&self, device: &DeviceId) -> Option<DeviceState> {
        DeviceState::from_json(device, &self.get(Channel::State(device.clone()))?).ok()
    }

    pub fn presence(&self, device: &DeviceId) -> Option<Presence> {
        serde_json::from_slice(&self.get(Channel::Presence(device.clone()))?).ok()
    }

    pub fn report(&self, device: &DeviceId) -> Option<Report> {
        Report::decode(&*self.get(Channel::Report(device.clone(), MODEL.parse().unwrap()))?).ok()
    }

    /// Waits until the device says this of its model.
    pub fn wait_model(
        &self,
        device: &DeviceId,
        what: &str,
        good: impl Fn(&ModelState) -> bool,
    ) -> ModelState {
        let model = MODEL.parse().unwrap();
        let mut last = None;
        let found = wait_or(what, || {
            last = self.state(device);
            last.as_ref()?.model(&model).filter(|m| good(m)).cloned()
        });
        found.unwrap_or_else(|| panic!("waited for {what}; the last state is {last:#?}"))
    }

    /// Waits until the attempt has come to this phase.
    pub fn wait_phase(&self, device: &DeviceId, rollout: &str, phase: Phase) -> ModelState {
        self.wait_model(device, &format!("{rollout} to be {phase:?}"), |m| {
            m.candidate.as_ref().is_some_and(|c| c.rollout == rollout && c.phase == phase)
        })
    }
}

fn wait_or<T>(_: &str, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = std::time::Instant::now();
    while start.elapsed() < super::LIMIT {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    None
}
