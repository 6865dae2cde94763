//! A real Mosquitto with TLS, passwords and the access rules that `manifests/` ships.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificate::issue;
use crate::part::{Part, PartError, run};
use crate::place::{free_port, root};

/// The controller's user name in the shipped access rules.
pub const CONTROLLER_USER: &str = "modelfleet-controller";

/// A running broker. Retained messages survive a restart.
#[derive(Debug)]
pub struct Broker {
    part: Part,
    dir: PathBuf,
    /// Without TLS, for tools by hand.
    port: u16,
    /// For the controller and the devices; none: everybody uses the other one.
    tls_port: Option<u16>,
}

impl Broker {
    /// Starts a broker that knows the controller and these devices; each user's password is in
    /// [`Broker::password_file`].
    ///
    /// # Errors
    /// When Mosquitto is missing or does not start.
    pub fn start(dir: &Path, devices: &[impl AsRef<str>]) -> Result<Broker, PartError> {
        let failed = |source| PartError::File { what: "write", path: dir.to_owned(), source };
        std::fs::create_dir_all(dir.join("passwords")).map_err(failed)?;
        let users = devices.iter().map(AsRef::as_ref).chain([CONTROLLER_USER]);
        let mut file = std::fs::File::create(dir.join("users")).map_err(failed)?;
        for user in users {
            let password = password();
            std::fs::write(dir.join("passwords").join(user), &password).map_err(failed)?;
            writeln!(file, "{user}:{password}").map_err(failed)?;
        }
        drop(file);
        std::fs::copy(dir.join("users"), dir.join("passwords.list")).map_err(failed)?;
        run(
            "hash the broker's passwords",
            Command::new("mosquitto_passwd").arg("-U").arg(dir.join("users")),
        )?;
        std::fs::copy(root().join("manifests/broker/acl"), dir.join("acl")).map_err(failed)?;
        issue(dir)?;
        let port = free_port().map_err(failed)?;
        let tls_port = free_port().map_err(failed)?;
        std::fs::write(dir.join("mosquitto.conf"), config(dir, port, tls_port)).map_err(failed)?;
        let part = Broker::launch(dir, port)?;
        Ok(Broker { part, dir: dir.to_owned(), port, tls_port: Some(tls_port) })
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
        Ok(Broker { part: Broker::launch(dir, port)?, dir: dir.to_owned(), port, tls_port: None })
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

    /// Where controller and devices connect.
    #[must_use]
    pub fn url(&self) -> String {
        match self.tls_port {
            Some(port) => format!("mqtts://localhost:{port}"),
            None => self.plain_url(),
        }
    }

    /// The file with the authority that vouches for it, where it speaks TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.tls_port.map(|_| self.dir.join("ca.crt"))
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

fn config(dir: &Path, port: u16, tls_port: u16) -> String {
    let shipped = std::fs::read_to_string(root().join("manifests/broker/mosquitto.conf")).unwrap_or_default();
    // Every setting that is not a place is the shipped one.
    let placed = [
        "listener",
        "password_file",
        "acl_file",
        "persistence_location",
        "cafile",
        "certfile",
        "keyfile",
        "user",
        "log_dest",
        "persistence_file",
    ];
    let kept = |line: &&str| !placed.iter().any(|word| line.trim_start().starts_with(word));
    let kept: Vec<&str> = shipped.lines().filter(kept).collect();
    let dir = dir.display();
    format!(
        "{}\npassword_file {dir}/users\nacl_file {dir}/acl\npersistence_location {dir}/\nuser root\nlog_dest stderr\n\
         listener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\n\
         cafile {dir}/ca.crt\ncertfile {dir}/tls.crt\nkeyfile {dir}/tls.key\n",
        kept.join("\n")
    )
}

fn password() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    (0..2).map(|_| format!("{:016x}", RandomState::new().hash_one(0))).collect()
}
