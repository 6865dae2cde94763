//! `trust`: which keys count in a fleet, and for what. All but `status` work on files alone, so that root keys stay on machines
//! without a network.

mod change;
mod draft;
mod files;
mod init;
mod show;
mod status;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use modelfleet_crds::text::DurationText;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::ids::{IdError, ModelName, Namespace};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{ArtifactKey, Roots, TrustDocument, TrustError, append, follow};
use semver::Version;

use crate::cluster::{ClusterError, ClusterFlags};
use crate::key_file::{KeyFileError, public_key, signing_key};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::register::signing::key_id;
use change::{ChangeError, Keys, Names};
use draft::{Draft, DraftError};
use files::{TrustFile, TrustFileError};

/// The command line of `trust`.
#[derive(Debug, Args)]
pub struct TrustArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TrustCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Create root keys, the root file for devices, and the first document.
    Init(init::InitArguments),
    /// Show a document: its keys by role, who has signed it, and what is missing.
    Show(ShowArguments),
    /// Add keys in the next document.
    Add(AddArguments),
    /// Remove keys in the next document. A stolen key is revoked instead.
    Remove(RemoveArguments),
    /// Revoke stolen or lost keys in the next document: nothing that they signed counts any more.
    Revoke(RevokeArguments),
    /// Forbid old versions of a model for good in the next document.
    Floor(FloorArguments),
    /// Give the next document a later end and change nothing else.
    Renew(NextArguments),
    /// Sign a document with a root key. Needs no network.
    Sign(SignArguments),
    /// Put a document that enough root keys have signed into the trust file, and keep the steps that devices need.
    Append(AppendArguments),
    /// Show how many devices hold which trust document, and whether a change of keys is done.
    Status(status::StatusArguments),
}

/// When a document expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After so many milliseconds.
    After(u64),
    /// At this time.
    At(Time),
}

impl Moment {
    /// The moment, seen from `now`.
    #[must_use]
    pub fn after(self, now: Time) -> Time {
        match self {
            Moment::After(ms) => now.after_ms(ms),
            Moment::At(time) => time,
        }
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Moment, String> {
        if let Ok(ms) = DurationText::from(text).milliseconds() {
            return Ok(Moment::After(ms));
        }
        let day =
            text.parse::<jiff::civil::Date>().ok().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let at = day.map(|zoned| zoned.timestamp()).or_else(|| text.parse::<jiff::Timestamp>().ok());
        let ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        ms.map(|ms| Moment::At(Time(ms))).ok_or_else(|| {
            "must be a time such as 365d, a day such as 2027-11-30 or a moment such as 2027-11-30T12:00:00Z".to_owned()
        })
    }
}

/// Keys to be added.
#[derive(Debug, Default, Args)]
pub struct NewKeyArguments {
    /// Public key that signs plans, as text or file (`modelfleet-controller keygen` makes plan.key.pub); may be repeated.
    #[arg(long = "plan-key", value_name = "KEY")]
    pub plan: Vec<String>,
    /// Public key that signs models (minisign), as text or file; may be repeated.
    #[arg(long = "artifact-key", value_name = "KEY")]
    pub artifact: Vec<String>,
    /// Public key that signs device cards, as text or file; may be repeated.
    #[arg(long = "enrolment-key", value_name = "KEY")]
    pub enrolment: Vec<String>,
}

impl NewKeyArguments {
    fn read(&self) -> Result<Keys, KeyFileError> {
        let read =
            |list: &[String], what| list.iter().map(|text| public_key(text, what)).collect::<Result<_, _>>();
        let artifact = self.artifact.iter().map(|text| artifact_key(text));
        Ok(Keys {
            root: vec![],
            plan: read(&self.plan, "plan key")?,
            enrolment: read(&self.enrolment, "enrolment key")?,
            artifact: artifact.collect::<Result<_, _>>()?,
        })
    }
}

/// What every verb takes that makes the next document.
#[derive(Debug, Args)]
pub struct NextArguments {
    /// The trust file: the documents that have been in force.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the next document gathers changes and signatures. Default: FILE.next. One that is there is changed further, and its
    /// signatures are dropped.
    #[arg(long, value_name = "FILE")]
    pub draft: Option<PathBuf>,
    /// When the next document expires: a time such as 365d, or a day such as 2027-11-30. Default: it lasts as long as the one
    /// before.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<Moment>,
    /// The root file of the devices, to check the trust file by. Default: its first document says which root keys count.
    #[arg(long, value_name = "FILE")]
    pub root_file: Option<PathBuf>,
}

/// The command line of `trust add`.
#[derive(Debug, Args)]
pub struct AddArguments {
    #[command(flatten)]
    next: NextArguments,
    #[command(flatten)]
    keys: NewKeyArguments,
    /// Public root key, as text or file; may be repeated.
    #[arg(long = "root", value_name = "KEY")]
    roots: Vec<String>,
    /// How many root keys have to sign a document.
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<usize>,
}

/// The command line of `trust remove`. Keys are named as `show` lists them.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    #[command(flatten)]
    next: NextArguments,
    /// Plan key; may be repeated.
    #[arg(long = "plan-key", value_name = "KEYID")]
    plan: Vec<KeyId>,
    /// Artifact key; may be repeated.
    #[arg(long = "artifact-key", value_name = "KEYID")]
    artifact: Vec<String>,
    /// Enrolment key; may be repeated.
    #[arg(long = "enrolment-key", value_name = "KEYID")]
    enrolment: Vec<KeyId>,
    /// Root key; may be repeated.
    #[arg(long = "root", value_name = "KEYID")]
    roots: Vec<KeyId>,
    /// How many root keys have to sign a document.
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<usize>,
}

