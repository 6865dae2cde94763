//! The command line and the environment variables.

mod card;
mod files;
mod unreadable;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::selector::{LABELS_MAX, Labels};
use url::Url;

use crate::http::Network;

pub use card::{CardFileError, OwnCard, own_card};
pub use files::{ConfigError, apart, plan_keys, read_file, root_keys};
pub use unreadable::{can_be_read, go_without};

/// The Modelfleet device agent. It runs models on a device as the signed plans of the controller say, and serves
/// predictions to local programs.
#[derive(Parser)]
#[command(name = "modelfleet-agent", version)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run the agent for this device.
    Run(Box<RunArgs>),
    /// Run a model for an agent; agents start this by themselves.
    #[cfg(feature = "onnxruntime")]
    #[command(hide = true)]
    EngineWorker(crate::engine::worker::WorkerArgs),
}

/// Settings that do not depend on the device.
#[derive(Args)]
pub struct CommonArgs {
    /// Address of the MQTT broker: mqtt://HOST[:1883] or mqtts://HOST[:8883].
    #[arg(long, env = "MODELFLEET_BROKER", value_name = "URL")]
    pub broker: Broker,
    /// The fleet: the Kubernetes namespace of its ModelVersions and Rollouts.
    #[arg(long, env = "MODELFLEET_NAMESPACE", default_value = "default")]
    pub namespace: Namespace,
    /// File with an ed25519 public key, hexadecimal or base64. The agent follows only plans signed by one of these keys.
    /// Give the option several times, or several files separated by commas. With --trust-root it may be left out: these keys
    /// then count until the device has its first trust document, which names the keys that count from there on.
    #[arg(long, env = "MODELFLEET_PLAN_KEY", required_unless_present = "trust_root", value_name = "FILE")]
    pub plan_key: Vec<PathBuf>,
    /// File with the root keys and how many of them have to sign, {"keys":["HEX",...],"threshold":N}, which kubectl
    /// modelfleet trust init makes. The agent then follows the trust documents that these keys sign: plan keys are replaced
    /// and revoked without touching the device. Without it, no trust document protects the device.
    #[arg(long, env = "MODELFLEET_TRUST_ROOT", value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// The file of the root keys cannot be read now, so a document that was followed before counts on.
    #[arg(skip)]
    pub trust_root_unreadable: bool,
    /// File with a minisign public key. If any is given, the agent runs only models signed by one of these keys; without
    /// it, model signatures are not checked. Keys that a trust document names take their place. Give the option several
    /// times, or several files separated by commas.
    #[arg(long, env = "MODELFLEET_ARTIFACT_KEY", value_name = "FILE")]
    pub artifact_key: Vec<PathBuf>,
    /// Run also models whose signature covers the bytes only and does not say which model and version they are. With it,
    /// a file that was signed for one model can be sent as another.
    #[arg(long, env = "MODELFLEET_ALLOW_BARE_SIGNATURES")]
    pub allow_bare_signatures: bool,
    /// File with the certificate authorities to trust instead of the system's.
    #[arg(long, env = "MODELFLEET_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Network that models may be downloaded from besides public addresses, such as 10.20.0.0/16; `private` for all private
    /// networks and this machine. Link-local addresses are never used. May be given several times.
    #[arg(long, env = "MODELFLEET_ALLOW_NETWORK", value_delimiter = ',', value_name = "NETWORK")]
    pub allow_network: Vec<Network>,
    /// Folder below which models with file:// addresses may lie. Without it, such models are not installed.
    #[arg(long, env = "MODELFLEET_FILES_BELOW", value_name = "FOLDER")]
    pub files_below: Option<PathBuf>,
    /// File with the certificate by which the broker knows the device, and those between it and the authority (PEM). Read
    /// again for every connection.
    #[arg(long, env = "MODELFLEET_CLIENT_CERT", requires = "client_key", value_name = "FILE")]
    pub client_cert: Option<PathBuf>,
    /// File with the private key of the client certificate (PEM). Or, in an agent with the feature pkcs11, the address of a key
    /// in a token: `pkcs11:token=LABEL;object=LABEL?module-path=LIBRARY&pin-source=FILE`.
    #[arg(long, env = "MODELFLEET_CLIENT_KEY", requires = "client_cert", value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// The shared library of ONNX Runtime. Without it, models run on rten only.
    #[arg(long, env = "MODELFLEET_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// Engines to use, in order of preference; `none` for no engine.
    #[arg(long, value_delimiter = ',', default_value = "onnxruntime,rten")]
    pub engines: Vec<EngineName>,
    /// Longest time for a prediction, in milliseconds. A slower one counts as a timeout.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub prediction_timeout_ms: u64,
    /// Interval of MQTT keep-alive messages, in seconds (at least 5).
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub keep_alive_s: u64,
    /// Longest wait between two attempts to connect to the broker, in seconds.
    #[arg(long, default_value_t = 120, value_name = "S")]
    pub reconnect_max_s: u64,
    /// Longest random delay before a device reconnects after it lost the broker, in seconds [default: 30]. It spreads
    /// the reconnects of a fleet; at start the delay is at most a third of it.
    #[arg(long, env = "MODELFLEET_RECONNECT_SPREAD", value_name = "S")]
    pub reconnect_spread_s: Option<u64>,
    /// Wait before a failed download is tried again, in milliseconds. It doubles with each further failure.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub fetch_backoff_ms: u64,
    /// Devices start to download a stable build at random times within this period, in milliseconds.
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    pub stable_spread_ms: u64,
    /// Format of the log.
    #[arg(long, env = "MODELFLEET_LOG", default_value = "text")]
    pub log: LogForm,
    /// Lowest level that is logged: error, warn, info, debug or trace.
    #[arg(long, env = "MODELFLEET_LOG_LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,
}

