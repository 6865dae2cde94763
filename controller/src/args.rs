//! Settings: flags, each with an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::logging::LogFormat;

/// Rolls machine-learning models out to fleets of devices, and rolls them back when they do harm.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the controller.
    Run(Box<Settings>),
    /// Tries a broker and prints a table of what it does. Ends with 1 if it lacks something that Modelfleet needs.
    CheckBroker {
        /// Where the broker is, and by what it knows us.
        #[command(flatten)]
        broker: BrokerArgs,
        /// Retained messages to try it with. They are small, below a topic of the controller, and cleared at the end.
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        messages: u32,
    },
    /// Makes the key that signs plans: writes OUT and OUT.pub, and prints the public key.
    Keygen {
        /// File for the secret key; it must not exist.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Where the broker is, and by what it knows us.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// Address of the broker: mqtt://host:1883, or mqtts://host:8883 for TLS.
    #[arg(long, env = "MODELFLEET_MQTT_URL", default_value = "mqtt://127.0.0.1:1883")]
    pub mqtt_url: String,
    /// User name at the broker.
    #[arg(long, env = "MODELFLEET_MQTT_USER")]
    pub mqtt_user: Option<String>,
    /// File with the password at the broker.
    #[arg(long, env = "MODELFLEET_MQTT_PASSWORD_FILE")]
    pub mqtt_password_file: Option<PathBuf>,
    /// File with the certificates to trust at the broker (PEM). Default: the certificates of the system.
    #[arg(long, env = "MODELFLEET_MQTT_CA")]
    pub mqtt_ca: Option<PathBuf>,
    /// File with the certificate by which the broker knows the controller, and those between it and the authority (PEM). Read
    /// again for every connection.
    #[arg(long, env = "MODELFLEET_MQTT_CLIENT_CERT", requires_all = ["mqtt_client_key", "mqtt_ca"])]
    pub mqtt_client_cert: Option<PathBuf>,
    /// File with the private key of the client certificate (PEM).
    #[arg(long, env = "MODELFLEET_MQTT_CLIENT_KEY", requires = "mqtt_client_cert")]
    pub mqtt_client_key: Option<PathBuf>,
}

/// What is told of the process itself.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The form of the log: `json`, one object on each line with the id of its trace, or `text`.
    #[arg(long, env = "MODELFLEET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// File that says which lines are logged, such as info,modelfleet_controller::telling=debug. It counts instead of RUST_LOG, and
    /// is read again when it changes. Default: RUST_LOG.
    #[arg(long, env = "MODELFLEET_LOG_FILTER_FILE")]
    pub log_filter_file: Option<PathBuf>,
    /// Collector of traces (OTLP over HTTP, JSON), such as http://collector:4318. Default: traces are sent nowhere.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

