//! What the devices of one process share: engines, keys, TLS and the broker's address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelfleet_agent_core::interface::{Identity, Limits};
use modelfleet_agent_core::trust::{Keyring, RootKeys, TrustAnchor};
use modelfleet_agent_core::truth::LedgerLimits;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::Capabilities;
use modelfleet_protocol::statement::BareSignatures;
use tracing::{info, warn};

use crate::admit::Loader;
use crate::clock::CertificateTime;
use crate::config::{CommonArgs, ConfigError, EngineName, IsolationName, plan_keys, root_keys};
use crate::device::Parts;
use crate::engine::{Engine, Engines};
use crate::fetch::{Fetcher, Keys, KeysError, TimeLimits};
use crate::http::{Client, Reach};
use crate::mqtt::{Backoff, Credentials, Inbox, Settings};
use crate::probe::{Probe, machine_bytes};
use crate::store::Store;
use crate::tls::{BrokerTls, ClientCertificate, TlsError, client_config};

/// Why the shared parts cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The settings cannot be used.
    #[error("read the settings")]
    Config(#[from] ConfigError),
    /// The artifact keys cannot be used.
    #[error("read the artifact keys")]
    Keys(#[from] KeysError),
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
}

/// What the devices of one process share.
pub struct Host {
    settings: SettingsOfAll,
    inbox: Arc<Inbox>,
    trust: TrustAnchor,
    loader: Arc<Loader>,
    keys: Keys,
    certificate_time: CertificateTime,
    client: Client,
    files: Option<PathBuf>,
    limits: Limits,
    capabilities: Capabilities,
    connected: Arc<AtomicUsize>,
}

struct SettingsOfAll {
    host: String,
    port: u16,
    tls: Option<Arc<BrokerTls>>,
    namespace: modelfleet_protocol::ids::Namespace,
    keep_alive: Duration,
    backoff: Backoff,
}

impl Host {
    /// Sets up the shared parts. `threads`: the number of predictions that run at once in this process.
    ///
    /// # Errors
    /// If keys or certificates cannot be read. A missing engine is no error: the device reports that it has none.
    pub fn new(args: &CommonArgs, threads: usize, isolation: &Isolation) -> Result<Host, HostError> {
        let certificate_time = CertificateTime::default();
        let tls = client_config(args.ca.as_deref(), certificate_time.clone())?;
        let certificate = args.client_cert.clone().zip(args.client_key.clone());
        let certificate = certificate.map(|(certificate, key)| ClientCertificate { certificate, key });
        let broker_tls = BrokerTls::new(args.ca.as_deref(), certificate_time.clone(), certificate)?;
        let start_keys = plan_keys(&args.plan_key)?;
        let roots = match &args.trust_root {
            Some(path) => RootKeys::Known(root_keys(path)?),
            None if args.trust_root_unreadable => RootKeys::Unreadable,
            None => RootKeys::None,
        };
        let bare = BareSignatures::allowed_if(args.allow_bare_signatures);
        let keys = Keys::read(&args.artifact_key, bare)?;
        let engines = engines(&args.engines, args.onnxruntime.as_deref(), threads, isolation);
        let defaults = Limits::default();
        let limits = Limits {
            fetch_backoff_ms: args.fetch_backoff_ms,
            fetch: Fetch { spread_ms: args.stable_spread_ms, ..defaults.fetch },
            ..defaults
        };
        let capabilities = Capabilities {
            engines: engines.infos(),
            memory_bytes: machine_bytes(),
            arch: std::env::consts::ARCH.to_owned(),
        };
        let most = Duration::from_secs(args.reconnect_max_s.max(1));
        let spread = args.reconnect_spread_s.map_or(Backoff::default().spread, Duration::from_secs);
        let settings = SettingsOfAll {
            host: args.broker.host.clone(),
            port: args.broker.port,
            tls: args.broker.tls.then(|| Arc::new(broker_tls)),
            namespace: args.namespace.clone(),
            keep_alive: Duration::from_secs(args.keep_alive_s),
            backoff: Backoff { most, spread, ..Backoff::default() },
        };
        Ok(Host {
            settings,
            inbox: Arc::new(Inbox::with(Keyring::new(roots.clone(), start_keys.clone()))),
            trust: TrustAnchor { roots, start_keys: start_keys.iter().map(KeyId::of).collect() },
            loader: Arc::new(Loader::new(engines, keys.clone())),
            keys,
            certificate_time,
            files: args.files_below.clone(),
            client: Client::new(tls, Reach(args.allow_network.clone())),
            limits,
            capabilities,
            connected: Arc::default(),
        })
    }

    /// Number of connected devices.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// The parts of one device.
    pub fn parts(
        &self,
        device: DeviceId,
        labels: Labels,
        store: Store,
        credentials: Option<Credentials>,
        probe: Probe,
        memory_limit_bytes: u64,
    ) -> Parts {
        let s = &self.settings;
        let mut capabilities = self.capabilities.clone();
        if memory_limit_bytes > 0 {
            capabilities.memory_bytes = memory_limit_bytes;
        }
        Parts {
            identity: Identity {
                namespace: s.namespace.clone(),
                device: device.clone(),
                agent: env!("CARGO_PKG_VERSION").to_owned(),
                labels,
                trust: self.trust.clone(),
                card: None,
                instance: rand::random::<u32>().max(1),
                capabilities,
            },
            limits: self.limits,
            settings: Settings {
                host: s.host.clone(),
                port: s.port,
                tls: s.tls.clone(),
                credentials,
                namespace: s.namespace.clone(),
                device,
                keep_alive: s.keep_alive,
                backoff: s.backoff,
            },
            inbox: self.inbox.clone(),
            certificate_time: self.certificate_time.clone(),
            fetcher: Fetcher {
                blobs: store.dir().join("blobs"),
                client: self.client.clone(),
                files: self.files.clone(),
                keys: self.keys.clone(),
                time_limit: TimeLimits::default(),
                durable: store.durable(),
            },
            loader: self.loader.clone(),
            store,
            probe: probe.with(self.loader.engines().processes()),
            memory_limit_bytes,
            truth_limits: LedgerLimits::default(),
            connected: self.connected.clone(),
        }
    }
}

/// The program that is running.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Where ONNX Runtime runs models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each in a process of its own.
    Process {
        /// The agent's program.
        program: PathBuf,
        /// Memory that one may allocate, bytes; 0: no limit.
        memory_limit_bytes: u64,
    },
    /// All in this process.
    None,
}

