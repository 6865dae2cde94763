//! Where a model comes from.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use modelfleet_crds::model_version::Lineage;

/// One `--lineage KEY=VALUE`, by the names of the ModelVersion's own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineageEntry {
    /// `trainingData=...`
    TrainingData(String),
    /// `createdBy=...`
    CreatedBy(String),
    /// `tag=...`
    Tag(String),
    /// `hyperparameters.NAME=...`
    Hyperparameter(String, String),
}

/// Why a text is no lineage.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// An unknown key.
    #[error(
        "{0:?} is not one of trainingData=..., createdBy=..., tag=... and hyperparameters.NAME=..., with a value that \
         is not empty"
    )]
    Key(String),
    /// Not a commit.
    #[error("the git commit {0:?} is not 7 to 64 lower-case hexadecimal digits")]
    Commit(String),
    /// There is no commit to find.
    #[error("find the git commit of {folder}: {reason}; name it with --git-commit, or leave the flag out")]
    NoCommit {
        /// Where.
        folder: String,
        /// Git's words.
        reason: String,
    },
}

impl FromStr for LineageEntry {
    type Err = LineageError;

    fn from_str(text: &str) -> Result<LineageEntry, LineageError> {
        let unknown = || LineageError::Key(text.chars().take(80).collect());
        let (key, value) = text.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(unknown)?;
        let value = value.to_owned();
        match key {
            "trainingData" => Ok(LineageEntry::TrainingData(value)),
            "createdBy" => Ok(LineageEntry::CreatedBy(value)),
            "tag" => Ok(LineageEntry::Tag(value)),
            _ => match key.strip_prefix("hyperparameters.") {
                Some(name) if !name.is_empty() => Ok(LineageEntry::Hyperparameter(name.to_owned(), value)),
                _ => Err(unknown()),
            },
        }
    }
}

/// The lineage of a ModelVersion; nothing when no flag gives any.
///
/// # Errors
/// When the commit is none, or there is none to find.
pub fn lineage(
    entries: &[LineageEntry],
    git_commit: Option<&str>,
    folder: &Path,
) -> Result<Option<Lineage>, LineageError> {
    let mut lineage = Lineage::default();
    for entry in entries.iter().cloned() {
        match entry {
            LineageEntry::TrainingData(value) => lineage.training_data = Some(value),
            LineageEntry::CreatedBy(value) => lineage.created_by = Some(value),
            LineageEntry::Tag(value) => {
                if !lineage.tags.contains(&value) {
                    lineage.tags.push(value);
                }
            }
            LineageEntry::Hyperparameter(name, value) => {
                lineage.hyperparameters.insert(name, value);
            }
        }
    }
    lineage.git_commit = match git_commit {
        None => None,
        Some("auto") => Some(checked_out(folder)?),
        Some(commit) => Some(checked(commit)?),
    };
    Ok((lineage != Lineage::default()).then_some(lineage))
}

fn checked(commit: &str) -> Result<String, LineageError> {
    let hexadecimal = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hexadecimal && (7..=64).contains(&commit.len()) {
        Ok(commit.to_owned())
    } else {
        Err(LineageError::Commit(commit.chars().take(80).collect()))
    }
}

fn checked_out(folder: &Path) -> Result<String, LineageError> {
    let refused = |reason: String| LineageError::NoCommit { folder: folder.display().to_string(), reason };
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(folder).output();
    let output = git.map_err(|error| refused(format!("git does not run: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(refused(words.lines().next().unwrap_or("git failed").chars().take(200).collect()));
    }
    checked(String::from_utf8_lossy(&output.stdout).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_to_their_fields() {
        let texts = ["createdBy=ci", "tag=winter", "tag=winter", "hyperparameters.n_estimators=200"];
        let entries: Vec<LineageEntry> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let found = lineage(&entries, Some("3f2a91c"), Path::new(".")).unwrap().unwrap();
        assert_eq!((found.created_by.as_deref(), found.tags), (Some("ci"), vec!["winter".to_owned()]));
        assert_eq!(found.hyperparameters["n_estimators"], "200");
        assert_eq!(found.git_commit.as_deref(), Some("3f2a91c"));
        assert_eq!(lineage(&[], None, Path::new(".")).unwrap(), None);
    }

    #[test]
    fn what_has_no_field_is_refused_with_the_fields_that_are() {
        for bad in ["", "createdBy", "createdBy=", "color=red", "hyperparameters.=1"] {
            let message = bad.parse::<LineageEntry>().unwrap_err().to_string();
            assert!(message.contains("trainingData"), "{message}");
        }
        assert!(lineage(&[], Some("HEAD"), Path::new(".")).is_err());
        let outside = lineage(&[], Some("auto"), Path::new("/"));
        assert!(outside.unwrap_err().to_string().contains("--git-commit"));
    }
}
