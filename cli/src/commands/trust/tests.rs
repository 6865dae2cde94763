//! A whole life of a trust file, in a folder and without a cluster.

use std::fs;

use clap::Parser as _;
use tempfile::TempDir;

use super::*;
use crate::arguments::{Arguments, Command};

const NOW: Time = Time(1_700_000_000_000);
const DAY_MS: u64 = 86_400_000;

/// A folder in which commands run. Words with a slash at their beginning are paths in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Result<String, TrustCommandError> {
        self.run_at(line, NOW)
    }

    fn run_at(&self, line: &str, now: Time) -> Result<String, TrustCommandError> {
        let here = self.0.path().display().to_string();
        let words = line.split_whitespace().map(|word| match word.strip_prefix('/') {
            Some(name) => format!("{here}/{name}"),
            None => word.to_owned(),
        });
        let words = ["kubectl-modelfleet".to_owned(), "trust".to_owned()].into_iter().chain(words);
        let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Trust(trust) = arguments.command else { panic!("{line}") };
        let told = done(&arguments.cluster, &trust.command, now)?;
        for name in ["ann", "bob", "eve", "new"] {
            if let Ok(secret) = fs::read_to_string(self.path(&format!("{name}.root.key"))) {
                assert!(!told.contains(secret.trim()), "a secret is shown: {line}");
            }
        }
        Ok(told)
    }

    /// Runs it and gives what it told.
    fn did(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {}", printing::with_causes(&error)))
    }

    fn refused(&self, line: &str, words: &str) {
        let before = self.listing();
        let error = printing::with_causes(&self.run(line).unwrap_err());
        assert!(error.contains(words), "{line}: {error}");
        assert_eq!(self.listing(), before, "{line} has written something");
    }

    fn listing(&self) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
        files.sort();
        files
    }

    fn public(&self, name: &str, number: u8) -> KeyId {
        let key = change::tests::public(number);
        fs::write(self.path(name), format!("{key}\n")).unwrap();
        key.id()
    }

    /// The newest document as devices with the root file follow it.
    fn newest(&self) -> TrustDocument {
        let roots = files::roots(&self.path("trust-root.json")).unwrap();
        let namespace = "plant".parse().unwrap();
        follow(&roots, None, Some(&namespace), &fs::read(self.path("trust.json")).unwrap()).unwrap().unwrap()
    }
}

const INIT: &str = "init /trust.json --person ann --person bob --person eve --threshold 2 --plan-key /plan.key.pub -n plant \
                    --keys-out / --root-file /trust-root.json --expires 90d";

/// The first document, signed by two of three.
fn started() -> (Folder, KeyId) {
    let folder = Folder::new();
    let plan = folder.public("plan.key.pub", 10);
    folder.did(INIT);
    folder.did("sign /trust.json.next --key /ann.root.key");
    let told = folder.did("sign /trust.json.next --key /eve.root.key");
    assert!(told.contains("Enough root keys have signed.") && told.contains("trust append"), "{told}");
    folder.did("append /trust.json /trust.json.next --root-file /trust-root.json");
    (folder, plan)
}

