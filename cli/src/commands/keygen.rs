//! `keygen`: a pair of minisign keys.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use minisign::KeyPair;

use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::register::signing::{SigningError, key_id, password_in};

/// The command line of `keygen`.
#[derive(Debug, Args)]
#[command(
    after_help = "The keys are in minisign's format (https://jedisct1.github.io/minisign/): minisign can use them, \
                        and this plugin can use keys that minisign made."
)]
pub struct KeygenArguments {
    /// Where to write the secret key, which signs models (register --key).
    #[arg(long, default_value = "minisign.key", value_name = "FILE")]
    pub secret_key: PathBuf,

    /// Where to write the public key, with which devices check signatures.
    #[arg(long, default_value = "minisign.pub", value_name = "FILE")]
    pub public_key: PathBuf,

    /// File whose first line becomes the password of the secret key. Default: you are asked for one.
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,

    /// Do not encrypt the secret key; only the permissions of its file protect it. For CI that keeps the file as a secret.
    #[arg(long)]
    pub no_password: bool,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// There is no terminal to ask for a password.
    #[error("create a key: there is no terminal to ask for a password; use --password-file or --no-password")]
    NoPassword,
    /// The password cannot be read.
    #[error(transparent)]
    Password(#[from] SigningError),
    /// An empty password protects nothing.
    #[error("create a key: the password is empty; use --no-password if you want none")]
    EmptyPassword,
    /// The keys were not made.
    #[error("create a key")]
    Make(#[source] minisign::PError),
    /// A file is there.
    #[error("{path} already exists, and a key is never replaced; choose another file with {flag}")]
    Taken {
        /// Where.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A file cannot be written.
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

/// Makes a pair of keys.
///
/// # Errors
/// When a file is there, or cannot be written.
pub fn run(arguments: &KeygenArguments) -> Result<Outcome, KeygenError> {
    printing::answer(&make(arguments)?)?;
    Ok(Outcome::Done)
}

/// Writes the pair and says where it is.
fn make(arguments: &KeygenArguments) -> Result<String, KeygenError> {
    let password = match &arguments.password_file {
        Some(file) => Some(password_in(file)?),
        None if arguments.no_password || io::stdin().is_terminal() => None,
        None => return Err(KeygenError::NoPassword),
    };
    if password.as_deref() == Some("") {
        return Err(KeygenError::EmptyPassword);
    }
    let pair = match arguments.no_password {
        true => KeyPair::generate_unencrypted_keypair(),
        // Without a password the library asks the terminal, twice.
        false => KeyPair::generate_encrypted_keypair(password),
    }
    .map_err(KeygenError::Make)?;
    let id = key_id(pair.pk.keynum());
    let secret = pair.sk.to_box(Some(&format!("secret key {id}"))).map_err(KeygenError::Make)?.into_string();
    let public = pair.pk.to_box().map_err(KeygenError::Make)?.into_string();
    write_new(&arguments.secret_key, "--secret-key", &secret, 0o600)?;
    if let Err(error) = write_new(&arguments.public_key, "--public-key", &public, 0o644) {
        // Half a pair would stand in the way of the next try.
        let _ = fs::remove_file(&arguments.secret_key);
        return Err(error);
    }
    Ok(format!(
        "key {id}\n  secret  {}  (keep it where the models are built)\n  public  {}  (give it to the devices)\n",
        arguments.secret_key.display(),
        arguments.public_key.display()
    ))
}

fn write_new(path: &Path, flag: &'static str, text: &str, mode: u32) -> Result<(), KeygenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeygenError::Taken { path: path.to_owned(), flag },
        _ => KeygenError::Write { path: path.to_owned(), source },
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::ids::Digest;
    use modelfleet_protocol::statement::Statement;

    use crate::register::signing::{Formats, sign};

    #[test]
    fn a_new_pair_signs_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let arguments = KeygenArguments {
            secret_key: path("k.key"),
            public_key: path("k.pub"),
            password_file: None,
            no_password: true,
        };
        make(&arguments).unwrap();
        let statement = Statement {
            model: "pump".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            digest: Digest::of(b"model"),
            size_bytes: Some(5),
        };
        let signed = sign(b"model", &path("k.key"), None, &statement, Formats::default()).unwrap();
        assert!(fs::read_to_string(path("k.pub")).unwrap().contains(&signed[0].key_id));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path("k.key")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = fs::read(path("k.key")).unwrap();
        assert!(make(&arguments).unwrap_err().to_string().contains("never replaced"));
        assert_eq!(fs::read(path("k.key")).unwrap(), before);
    }
}
