//! A real Mosquitto with TLS and passwords under the settings that `manifests/` ships, and the access rules that the plugin prints.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificate::{Authority, issue};
use modelfleet_protocol::broker_rights::mosquitto_block;
use modelfleet_protocol::ids::{IdError, Namespace};

use crate::part::{Part, PartError, run};
use crate::place::{free_port, free_ports, root};

/// The controller's user name in the shipped access rules.
pub const CONTROLLER_USER: &str = "modelfleet-controller";

/// A running broker. Retained messages survive a restart.
#[derive(Debug)]
pub struct Broker {
    part: Part,
    dir: PathBuf,
    /// Without TLS, for tools by hand.
    port: u16,
    /// For the devices and for the controllers; none: everybody uses the other one.
    tls: Option<TlsPorts>,
}

/// The listeners that the shipped settings have.
#[derive(Clone, Copy, Debug)]
struct TlsPorts {
    devices: u16,
    controllers: u16,
}

impl Broker {
    /// Starts a broker with the shipped settings that knows the controller, and these devices of one fleet with these models.
    /// Each user's password is in [`Broker::password_file`].
    ///
    /// # Errors
    /// When Mosquitto is missing or does not start.
    pub fn start(
        dir: &Path,
        namespace: &str,
        models: &[&str],
        devices: &[impl AsRef<str>],
    ) -> Result<Broker, PartError> {
        Broker::under(dir, "mosquitto.conf", namespace, models, devices)
    }

    /// The same under the shipped settings for client certificates: those of the devices and of the controller are in
    /// [`Broker::client_certificate`].
    ///
    /// # Errors
    /// When Mosquitto is missing or does not start.
    pub fn start_with_certificates(
        dir: &Path,
        namespace: &str,
        models: &[&str],
        devices: &[impl AsRef<str>],
    ) -> Result<Broker, PartError> {
        let failed = |source| PartError::File { what: "write", path: dir.to_owned(), source };
        for folder in ["tls", "clients"] {
            std::fs::create_dir_all(dir.join(folder)).map_err(failed)?;
        }
        let (of_devices, of_controllers) = (Authority::new()?, Authority::new()?);
        of_devices.write(&dir.join("tls/devices-ca.crt"))?;
        of_controllers.write(&dir.join("tls/controllers-ca.crt"))?;
        let devices: Vec<&str> = devices.iter().map(AsRef::as_ref).collect();
        let clients = devices.iter().map(|device| (&of_devices, *device));
        for (authority, name) in clients.chain([(&of_controllers, CONTROLLER_USER)]) {
            let [certificate, key] = client_files(dir, name);
            authority.issue(name, &[], &certificate, &key)?;
        }
        Broker::under(dir, "mosquitto-certificates.conf", namespace, models, &devices)
    }

    fn under(
        dir: &Path,
        settings: &str,
        namespace: &str,
        models: &[&str],
        devices: &[impl AsRef<str>],
    ) -> Result<Broker, PartError> {
        let failed = |source| PartError::File { what: "write", path: dir.to_owned(), source };
        for folder in ["passwords", "secret", "tls", "modelfleet", "data"] {
            std::fs::create_dir_all(dir.join(folder)).map_err(failed)?;
        }
        let devices: Vec<&str> = devices.iter().map(AsRef::as_ref).collect();
        let all: Vec<&str> = devices.iter().copied().chain([CONTROLLER_USER]).collect();
        let mut passwords = BTreeMap::new();
        for user in &all {
            let password = password();
            std::fs::write(dir.join("passwords").join(user), &password).map_err(failed)?;
            passwords.insert(*user, password);
        }
        let lines = |users: &[&str]| -> String {
            users.iter().map(|user| format!("{user}:{}\n", passwords[user])).collect()
        };
        std::fs::write(dir.join("passwords.list"), lines(&all)).map_err(failed)?;
        for (name, users) in [("devices", &devices[..]), ("controllers", &[CONTROLLER_USER]), ("all", &all)] {
            let path = dir.join("secret").join(name);
            std::fs::write(&path, lines(users)).map_err(failed)?;
            run("hash the broker's passwords", Command::new("mosquitto_passwd").arg("-U").arg(path))?;
        }
        let rules = access_rules(namespace, models, &devices)?;
        let controllers = std::fs::read_to_string(root().join("manifests/broker/acl-controllers"));
        let controllers = controllers.map_err(failed)?;
        let both = format!("{controllers}\n{rules}");
        for (name, text) in [("acl-devices", &rules), ("acl-controllers", &controllers), ("acl-all", &both)] {
            std::fs::write(dir.join("modelfleet").join(name), text).map_err(failed)?;
        }
        issue(&dir.join("tls"))?;
        let [port, tls_port, controller_port] = free_ports().map_err(failed)?;
        let config = config(dir, settings, port, tls_port, controller_port).map_err(failed)?;
        std::fs::write(dir.join("mosquitto.conf"), config).map_err(failed)?;
        let part = Broker::launch(dir, port)?;
        let tls = Some(TlsPorts { devices: tls_port, controllers: controller_port });
        Ok(Broker { part, dir: dir.to_owned(), port, tls })
    }

    /// Starts a broker that lets everybody do everything, for many devices behind one connection. It forgets what is
    /// retained when it ends.
    ///
    /// # Errors
    /// When Mosquitto is missing or does not start.
    pub fn start_open(dir: &Path) -> Result<Broker, PartError> {
        Broker::without_rights(dir, "")
    }

