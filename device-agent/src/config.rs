//! The command line and the environment.

mod files;
mod unreadable;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::selector::{LABELS_MAX, Labels};
use url::Url;

pub use files::{ConfigError, apart, plan_keys, read_file};
pub use unreadable::{can_be_read, go_without};

/// Runs models on devices, under a plan from the controller.
#[derive(Parser)]
#[command(name = "modelfleet-agent", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run one device.
    Run(RunArgs),
}

/// What one device and many have in common.
#[derive(Args)]
pub struct CommonArgs {
    /// The MQTT broker: mqtt://HOST[:1883] or mqtts://HOST[:8883].
    #[arg(long, env = "MODELFLEET_BROKER", value_name = "URL")]
    pub broker: Broker,
    /// The fleet: the Kubernetes namespace of its objects.
    #[arg(long, env = "MODELFLEET_NAMESPACE", default_value = "default")]
    pub namespace: Namespace,
    /// File with an ed25519 public key (hexadecimal or base64) whose plans are obeyed; may be repeated. Several files
    /// may stand in one value, with commas between them.
    #[arg(long, env = "MODELFLEET_PLAN_KEY", required = true, value_name = "FILE")]
    pub plan_key: Vec<PathBuf>,
    /// File with a minisign public key; with any, only models signed by one of them run. May be repeated,
    /// or several with commas between them.
    #[arg(long, env = "MODELFLEET_ARTIFACT_KEY", value_name = "FILE")]
    pub artifact_key: Vec<PathBuf>,
    /// File with the certificate authorities that are trusted instead of the system's.
    #[arg(long, env = "MODELFLEET_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// ONNX Runtime's shared library; without it, models run on rten alone.
    #[arg(long, env = "MODELFLEET_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// Engines to use, the preferred one first; `none` for none.
    #[arg(long, value_delimiter = ',', default_value = "onnxruntime,rten")]
    pub engines: Vec<EngineName>,
    /// Longest a prediction may take, milliseconds; slower ones count as timeouts.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub prediction_timeout_ms: u64,
    /// The broker is asked for a sign of life after this pause, seconds (at least 5).
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub keep_alive_s: u64,
    /// Longest wait between two tries to connect, seconds.
    #[arg(long, default_value_t = 120, value_name = "S")]
    pub reconnect_max_s: u64,
    /// Longest random delay before a device reconnects after it lost the broker, in seconds [default: 30]. It spreads
    /// the reconnects of a fleet; at start the delay is at most a third of it.
    #[arg(long, env = "MODELFLEET_RECONNECT_SPREAD", value_name = "S")]
    pub reconnect_spread_s: Option<u64>,
    /// First wait before a failed download is tried again, milliseconds.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub fetch_backoff_ms: u64,
    /// Devices spread the download of a stable build over this time, milliseconds.
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    pub stable_spread_ms: u64,
    /// Form of the log.
    #[arg(long, env = "MODELFLEET_LOG", default_value = "text")]
    pub log: LogForm,
    /// Least important lines that are logged.
    #[arg(long, env = "MODELFLEET_LOG_LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,
}

/// One device.
#[derive(Args)]
pub struct RunArgs {
    /// What devices have in common.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The device's id.
    #[arg(long, env = "MODELFLEET_DEVICE", value_name = "ID")]
    pub device: DeviceId,
    /// The device's folder.
    #[arg(long, env = "MODELFLEET_DIR", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// A label, KEY=VALUE; may be repeated.
    #[arg(long, env = "MODELFLEET_LABELS", value_delimiter = ',', value_parser = label, value_name = "KEY=VALUE")]
    pub label: Vec<(String, String)>,
    /// The broker's user; the device's id where a password file is given.
    #[arg(long, env = "MODELFLEET_USERNAME")]
    pub username: Option<String>,
    /// File with the password in its first line.
    #[arg(long, env = "MODELFLEET_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Where the local API listens: a loopback address and port (0: any free one), or unix:PATH.
    #[arg(long, env = "MODELFLEET_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: Listen,
    /// A host name, without port, under which the local API may be asked, besides those of the machine itself; may be
    /// repeated. Where a proxy or a container stands before it.
    #[arg(long, env = "MODELFLEET_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Web pages of this origin may ask the local API, such as http://dashboard.local:3000; may be repeated.
    #[arg(long, env = "MODELFLEET_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Memory that the process may use, MiB; a build that makes it exceed that goes back. 0: no limit.
    #[arg(long, env = "MODELFLEET_MEMORY_LIMIT", default_value_t = 0, value_name = "MIB")]
    pub memory_limit_mib: u64,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl FromStr for Broker {
    type Err = String;
    fn from_str(text: &str) -> Result<Broker, String> {
        let url = Url::parse(text).map_err(|e| format!("not an address: {e}"))?;
        let tls = match url.scheme() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            other => return Err(format!("scheme {other:?} is neither mqtt nor mqtts")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("user and password do not belong into the address; see --password-file".into());
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or("no host")?.to_owned();
        Ok(Broker { host, port: url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls })
    }
}

/// Where the local API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On a loopback address.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Listen::Unix(path.into()));
        }
        let address: SocketAddr =
            text.parse().map_err(|e| format!("neither an address nor unix:PATH: {e}"))?;
        if address.ip().is_loopback() {
            Ok(Listen::Tcp(address))
        } else {
            Err("the local API has no passwords and listens on loopback only".into())
        }
    }
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// ONNX Runtime, opened from --onnxruntime.
    Onnxruntime,
    /// rten.
    Rten,
    /// No engine.
    None,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    modelfleet_protocol::label::check(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The labels of the command line.
///
/// # Errors
/// When there are too many.
pub fn labels(pairs: &[(String, String)]) -> Result<Labels, ConfigError> {
    let labels: Labels = pairs.iter().cloned().collect();
    if labels.len() > LABELS_MAX { Err(ConfigError::Labels(labels.len())) } else { Ok(labels) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_label_that_the_controller_would_refuse_is_refused_here() {
        assert_eq!(label("site=Hall-7"), Ok(("site".to_owned(), "Hall-7".to_owned())));
        assert!(label(&format!("site={}", "x".repeat(63))).is_ok());
        let refused = label(&format!("site={}", "x".repeat(64))).unwrap_err();
        assert!(refused.contains("label site has a value of 64 bytes; at most 63"), "{refused}");
        for bad in ["site", "=x", "site=Hall 7", "a/b/c=x"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_read_and_odd_ones_refused() {
        let broker: Broker = "mqtt://localhost".parse().unwrap();
        assert_eq!((broker.port, broker.tls), (1883, false));
        let broker: Broker = "mqtts://broker.example:9000".parse().unwrap();
        assert_eq!((broker.port, broker.tls), (9000, true));
        for bad in ["localhost:1883", "http://x", "mqtt://user:secret@x", "mqtt://"] {
            assert!(bad.parse::<Broker>().is_err(), "{bad}");
        }
        assert!("127.0.0.1:0".parse::<Listen>().is_ok());
        assert!("unix:/run/agent.sock".parse::<Listen>().is_ok());
        assert!("0.0.0.0:80".parse::<Listen>().is_err());
    }
}