/// Settings of one device.
#[derive(Args)]
pub struct RunArgs {
    /// Settings that do not depend on the device.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Id of this device, unique in the fleet.
    #[arg(long, env = "MODELFLEET_DEVICE", value_name = "ID")]
    pub device: DeviceId,
    /// Folder for models and state. It must be on a disk that survives a restart.
    #[arg(long, env = "MODELFLEET_DIR", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// A label of the device, KEY=VALUE. Give the option several times, or several labels separated by commas.
    #[arg(long, env = "MODELFLEET_LABELS", value_delimiter = ',', value_parser = label, value_name = "KEY=VALUE")]
    pub label: Vec<(String, String)>,
    /// File with the device's card, which kubectl modelfleet enrol makes. The labels are then those of the card, and --label is
    /// not used.
    #[arg(long, env = "MODELFLEET_CARD", value_name = "FILE")]
    pub card: Option<PathBuf>,
    /// User name for the broker. With a password file, the default is the device's id.
    #[arg(long, env = "MODELFLEET_USERNAME")]
    pub username: Option<String>,
    /// File with the password for the broker in its first line.
    #[arg(long, env = "MODELFLEET_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Address of the local API: a loopback address and port (0: any free port), or unix:PATH.
    #[arg(long, env = "MODELFLEET_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: Listen,
    /// Host name, without port, that requests to the local API may use besides those of the machine itself. Needed behind a
    /// proxy or in a container. May be given several times.
    #[arg(long, env = "MODELFLEET_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Origin of web pages that may call the local API, such as http://dashboard.local:3000. May be given several times.
    #[arg(long, env = "MODELFLEET_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Where ONNX Runtime runs models. In processes of their own, a model that crashes, hangs or takes too much memory
    /// costs nothing else: the agent and the other models go on.
    #[arg(long, env = "MODELFLEET_ENGINE_ISOLATION", default_value = "process")]
    pub engine_isolation: IsolationName,
    /// Memory that one model may allocate in its process, in MiB. 0: no limit. [default: half of the machine's]
    #[arg(long, env = "MODELFLEET_ENGINE_MEMORY_LIMIT", value_name = "MIB")]
    pub engine_memory_limit_mib: Option<u64>,
    /// Memory limit of the agent with its models, in MiB. If a new build exceeds it, the device goes back to the build
    /// before. 0: no limit.
    #[arg(long, env = "MODELFLEET_MEMORY_LIMIT", default_value_t = 0, value_name = "MIB")]
    pub memory_limit_mib: u64,
}

