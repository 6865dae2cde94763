//! `dashboard`: pages in the browser, by the user's own rights.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::dashboard::server::{Dashboard, serve};
use crate::dashboard::store::Store;
use crate::device_client::{DeviceApiFlags, DeviceClient};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError, with_causes};

/// The command line of `dashboard`.
#[derive(Debug, Args)]
#[command(
    after_help = "The pages are on this machine alone, change nothing, and show what your kubeconfig may read. The address that is \
                  printed has a key in it: do not hand it on."
)]
pub struct DashboardArguments {
    /// Port on 127.0.0.1; 0 takes one that is free.
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Show the fleets of all namespaces. You need the right to list rollouts and versions in all of them.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,

    /// How the controller is reached, for pages of devices.
    #[command(flatten)]
    pub api: DeviceApiFlags,
}

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The API server cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The port is taken.
    #[error("listen on {address}; choose another port with --port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The listener broke.
    #[error("serve the pages")]
    Serve(#[source] std::io::Error),
    /// The address cannot be printed.
    #[error("write the address")]
    Answer(#[from] AnswerError),
}

/// Serves pages until it is interrupted.
///
/// # Errors
/// When the API server cannot be asked, or the port is taken.
pub async fn run(flags: &ClusterFlags, arguments: &DashboardArguments) -> Result<Outcome, DashboardError> {
    let cluster = Cluster::connect(flags).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listen = |source| DashboardError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let devices = DeviceClient::new(&arguments.api, flags, &cluster).await;
    let key = format!("{:032x}", rand::random::<u128>());
    printing::answer(&format!("http://{address}/?key={key}\n"))?;
    printing::note("open this address in a browser; it ends with Ctrl-C");
    let dashboard = Dashboard {
        store: Store::watching(&cluster, arguments.all_namespaces),
        devices: devices.map_err(|error| with_causes(&error)),
        key,
    };
    serve(listener, dashboard).await.map_err(DashboardError::Serve)?;
    Ok(Outcome::Done)
}
