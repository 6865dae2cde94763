//! Recordings of what the judge was told and what it answered, for `kubectl modelfleet judge replay`.
//!
//! A look is recorded once its decision is stored, one line each, in one file for each rollout. A file is bounded:
//! beyond its size it becomes the previous one, and the one before that goes.

use std::fs::{OpenOptions, create_dir_all, rename};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use modelfleet_judge::record::{Record, RecordError};

/// A file of this size becomes the previous one, bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a look was not recorded. It changes nothing for the rollout.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It has no text.
    #[error("encode a look at {place}")]
    Encode {
        /// Which.
        place: String,
        /// Why.
        source: RecordError,
    },
    /// The file or its folder refuses.
    #[error("record a look in {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A folder of recordings.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    file_bytes_max: u64,
}

impl Records {
    /// Recordings in a folder, which is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> Result<Records, RecordingError> {
        let failed = |source| RecordingError::Write { path: folder.to_owned(), source };
        create_dir_all(folder).map_err(failed)?;
        Ok(Records { folder: folder.to_owned(), file_bytes_max: FILE_BYTES_MAX })
    }

    /// Adds a look at a rollout. Blocks on the disk.
    ///
    /// # Errors
    /// When the line cannot be written whole.
    pub fn add(&self, namespace: &str, rollout: &str, record: &Record) -> Result<(), RecordingError> {
        // Both are names that the API server accepted: no separators, never empty.
        let path = self.folder.join(format!("{namespace}.{rollout}.jsonl"));
        let encode = |source| RecordingError::Encode { place: record.place.clone(), source };
        let mut line = record.to_line().map_err(encode)?;
        line.push('\n');
        let written = || -> std::io::Result<()> {
            let size = path.metadata().map_or(0, |about| about.len());
            if size > 0 && size.saturating_add(line.len() as u64) > self.file_bytes_max {
                rename(&path, path.with_extension("previous.jsonl"))?;
            }
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(line.as_bytes())
        };
        written().map_err(|source| RecordingError::Write { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_judge::{Budget, HardRule, Looks, Needs, Observations, SilenceRule, assess};

    fn look(reached: u16) -> Record {
        let observations = Observations {
            slos: &[],
            devices: &[],
            merged: &[],
            needs: Needs::default(),
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached, planned: 6 },
            seed: 1,
        };
        let before = modelfleet_judge::StageState::new();
        Record::of("a place", &observations, &before, &assess(&observations, &before))
    }

    #[test]
    fn lines_are_added_replayable_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut records = Records::open(&folder.path().join("made")).unwrap();
        records.file_bytes_max = 2 * look(1).to_line().unwrap().len() as u64 + 10;
        for reached in 1..=5 {
            records.add("plant", "r", &look(reached)).unwrap();
        }
        let lines = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join("made").join(name)).unwrap();
            let read = |line: &str| Record::from_line(line).unwrap();
            text.lines().map(read).map(|r| r.looks[0]).collect::<Vec<_>>()
        };
        assert_eq!(lines("plant.r.jsonl"), [5]);
        assert_eq!(lines("plant.r.previous.jsonl"), [3, 4]);
    }
}
