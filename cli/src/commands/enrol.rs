//! `enrol`: signed device cards, one or many.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_protocol::card::{Card, CardError};
use modelfleet_protocol::ids::{DeviceId, IdError, Namespace};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::time::Time;

use crate::cluster::ClusterFlags;
use crate::key_file::{KeyFileError, signing_key};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};

/// Most bytes of a file of devices, and most devices in it.
const CSV_BYTES_MAX: u64 = 256 * 1024 * 1024;
const DEVICES_MAX: usize = 1_000_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The command line of `enrol`.
#[derive(Debug, Args)]
#[command(
    after_help = "The key is an ed25519 seed, as `modelfleet-controller keygen --out enrolment.key` makes it. The controller \
                  is given its public half with --enrolment-key, each device its card with --card.\n\nThe first line of a \
                  CSV file names the columns: `device`, and one for each label. An empty cell is no label."
)]
pub struct EnrolArguments {
    /// The device.
    #[arg(value_name = "ID", required_unless_present = "csv", conflicts_with = "csv")]
    pub device: Option<DeviceId>,

    /// A label of the device, KEY=VALUE. Give the option several times, or several labels separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = label, value_name = "KEY=VALUE", conflicts_with = "csv")]
    pub label: Vec<(String, String)>,

    /// File with many devices: a column `device`, and one for each label.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// The enrolment key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// For how many days the cards count.
    #[arg(long, default_value_t = 730, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub days: u64,