#[test]
fn the_first_document_is_made_signed_and_followed() {
    let (folder, plan) = started();
    let newest = folder.newest();
    assert_eq!((newest.version, newest.plan_keys[0].id()), (1, plan));
    assert_eq!((newest.issued, newest.expires), (NOW, NOW.after_ms(90 * DAY_MS)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path("ann.root.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    folder.refused(INIT, "exists already and is not replaced");
    let told = folder.did("show /trust.json --root-file /trust-root.json");
    assert!(told.starts_with("Trust document 1 for namespace plant\n"), "{told}");
    let json = folder.did("show /trust.json --json");
    assert_eq!(serde_json::from_str::<TrustDocument>(&json).unwrap(), newest);
}

#[test]
fn a_stolen_plan_key_is_replaced_in_one_document() {
    let (folder, stolen) = started();
    let fresh = folder.public("plan-2.key.pub", 11);
    let told = folder.did(&format!("revoke /trust.json {stolen} --plan-key /plan-2.key.pub"));
    assert!(
        told.contains(&format!("revoked     {stolen}")) && told.contains("needs 2 more signatures"),
        "{told}"
    );
    folder.refused("append /trust.json /trust.json.next", "0 of the 3 keys signed the envelope; 2 have to");
    // Each owner signs a copy of their own.
    fs::copy(folder.path("trust.json.next"), folder.path("copy.next")).unwrap();
    folder.did("sign /trust.json.next --key /bob.root.key");
    let told = folder.did("sign /copy.next --key /ann.root.key --after /trust.json");
    assert!(told.contains("needs 1 more signature"), "{told}");
    folder.did("append /trust.json /trust.json.next /copy.next");
    let newest = folder.newest();
    assert_eq!(
        (newest.version, newest.plan_keys[0].id(), newest.revoked.as_slice()),
        (2, fresh, &[stolen][..])
    );
    // The same document does not go in again, and the next one starts from this one.
    folder.refused("append /trust.json /copy.next", "has version 2, and the trust file has 2");
    let told = folder.did("renew /trust.json --expires 2030-01-01");
    assert!(told.contains("Trust document 3") && told.contains("2030-01-01T00:00:00Z"), "{told}");
}

#[test]
fn a_document_that_changes_drops_its_signatures() {
    let (folder, plan) = started();
    folder.public("plan-2.key.pub", 11);
    folder.did("add /trust.json --plan-key /plan-2.key.pub");
    folder.did("sign /trust.json.next --key /bob.root.key");
    let told = folder.did("floor /trust.json pump-anomaly 1.2.0");
    assert!(told.contains("Trust document 2") && told.contains("needs 2 more signatures"), "{told}");
    assert!(told.contains("versions below 1.2.0 are forbidden for good"), "{told}");
    folder.refused("floor /trust.json pump-anomaly 1.1.0", "can only rise");
    folder.refused(
        "add /trust.json --plan-key /plan.key.pub",
        &format!("plan key {plan} is in the trust document"),
    );
    folder.refused("add /trust.json", "nothing to change");
    folder.refused("sign /trust.json.next --key /plan.key.pub", "none of the root keys");
}

#[test]
fn a_lost_root_key_is_replaced_by_the_others_and_the_new_one() {
    let (folder, _) = started();
    let lost = files::draft(&folder.path("trust.json.next")).unwrap().document.roots.keys[1].id();
    fs::write(folder.path("new.root.key"), hex::encode([77; 32])).unwrap();
    folder.public("new.root.key.pub", 77);
    folder.refused("add /trust.json --root /new.root.key", "give");
    folder.did("add /trust.json --root /new.root.key.pub");
    let told = folder.did(&format!("revoke /trust.json {lost}"));
    assert!(told.contains("of the root keys until now"), "{told}");
    folder.did("sign /trust.json.next --key /ann.root.key");
    folder.did("sign /trust.json.next --key /new.root.key");
    folder.refused("append /trust.json /trust.json.next", "1 of the 3 keys signed the envelope; 2 have to");
    folder.did("sign /trust.json.next --key /eve.root.key");
    folder.did("append /trust.json /trust.json.next");
    // The next one needs the new keys, and who starts from the root file finds both steps.
    folder.did("renew /trust.json");
    folder.refused("sign /trust.json.next --key /bob.root.key", "none of the root keys");
    folder.did("sign /trust.json.next --key /new.root.key");
    folder.did("sign /trust.json.next --key /eve.root.key");
    folder.did("append /trust.json /trust.json.next");
    assert_eq!(folder.newest().version, 3);
}

#[test]
fn files_that_are_no_such_thing_are_refused_and_stay() {
    let (folder, plan) = started();
    fs::write(folder.path("nonsense"), "{}").unwrap();
    folder.refused("show /nonsense", "nonsense");
    folder.refused("renew /nonsense", "nonsense");
    folder.refused("sign /nonsense --key /ann.root.key", "trust document");
    folder.refused("sign /trust.json.next --key /nonsense", "does not hold an ed25519 seed");
    folder.refused("renew /missing", "trust init");
    folder.refused("append /missing /trust.json.next", "--root-file");
    folder.refused("show /trust.json --root-file /nonsense", "root file");
    // Another fleet's root file.
    let other = Roots { keys: vec![change::tests::public(5)], threshold: 1 };
    fs::write(folder.path("other.json"), serde_json::to_vec(&other).unwrap()).unwrap();
    folder.refused("show /trust.json --root-file /other.json", "cannot be followed");
    folder.refused("remove /trust.json --enrolment-key 0123456789abcdef", "has no enrolment key");
    let told = folder.did(&format!("remove /trust.json --plan-key {plan}"));
    assert!(told.contains("devices take no plan and keep what they run"), "{told}");
    let late = NOW.after_ms(400 * DAY_MS);
    let error = folder.run_at("sign /trust.json.next --key /ann.root.key", late).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn the_end_is_a_time_or_a_day() {
    let parsed = |text: &str| text.parse::<Moment>();
    assert_eq!(parsed("90d"), Ok(Moment::After(90 * DAY_MS)));
    assert_eq!(parsed("1970-01-02"), Ok(Moment::At(Time(DAY_MS))));
    assert_eq!(parsed("1970-01-02T00:00:01Z"), Ok(Moment::At(Time(DAY_MS + 1_000))));
    assert!(parsed("soon").unwrap_err().contains("365d"));
}