/// The command line of `trust revoke`.
#[derive(Debug, Args)]
pub struct RevokeArguments {
    #[command(flatten)]
    next: NextArguments,
    /// The keys, as `show` lists them.
    #[arg(value_name = "KEYID", required = true)]
    ids: Vec<KeyId>,
    /// Plan key that takes over, as text or file; may be repeated.
    #[arg(long = "plan-key", value_name = "KEY")]
    plan: Vec<String>,
}

/// The command line of `trust floor`.
#[derive(Debug, Args)]
pub struct FloorArguments {
    #[command(flatten)]
    next: NextArguments,
    /// The model.
    #[arg(value_name = "MODEL")]
    model: ModelName,
    /// The lowest version that may run.
    #[arg(value_name = "VERSION")]
    version: Version,
}

/// The command line of `trust show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// A trust file, or a document that is being signed.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The trust file that the document comes after. Default: FILE without .next, where there is one.
    #[arg(long, value_name = "FILE")]
    pub after: Option<PathBuf>,
    /// The root file of the devices, to check by.
    #[arg(long, value_name = "FILE")]
    pub root_file: Option<PathBuf>,
    /// Print the document as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The command line of `trust sign`.
#[derive(Debug, Args)]
pub struct SignArguments {
    /// The document that is being signed. It is replaced.
    #[arg(value_name = "DRAFT")]
    pub draft: PathBuf,
    /// The secret root key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The trust file that the document comes after. Default: DRAFT without .next, where there is one.
    #[arg(long, value_name = "FILE")]
    pub after: Option<PathBuf>,
    /// The root file of the devices, to check by.
    #[arg(long, value_name = "FILE")]
    pub root_file: Option<PathBuf>,
}

/// The command line of `trust append`.
#[derive(Debug, Args)]
pub struct AppendArguments {
    /// The trust file. With the first document it is made.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The signed document; with several copies of it their signatures are put together.
    #[arg(value_name = "DRAFT", required = true)]
    pub drafts: Vec<PathBuf>,
    /// The root file of the devices. Needed for the first document.
    #[arg(long, value_name = "FILE")]
    pub root_file: Option<PathBuf>,
}

