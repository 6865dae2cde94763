//! Arguments, clients, run.

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::statement::BareSignatures;
use modelfleet_protocol::trust::ArtifactKey;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use kube::Client;
use kube::runtime::reflector::{self, store::Writer};
use modelfleet_controller::args::{BrokerArgs, Cli, Command, Settings};
use modelfleet_controller::clock::Clock;
use modelfleet_controller::context::Context;
use modelfleet_controller::device_orders::{self, DeviceOrders};
use modelfleet_controller::fleets::Fleets;
use modelfleet_controller::history::remote_write::RemoteWrite;
use modelfleet_controller::history::store::HistoryStore;
use modelfleet_controller::history::{self, Sinks};
use modelfleet_controller::http::reviewed::Reviewed;
use modelfleet_controller::http::{self, Shown, Stand};
use modelfleet_controller::lease::Election;
use modelfleet_controller::lease::fence::{FencedOutbox, fenced_client};
use modelfleet_controller::lease::tenure::Tenure;
use modelfleet_controller::logging::Log;
use modelfleet_controller::metrics::Metrics;
use modelfleet_controller::mqtt::{self, BrokerSettings};
use modelfleet_controller::records::Records;
use modelfleet_controller::registry::check_queue::CheckQueue;
use modelfleet_controller::run::{self, Scope};
use modelfleet_controller::telling::settings::of_flags;
use modelfleet_controller::telling::{Sink, Telling};
use modelfleet_controller::trust::{self as trust_document, TrustEnd, TrustFiles};
use modelfleet_controller::verify_artifact;
use modelfleet_controller::work::Work;
use modelfleet_controller::write_cache::WriteCache;
use modelfleet_controller::{keys, registry};
use modelfleet_crds::{DeviceOrder, ModelVersion, Rollout};
use modelfleet_fleet::{Enrolment, Trust};
use modelfleet_model::epoch::later_epoch;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOUR_MS: u64 = 3_600_000;
/// Longest time for one answer of the API server.
const ORDERS_WAIT: Duration = Duration::from_secs(10);
const API_TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let settings = match Cli::parse().command {
        Command::Keygen { out } => {
            println!("{}", keys::generate(&out)?);
            return Ok(());
        }
        Command::CheckBroker { broker, messages } => return check_broker(&broker, messages),
        Command::Run(settings) => *settings,
    };
    use_ring()?;
    let (metrics, identity) = (Metrics::new(), settings.identity.clone().unwrap_or_else(own_name));
    let log = Log::begin(&settings.log, &identity, &metrics.traces)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut logs = log.run(&stop);
        let ended = start(settings, identity, metrics, stop.clone()).await;
        stop.cancel();
        // The last spans go out.
        while logs.join_next().await.is_some() {}
        ended
    })
}

fn use_ring() -> anyhow::Result<()> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    anyhow::ensure!(installed.is_ok(), "a cryptography provider is installed already");
    Ok(())
}

