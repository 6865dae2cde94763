//! A device whose client key lies in a token (SoftHSM), on a real Mosquitto under the shipped settings for certificates.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::part::{Part, run};
use modelfleet_test_support::pump_plan::{MODEL, NAMESPACE, write_plan_key};
use modelfleet_test_support::wait::wait;

const DEVICE: &str = "pump-001";
const PIN: &str = "4321";
/// Where packages put it.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

/// A token in a folder.
struct Token {
    conf: PathBuf,
    module: &'static str,
    pin: PathBuf,
}

impl Token {
    fn new(dir: &Path) -> Token {
        let module = MODULES.into_iter().find(|path| Path::new(path).exists());
        let module = module.expect("SoftHSM is missing: apt-get install softhsm2");
        let (conf, tokens, pin) = (dir.join("softhsm2.conf"), dir.join("tokens"), dir.join("pin"));
        fs::create_dir_all(&tokens).unwrap();
        fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
        fs::write(&pin, format!("{PIN}\n")).unwrap();
        let token = Token { conf, module, pin };
        token.tool(&[
            "--init-token",
            "--free",
            "--label",
            "my devices",
            "--so-pin",
            "87654321",
            "--pin",
            PIN,
        ]);
        token
    }

    fn tool(&self, arguments: &[&str]) {
        let mut command = Command::new("softhsm2-util");
        run("use the token", command.env("SOFTHSM2_CONF", &self.conf).args(arguments)).unwrap();
    }

    /// Puts a key into it, and deletes the file.
    fn import(&self, key: &Path, label: &str, id: &str) {
        let file = key.to_str().unwrap();
        let place = ["--token", "my devices", "--label", label, "--id", id, "--pin", PIN];
        self.tool(&[&["--import", file], &place[..]].concat());
        fs::remove_file(key).unwrap();
    }

    fn address(&self, object: &str) -> String {
        let (module, pin) = (self.module, self.pin.display());
        format!("pkcs11:token=my%20devices;object={object}?module-path={module}&pin-source={pin}")
    }
}

fn agent(dir: &Path, broker: &Broker, token: &Token, object: &str) -> Part {
    fs::create_dir_all(dir).unwrap();
    let key = dir.join("plan.key");
    write_plan_key(&key);
    let [certificate, _] = broker.client_certificate(DEVICE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelfleet-agent"));
    command.env("SOFTHSM2_CONF", &token.conf).env_remove("MODELFLEET_ONNXRUNTIME");
    command.args(["run", "--device", DEVICE, "--namespace", NAMESPACE, "--reconnect-max-s", "1"]);
    command.args(["--reconnect-spread-s", "0", "--broker", &broker.url()]);
    command.arg("--ca").arg(broker.ca_file().unwrap()).arg("--plan-key").arg(key);
    command.arg("--dir").arg(dir.join("state")).arg("--client-cert").arg(certificate);
    command.arg("--client-key").arg(token.address(object));
    Part::start(DEVICE, dir, &mut command).unwrap()
}

#[test]
fn a_device_connects_with_a_key_that_does_not_leave_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_with_certificates(dir.path(), NAMESPACE, &[MODEL], &[DEVICE]).unwrap();
    let token = Token::new(dir.path());
    let [_, key] = broker.client_certificate(DEVICE);
    token.import(&key, DEVICE, "01");
    let console = Console::connect(&broker);
    let mut agent = agent(&dir.path().join("device"), &broker, &token, DEVICE);
    let id = DEVICE.parse().unwrap();
    wait("the device to be online", || console.presence(&id).filter(|presence| presence.online));
    agent.stop();
}

#[test]
fn a_token_without_the_key_is_told_and_the_broker_refuses_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_with_certificates(dir.path(), NAMESPACE, &[MODEL], &[DEVICE]).unwrap();
    let token = Token::new(dir.path());
    let mut agent = agent(&dir.path().join("device"), &broker, &token, DEVICE);
    let told = "the address names 0 private keys of the token";
    wait("the agent to say why", || agent.log().contains(told).then_some(()));
    let console = Console::connect(&broker);
    assert!(console.presence(&DEVICE.parse().unwrap()).is_none());
    agent.stop();
}
