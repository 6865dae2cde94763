//! What a publisher signs beside the bytes of a file: which version of which model it is.
//!
//! In a signature of minisign the statement is the trusted comment, which `minisign -V` checks and prints:
//! `modelfleet model=pump version=1.2.0 sha256=9f86... size=20480`. It is read strictly and only behind a good signature.
//! Bytes that were signed as one version of one model do not run as another.

use std::fmt;

use crate::ids::{Digest, ModelName};
use crate::model::ModelBuild;

/// Most bytes of a trusted comment that is read.
pub const COMMENT_BYTES_MAX: usize = 512;
/// The first word of a statement.
const FIRST_WORD: &str = "modelfleet";
/// Most of a comment that a message quotes, characters.
const QUOTED_MAX: usize = 80;

/// One file as one version of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: semver::Version,
    /// What the bytes hash to.
    pub digest: Digest,
    /// How many bytes there are; `None` in comments of the older form, where the digest alone says it.
    pub size_bytes: Option<u64>,
}

/// Whether a good signature counts that covers the bytes only and does not say which version of which model they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareSignatures {
    /// It does not count.
    #[default]
    Refused,
    /// It counts, as signatures of the plain tool did before there were statements.
    Allowed,
}

impl BareSignatures {
    /// By the flag that allows them.
    #[must_use]
    pub fn allowed_if(allowed: bool) -> BareSignatures {
        if allowed { BareSignatures::Allowed } else { BareSignatures::Refused }
    }
}

/// Why a good signature does not count for a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It says nothing of what the bytes are for.
    #[error(
        "the signature does not say which model and version the file is; sign it with kubectl modelfleet register \
         --key, or with minisign -S -t \"{wanted}\""
    )]
    Bare {
        /// The comment that would be right.
        wanted: String,
    },
    /// It should be a statement and is none.
    #[error("the statement in the signature cannot be read, because {why}: {comment:?}; sign the file again")]
    Form {
        /// What is wrong.
        why: &'static str,
        /// The comment, at most its first 80 characters.
        comment: String,
    },
    /// It is about another model, version or file.
    #[error("the file was signed as {signed}, not as {wanted}; sign it as what it is to be")]
    Other {
        /// What was signed.
        signed: String,
        /// What it would have to be.
        wanted: String,
    },
}

impl fmt::Display for Statement {
    /// As the trusted comment of a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statement { model, version, digest, size_bytes } = self;
        write!(f, "{FIRST_WORD} model={model} version={version} sha256={}", digest.hex())?;
        size_bytes.map_or(Ok(()), |bytes| write!(f, " size={bytes}"))
    }
}

impl Statement {
    /// What must have been signed for this build.
    #[must_use]
    pub fn of(build: &ModelBuild) -> Statement {
        let ModelBuild { model, version, digest, size_bytes, .. } = build;
        Statement {
            model: model.clone(),
            version: version.clone(),
            digest: *digest,
            size_bytes: Some(*size_bytes),
        }
    }

    /// Reads a trusted comment; `None`: it is no statement at all.
    ///
    /// # Errors
    /// When it begins as a statement and is none: nothing in it is guessed.
    pub fn read(comment: &str) -> Result<Option<Statement>, StatementError> {
        let form = |why| StatementError::Form { why, comment: comment.chars().take(QUOTED_MAX).collect() };
        if comment.split(' ').next() != Some(FIRST_WORD) {
            return Ok(Statement::read_older(comment));
        }
        if comment.len() > COMMENT_BYTES_MAX {
            return Err(form("it is too long"));
        }
        let mut words = comment.split(' ').skip(1);
        let mut value = |name: &str, why| {
            let word = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.ok_or_else(|| form(why))
        };
        let model = value("model", "model= must come first")?;
        let version = value("version", "version= must come second")?;
        let digest = value("sha256", "sha256= must come third")?;
        let size = value("size", "size= must come fourth")?;
        if words.next().is_some() {
            return Err(form("something follows size="));
        }
        let plain = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        Ok(Some(Statement {
            model: model.parse().map_err(|_| form("model= is not the name of a model"))?,
            version: version.parse().map_err(|_| form("version= is not a semantic version"))?,
            digest: format!("sha256:{digest}").parse().map_err(|_| form("sha256= is not a digest"))?,
            size_bytes: Some(
                size.parse().ok().filter(|_| plain).ok_or_else(|| form("size= is not a number"))?,
            ),
        }))
    }

    /// The older form of `register`: model, version and digest, three words.
    fn read_older(comment: &str) -> Option<Statement> {
        if comment.len() > COMMENT_BYTES_MAX {
            return None;
        }
        let mut words = comment.split(' ');
        let (model, version, digest) = (words.next()?, words.next()?, words.next()?);
        let statement = Statement {
            model: model.parse().ok()?,
            version: version.parse().ok()?,
            digest: digest.parse().ok()?,
            size_bytes: None,
        };
        words.next().is_none().then_some(statement)
    }