fn check_broker(broker: &BrokerArgs, messages: u32) -> anyhow::Result<()> {
    use_ring()?;
    let settings = broker_settings(broker, "check".to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(mqtt::check::check(&settings, messages as usize));
    let findings = findings.context("try the broker")?;
    print!("{}", mqtt::check::table(&findings));
    anyhow::ensure!(mqtt::check::is_enough(&findings), "this broker lacks what Modelfleet needs");
    Ok(())
}

async fn start(
    settings: Settings,
    identity: String,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::spawn(on_signal(stop.clone()));
    let shown = Shown { metrics, stand: Arc::default() };
    // The server outlives `stop` a little: the last scrape sees the end.
    let open = settings.metrics_tls.is_none();
    let serve = http::serve(settings.http_addr, shown.clone(), open, stop.clone());
    let server = tokio::spawn(run::vital(stop.clone(), serve));
    // Before anything waits: what is wrong with the files is told at once.
    trust_document(&settings)?;
    event_sinks(&settings)?;
    let config = kube::Config::infer().await.context("find the API server")?;
    let client = api_client(config.clone())?;
    let reviewed = reviewed(&settings).map(|at| {
        let lease = settings.lease_namespace.clone();
        let serve = http::reviewed::serve(at, shown.clone(), client.clone(), lease, stop.clone());
        tokio::spawn(run::vital(stop.clone(), serve))
    });
    let mut election = Election::new(client.clone(), &settings.lease_namespace, &identity, Clock::system())
        .above(settings.epoch_above);
    if !reached(&client, &stop).await {
        return Ok(());
    }
    shown.set(Stand::Standby);
    let Some(epoch) = election.acquire(&stop).await else { return Ok(()) };
    tracing::info!(epoch, identity, "leads");
    shown.metrics.leader.set(1);
    let seen = Arc::new(AtomicU64::new(0));
    let term = Term { epoch, seen: Arc::clone(&seen), tenure: election.tenure() };
    let clients = Clients {
        api: leaders_client(config.clone(), election.tenure())?,
        watch: Client::try_from(config).context("reach the API server")?,
    };
    let lead = tokio::spawn(lead(settings, identity, clients, term, shown, stop.clone()));
    let held = election.hold(epoch, &seen, &stop).await;
    stop.cancel();
    let led = lead.await.context("the leader's tasks")?;
    server.await.context("the http server")??;
    if let Some(reviewed) = reviewed {
        reviewed.await.context("the server of the metrics")??;
    }
    held.context("this process no longer leads and ends")?;
    anyhow::ensure!(
        seen.load(Ordering::Relaxed) == 0,
        "the broker has plans of a later leader; start again to lead with a higher epoch"
    );
    led
}

/// Where metrics are served over TLS, if they are.
fn reviewed(settings: &Settings) -> Option<Reviewed> {
    let files = settings.metrics_cert.clone().zip(settings.metrics_key.clone());
    let (certificate, key) = files?;
    Some(Reviewed { address: settings.metrics_tls?, certificate, key })
}

/// Waits until the API server answers; false when `stop` came first.
async fn reached(client: &Client, stop: &CancellationToken) -> bool {
    let mut wait = Duration::from_millis(250);
    loop {
        match client.apiserver_version().await {
            Ok(_) => return true,
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "the API server does not answer; trying again")
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(15)),
        }
    }
}

/// Ways to the API server.
struct Clients {
    /// For single calls: each has to be answered soon.
    api: Client,
    /// For watches, which are silent while nothing changes.
    watch: Client,
}

/// A client whose calls end: one that hangs would keep its model waiting.
fn api_client(config: kube::Config) -> anyhow::Result<Client> {
    Client::try_from(with_limits(config)).context("reach the API server")
}

/// The same for what a leader writes.
fn leaders_client(config: kube::Config, tenure: Tenure) -> anyhow::Result<Client> {
    fenced_client(with_limits(config), tenure).context("reach the API server")
}

fn with_limits(mut config: kube::Config) -> kube::Config {
    config.connect_timeout = Some(API_TIMEOUT);
    config.read_timeout = Some(API_TIMEOUT);
    config.write_timeout = Some(API_TIMEOUT);
    // The time that a connection was idle is not the server's.
    config.reset_reader_on_write = true;
    // What failed is decided again, and that is the better repetition.
    config.default_retry = false;
    config
}

/// The time of one leader.
struct Term {
    epoch: u64,
    seen: Arc<AtomicU64>,
    tenure: Tenure,
}

/// Whether a status was written by a later leader: our clock is behind and the Lease is a new one, and devices would not obey us.
fn has_later_leader(ctx: &Context) -> bool {
    let rollouts = ctx.rollouts.state();
    let epochs = rollouts.iter().map(|rollout| rollout.status.as_ref().and_then(|status| status.epoch));
    let Some(epoch) = later_epoch(epochs, ctx.epoch) else { return false };
    ctx.seen_epoch.fetch_max(epoch, Ordering::Relaxed);
    tracing::error!(epoch, ours = ctx.epoch, "a status was written by a later leader, so this process ends");
    true
}

/// Waits until all objects that there were at the start were handed on; false when `stop` came first.
async fn all_there(all: &[CancellationToken; 3], stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => return false,
        _ = async { tokio::join!(all[0].cancelled(), all[1].cancelled()) } => {}
    }
    // Retired devices are known before their messages come. Where the kind is not installed yet, nothing else waits for it.
    if tokio::time::timeout(ORDERS_WAIT, all[2].cancelled()).await.is_err() {
        tracing::warn!("the orders of single devices are not there yet; is the CRD DeviceOrder installed?");
    }
    true
}

