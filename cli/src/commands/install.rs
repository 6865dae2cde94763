//! `install`: what a cluster still lacks, and the keys that an installation needs.

pub mod findings;
pub mod keys;
mod passwords;
mod secrets;
pub mod survey;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use modelfleet_protocol::ids::{DeviceId, ModelName};

use crate::cluster::{ClusterError, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use findings::{Finding, State};

/// The command line of `install`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["check", "keys"]),
    after_help = "--check looks at the definitions, the controller, its Lease and its Secrets, and at what you may do in \
                  --namespace. The exit code is 0 if nothing is missing and 1 otherwise. What you may not look at is told and \
                  does not count as missing.\n\n\
                  --keys makes the key that signs plans, a pair of minisign keys for your CI, an authority and a certificate \
                  for the broker, and passwords for the controller and for each --device, and writes the Secrets of them to \
                  DIR/secrets.yaml. It touches no cluster. Keep DIR secret, and keep a copy of it: with plan.key anyone \
                  can sign plans."
)]
pub struct InstallArguments {
    /// Say what is missing on the cluster, with the next step for each.
    #[arg(long)]
    pub check: bool,

    /// Make keys, certificates and passwords in a new folder.
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,

    /// Namespace of the controller.
    #[arg(long, default_value = "modelfleet-system", value_name = "NAME")]
    pub system_namespace: String,

    /// Name of the controller's Deployment.
    #[arg(long, default_value = "modelfleet-controller", value_name = "NAME")]
    pub deployment: String,

    /// With --check: do not look at what you may do yourself.
    #[arg(long, requires = "check")]
    pub without_rights: bool,

    /// With --keys: host name or address of the broker, for its certificate. Give the option once for each. Default:
    /// modelfleet-broker and modelfleet-broker.NAMESPACE.svc.
    #[arg(long, requires = "keys", value_name = "HOST")]
    pub broker_host: Vec<String>,

    /// With --keys: a device that gets a password and access rules; --namespace is its fleet.
    #[arg(long = "device", requires = "keys", requires = "models", value_name = "ID")]
    pub devices: Vec<DeviceId>,

    /// With --device: a model that the devices may report on. Give the option once for each model.
    #[arg(long = "model", requires = "devices", value_name = "MODEL")]
    pub models: Vec<ModelName>,
}

/// Why there is no answer, or no keys.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The keys were not made.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Looks at the cluster, or makes keys.
///
/// # Errors
/// When the API server does not answer, or a file cannot be written.
pub async fn run(flags: &ClusterFlags, arguments: &InstallArguments) -> Result<Outcome, InstallError> {
    if let Some(folder) = &arguments.keys {
        printing::answer(&keys::make(flags, arguments, folder)?)?;
        return Ok(Outcome::Done);
    }
    let survey = survey::take(flags, arguments).await?;
    let found = findings::of(&survey, Timestamp::now());
    printing::answer(&told(&found))?;
    Ok(match found.iter().any(|finding| finding.state == State::Missing) {
        true => Outcome::Failed,
        false => Outcome::Done,
    })
}

/// A line for each finding, and below it the next step where there is one.
fn told(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found {
        let mark = match finding.state {
            State::Good => "ok     ",
            State::Missing => "MISSING",
            State::Unseen => "unseen ",
        };
        text.push_str(&format!("{mark}  {}\n", finding.what));
        if let Some(next) = &finding.next {
            text.push_str(&format!("         next: {next}\n"));
        }
    }
    let missing = found.iter().filter(|finding| finding.state == State::Missing).count();
    text.push_str(&match missing {
        0 => "Nothing is missing.\n".to_owned(),
        1 => "1 thing is missing.\n".to_owned(),
        _ => format!("{missing} things are missing.\n"),
    });
    text
}