    /// Whether what was signed is what is wanted.
    ///
    /// # Errors
    /// Says what it was signed as.
    pub fn fits(&self, wanted: &Statement) -> Result<(), StatementError> {
        let other = |signed, wanted| Err(StatementError::Other { signed, wanted });
        if (&self.model, &self.version) != (&wanted.model, &wanted.version) {
            let name = |s: &Statement| format!("{} {}", s.model, s.version);
            return other(name(self), name(wanted));
        }
        if self.digest != wanted.digest {
            return other(self.digest.to_string(), wanted.digest.to_string());
        }
        match (self.size_bytes, wanted.size_bytes) {
            (Some(signed), Some(size)) if signed != size => {
                other(format!("{signed} bytes"), format!("{size} bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a signature that is good for the bytes counts for the version that is wanted, by its trusted comment.
///
/// # Errors
/// When it was made for something else, or does not say for what and `bare` refuses that.
pub fn check(comment: &str, wanted: &Statement, bare: BareSignatures) -> Result<(), StatementError> {
    match Statement::read(comment)? {
        Some(signed) => signed.fits(wanted),
        None if bare == BareSignatures::Allowed => Ok(()),
        None => Err(StatementError::Bare { wanted: wanted.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pump(version: &str) -> Statement {
        Statement {
            model: "pump".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(b"model"),
            size_bytes: Some(5),
        }
    }

    #[test]
    fn a_statement_reads_back_and_counts_for_its_version_alone() {
        let signed = pump("1.2.0");
        let comment = signed.to_string();
        assert_eq!(
            comment,
            format!("modelfleet model=pump version=1.2.0 sha256={} size=5", Digest::of(b"model").hex())
        );
        assert_eq!(Statement::read(&comment).unwrap().unwrap(), signed);
        for bare in [BareSignatures::Refused, BareSignatures::Allowed] {
            check(&comment, &signed, bare).unwrap();
            let valve = Statement { model: "valve".parse().unwrap(), ..signed.clone() };
            let bytes = Statement { digest: Digest::of(b"other"), ..signed.clone() };
            let longer = Statement { size_bytes: Some(6), ..signed.clone() };
            for (wanted, told) in [
                (valve, "was signed as pump 1.2.0, not as valve 1.2.0"),
                (pump("1.3.0"), "was signed as pump 1.2.0, not as pump 1.3.0"),
                (pump("1.2.0+b"), "not as pump 1.2.0+b"),
                (bytes, "was signed as sha256:"),
                (longer, "was signed as 5 bytes, not as 6 bytes"),
            ] {
                let error = check(&comment, &wanted, bare).unwrap_err().to_string();
                assert!(error.contains(told), "{error}");
            }
        }
    }

    #[test]
    fn what_register_wrote_before_binds_as_well() {
        let comment = format!("pump 1.2.0 {}", Digest::of(b"model"));
        check(&comment, &pump("1.2.0"), BareSignatures::Refused).unwrap();
        let error = check(&comment, &pump("1.3.0"), BareSignatures::Allowed).unwrap_err();
        assert!(matches!(error, StatementError::Other { .. }), "{error}");
    }

    #[test]
    fn a_bare_signature_is_refused_with_the_cure() {
        let comment = "timestamp:1633700835\tfile:pump.onnx\thashed";
        let error = check(comment, &pump("1.2.0"), BareSignatures::Refused).unwrap_err().to_string();
        assert!(error.contains(&format!("minisign -S -t \"{}\"", pump("1.2.0"))), "{error}");
        check(comment, &pump("1.2.0"), BareSignatures::Allowed).unwrap();
    }

    #[test]
    fn what_begins_as_a_statement_and_is_none_is_refused_even_where_bare_ones_are_allowed() {
        let good = pump("1.2.0").to_string();
        let broken = [
            "modelfleet".to_owned(),
            good.replace(" size=5", ""),
            good.replace("size=5", "size=05"),
            good.replace("size=5", "size=+5"),
            good.replace("size=5", "size=99999999999999999999"),
            format!("{good} "),
            format!("{good} model=valve"),
            good.replace(" version", "  version"),
            good.replace("model=pump", "model=Pump"),
            good.replace("version=1.2.0", "version=1.2"),
            good.replace("model=pump version=1.2.0", "version=1.2.0 model=pump"),
            good.replace("sha256=", "sha256=sha256:"),
            good.to_owned() + &"0".repeat(COMMENT_BYTES_MAX),
        ];
        for comment in broken {
            let error = check(&comment, &pump("1.2.0"), BareSignatures::Allowed).unwrap_err();
            assert!(matches!(error, StatementError::Form { .. }), "{comment:?}: {error}");
        }
    }
}