/// Everything that only a leader does. Ends with `stop`.
async fn lead(
    settings: Settings,
    identity: String,
    clients: Clients,
    term: Term,
    shown: Shown,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // Whatever ends these tasks ends the process, and the next leader goes on.
    let _end = stop.clone().drop_guard();
    let sinks = sinks(&settings)?;
    let (publisher, broker) = mqtt::prepare(&broker_settings(&settings.broker, identity)?)?;
    let broker = if settings.trust_document.is_some() { broker.with_trust() } else { broker };
    let clock = Clock::system();
    let signer = keys::read(&settings.signing_key_file)?;
    let (rollouts, rollout_writer) = reflector::store::<Rollout>();
    let (versions, version_writer) = reflector::store::<ModelVersion>();
    let fleets = Fleets::new(signer.verifying_key(), settings.devices_max, settings.fleet_devices_max);
    let fleets = fleets.enrolling(enrolment(&settings)?);
    let (trust_files, fleets) = trusting(&settings, fleets)?;
    let work = Work::new(clock.clone());
    let metrics = &shown.metrics;
    let telling = telling(&settings, &clients.api, (&work, &clock, metrics), stop.clone())?;
    let ctx = Arc::new(Context {
        client: clients.api,
        rollouts,
        versions,
        written: Mutex::new(WriteCache::default()),
        fleets: match settings.record_dir {
            Some(_) => fleets.recording(),
            None => fleets,
        },
        publisher: Arc::new(FencedOutbox::new(publisher, term.tenure)),
        signer,
        epoch: term.epoch,
        seen_epoch: term.seen,
        plan_lifetime_ms: settings.plan_lifetime_hours.saturating_mul(HOUR_MS),
        work,
        orders: DeviceOrders::default(),
        telling,
        clock,
        metrics: shown.metrics.clone(),
        records: settings.record_dir.as_deref().map(Records::open).transpose()?,
    });
    shown.set(Stand::Leading(Arc::clone(&ctx)));
    let scope = match settings.namespaces.as_slice() {
        [] => Scope::All,
        names => Scope::Namespaces(names.to_vec()),
    };
    let checks = CheckQueue::default();
    let (_, order_writer) = reflector::store::<DeviceOrder>();
    let writers = (rollout_writer, version_writer, order_writer);
    let (watches, all) = watch(&ctx, &clients.watch, &scope, writers, &checks, &stop);
    if !all_there(&all, &stop).await || has_later_leader(&ctx) {
        return Ok(());
    }
    // Objects before devices: what is rolled out says which reports are kept whole.
    let publishers = Arc::new(publishers(&settings)?);
    let listen = run::listen(Arc::clone(&ctx), broker, scope, stop.clone());
    let listener = tokio::spawn(run::vital(stop.clone(), listen));
    let registry = registry::run(Arc::clone(&ctx), publishers, checks, stop.clone());
    let registry = tokio::spawn(run::vital(stop.clone(), registry));
    let look = tokio::spawn(trust_document::watch(Arc::clone(&ctx), trust_files, stop.clone()));
    let orders = device_orders::run(Arc::clone(&ctx), stop.clone());
    let orders = tokio::spawn(run::vital(stop.clone(), orders));
    // How it ends changes nothing for any rollout: it is not vital.
    let windows = tokio::spawn(history::run(Arc::clone(&ctx), sinks, stop.clone()));
    run::work(Arc::clone(&ctx), stop).await;
    end(watches).await.context("a watch")?;
    listener.await.context("the broker's task")?;
    orders.await.context("the task of single devices")?;
    registry.await.context("the registry's task")?;
    look.await.context("the task that looks at the trust file")?;
    windows.await.context("the task of closed windows")?;
    match ctx.fleets.trust_end() {
        Some(end) => Err(end.clone().into()),
        None => Ok(()),
    }
}

/// What tells event sinks.
fn telling(
    settings: &Settings,
    client: &Client,
    (work, clock, metrics): (&Work, &Clock, &Metrics),
    stop: CancellationToken,
) -> anyhow::Result<Telling> {
    let sinks = event_sinks(settings)?;
    let (client, link_local) = (client.clone(), settings.allow_link_local_sinks);
    Ok(Telling::new(sinks, link_local, client, work.clone(), clock.clone(), metrics, stop)?)
}

