//! What the devices of one process share: engines, keys, TLS and the broker's address.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelfleet_agent_core::interface::{Identity, Limits};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::Capabilities;
use modelfleet_protocol::statement::BareSignatures;
use tracing::{info, warn};

use crate::admit::Loader;
use crate::config::{CommonArgs, ConfigError, EngineName, plan_keys};
use crate::device::Parts;
use crate::engine::{Engine, Engines};
use crate::fetch::{Fetcher, Keys, KeysError, TimeLimits};
use crate::http::Client;
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

/// Predictions of a model that are remembered for their ground truth, 32 bytes each.
const PREDICTIONS_REMEMBERED: usize = 4096;

/// What the devices of one process share.
pub struct Host {
    settings: SettingsOfAll,
    inbox: Arc<Inbox>,
    loader: Arc<Loader>,
    keys: Keys,
    client: Client,
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
    /// Sets up the shared parts. `threads`: the number of predictions that run at once.
    ///
    /// # Errors
    /// If keys or certificates cannot be read. A missing engine is no error: the device reports that it has none.
    pub fn new(args: &CommonArgs, threads: usize) -> Result<Host, HostError> {
        let tls = client_config(args.ca.as_deref())?;
        let certificate = args.client_cert.clone().zip(args.client_key.clone());
        let certificate = certificate.map(|(certificate, key)| ClientCertificate { certificate, key });
        let broker_tls = BrokerTls::new(args.ca.as_deref(), certificate)?;
        let bare = BareSignatures::allowed_if(args.allow_bare_signatures);
        let keys = Keys::read(&args.artifact_key, bare)?;
        let engines = engines(&args.engines, args.onnxruntime.as_deref(), threads);
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
            inbox: Arc::new(Inbox::trusting(plan_keys(&args.plan_key)?)),
            loader: Arc::new(Loader::new(engines, keys.clone())),
            keys,
            client: Client::new(tls),
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
            fetcher: Fetcher {
                blobs: store.dir().join("blobs"),
                client: self.client.clone(),
                keys: self.keys.clone(),
                time_limit: TimeLimits::default(),
                durable: store.durable(),
            },
            loader: self.loader.clone(),
            store,
            probe,
            memory_limit_bytes,
            predictions_remembered: PREDICTIONS_REMEMBERED,
            connected: self.connected.clone(),
        }
    }
}

/// Opens the requested engines that are available. `threads`: the number of predictions that run at once.
#[must_use]
pub fn engines(names: &[EngineName], onnxruntime: Option<&Path>, threads: usize) -> Engines {
    let open = |name: &EngineName| match name {
        EngineName::Onnxruntime => onnxruntime.and_then(|library| open_onnxruntime(library, threads)),
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
fn open_onnxruntime(library: &Path, threads: usize) -> Option<Arc<dyn Engine>> {
    match crate::engine::onnxruntime::OnnxRuntime::open(library, threads) {
        Ok(engine) => Some(Arc::new(engine)),
        Err(error) => {
            warn!(error = %crate::log::chain(&error), "ONNX Runtime cannot be used");
            None
        }
    }
}

#[cfg(feature = "rten")]
fn open_rten() -> Option<Arc<dyn Engine>> {
    Some(Arc::new(crate::engine::rten::Rten::default()))
}

#[cfg(not(feature = "onnxruntime"))]
fn open_onnxruntime(_library: &Path, _threads: usize) -> Option<Arc<dyn Engine>> {
    warn!("this agent was built without ONNX Runtime");
    None
}

#[cfg(not(feature = "rten"))]
fn open_rten() -> Option<Arc<dyn Engine>> {
    None
}
