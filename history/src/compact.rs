//! What becomes of the files: parts are merged into one file, finer rows into coarser ones, and what is too old goes.
//!
//! The steps of a merge are in an order that loses nothing wherever it ends: coarser rows are written first, then the
//! merged file, and only then the files that are in it go. Between these steps rows are there twice, which readers do not
//! count twice. The merged file's name is the hash of its content, so that the same merge makes the same file.

use std::collections::BTreeMap;

use crate::place::{Place, is_part};
use crate::row::{Row, best, merged_to};

/// What is written for the time that a place is of may come so much later, milliseconds: devices that were offline.
pub const SETTLES_MS: u64 = 2 * 3_600_000;
/// Parts of a time that has not ended are merged from so many on.
const PARTS_MAX: usize = 24;
/// Most bytes that are read for one merge. Files beyond stay parts, which readers understand.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The files of each place, with their sizes in bytes.
pub type Listing = BTreeMap<Place, BTreeMap<String, u64>>;

/// Sorts the paths below the history's address. What is not ours is left out.
pub fn listing<'a>(files: impl IntoIterator<Item = (&'a str, u64)>) -> Listing {
    let mut listing = Listing::new();
    for (path, bytes) in files {
        if let Some((place, name)) = Place::parse(path) {
            listing.entry(place).or_default().insert(name.to_owned(), bytes);
        }
    }
    listing
}

/// What is to be done next with the files of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Its rows are older than they are kept: its files go.
    Delete(Vec<String>),
    /// Its files are merged: [`steps`].
    Merge {
        /// All its files.
        files: Vec<String>,
        /// Its time has ended, and its rows go into coarser ones too.
        ended: bool,
    },
}

/// What there is to do, oldest first.
#[must_use]
pub fn work(listing: &Listing, now_ms: u64) -> Vec<(Place, Work)> {
    let mut work: Vec<(Place, Work)> = listing
        .iter()
        .filter_map(|(place, files)| Some((place.clone(), work_of(place, files, now_ms)?)))
        .collect();
    work.sort_by_key(|(place, _)| place.from_ms);
    work
}

fn work_of(place: &Place, files: &BTreeMap<String, u64>, now_ms: u64) -> Option<Work> {
    let names = || files.keys().cloned().collect();
    let kept_ms = place.tier.kept_days().map(|days| days * crate::day::DAY_MS);
    if kept_ms.is_some_and(|kept| place.to_ms().saturating_add(kept) <= now_ms) {
        return Some(Work::Delete(names()));
    }
    let parts = files.keys().filter(|name| is_part(name)).count();
    let ended = place.to_ms().saturating_add(SETTLES_MS) <= now_ms;
    let due = if ended { parts > 0 || files.len() > 1 } else { parts >= PARTS_MAX };
    let fits = files.values().sum::<u64>() <= BYTES_MAX;
    (due && fits).then(|| Work::Merge { files: names(), ended })
}

/// One step of a merge; each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a file.
    Put {
        /// Its path.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Deletes a file; one that is gone is no error.
    Delete {
        /// Its path.
        path: String,
    },
}

/// The steps that merge files of a place, which have these rows. `encode` makes a file of rows, and `name_of` names it by
/// its content.
///
/// # Errors
/// When a file cannot be made.
pub fn steps<E>(
    place: &Place,
    files: &[String],
    rows: Vec<Row>,
    ended: bool,
    encode: impl Fn(&[Row]) -> Result<Vec<u8>, E>,
    name_of: impl Fn(&[u8]) -> String,
) -> Result<Vec<Step>, E> {
    let rows = best(rows);
    let mut steps = Vec::new();
    if let Some(coarser) = place.tier.coarser().filter(|_| ended) {
        let mut by_place: BTreeMap<Place, Vec<Row>> = BTreeMap::new();
        for row in merged_to(coarser, &rows) {
            by_place.entry(row.place()).or_default().push(row);
        }
        for (place, rows) in by_place {
            let bytes = encode(&rows)?;
            steps.push(Step::Put { path: place.file(&format!("part-{}.parquet", name_of(&bytes))), bytes });
        }
    }
    let bytes = encode(&rows)?;
    let merged = format!("all-{}.parquet", name_of(&bytes));
    let gone: Vec<&String> = files.iter().filter(|name| **name != merged).collect();
    if gone.len() == files.len() {
        steps.push(Step::Put { path: place.file(&merged), bytes });
    }
    steps.extend(gone.into_iter().map(|name| Step::Delete { path: place.file(name) }));
    Ok(steps)
}

#[cfg(test)]
mod tests;