fn event_sinks(settings: &Settings) -> anyhow::Result<Vec<Sink>> {
    let (flags, key_file) = (&settings.event_sinks, settings.event_sink_key_file.as_deref());
    Ok(of_flags(flags, key_file, settings.allow_link_local_sinks)?)
}

/// Where closed windows go.
fn sinks(settings: &Settings) -> anyhow::Result<Sinks> {
    let open = |address: &String| HistoryStore::open(address, &store_options(settings));
    let new = |url: &String| RemoteWrite::new(url, settings.remote_write_token_file.clone());
    Ok(Sinks {
        history: settings.history.as_ref().map(open).transpose()?,
        remote_write: settings.remote_write.as_ref().map(new).transpose()?,
        interval: Duration::from_secs(settings.history_interval_seconds),
        lateness: Duration::from_secs(settings.window_lateness_seconds),
    })
}

/// The fleets with the trust document, and the files to look at again, if there are some.
fn trusting(settings: &Settings, fleets: Fleets) -> anyhow::Result<(Option<TrustFiles>, Fleets)> {
    match trust_document(settings)? {
        Some((files, trust)) => {
            tracing::info!(version = trust.document().version, "a trust document says which keys count");
            Ok((Some(files), fleets.trusting(trust)))
        }
        None => {
            tracing::warn!(
                "no trust document: a stolen plan key cannot be replaced without touching each device; make one with: kubectl \
                 modelfleet trust init"
            );
            Ok((None, fleets))
        }
    }
}

/// The trust document and its files, if there is one. Our plan key has to be one of those that it names, and flags must not
/// leave out what they protected before.
fn trust_document(settings: &Settings) -> anyhow::Result<Option<(TrustFiles, Trust)>> {
    let Some((document, roots)) = settings.trust_document.clone().zip(settings.trust_root.clone()) else {
        anyhow::ensure!(
            !settings.require_enrolled || !settings.enrolment_keys.is_empty(),
            "--require-enrolled needs keys that sign device cards: give --enrolment-key, or a trust document with --trust-document"
        );
        return Ok(None);
    };
    let files = TrustFiles { document, roots };
    let trust = files.read()?;
    let key = KeyId::of(&keys::read(&settings.signing_key_file)?.verifying_key());
    let document = trust.document();
    if let Some(end) = TrustEnd::of_key(document, key) {
        return Err(end.into());
    }
    for (flag, given, named) in [
        ("artifact-key", &settings.artifact_keys, document.artifact_keys.len()),
        ("enrolment-key", &settings.enrolment_keys, document.enrolment_keys.len()),
    ] {
        anyhow::ensure!(
            given.is_empty() || named > 0,
            "the trust document names no key for --{flag}, which would count for nothing: put the key into the next document \
             (kubectl modelfleet trust add --{flag}), then take the flag away"
        );
        if !given.is_empty() {
            tracing::warn!("--{flag} counts only for fleets that the trust document is not for");
        }
    }
    anyhow::ensure!(
        !settings.require_enrolled || !document.enrolment_keys.is_empty(),
        "--require-enrolled needs keys that sign device cards, and the trust document names none: kubectl modelfleet trust add \
         --enrolment-key"
    );
    Ok(Some((files, trust)))
}

/// Watches rollouts, model versions and orders of single devices; with the tasks come the words that all there were at the start were handed on.
fn watch(
    ctx: &Arc<Context>,
    client: &Client,
    scope: &Scope,
    (rollouts, versions, orders): (Writer<Rollout>, Writer<ModelVersion>, Writer<DeviceOrder>),
    checks: &CheckQueue,
    stop: &CancellationToken,
) -> (tokio::task::JoinSet<()>, [CancellationToken; 3]) {
    let all = std::array::from_fn(|_| CancellationToken::new());
    let of = Arc::clone(ctx);
    let changed = move |rollout: &Rollout, gone| run::rollout_changed(&of, rollout, gone);
    let health = || ctx.metrics.clone();
    let rollouts = run::watch(client.clone(), scope.clone(), health(), rollouts, all[0].clone(), changed);
    let (of, asked) = (Arc::clone(ctx), checks.clone());
    let changed = move |version: &ModelVersion, gone| run::version_changed(&of, &asked, version, gone);
    let versions = run::watch(client.clone(), scope.clone(), health(), versions, all[1].clone(), changed);
    let of = Arc::clone(ctx);
    let changed = move |order: &DeviceOrder, gone| device_orders::order_changed(&of, order, gone);
    let orders = run::watch(client.clone(), scope.clone(), health(), orders, all[2].clone(), changed);
    let mut watches = tokio::task::JoinSet::new();
    watches.spawn(run::vital(stop.clone(), rollouts));
    watches.spawn(run::vital(stop.clone(), versions));
    watches.spawn(run::vital(stop.clone(), orders));
    (watches, all)
}