/// The address of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Broker {
    /// Whether what is sent to the broker can be read on the way: it is not encrypted, and it leaves the machine.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host.parse::<std::net::IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
        !self.tls && !loopback
    }
}

impl FromStr for Broker {
    type Err = String;
    fn from_str(text: &str) -> Result<Broker, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        let tls = match url.scheme() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            other => return Err(format!("scheme {other:?} is not supported; use mqtt or mqtts")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "user and password are not allowed in the address; use --username and --password-file".into(),
            );
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or("the host is missing")?.to_owned();
        Ok(Broker { host, port: url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls })
    }
}

/// The address of the local API.
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
            text.parse().map_err(|e| format!("neither ADDRESS:PORT nor unix:PATH: {e}"))?;
        if address.ip().is_loopback() {
            Ok(Listen::Tcp(address))
        } else {
            Err("the local API has no passwords, so it listens on loopback addresses only, such as 127.0.0.1:8099".into())
        }
    }
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// ONNX Runtime, loaded from --onnxruntime.
    Onnxruntime,
    /// rten.
    Rten,
    /// No engine.
    None,
}

/// Where an engine runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IsolationName {
    /// Each in a process of its own.
    Process,
    /// All in the agent's process.
    None,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Plain text.
    Text,
    /// One JSON object on each line.
    Json,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label has the form KEY=VALUE")?;
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

    /// The settings that are packaged: each is one of the agent's, with a value that it takes, and the API is on a socket.
    #[test]
    fn the_packaged_settings_are_the_agents() {
        use clap::CommandFactory as _;
        let file = include_str!("../../packaging/agent/agent.env");
        let unit = include_str!("../../packaging/agent/modelfleet-agent.service");
        let settings: Vec<(&str, &str)> = file
            .lines()
            .map(|line| line.trim_start_matches('#'))
            .filter(|line| line.starts_with("MODELFLEET_"))
            .filter_map(|line| line.split_once('='))
            .collect();
        assert!(settings.len() > 10, "{settings:?}");
        let mut command = Cli::command();
        let run = command.find_subcommand_mut("run").unwrap();
        let mut words = vec!["modelfleet-agent".to_owned(), "run".to_owned()];
        for (name, value) in settings {
            let known = |argument: &&clap::Arg| argument.get_env().is_some_and(|env| env == name);
            let argument = run.get_arguments().find(known).unwrap_or_else(|| panic!("{name} is no setting"));
            words.extend([format!("--{}", argument.get_long().unwrap()), value.to_owned()]);
        }
        let Command::Run(run) = Cli::try_parse_from(words).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(run.listen, "unix:/run/modelfleet/agent.sock".parse().unwrap());
        assert!(
            unit.contains("RuntimeDirectory=modelfleet\n")
                && unit.contains("ExecStart=/usr/bin/modelfleet-agent run\n")
        );
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
        let open = |url: &str| url.parse::<Broker>().unwrap().is_open();
        assert!(
            ["mqtt://broker.example", "mqtt://10.0.0.7", "mqtt://localhost.example"].into_iter().all(open)
        );
        assert!(!["mqtt://localhost", "mqtt://127.0.0.1", "mqtt://[::1]", "mqtts://x"].into_iter().any(open));
        for bad in ["localhost:1883", "http://x", "mqtt://user:secret@x", "mqtt://"] {
            assert!(bad.parse::<Broker>().is_err(), "{bad}");
        }
        assert!("127.0.0.1:0".parse::<Listen>().is_ok());
        assert!("unix:/run/agent.sock".parse::<Listen>().is_ok());
        assert!("0.0.0.0:80".parse::<Listen>().is_err());
    }
}
