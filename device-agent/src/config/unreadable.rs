//! Settings that cannot be read any more, on a device that has been set up: it goes on with what it has, says so, and
//! takes them up when they are back. Without a plan key it takes no plan, without a password the broker refuses it, without
//! the root keys it goes on with the trust document that it holds.
//! Without the keys of models it must not go on: then unsigned ones would run.

use std::path::PathBuf;

use super::files::{plan_keys, read_file, root_keys};
use super::{ConfigError, RunArgs};
use crate::log::chain;

/// Drops what cannot be read from the settings, and says what that was.
pub fn go_without(args: &mut RunArgs) -> Option<String> {
    let mut told = Vec::new();
    args.common.plan_key.retain(|path| match plan_keys(std::slice::from_ref(path)) {
        Err(error @ ConfigError::Read { .. }) => {
            told.push(format!(
                "a plan key cannot be read, so plans signed by it are refused: {}",
                chain(&error)
            ));
            false
        }
        // What is in it is for a person to see to, at once.
        _ => true,
    });
    let unreadable = |path: &PathBuf| matches!(root_keys(path), Err(ConfigError::Read { .. }));
    if let Some(path) = args.common.trust_root.take_if(|path| unreadable(path))
        && let Err(error) = root_keys(&path)
    {
        args.common.trust_root_unreadable = true;
        told.push(format!(
            "the root keys cannot be read, so the trust document that is held counts on and no new one is followed from \
             other root keys: {}",
            chain(&error)
        ));
    }
    if let Some(path) = args.password_file.take_if(|path| read_file(path).is_err())
        && let Err(error) = read_file(&path)
    {
        told.push(format!(
            "the password file {} cannot be read, so the broker may refuse the device: {error}",
            path.display()
        ));
    }
    (!told.is_empty()).then(|| format!("the installed models keep running, but {}", told.join("; ")))
}

/// Whether all of these files can be read.
#[must_use]
pub fn can_be_read(plan_keys: &[PathBuf], others: &[PathBuf]) -> bool {
    super::apart(plan_keys).iter().chain(others).all(|path| read_file(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn what_cannot_be_read_is_dropped_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let [good, bad, folder] = ["good", "bad", "folder"].map(|name| dir.path().join(name));
        std::fs::write(&good, hex::encode([0; 32])).unwrap();
        std::fs::write(&bad, "nonsense").unwrap();
        std::fs::create_dir(&folder).unwrap();
        let args = |password: &PathBuf, root: &PathBuf| {
            let line = ["agent", "run", "--broker", "mqtt://b", "--device", "d", "--dir", "/d"];
            let mut line: Vec<String> = line.map(str::to_owned).into();
            for key in [&good, &bad, &folder] {
                line.extend(["--plan-key".to_owned(), key.display().to_string()]);
            }
            line.extend(["--password-file".to_owned(), password.display().to_string()]);
            line.extend(["--trust-root".to_owned(), root.display().to_string()]);
            let Command::Run(args) = Cli::parse_from(line).command else { panic!("another command") };
            args
        };
        let roots = dir.path().join("roots");
        let key = hex::encode(ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().as_bytes());
        std::fs::write(&roots, format!(r#"{{"keys":["{key}"],"threshold":1}}"#)).unwrap();
        let mut some = args(&folder, &folder);
        let told = go_without(&mut some).unwrap();
        assert!(
            told.contains("folder") && told.contains("a file is expected") && told.contains("password file")
        );
        assert!(told.contains("the trust document that is held counts on"), "{told}");
        assert_eq!((some.common.trust_root, some.common.trust_root_unreadable), (None, true));
        assert_eq!((some.common.plan_key, some.password_file), (vec![good.clone(), bad.clone()], None));
        assert!(!can_be_read(&[good.clone(), folder.clone()], &[]));
        assert!(can_be_read(std::slice::from_ref(&good), std::slice::from_ref(&bad)));
        let mut all = args(&good, &roots);
        all.common.plan_key.pop();
        assert_eq!((go_without(&mut all), all.common.trust_root_unreadable), (None, false));
    }
}
