//! Settings that cannot be read any more, on a device that has been set up: it goes on with what it has, says so, and
//! takes them up when they are back. Without a plan key it takes no plan, without a password the broker refuses it.
//! Without the keys of models it must not go on: then unsigned ones would run.

use std::path::PathBuf;

use super::files::{plan_keys, read_file};
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
pub fn can_be_read(plan_keys: &[PathBuf], password: Option<&PathBuf>) -> bool {
    super::apart(plan_keys).iter().chain(password).all(|path| read_file(path).is_ok())
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
        let args = |password: &PathBuf| {
            let line = ["agent", "run", "--broker", "mqtt://b", "--device", "d", "--dir", "/d"];
            let mut line: Vec<String> = line.map(str::to_owned).into();
            for key in [&good, &bad, &folder] {
                line.extend(["--plan-key".to_owned(), key.display().to_string()]);
            }
            line.extend(["--password-file".to_owned(), password.display().to_string()]);
            let Command::Run(args) = Cli::parse_from(line).command else { panic!("another command") };
            args
        };
        let mut some = args(&folder);
        let told = go_without(&mut some).unwrap();
        assert!(
            told.contains("folder") && told.contains("a file is expected") && told.contains("password file")
        );
        assert_eq!((some.common.plan_key, some.password_file), (vec![good.clone(), bad.clone()], None));
        assert!(!can_be_read(&[good.clone(), folder.clone()], None));
        assert!(can_be_read(std::slice::from_ref(&good), Some(&bad)));
        let mut all = args(&good);
        all.common.plan_key.pop();
        assert_eq!(go_without(&mut all), None);
    }
}