/// How to run.
#[derive(Debug, Args)]
pub struct Settings {
    /// What is told of the process itself.
    #[command(flatten)]
    pub log: LogArgs,
    /// Where the broker is, and by what it knows us.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// File with the key that signs plans: 32 bytes as hexadecimal digits or base64. `keygen` makes one.
    #[arg(long, env = "MODELFLEET_SIGNING_KEY_FILE")]
    pub signing_key_file: PathBuf,
    /// Public key of a publisher (minisign), as base64 text or as a file; may be repeated. With at least one key, versions
    /// without a signature by one of the keys are refused. Default: signatures are not checked.
    #[arg(long = "artifact-key", env = "MODELFLEET_ARTIFACT_KEYS", value_delimiter = ',')]
    pub artifact_keys: Vec<String>,
    /// Accept also signatures that cover the bytes only and do not say which model and version the file is. Devices need the
    /// same flag to run such versions.
    #[arg(long, env = "MODELFLEET_ALLOW_BARE_SIGNATURES")]
    pub allow_bare_signatures: bool,
    /// Public key that signs device cards (ed25519), as hexadecimal or base64 text or as a file; may be repeated. Devices with a
    /// card have its labels, whatever else they say of themselves. Default: devices are believed.
    #[arg(long = "enrolment-key", env = "MODELFLEET_ENROLMENT_KEYS", value_delimiter = ',')]
    pub enrolment_keys: Vec<String>,
    /// Leave devices without a valid card out of every rollout. The condition DevicesLeftOut says how many they are.
    #[arg(long, env = "MODELFLEET_REQUIRE_ENROLLED")]
    pub require_enrolled: bool,
    /// The trust file, as `kubectl modelfleet trust append` writes it. It says which keys count, for all fleets or for the one
    /// that it names, and is read again when it changes. Default: there is none, and a stolen plan key cannot be replaced without
    /// touching each device.
    #[arg(long, env = "MODELFLEET_TRUST_DOCUMENT", requires = "trust_root")]
    pub trust_document: Option<PathBuf>,
    /// The root file, as `kubectl modelfleet trust init` writes it: the root keys that sign the trust document.
    #[arg(long, env = "MODELFLEET_TRUST_ROOT", requires = "trust_document")]
    pub trust_root: Option<PathBuf>,
    /// Folder below which file:// artifacts are read. Default: no file is read, because a user who may register versions
    /// could otherwise make the controller open any of its files.
    #[arg(long, env = "MODELFLEET_ARTIFACT_ROOT")]
    pub artifact_root: Option<PathBuf>,
    /// Namespace to manage; may be repeated. Default: all.
    #[arg(long = "namespace", env = "MODELFLEET_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Address of /healthz, /readyz, /metrics and /malformed.
    #[arg(long, env = "MODELFLEET_HTTP_ADDR", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,
    /// Address for /metrics, /malformed and the devices over TLS, such as 0.0.0.0:8443. They are then served there alone, and to
    /// those only whose token the API server knows and who may get them. Default: the first two at --http-addr, to all, and no
    /// devices.
    #[arg(long, env = "MODELFLEET_METRICS_TLS", requires = "metrics_cert", value_name = "ADDRESS")]
    pub metrics_tls: Option<SocketAddr>,
    /// File with the certificate for that address (PEM). Both files are read again for every connection.
    #[arg(long, env = "MODELFLEET_METRICS_CERT", requires = "metrics_key")]
    pub metrics_cert: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, env = "MODELFLEET_METRICS_KEY", requires = "metrics_cert")]
    pub metrics_key: Option<PathBuf>,
    /// Name of this process among its replicas. Default: the name of the pod, or a random name outside a pod.
    #[arg(long, env = "MODELFLEET_IDENTITY")]
    pub identity: Option<String>,
    /// Namespace of the Lease by which one process leads.
    #[arg(long, env = "MODELFLEET_LEASE_NAMESPACE", default_value = "modelfleet-system")]
    pub lease_namespace: String,
    /// Lead with a higher epoch than this one. Needed only when the condition PlanNotTaken says that devices have taken plans
    /// of a later controller; it names the number.
    #[arg(long, env = "MODELFLEET_EPOCH_ABOVE", value_parser = clap::value_parser!(u64).range(..modelfleet_protocol::plan::EPOCH_MAX))]
    pub epoch_above: Option<u64>,
    /// Option of the object stores, such as aws_region=eu-central-1; may be repeated. Environment variables that begin with
    /// AWS_, AZURE_ or GOOGLE_ are used as well.
    #[arg(long = "store-option", value_parser = pair)]
    pub store_options: Vec<(String, String)>,
    /// How long a plan lets devices start something new, in hours. The controller renews plans after half of this time.
    #[arg(long, env = "MODELFLEET_PLAN_LIFETIME_HOURS", default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=8760))]
    pub plan_lifetime_hours: u64,
    /// Where transitions of rollouts are told, as CloudEvents: a URL, or slack=URL or alertmanager=URL for receivers of that kind;
    /// may be repeated, up to four times. docs/events.md describes the events. Default: they are told nowhere.
    #[arg(
        long = "event-sink",
        env = "MODELFLEET_EVENT_SINKS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub event_sinks: Vec<String>,
    /// File with the key that signs events to the sinks of --event-sink: at least 16 bytes, or base64 after whsec_. Read again for
    /// each event. Default: events are not signed.
    #[arg(long, env = "MODELFLEET_EVENT_SINK_KEY_FILE")]
    pub event_sink_key_file: Option<PathBuf>,
    /// Let event sinks be at link-local addresses, where clouds keep the credentials of machines.
    #[arg(long, env = "MODELFLEET_ALLOW_LINK_LOCAL_SINKS")]
    pub allow_link_local_sinks: bool,
    /// Folder for recordings of what the judge was asked and answered: for each rollout a file of at most 64 MiB, and the
    /// file before it. `kubectl modelfleet judge replay FILE` judges them again. Default: nothing is recorded.
    #[arg(long, env = "MODELFLEET_RECORD_DIR")]
    pub record_dir: Option<PathBuf>,
    /// Address below which closed windows are kept as Parquet files: file:///folder, or that of an object store such as
    /// s3://bucket/history. `kubectl modelfleet report` reads them. Default: nothing is kept.
    #[arg(long, env = "MODELFLEET_HISTORY", value_name = "URL")]
    pub history: Option<String>,
    /// How often history is written, in seconds.
    #[arg(long, env = "MODELFLEET_HISTORY_INTERVAL_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub history_interval_seconds: u64,
    /// How long after its end a window counts as closed, in seconds: devices that are slower are in history, but not in what
    /// remote write sends.
    #[arg(long, env = "MODELFLEET_WINDOW_LATENESS_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86400))]
    pub window_lateness_seconds: u64,
    /// Address of a Prometheus, or another receiver of remote write, that gets each closed window once and with its own time,
    /// such as http://prometheus:9090/api/v1/write. Default: nothing is sent.
    #[arg(long, env = "MODELFLEET_REMOTE_WRITE", value_name = "URL")]
    pub remote_write: Option<String>,
    /// File with the bearer token for that address. Read again for every request.
    #[arg(long, env = "MODELFLEET_REMOTE_WRITE_TOKEN_FILE", requires = "remote_write")]
    pub remote_write_token_file: Option<PathBuf>,
    /// Most devices in memory; further devices are refused and counted.
    #[arg(long, env = "MODELFLEET_DEVICES_MAX", default_value_t = 2_000_000)]
    pub devices_max: usize,
    /// Most devices of one namespace in memory, so that one fleet cannot take the room of the others.
    #[arg(long, env = "MODELFLEET_FLEET_DEVICES_MAX", default_value_t = 1_000_000)]
    pub fleet_devices_max: usize,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::*;

    /// What `manifests/README.md` tells of the flags: flag, variable and default of each row.
    fn told() -> BTreeMap<String, (String, String)> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests/README.md");
        let text = std::fs::read_to_string(path).unwrap();
        let section = text.split("\n## Settings\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `--"));
        let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
        rows.map(|row| {
            let cells: Vec<String> = row.split('|').map(plain).collect();
            (cells[1].trim_start_matches("--").to_owned(), (cells[2].clone(), cells[3].clone()))
        })
        .collect()
    }

    #[test]
    fn the_guide_tells_every_flag_with_its_variable_and_default() {
        let told = told();
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let flags: Vec<_> =
            run.get_arguments().filter(|arg| arg.get_long().is_some_and(|l| l != "help")).collect();
        assert_eq!(flags.len(), told.len(), "a row for each flag");
        for flag in flags {
            let long = flag.get_long().unwrap();
            let (variable, default) =
                told.get(long).unwrap_or_else(|| panic!("manifests/README.md lacks --{long}"));
            if let Some(env) = flag.get_env() {
                assert_eq!(env.to_str(), Some(variable.as_str()), "--{long}");
            }
            match flag.get_default_values() {
                [value] => assert_eq!(value.to_str(), Some(default.as_str()), "--{long}"),
                _ => assert_eq!(flag.is_required_set(), default == "required", "--{long}"),
            }
        }
    }
}