/// Why a `trust` command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum TrustCommandError {
    /// The namespace is none.
    #[error("--namespace")]
    Namespace(#[source] IdError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Not a minisign key.
    #[error(transparent)]
    File(#[from] TrustFileError),
    /// The document cannot be changed so.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The draft cannot be used.
    #[error("the trust document cannot be used")]
    Draft(#[from] DraftError),
    /// The first document needs root keys.
    #[error("{0} is not there yet: give the root file of the devices with --root-file")]
    NoRootFile(PathBuf),
    /// There is nothing to change.
    #[error("neither {0} nor {1} is there; make the first document with: kubectl modelfleet trust init")]
    NoDocument(PathBuf, PathBuf),
    /// Devices would not follow it.
    #[error("{path} is not put into the trust file, because devices would refuse it")]
    Refused {
        /// The draft.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// It is signed for another place in the row.
    #[error(
        "{path} has version {found}, and the trust file has {held}; make the document again from this trust file"
    )]
    Stale {
        /// The draft.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version of the file.
        held: u64,
    },
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Does one of them.
///
/// # Errors
/// When nothing was written, and why.
pub async fn run(flags: &ClusterFlags, arguments: &TrustArguments) -> Result<Outcome, TrustCommandError> {
    let now = Time(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0));
    let told = match &arguments.command {
        TrustCommand::Status(_) => status::read(flags).await?,
        command => done(flags, command, now)?,
    };
    printing::answer(&told)?;
    Ok(Outcome::Done)
}

fn done(flags: &ClusterFlags, command: &TrustCommand, now: Time) -> Result<String, TrustCommandError> {
    match command {
        TrustCommand::Init(arguments) => {
            let namespace = flags.namespace.as_deref().map(str::parse::<Namespace>).transpose();
            init::make(namespace.map_err(TrustCommandError::Namespace)?, arguments, now)
        }
        TrustCommand::Show(arguments) => shown(arguments, now),
        TrustCommand::Add(arguments) => {
            let mut keys = arguments.keys.read()?;
            for text in &arguments.roots {
                keys.root.push(public_key(text, "root key")?);
            }
            if keys == Keys::default() && arguments.threshold.is_none() {
                return Err(ChangeError::Nothing.into());
            }
            changed(&arguments.next, now, |document| {
                threshold(document, arguments.threshold);
                change::add(document, &keys)
            })
        }
        TrustCommand::Remove(arguments) => {
            let names = arguments.names()?;
            if names == Names::default() && arguments.threshold.is_none() {
                return Err(ChangeError::Nothing.into());
            }
            changed(&arguments.next, now, |document| {
                threshold(document, arguments.threshold);
                change::remove(document, &names)
            })
        }
        TrustCommand::Revoke(arguments) => {
            let read = |text: &String| public_key(text, "plan key");
            let plan = arguments.plan.iter().map(read).collect::<Result<_, _>>()?;
            let keys = Keys { plan, ..Keys::default() };
            changed(&arguments.next, now, |document| {
                for id in change::revoke(document, &arguments.ids)? {
                    printing::note(&format!("key {id} had no role; it is named as revoked all the same"));
                }
                change::add(document, &keys)
            })
        }
        TrustCommand::Floor(arguments) => changed(&arguments.next, now, |document| {
            printing::note(&format!(
                "devices that run {} below {} will leave it, with their fallback if they have nothing else",
                arguments.model, arguments.version
            ));
            change::raise_floor(document, &arguments.model, &arguments.version)
        }),
        TrustCommand::Renew(arguments) => changed(arguments, now, |_| Ok(())),
        TrustCommand::Sign(arguments) => signed(arguments, now),
        TrustCommand::Append(arguments) => appended(arguments, now),
        // It asks the cluster, and the others work on files.
        TrustCommand::Status(_) => Ok(String::new()),
    }
}

impl RemoveArguments {
    fn names(&self) -> Result<Names, KeyFileError> {
        let name =
            |text: &String| artifact_key(text).map_or_else(|_| text.clone(), |key| key.as_str().to_owned());
        Ok(Names {
            root: self.roots.clone(),
            plan: self.plan.clone(),
            enrolment: self.enrolment.clone(),
            artifact: self.artifact.iter().map(name).collect(),
        })
    }
}

fn threshold(document: &mut TrustDocument, wanted: Option<usize>) {
    document.roots.threshold = wanted.unwrap_or(document.roots.threshold);
}

/// A publisher's key: the base64 text itself, or a minisign file with a comment in its first line.
fn artifact_key(text: &str) -> Result<ArtifactKey, KeyFileError> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    let path = PathBuf::from(text);
    let failed = |source| KeyFileError::Read { what: "artifact key", path: path.clone(), source };
    let file = std::fs::read_to_string(&path).map_err(failed)?;
    let mut lines = file.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.find_map(|line| line.parse().ok()).ok_or(KeyFileError::NotMinisign(path))
}

