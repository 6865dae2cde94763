//! `trust init`: root keys, the root file for devices, and the first document.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{PublicKey, Roots, TrustDocument};
use rand::RngCore as _;

use super::draft::Draft;
use super::{Moment, NewKeyArguments, TrustCommandError, change, draft_path, files};
use crate::key_file::{public_key, public_path};

/// The command line of `trust init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each person keeps the file NAME.root.key on a medium of their own, offline; nothing that runs needs it. \
                        The files with .pub and the root file are no secrets."
)]
pub struct InitArguments {
    /// The trust file. What is made now is its first document, which is not signed yet: FILE.next.
    #[arg(value_name = "FILE", default_value = "trust.json")]
    pub file: PathBuf,

    /// A person who gets a root key: NAME.root.key. Give the option once for each person.
    #[arg(long = "person", value_name = "NAME", value_parser = person)]
    pub people: Vec<String>,

    /// A public root key that was made elsewhere, as text or file; may be repeated.
    #[arg(long = "root", value_name = "KEY")]
    pub roots: Vec<String>,

    /// How many root keys have to sign a document.
    #[arg(long, value_name = "NUMBER")]
    pub threshold: usize,

    /// Keys that count.
    #[command(flatten)]
    pub keys: NewKeyArguments,

    /// When the document expires: a time such as 365d, or a day such as 2027-11-30.
    #[arg(long, default_value = "365d", value_name = "WHEN")]
    pub expires: Moment,

    /// Folder for the root keys that are made.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub keys_out: PathBuf,

    /// The root file, which devices and controller start with.
    #[arg(long, default_value = "trust-root.json", value_name = "FILE")]
    pub root_file: PathBuf,
}

fn person(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let good = !text.is_empty() && text.len() <= 64 && text.chars().all(good) && !text.starts_with('.');
    if good { Ok(text.to_owned()) } else { Err("must be letters, digits, - _ . @".to_owned()) }
}

/// Makes everything, or nothing.
///
/// # Errors
/// When a file is there or cannot be written, or the document would break a bound.
pub fn make(
    namespace: Option<Namespace>,
    arguments: &InitArguments,
    now: Time,
) -> Result<String, TrustCommandError> {
    let next = draft_path(&arguments.file, None);
    let seeds: Vec<(PathBuf, [u8; 32])> = arguments
        .people
        .iter()
        .map(|name| {
            let mut seed = [0; 32];
            rand::rng().fill_bytes(&mut seed);
            (arguments.keys_out.join(format!("{name}.root.key")), seed)
        })
        .collect();
    let made = |seed: &[u8; 32]| PublicKey::from(ed25519_dalek::SigningKey::from_bytes(seed).verifying_key());
    let mut keys: Vec<PublicKey> = seeds.iter().map(|(_, seed)| made(seed)).collect();
    for text in &arguments.roots {
        keys.push(public_key(text, "root key")?);
    }
    let roots = Roots { keys, threshold: arguments.threshold };
    roots.check().map_err(change::ChangeError::Invalid)?;
    let mut document = TrustDocument {
        version: 1,
        namespace,
        issued: now,
        expires: now,
        roots: roots.clone(),
        plan_keys: vec![],
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: vec![],
        floors: SecurityFloors::default(),
    };
    change::add(&mut document, &arguments.keys.read()?)?;
    let document = change::dated(document, 1, now, arguments.expires.after(now))?;
    let draft = Draft::unsigned(document)?;
    let mut wanted: Vec<(&Path, Vec<u8>, u32)> = Vec::new();
    let public: Vec<PathBuf> = seeds.iter().map(|(path, _)| public_path(path)).collect();
    for ((path, seed), public) in seeds.iter().zip(&public) {
        wanted.push((path, format!("{}\n", hex::encode(seed)).into_bytes(), 0o600));
        wanted.push((public, format!("{}\n", made(seed)).into_bytes(), 0o644));
    }
    let mut root_file = serde_json::to_vec_pretty(&roots).map_err(super::draft::DraftError::Json)?;
    root_file.push(b'\n');
    wanted.push((&arguments.root_file, root_file, 0o644));
    wanted.push((&next, [draft.bytes(), b"\n"].concat(), 0o644));
    files::free(&arguments.file)?;
    write_all(&wanted)?;
    let secret: Vec<String> = seeds.iter().map(|(path, _)| path.display().to_string()).collect();
    Ok(told(arguments, &secret, &next))
}

/// All of them or none: half a set would stand in the way of the next try.
fn write_all(wanted: &[(&Path, Vec<u8>, u32)]) -> Result<(), TrustCommandError> {
    wanted.iter().try_for_each(|(path, ..)| files::free(path))?;
    for (at, (path, bytes, mode)) in wanted.iter().enumerate() {
        if let Err(error) = files::write_new(path, bytes, *mode) {
            for (path, ..) in &wanted[..at] {
                let _ = fs::remove_file(path);
            }
            return Err(error.into());
        }
    }
    Ok(())
}

fn told(arguments: &InitArguments, secret: &[String], next: &Path) -> String {
    let mut text = String::new();
    for path in secret {
        text.push_str(&format!("{path}  secret root key: give it to its owner, who keeps it offline\n"));
    }
    text.push_str(&format!(
        "{root}  root keys, {threshold} of {count} sign: devices and controller start with it\n\
         {next}  the first document, which is not signed yet\n\n\
         Next: {threshold} of the owners sign it: kubectl modelfleet trust sign {next} --key NAME.root.key\n\
         Then: kubectl modelfleet trust append {file} {next} --root-file {root}\n",
        root = arguments.root_file.display(),
        threshold = arguments.threshold,
        count = secret.len() + arguments.roots.len(),
        next = next.display(),
        file = arguments.file.display(),
    ));
    text
}
