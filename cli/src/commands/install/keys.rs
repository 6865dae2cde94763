//! The keys, certificates and passwords of a new installation, in a folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use modelfleet_protocol::broker_rights::mosquitto_block;
use modelfleet_protocol::ids::Namespace;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::InstallArguments;
use super::passwords;
use super::secrets;
use crate::cluster::ClusterFlags;
use crate::units;

/// The controller's user name at the broker, which manifests/broker/acl-controllers knows.
const CONTROLLER: &str = "modelfleet-controller";
/// How long the broker's certificate counts, and the authority's.
const CERTIFICATE_DAYS: u32 = 825;
const AUTHORITY_DAYS: u32 = 3_650;
const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder is there.
    #[error("{0} already exists, and keys are never replaced; choose another folder with --keys")]
    Taken(PathBuf),
    /// A file cannot be written.
    #[error("write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The minisign keys were not made.
    #[error("create the key of your CI")]
    Minisign(#[source] minisign::PError),
    /// The certificates were not made.
    #[error("create the broker's certificate")]
    Certificate(#[source] rcgen::Error),
    /// Devices belong to a fleet.
    #[error("make passwords for devices: name their fleet with --namespace")]
    NoNamespace,
    /// The namespace is no name.
    #[error("make passwords for devices: --namespace {0}")]
    Namespace(String, #[source] modelfleet_protocol::ids::IdError),
    /// The Secrets cannot be written as YAML.
    #[error("write the Secrets as text")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// Makes everything in `folder`, which must not be there, and says what is where.
///
/// # Errors
/// When the folder is there, or a file cannot be written.
pub fn make(flags: &ClusterFlags, arguments: &InstallArguments, folder: &Path) -> Result<String, KeysError> {
    let fleet = match (&arguments.devices[..], &flags.namespace) {
        ([], _) => None,
        (_, None) => return Err(KeysError::NoNamespace),
        (_, Some(name)) => {
            Some(name.parse::<Namespace>().map_err(|source| KeysError::Namespace(name.clone(), source))?)
        }
    };
    new_folder(folder)?;
    let key = SigningKey::from_bytes(&rand::random());
    let plan_key = hex::encode(key.to_bytes()) + "\n";
    write(&folder.join("plan.key"), &plan_key, 0o600)?;
    write(&folder.join("plan.key.pub"), &(hex::encode(key.verifying_key().to_bytes()) + "\n"), 0o644)?;
    let pair = minisign::KeyPair::generate_unencrypted_keypair().map_err(KeysError::Minisign)?;
    let text = |of: Result<minisign::SecretKeyBox, minisign::PError>| of.map_err(KeysError::Minisign);
    write(&folder.join("ci.key"), &text(pair.sk.to_box(None))?.into_string(), 0o600)?;
    let public = pair.pk.to_box().map_err(KeysError::Minisign)?.into_string();
    write(&folder.join("ci.pub"), &public, 0o644)?;

    let hosts = hosts(arguments);
    let tls = certificates(&hosts).map_err(KeysError::Certificate)?;
    for (name, text, mode) in [
        ("ca.crt", &tls.authority, 0o644),
        ("ca.key", &tls.authority_key, 0o600),
        ("tls.crt", &tls.certificate, 0o644),
        ("tls.key", &tls.key, 0o600),
    ] {
        write(&folder.join(name), text, mode)?;
    }

    let password = passwords::random();
    write(&folder.join("controller.password"), &(password.clone() + "\n"), 0o600)?;
    let controllers = passwords::line(CONTROLLER, &password);
    write(&folder.join("controllers"), &controllers, 0o600)?;
    let (devices, rules) = devices(arguments, fleet.as_ref(), folder)?;
    write(&folder.join("devices"), &devices, 0o600)?;
    write(&folder.join("acl-devices"), &rules, 0o644)?;

    let made = secrets::Made { plan_key, password, tls, controllers, devices, rules };
    write(&folder.join("secrets.yaml"), &secrets::yaml(&arguments.system_namespace, &made)?, 0o600)?;
    Ok(told(folder, arguments, &hosts))
}

fn told(folder: &Path, arguments: &InstallArguments, hosts: &[String]) -> String {
    let (at, namespace) = (folder.display(), &arguments.system_namespace);
    let devices = match arguments.devices.len() {
        0 => "no device has a password yet; give devices with --device, or add them with mosquitto_passwd"
            .to_owned(),
        count => {
            let count = units::counted(i64::try_from(count).unwrap_or(i64::MAX), "device");
            format!("the passwords of {count} are in {at}/device-passwords")
        }
    };
    format!(
        "keys in {at}\n  plan.key      signs plans; devices get plan.key.pub\n  ci.key        signs models in your CI; controller and \
         devices get ci.pub (artifact key)\n  ca.crt        devices trust the broker by it; its certificate is for {}\n  users         \
         {devices}\n  secrets.yaml  the Secrets of controller and broker\nnext: kubectl create namespace {namespace}; kubectl apply -n \
         {namespace} -f {at}/secrets.yaml\n",
        hosts.join(", ")
    )
}

/// The names in the broker's certificate.
fn hosts(arguments: &InstallArguments) -> Vec<String> {
    match arguments.broker_host.is_empty() {
        false => arguments.broker_host.clone(),
        true => vec![
            "modelfleet-broker".to_owned(),
            format!("modelfleet-broker.{}.svc", arguments.system_namespace),
        ],
    }
}

/// The password file of the devices and their rules; the passwords themselves go to a folder.
fn devices(
    arguments: &InstallArguments,
    fleet: Option<&Namespace>,
    folder: &Path,
) -> Result<(String, String), KeysError> {
    let mut lines = String::new();
    let mut rules = "# What each device may write and read.\n".to_owned();
    let Some(fleet) = fleet else { return Ok((lines, rules)) };
    let kept = folder.join("device-passwords");
    new_folder(&kept)?;
    for device in &arguments.devices {
        let password = passwords::random();
        write(&kept.join(format!("{device}.password")), &(password.clone() + "\n"), 0o600)?;
        lines.push_str(&passwords::line(device.as_str(), &password));
        rules.push('\n');
        rules.push_str(&mosquitto_block(fleet, device, &arguments.models));
    }
    Ok((lines, rules))
}

/// An authority and the broker's certificate, as PEM.
pub(super) struct Tls {
    pub(super) authority: String,
    pub(super) authority_key: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

fn certificates(hosts: &[String]) -> Result<Tls, rcgen::Error> {
    let now = std::time::SystemTime::now();
    // A device whose clock is a little slow takes it as well.
    let from = now - DAY;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "modelfleet broker authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = from.into();
    params.not_after = (now + DAY * AUTHORITY_DAYS).into();
    let authority_key = KeyPair::generate()?;
    let authority = params.self_signed(&authority_key)?.pem();
    let authority_key_pem = authority_key.serialize_pem();
    let issuer = Issuer::new(params, authority_key);
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, hosts.first().cloned().unwrap_or_default());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = from.into();
    params.not_after = (now + DAY * CERTIFICATE_DAYS).into();
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Tls { authority, authority_key: authority_key_pem, certificate, key: key.serialize_pem() })
}

fn new_folder(path: &Path) -> Result<(), KeysError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeysError::Taken(path.to_owned()),
        _ => KeysError::Write { path: path.to_owned(), source },
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), KeysError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let failed = |source| KeysError::Write { path: path.to_owned(), source };
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

#[cfg(test)]
mod tests;