/// Ends tasks that would go on.
async fn end(mut tasks: tokio::task::JoinSet<()>) -> Result<(), tokio::task::JoinError> {
    tasks.abort_all();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            return Err(error);
        }
    }
    Ok(())
}

fn broker_settings(settings: &BrokerArgs, identity: String) -> anyhow::Result<BrokerSettings> {
    let password = match &settings.mqtt_password_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("read {}", path.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => None,
    };
    let ca_pem = match &settings.mqtt_ca {
        Some(path) => Some(std::fs::read(path).with_context(|| format!("read {}", path.display()))?),
        None => None,
    };
    let (url, user) = (settings.mqtt_url.clone(), settings.mqtt_user.clone());
    if password.is_some() && mqtt::is_open(&url) {
        tracing::warn!(
            "the password for the broker crosses the network in the clear; use mqtts:// and --mqtt-ca"
        );
    }
    let certificate = settings.mqtt_client_cert.clone().zip(settings.mqtt_client_key.clone());
    let client_certificate =
        certificate.map(|(certificate, key)| mqtt::ClientCertificate { certificate, key });
    Ok(BrokerSettings { url, user, password, ca_pem, client_certificate, identity, beat: mqtt::BEAT })
}

fn enrolment(settings: &Settings) -> anyhow::Result<Enrolment> {
    let key = |text: &String| keys::public(text).with_context(|| format!("--enrolment-key {text}"));
    let keys = settings.enrolment_keys.iter().map(key).collect::<anyhow::Result<_>>()?;
    Ok(Enrolment { keys, required: settings.require_enrolled })
}

/// Options of the object stores, from the environment and from flags.
fn store_options(settings: &Settings) -> Vec<(String, String)> {
    let cloud = |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix));
    let from_environment = std::env::vars().filter(|(name, _)| cloud(name));
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    let mut store_options: Vec<(String, String)> = from_environment.map(lower).collect();
    store_options.extend(settings.store_options.iter().cloned());
    store_options
}

fn publishers(settings: &Settings) -> anyhow::Result<verify_artifact::Trust> {
    let store_options = store_options(settings);
    let statement_keys =
        settings.artifact_keys.iter().map(|key| publisher_key(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let minisign = |key: &ArtifactKey| minisign_verify::PublicKey::from_base64(key.as_str());
    let keys = statement_keys.iter().map(minisign).collect::<Result<_, _>>().context("--artifact-key")?;
    let bare = BareSignatures::allowed_if(settings.allow_bare_signatures);
    let artifact_root = settings.artifact_root.clone();
    Ok(verify_artifact::Trust { store_options, keys, statement_keys, bare, artifact_root })
}

/// A publisher's key: the base64 text itself, or a minisign file with a comment in its first line.
fn publisher_key(text: &str) -> anyhow::Result<ArtifactKey> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    let file = std::fs::read_to_string(text).with_context(|| format!("--artifact-key: read {text}"))?;
    ArtifactKey::of_file(&file)
        .map_err(|_| anyhow::anyhow!("--artifact-key: {text} is not a minisign public key"))
}

/// In a pod its name, which no other pod has and which stays when the container starts again: it then need not wait for
/// its own lease. Elsewhere a random name.
fn own_name() -> String {
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let host = std::env::var("HOSTNAME").ok().filter(|name| in_cluster && !name.is_empty());
    host.unwrap_or_else(|| format!("controller-{:016x}", rand::random::<u64>()))
}

async fn on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stops");
    stop.cancel();
}