/// The name of an artifact key as minisign prints it.
fn artifact_key_id(key: &ArtifactKey) -> String {
    STANDARD.decode(key.as_str()).ok().and_then(|bytes| bytes.get(2..10).map(key_id)).unwrap_or_default()
}

/// Where the document after those of `file` gathers signatures.
fn draft_path(file: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(
        || {
            let mut name = file.as_os_str().to_owned();
            name.push(".next");
            PathBuf::from(name)
        },
        Path::to_owned,
    )
}

/// The next document with a change, without a signature.
fn changed(
    arguments: &NextArguments,
    now: Time,
    change: impl FnOnce(&mut TrustDocument) -> Result<(), ChangeError>,
) -> Result<String, TrustCommandError> {
    let path = draft_path(&arguments.file, arguments.draft.as_deref());
    let anchor = arguments.root_file.as_deref().map(files::roots).transpose()?;
    let file = match arguments.file.exists() {
        true => Some(files::trust_file(&arguments.file, anchor.clone())?),
        false => None,
    };
    let held = file.as_ref().map_or(0, |file| file.newest.version);
    // One that is in the trust file already is done with.
    let begun = match path.exists() {
        true => Some(files::draft(&path)?).filter(|draft| draft.document.version > held),
        false => None,
    };
    let (mut document, expires) = match (&begun, &file) {
        (Some(draft), _) => (draft.document.clone(), draft.document.expires),
        (None, Some(TrustFile { newest, .. })) => {
            (newest.clone(), now.after_ms(newest.expires.since_ms(newest.issued)))
        }
        (None, None) => return Err(TrustCommandError::NoDocument(arguments.file.clone(), path)),
    };
    change(&mut document)?;
    let expires = arguments.expires.map_or(expires, |moment| moment.after(now));
    let document = change::dated(document, held + 1, now, expires)?;
    let in_force = match &file {
        Some(file) => file.newest.roots.clone(),
        None => anchor.unwrap_or_else(|| document.roots.clone()),
    };
    if document.plan_keys.is_empty() {
        printing::note("the document names no plan key: devices will take no plan and keep what they run");
    }
    let draft = Draft::unsigned(document)?;
    let had = begun.is_some_and(|begun| begun.standing(&in_force).is_ok_and(|s| !s.in_force.by.is_empty()));
    if had {
        printing::note("the document has changed, so the signatures that it had are dropped");
    }
    files::replace(&path, &[draft.bytes(), b"\n"].concat())?;
    let shown = show::text(&draft.document, &draft.standing(&in_force)?, now);
    Ok(format!(
        "{shown}\nNext: the owners of root keys sign it: kubectl modelfleet trust sign {} --key NAME.root.key\n",
        path.display()
    ))
}

/// The root keys that have to sign a draft: those of the trust file that it comes after, those of the root file, or its own.
fn in_force(
    draft: &Draft,
    path: &Path,
    after: Option<&Path>,
    root_file: Option<&Path>,
) -> Result<Roots, TrustCommandError> {
    let anchor = root_file.map(files::roots).transpose()?;
    let stripped = path.to_str().and_then(|name| name.strip_suffix(".next")).map(PathBuf::from);
    let found = after.map(Path::to_owned).or_else(|| stripped.filter(|path| path.exists()));
    if let Some(found) = found {
        let file = files::trust_file(&found, anchor)?;
        let held = file.newest.version;
        return match draft.document.version {
            version if version == held => Ok(file.before),
            version if version > held => Ok(file.newest.roots),
            found => Err(TrustCommandError::Stale { path: path.to_owned(), found, held }),
        };
    }
    Ok(anchor.unwrap_or_else(|| {
        if draft.document.version > 1 {
            printing::note(
                "without the trust file (--after) only the document's own root keys are known, and those before it may have \
                 to sign as well",
            );
        }
        draft.document.roots.clone()
    }))
}