    /// Folder for the cards, which are called ID.card. A card that is there is replaced.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub out: PathBuf,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Why there are no cards.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A card names its namespace.
    #[error("enrol: give the namespace of the fleet with --namespace; the card names it")]
    NoNamespace,
    /// The namespace is none.
    #[error("--namespace")]
    Namespace(#[source] IdError),
    /// The list of devices cannot be read.
    #[error("read the devices in {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file of devices cannot be used.
    #[error("{path}, line {line}: {why}")]
    Csv {
        /// Where.
        path: PathBuf,
        /// Which line; the first is 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// A card cannot be made.
    #[error("make the card of {device}")]
    Card {
        /// Whose.
        device: DeviceId,
        /// Why.
        source: CardError,
    },
    /// A card cannot be written.
    #[error("write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Makes the cards.
///
/// # Errors
/// When a file cannot be read or written, or a card would be refused. Nothing is written before all cards are made.
pub fn run(flags: &ClusterFlags, arguments: &EnrolArguments) -> Result<Outcome, EnrolError> {
    let now = Time(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0));
    printing::answer(&make(flags, arguments, now)?)?;
    Ok(Outcome::Done)
}

fn make(flags: &ClusterFlags, arguments: &EnrolArguments, now: Time) -> Result<String, EnrolError> {
    let namespace = flags.namespace.as_deref().ok_or(EnrolError::NoNamespace)?;
    let namespace: Namespace = namespace.parse().map_err(EnrolError::Namespace)?;
    let key = signing_key(&arguments.key, "enrolment key")?;
    let devices = match (&arguments.device, &arguments.csv) {
        (Some(device), _) => vec![(device.clone(), arguments.label.iter().cloned().collect())],
        (None, Some(path)) => devices(path)?,
        (None, None) => Vec::new(),
    };
    let expires = now.after_ms(arguments.days.saturating_mul(DAY_MS));
    let mut cards = Vec::with_capacity(devices.len());
    for (device, labels) in devices {
        let card =
            Card { namespace: namespace.clone(), device: device.clone(), labels, issued: now, expires };
        let sealed = card.seal(&key).map_err(|source| EnrolError::Card { device: device.clone(), source })?;
        cards.push((arguments.out.join(format!("{device}.card")), sealed));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EnrolError::Write { path, source }
    };
    fs::create_dir_all(&arguments.out).map_err(failed(&arguments.out))?;
    for (path, sealed) in &cards {
        fs::write(path, format!("{sealed}\n")).map_err(failed(path))?;
    }
    let (count, days) = (cards.len(), arguments.days);
    Ok(match cards.as_slice() {
        [(path, _)] => {
            format!("{}: give it to the device with --card; it ends after {days} days\n", path.display())
        }
        _ => format!("{count} cards in {}; they end after {days} days\n", arguments.out.display()),
    })
}

/// The devices of a file, each once.
fn devices(path: &Path) -> Result<Vec<(DeviceId, Labels)>, EnrolError> {
    let failed = |source| EnrolError::Read { path: path.to_owned(), source };
    let wrong = |line: u64, why: String| EnrolError::Csv { path: path.to_owned(), line, why };
    let file = fs::File::open(path).map_err(failed)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file.take(CSV_BYTES_MAX));
    let columns = reader.headers().map_err(|e| wrong(1, e.to_string()))?.clone();
    let at = columns.iter().position(|name| name == "device");
    let at = at.ok_or_else(|| wrong(1, "the first line names no column `device`".to_owned()))?;
    let mut known = std::collections::BTreeMap::new();
    for (line, row) in (2..).zip(reader.records()) {
        let row = row.map_err(|e| wrong(line, e.to_string()))?;
        let device: DeviceId =
            row.get(at).unwrap_or("").parse().map_err(|e: IdError| wrong(line, e.to_string()))?;
        let cells =
            columns.iter().zip(&row).enumerate().filter(|(i, (_, value))| *i != at && !value.is_empty());
        let labels: Labels = cells.map(|(_, (name, value))| (name.to_owned(), value.to_owned())).collect();
        if known.insert(device.clone(), labels).is_some() {
            return Err(wrong(line, format!("device {device} is named twice")));
        }
        if known.len() > DEVICES_MAX {
            return Err(wrong(line, format!("more than {DEVICES_MAX} devices; use several files")));
        }
    }
    match known.is_empty() {
        true => Err(wrong(2, "the file names no device".to_owned())),
        false => Ok(known.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    const NOW: Time = Time(1_000);

    fn arguments(folder: &Path) -> EnrolArguments {
        let key = folder.join("enrolment.key");
        fs::write(&key, "07".repeat(32) + "\n").unwrap();
        EnrolArguments { device: None, label: Vec::new(), csv: None, key, days: 2, out: folder.join("cards") }
    }

    fn plant() -> ClusterFlags {
        ClusterFlags { namespace: Some("plant".into()), ..ClusterFlags::default() }
    }

    fn card(path: &Path) -> Card {
        let trusted = [SigningKey::from_bytes(&[7; 32]).verifying_key()];
        Card::open(&trusted, fs::read_to_string(path).unwrap().trim()).unwrap()
    }

    #[test]
    fn a_card_says_what_was_asked_for_and_opens_for_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let label = vec![("age".to_owned(), "old".to_owned())];
        let one =
            EnrolArguments { device: Some("pump-1".parse().unwrap()), label, ..arguments(folder.path()) };
        let told = make(&plant(), &one, NOW).unwrap();
        let card = card(&one.out.join("pump-1.card"));
        assert!(told.contains("pump-1.card") && told.contains("2 days"), "{told}");
        assert_eq!((card.device.as_str(), card.namespace.as_str()), ("pump-1", "plant"));
        assert_eq!(
            (card.labels["age"].as_str(), card.issued, card.expires),
            ("old", NOW, NOW.after_ms(2 * DAY_MS))
        );
        assert!(matches!(make(&ClusterFlags::default(), &one, NOW), Err(EnrolError::NoNamespace)));
        fs::write(&one.key, "no key").unwrap();
        assert!(matches!(make(&plant(), &one, NOW), Err(EnrolError::Key(_))));
    }

    #[test]
    fn a_file_makes_a_card_for_each_line_or_none_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("devices.csv");
        let many = EnrolArguments { csv: Some(csv.clone()), ..arguments(folder.path()) };
        fs::write(&csv, "site,device,age\nnorth, a ,old\n,b,\n").unwrap();
        assert!(make(&plant(), &many, NOW).unwrap().starts_with("2 cards in"));
        assert_eq!(card(&many.out.join("a.card")).labels.len(), 2);
        assert_eq!(card(&many.out.join("b.card")).labels, Labels::new());
        for (text, told) in [
            ("site,name\nnorth,a\n", "line 1: the first line names no column `device`"),
            ("device\n", "names no device"),
            ("device\nc\nc\n", "line 3: device c is named twice"),
            ("device\nc\nBad Name\n", "line 3: device id"),
            ("device,site\nc\n", "line 2"),
            ("device,site\nc,no rth\n", "make the card of c"),
        ] {
            fs::write(&csv, text).unwrap();
            let error = printing::with_causes(&make(&plant(), &many, NOW).unwrap_err());
            assert!(error.contains(told), "{error}");
            assert!(!many.out.join("c.card").exists(), "{text:?}");
        }
    }
}
