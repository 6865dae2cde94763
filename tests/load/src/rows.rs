//! The devices and their readings, from two CSV files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use modelfleet_protocol::ids::{DeviceId, IdError};
use modelfleet_protocol::label;
use modelfleet_protocol::selector::{LABELS_MAX, Labels};

use crate::fleet::class_of;

/// The column that tells whether a reading is positive.
const TRUTH: &str = "truth";

/// Why a CSV file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    /// It could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line is not as the first one says.
    #[error("{path} line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A device's name is none.
    #[error("{path} line {line}")]
    Id {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRow {
    /// Its id.
    pub(crate) id: DeviceId,
    /// Its labels.
    pub(crate) labels: Labels,
    /// The broker's user.
    pub(crate) account: String,
}

/// The lines of a CSV file with their numbers. Fields hold no commas or quotes: they are names and numbers.
struct Table {
    path: PathBuf,
    columns: Vec<String>,
    lines: Vec<(usize, Vec<String>)>,
}

impl Table {
    fn read(path: &Path) -> Result<Table, RowsError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| RowsError::Read { path: path.to_owned(), source })?;
        let split = |line: &str| line.split(',').map(|f| f.trim().to_owned()).collect::<Vec<_>>();
        let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
        let columns = lines.next().map(|(_, first)| split(first)).unwrap_or_default();
        let table = Table {
            path: path.to_owned(),
            lines: lines.map(|(index, line)| (index + 1, split(line))).collect(),
            columns,
        };
        match table.lines.iter().find(|(_, fields)| fields.len() != table.columns.len()) {
            None => Ok(table),
            Some((line, fields)) => {
                let (found, expected) = (fields.len(), table.columns.len());
                Err(table.refuse(*line, format!("{found} fields, the first line has {expected}")))
            }
        }
    }

    fn refuse(&self, line: usize, reason: impl Into<String>) -> RowsError {
        RowsError::Line { path: self.path.clone(), line, reason: reason.into() }
    }
}

/// Reads the devices: `id`, then one column per label.
///
/// # Errors
/// When the file cannot be read, or an id is none or comes twice.
pub(crate) fn read_devices(path: &Path) -> Result<Vec<DeviceRow>, RowsError> {
    let table = Table::read(path)?;
    if table.columns.first().map(String::as_str) != Some("id") || table.columns.len() > LABELS_MAX + 1 {
        return Err(table.refuse(1, format!("the first column is id, then come at most {LABELS_MAX} labels")));
    }
    let mut seen = BTreeSet::new();
    let device = |(line, fields): &(usize, Vec<String>)| {
        let malformed = |source| RowsError::Id { path: table.path.clone(), line: *line, source };
        let id: DeviceId = fields[0].parse().map_err(malformed)?;
        if !seen.insert(id.clone()) {
            return Err(table.refuse(*line, format!("{id} comes twice")));
        }
        let labels = table.columns.iter().cloned().zip(fields.iter().cloned()).skip(1);
        let labels: Labels = labels.filter(|(_, value)| !value.is_empty()).collect();
        for (key, value) in &labels {
            label::check(key, value).map_err(|error| table.refuse(*line, error.to_string()))?;
        }
        Ok(DeviceRow { account: id.to_string(), id, labels })
    };
    table.lines.iter().map(device).collect()
}

/// Readings of one class of devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Class {
    /// Readings whose truth is positive.
    pub(crate) positive: Vec<Vec<f32>>,
    /// Other readings.
    pub(crate) negative: Vec<Vec<f32>>,
}

/// Readings by class: the values of the label columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traffic {
    /// The label columns.
    pub(crate) columns: Vec<String>,
    /// Whether truth is known.
    pub(crate) truth: bool,
    /// Readings by the values of the label columns.
    pub(crate) classes: BTreeMap<Vec<String>, Class>,
}

impl Traffic {
    /// Reads the traffic of these devices. Leading columns that are labels of theirs tell the class; other
    /// leading columns that hold no numbers are let pass; the rest are features.
    ///
    /// # Errors
    /// When the file cannot be read, a feature is no number, or a device has no readings.
    pub(crate) fn read(
        path: &Path,
        devices: &[DeviceRow],
        positive: &[String],
    ) -> Result<Traffic, RowsError> {
        let table = Table::read(path)?;
        let known: BTreeSet<&String> = devices.iter().flat_map(|d| d.labels.keys()).collect();
        let Some((_, first)) = table.lines.first() else { return Err(table.refuse(1, "no readings")) };
        let number = |field: &String| field.is_empty() || field.parse::<f32>().is_ok();
        let leading = table.columns.iter().zip(first);
        let leading =
            leading.take_while(|(c, field)| known.contains(c) || *c == TRUTH || !number(field)).count();
        let labels: Vec<usize> = (0..leading).filter(|&i| known.contains(&table.columns[i])).collect();
        let truth = table.columns[..leading].iter().position(|c| c == TRUTH);
        let mut traffic = Traffic {
            columns: labels.iter().map(|&i| table.columns[i].clone()).collect(),
            truth: truth.is_some(),
            classes: BTreeMap::new(),
        };
        for (line, fields) in &table.lines {
            let feature = |field: &String| {
                let parsed = if field.is_empty() { Ok(f32::NAN) } else { field.parse() };
                parsed.map_err(|_| table.refuse(*line, format!("{field:?} is no number")))
            };
            let features: Vec<f32> = fields[leading..].iter().map(feature).collect::<Result<_, _>>()?;
            let class: Vec<String> = labels.iter().map(|&i| fields[i].clone()).collect();
            let class = traffic.classes.entry(class).or_default();
            let rows = match truth {
                Some(column) if positive.contains(&fields[column]) => &mut class.positive,
                _ => &mut class.negative,
            };
            rows.push(features);
        }
        let without = |d: &&DeviceRow| !traffic.classes.contains_key(&class_of(&d.labels, &traffic.columns));
        if let Some(device) = devices.iter().find(without) {
            return Err(table.refuse(1, format!("no readings for the labels of {}", device.id)));
        }
        Ok(traffic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn readings_are_found_by_the_labels_of_a_device() {
        let devices = read_devices(file("id,age,site\np-1,old,north\np-2,young,north\n").path()).unwrap();
        let text = "age,truth,rms,peak\nold,normal,1,2\nold,anomaly,3,\nyoung,normal,5,6\n";
        let traffic = Traffic::read(file(text).path(), &devices, &["anomaly".into()]).unwrap();
        assert_eq!(traffic.columns, ["age"]);
        let old = &traffic.classes[&vec!["old".to_owned()]];
        assert_eq!((old.positive.len(), old.negative.len()), (1, 1));
        assert!(old.positive[0][1].is_nan());
        assert!(traffic.truth);
    }

    #[test]
    fn a_name_of_a_class_that_is_no_label_is_let_pass() {
        let devices = read_devices(file("id\nw-1\n").path()).unwrap();
        let traffic = Traffic::read(file("label,a,b\nStanding,1,2\n").path(), &devices, &[]).unwrap();
        assert_eq!(traffic.classes[&Vec::new()].negative, vec![vec![1.0, 2.0]]);
        assert!(!traffic.truth);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |text: &str, part: &str| {
            let error = read_devices(file(text).path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check("name\nx\n", "line 1");
        check("id,age\np-1,old\np-1,old\n", "line 3");
        check("id,age\np-1\n", "line 2");
        check("id\nPump 1\n", "line 2");
    }
}