fn shown(arguments: &ShowArguments, now: Time) -> Result<String, TrustCommandError> {
    let (after, root_file) = (arguments.after.as_deref(), arguments.root_file.as_deref());
    let (document, standing) = match files::draft(&arguments.file) {
        Ok(draft) if after.is_some() || draft_of(&arguments.file) => {
            let in_force = in_force(&draft, &arguments.file, after, root_file)?;
            let standing = draft.standing(&in_force)?;
            (draft.document, standing)
        }
        _ => {
            let anchor = root_file.map(files::roots).transpose()?;
            let TrustFile { newest, last, before, .. } = files::trust_file(&arguments.file, anchor)?;
            let standing = last.standing(&before)?;
            (newest, standing)
        }
    };
    if arguments.json {
        let json = serde_json::to_string_pretty(&document).map_err(DraftError::Json)?;
        return Ok(format!("{json}\n"));
    }
    Ok(show::text(&document, &standing, now))
}

/// Whether a file is named like a document that is being signed.
fn draft_of(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "next")
}

fn signed(arguments: &SignArguments, now: Time) -> Result<String, TrustCommandError> {
    let key = signing_key(&arguments.key, "root key")?;
    let draft = files::draft(&arguments.draft)?;
    let (after, root_file) = (arguments.after.as_deref(), arguments.root_file.as_deref());
    let in_force = in_force(&draft, &arguments.draft, after, root_file)?;
    if draft.document.has_expired(now) {
        return Err(ChangeError::Expired.into());
    }
    let draft = draft.signed(&key, &in_force)?;
    files::replace(&arguments.draft, &[draft.bytes(), b"\n"].concat())?;
    let standing = draft.standing(&in_force)?;
    let shown = show::text(&draft.document, &standing, now);
    let path = arguments.draft.display();
    let next = match standing.is_complete() {
        true => format!("Next: kubectl modelfleet trust append FILE {path}"),
        false => format!("Next: give {path} to another owner of a root key"),
    };
    let id = KeyId::of(&key.verifying_key());
    Ok(format!("{shown}\nSigned with root key {id}.\n{next}\n"))
}

fn appended(arguments: &AppendArguments, now: Time) -> Result<String, TrustCommandError> {
    let mut drafts = Vec::with_capacity(arguments.drafts.len());
    for path in &arguments.drafts {
        drafts.push(files::draft(path)?);
    }
    let anchor = arguments.root_file.as_deref().map(files::roots).transpose()?;
    let (bytes, anchor, in_force, held) = if arguments.file.exists() {
        let TrustFile { bytes, anchor, newest, .. } = files::trust_file(&arguments.file, anchor)?;
        (bytes, anchor, newest.roots.clone(), Some(newest))
    } else {
        let anchor = anchor.ok_or_else(|| TrustCommandError::NoRootFile(arguments.file.clone()))?;
        (Vec::new(), anchor.clone(), anchor, None)
    };
    // clap asks for at least one.
    let (first, path) = (drafts.remove(0), &arguments.drafts[0]);
    let draft = first.gathered(&drafts, &in_force)?;
    let refused = |source| TrustCommandError::Refused { path: path.clone(), source };
    if let Some(held) = held.as_ref().map(|held| held.version).filter(|held| draft.document.version <= *held)
    {
        return Err(TrustCommandError::Stale { path: path.clone(), found: draft.document.version, held });
    }
    follow(&in_force, held.as_ref(), None, draft.bytes()).map_err(refused)?;
    let file = append(&bytes, draft.bytes()).map_err(refused)?;
    let newest = follow(&anchor, None, None, &file).map_err(refused)?.map(|newest| newest.version);
    if newest != Some(draft.document.version) {
        let (found, held) = (draft.document.version, newest.unwrap_or(0));
        return Err(refused(TrustError::Older { found, held }));
    }
    files::replace(&arguments.file, &file)?;
    let shown = show::text(&draft.document, &draft.standing(&in_force)?, now);
    Ok(format!(
        "{shown}\n{} is complete with document {}.\nNext: give it to the controller, and follow the devices with: \
         kubectl modelfleet trust status\n",
        arguments.file.display(),
        draft.document.version
    ))
}

#[cfg(test)]
mod tests;