    /// The same, and what is retained is on the disk a second later.
    ///
    /// # Errors
    /// When Mosquitto is missing or does not start.
    pub fn start_open_durable(dir: &Path) -> Result<Broker, PartError> {
        let kept = format!(
            "persistence true\nautosave_interval 1\npersistence_location {}/\nset_tcp_nodelay true\nuser root\n",
            dir.display()
        );
        Broker::without_rights(dir, &kept)
    }

    fn without_rights(dir: &Path, more: &str) -> Result<Broker, PartError> {
        let failed = |source| PartError::File { what: "write", path: dir.to_owned(), source };
        std::fs::create_dir_all(dir.join("passwords")).map_err(failed)?;
        std::fs::write(dir.join("passwords").join(CONTROLLER_USER), password()).map_err(failed)?;
        let port = free_port().map_err(failed)?;
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_dest stderr\n{more}"
        );
        std::fs::write(dir.join("mosquitto.conf"), config).map_err(failed)?;
        Ok(Broker { part: Broker::launch(dir, port)?, dir: dir.to_owned(), port, tls: None })
    }

    fn launch(dir: &Path, port: u16) -> Result<Part, PartError> {
        let mut command = Command::new("mosquitto");
        // Debian keeps daemons out of an ordinary user's PATH.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.arg("-c").arg(dir.join("mosquitto.conf"));
        let mut part = Part::start("broker", dir, &mut command)?;
        part.ready(Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
        })?;
        Ok(part)
    }

    /// Where tools by hand connect, and devices that a test lets do without TLS.
    #[must_use]
    pub fn plain_url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Where devices connect.
    #[must_use]
    pub fn url(&self) -> String {
        self.tls_url(|ports| ports.devices)
    }

    /// Where the controller connects.
    #[must_use]
    pub fn controller_url(&self) -> String {
        self.tls_url(|ports| ports.controllers)
    }

    fn tls_url(&self, port: impl Fn(TlsPorts) -> u16) -> String {
        self.tls.map_or_else(|| self.plain_url(), |ports| format!("mqtts://localhost:{}", port(ports)))
    }

    /// The file with the authority that vouches for it, where it speaks TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.tls.map(|_| self.dir.join("tls/ca.crt"))
    }

    /// The port without TLS, for tools by hand.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file with a user's password.
    #[must_use]
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.dir.join("passwords").join(user)
    }

    /// A user's password.
    ///
    /// # Errors
    /// When the broker does not know the user.
    pub fn password(&self, user: &str) -> Result<String, PartError> {
        let path = self.password_file(user);
        std::fs::read_to_string(&path).map_err(|source| PartError::File { what: "read", path, source })
    }

    /// The files with a client's certificate and its key, where the broker asks for certificates.
    #[must_use]
    pub fn client_certificate(&self, name: &str) -> [PathBuf; 2] {
        client_files(&self.dir, name)
    }

    /// The folder with a file for each user that holds its password.
    #[must_use]
    pub fn passwords(&self) -> PathBuf {
        self.dir.join("passwords")
    }

    /// The file with an `id:password` line for each device.
    #[must_use]
    pub fn password_list(&self) -> PathBuf {
        self.dir.join("passwords.list")
    }

    /// Ends the broker and starts it again on its port.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self) -> Result<(), PartError> {
        self.part.stop();
        self.start_again()
    }

    /// Starts a broker that was stopped or killed again, on its port.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn start_again(&mut self) -> Result<(), PartError> {
        self.part = Broker::launch(&self.dir, self.port)?;
        Ok(())
    }

    /// The process, to freeze or kill it.
    pub fn part(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// The shipped settings with places and ports of this run, and a listener without TLS for tools by hand.
fn config(dir: &Path, settings: &str, port: u16, devices: u16, controllers: u16) -> std::io::Result<String> {
    let shipped = std::fs::read_to_string(root().join("manifests/broker").join(settings))?;
    let dir = dir.display();
    let placed = shipped
        .replace("/etc/mosquitto/", &format!("{dir}/"))
        .replace("/var/lib/mosquitto/", &format!("{dir}/data/"))
        .replace("listener 8883\n", &format!("listener {devices} 127.0.0.1\n"))
        .replace("listener 8884\n", &format!("listener {controllers} 127.0.0.1\n"));
    Ok(format!(
        "{placed}\nuser root\nlog_dest stderr\nlistener {port} 127.0.0.1\nallow_anonymous false\n\
         password_file {dir}/secret/all\nacl_file {dir}/modelfleet/acl-all\n"
    ))
}

/// The access rules that `kubectl modelfleet broker-acl` prints for these devices.
fn access_rules(namespace: &str, models: &[&str], devices: &[&str]) -> Result<String, PartError> {
    let named = |source: IdError| PartError::Command { what: "name".into(), message: source.to_string() };
    let namespace: Namespace = namespace.parse().map_err(named)?;
    let models = models.iter().map(|model| model.parse()).collect::<Result<Vec<_>, _>>().map_err(named)?;
    let block = |id: &&str| id.parse().map(|id| mosquitto_block(&namespace, &id, &models));
    devices.iter().map(block).collect::<Result<String, _>>().map_err(named)
}

fn client_files(dir: &Path, name: &str) -> [PathBuf; 2] {
    ["crt", "key"].map(|kind| dir.join("clients").join(format!("{name}.{kind}")))
}

fn password() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    (0..2).map(|_| format!("{:016x}", RandomState::new().hash_one(0))).collect()
}