impl Isolation {
    /// As the settings say. Without a limit of its own, a model may take half of the machine's memory.
    #[must_use]
    pub fn of(name: IsolationName, memory_limit_mib: Option<u64>) -> Isolation {
        let limit = memory_limit_mib.map(|mib| mib.saturating_mul(1024 * 1024));
        match name {
            IsolationName::Process => Isolation::Process {
                program: OWN_PROGRAM.into(),
                memory_limit_bytes: limit.unwrap_or_else(|| machine_bytes() / 2),
            },
            IsolationName::None => Isolation::None,
        }
    }
}

/// Opens the requested engines that are available. `threads`: the number of predictions that run at once in this process.
#[must_use]
pub fn engines(
    names: &[EngineName],
    onnxruntime: Option<&Path>,
    threads: usize,
    isolation: &Isolation,
) -> Engines {
    let open = |name: &EngineName| match name {
        EngineName::Onnxruntime => {
            onnxruntime.and_then(|library| open_onnxruntime(library, threads, isolation))
        }
        EngineName::Rten => open_rten(),
        EngineName::None => None,
    };
    let engines: Vec<Arc<dyn Engine>> = names.iter().filter_map(open).collect();
    for info in engines.iter().map(|e| e.info()) {
        info!(engine = %info.name, version = %info.version, opsets = ?info.opsets, "engine ready");
    }
    if engines.is_empty() {
        warn!("no engine is available, so this device can run no models");
    }
    Engines::new(engines)
}

#[cfg(feature = "onnxruntime")]
fn open_onnxruntime(library: &Path, threads: usize, isolation: &Isolation) -> Option<Arc<dyn Engine>> {
    use crate::engine::onnxruntime::OnnxRuntime;
    use crate::engine::worker::{Settings, WorkerArgs, WorkerEngine};

    let unusable = |error: &(dyn std::error::Error + 'static)| {
        warn!(error = %crate::log::chain(error), "ONNX Runtime cannot be used");
    };
    match isolation {
        Isolation::None => match OnnxRuntime::open(library, threads) {
            Ok(engine) => {
                if std::env::var_os(crate::telemetry::OFF).is_none() {
                    warn!(
                        "ONNX Runtime reports to its maker from this process; start it with ORT_DISABLE_TELEMETRY=1"
                    );
                }
                Some(Arc::new(engine))
            }
            Err(error) => {
                unusable(&error);
                None
            }
        },
        Isolation::Process { program, memory_limit_bytes } => {
            let worker = WorkerArgs { library: library.to_owned(), memory_limit_bytes: *memory_limit_bytes };
            match WorkerEngine::open(Settings { program: program.clone(), worker }) {
                Ok(engine) => {
                    if let Some(why) = engine.unconfined() {
                        warn!(%why, "worker processes keep access to files and network; models must be trusted");
                    }
                    Some(Arc::new(engine))
                }
                Err(error) => {
                    unusable(&error);
                    None
                }
            }
        }
    }
}

#[cfg(feature = "rten")]
fn open_rten() -> Option<Arc<dyn Engine>> {
    Some(Arc::new(crate::engine::rten::Rten::default()))
}

#[cfg(not(feature = "onnxruntime"))]
fn open_onnxruntime(_library: &Path, _threads: usize, _isolation: &Isolation) -> Option<Arc<dyn Engine>> {
    warn!("this agent was built without ONNX Runtime");
    None
}

#[cfg(not(feature = "rten"))]
fn open_rten() -> Option<Arc<dyn Engine>> {
    None
}
