//! Files that the command line names: keys.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::selector::LABELS_MAX;
use modelfleet_protocol::trust::{Roots, TrustError};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A plan key has another format.
    #[error("{0} does not contain an ed25519 public key in hexadecimal or base64")]
    PlanKey(PathBuf),
    /// The root keys have another format.
    #[error("read the root keys of {path}")]
    RootKeys {
        /// The file.
        path: PathBuf,
        /// Why they cannot be read.
        #[source]
        source: serde_json::Error,
    },
    /// The root keys contradict each other, or go beyond a bound.
    #[error("use the root keys of {path}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: TrustError,
    },
    /// More labels than a device may have.
    #[error("{0} labels are given, a device has at most {LABELS_MAX}")]
    Labels(usize),
}

/// The files that were named. A value with commas names several files if all of them exist and no file has the whole
/// value as its name.
#[must_use]
pub fn apart(named: &[PathBuf]) -> Vec<PathBuf> {
    let split = |path: &PathBuf| -> Vec<PathBuf> {
        let parts = || path.to_str().unwrap_or_default().split(',').map(PathBuf::from);
        if !path.exists() && parts().all(|part| part.exists()) {
            parts().collect()
        } else {
            vec![path.clone()]
        }
    };
    named.iter().flat_map(split).collect()
}

/// Reads a file of settings.
///
/// # Errors
/// If it cannot be read. If it is a folder, the error says what to do.
pub fn read_file(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::IsADirectory => std::io::Error::other(
            "it is a folder, but a file is expected (a container runtime creates a folder if the file to mount is \
             missing)",
        ),
        _ => error,
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    read_file(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Reads the keys that may sign plans. A file may contain several, one on each line.
///
/// # Errors
/// When a file cannot be read or holds something else.
pub fn plan_keys(paths: &[PathBuf]) -> Result<Vec<VerifyingKey>, ConfigError> {
    let mut keys = Vec::new();
    for path in &apart(paths) {
        let text = read(path)?;
        let before = keys.len();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let bytes = hex::decode(line).or_else(|_| base64::engine::general_purpose::STANDARD.decode(line));
            let bytes: Option<[u8; 32]> = bytes.ok().and_then(|b| b.try_into().ok());
            let key = bytes.and_then(|b| VerifyingKey::from_bytes(&b).ok());
            keys.push(key.ok_or_else(|| ConfigError::PlanKey(path.clone()))?);
        }
        // With a file without a key, the device would refuse every plan.
        if keys.len() == before {
            return Err(ConfigError::PlanKey(path.clone()));
        }
    }
    Ok(keys)
}

/// Reads the root keys that a device begins with.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn root_keys(path: &Path) -> Result<Roots, ConfigError> {
    let text = read(path)?;
    let path = path.to_owned();
    let roots: Roots = match serde_json::from_str(&text) {
        Ok(roots) => roots,
        Err(source) => return Err(ConfigError::RootKeys { path, source }),
    };
    match roots.check() {
        Ok(()) => Ok(roots),
        Err(source) => Err(ConfigError::Roots { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keys_are_read_as_the_plugin_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.json");
        let key =
            |n: u8| hex::encode(ed25519_dalek::SigningKey::from_bytes(&[n; 32]).verifying_key().as_bytes());
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            root_keys(&path).map_err(|error| crate::log::chain(&error))
        };
        let roots = read(&format!(r#"{{"keys":["{}","{}"],"threshold":2}}"#, key(1), key(2))).unwrap();
        assert_eq!((roots.keys.len(), roots.threshold), (2, 2));
        for (wrong, told) in [
            (format!(r#"{{"keys":["{}"],"threshold":2}}"#, key(1)), "more root keys than it names"),
            (r#"{"keys":[],"threshold":1}"#.to_owned(), "no root key"),
            (r#"{"keys":["00"],"threshold":1}"#.to_owned(), "64 hexadecimal digits"),
            ("nonsense".to_owned(), "read the root keys"),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(error.contains(told) && error.contains("root.json"), "{error}");
        }
    }

    #[test]
    fn plan_keys_are_hexadecimal_or_base64() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let base64 = base64::engine::general_purpose::STANDARD.encode(key.as_bytes());
        std::fs::write(&path, format!("# two forms\n{}\n{base64}\n", hex::encode(key.as_bytes()))).unwrap();
        assert_eq!(plan_keys(std::slice::from_ref(&path)).unwrap(), vec![key, key]);
        // A comma may stand in a name, and between names.
        let with_comma = dir.path().join("a,b");
        std::fs::copy(&path, &with_comma).unwrap();
        assert_eq!(plan_keys(std::slice::from_ref(&with_comma)).unwrap().len(), 2);
        let both = PathBuf::from(format!("{},{}", path.display(), path.display()));
        assert_eq!(plan_keys(&[both]).unwrap().len(), 4);
        let missing = plan_keys(&[dir.path().join("c,d")]).unwrap_err();
        assert!(missing.to_string().contains("c,d"), "{missing}");
        let folder = plan_keys(&[dir.path().to_owned()]).unwrap_err();
        assert!(crate::log::chain(&folder).contains("a file is expected"), "{folder}");
        for bad in ["nonsense", "", "# none\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(plan_keys(std::slice::from_ref(&path)).is_err(), "{bad:?}");
        }
    }
}
