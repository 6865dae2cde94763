//! A table of training rows: a header with the features' names, then numbers.

use std::collections::HashSet;
use std::io::Read;

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most columns.
const COLUMNS_MAX: usize = 4_096;
/// Most values, which bounds the memory at 128 MiB.
const VALUES_MAX: usize = 16 << 20;
/// Longest name of a feature.
const NAME_CHARS_MAX: usize = 128;
/// What stands for a missing reading, besides an empty cell.
const MISSING: [&str; 5] = ["nan", "na", "n/a", "null", "none"];

/// Why a file is no table of training rows.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Not CSV.
    #[error("it is not readable as CSV (comma-separated, one header line, the same number of cells in each)")]
    Csv(#[from] csv::Error),
    /// No row below the header.
    #[error("it has no rows below the header line")]
    Empty,
    /// The first line holds numbers.
    #[error("its first line holds numbers; write the names of the features there")]
    NoHeader,
    /// A name that is empty, too long or there twice.
    #[error(
        "the name of column {column} ({name:?}) is empty, longer than {NAME_CHARS_MAX} characters or there twice"
    )]
    Name {
        /// Its position, from 1.
        column: usize,
        /// The name, cut.
        name: String,
    },
    /// More than fits.
    #[error("it has more than {most} {what}; a sample of the rows is enough")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A cell that is not a number.
    #[error(
        "line {line}, column {column}: {text:?} is not a finite number; leave the cell empty for a missing reading, or \
         choose the model's columns with --features"
    )]
    Number {
        /// Line of the file, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// The cell, cut.
        text: String,
    },
    /// A column that was asked for is not there.
    #[error("it has no column {name:?}; its columns are {columns}")]
    NoColumn {
        /// The name.
        name: String,
        /// What is there.
        columns: String,
    },
}

/// Training rows. A missing reading is not a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Names of the features, in the order of the model's input.
    pub features: Vec<String>,
    values: Vec<f64>,
}

impl Rows {
    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.features.len().max(1)
    }

    /// One row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        let width = self.features.len();
        self.values.get(index * width..(index + 1) * width).unwrap_or(&[])
    }

    /// The readings of one feature, in the order of the rows.
    pub fn readings(&self, feature: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(feature).step_by(self.features.len().max(1)).copied()
    }
}

/// Reads a table: the columns `features` in that order, or all columns when it is empty.
///
/// # Errors
/// When it is not CSV, a cell is not a number, a column is missing or there is too much of anything.
pub fn read(source: impl Read, features: &[String]) -> Result<Rows, RowsError> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source.take(FILE_BYTES_MAX + 1));
    let header = reader.headers()?.clone();
    let names: Vec<String> =
        header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
    check_names(&names)?;
    let columns = match features {
        [] => (0..names.len()).collect(),
        chosen => positions(&names, chosen)?,
    };
    let features: Vec<String> = columns.iter().filter_map(|&column| names.get(column).cloned()).collect();
    let mut values = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        for (&column, name) in columns.iter().zip(&features) {
            let text = record.get(column).unwrap_or_default();
            let refused = || RowsError::Number {
                line: record.position().map_or(0, csv::Position::line),
                column: name.clone(),
                text: text.chars().take(40).collect(),
            };
            values.push(reading(text).ok_or_else(refused)?);
        }
        if values.len() > VALUES_MAX {
            return Err(RowsError::TooMany { what: "values", most: VALUES_MAX });
        }
    }
    if reader.position().byte() > FILE_BYTES_MAX {
        return Err(RowsError::TooMany { what: "MiB", most: (FILE_BYTES_MAX >> 20) as usize });
    }
    if values.is_empty() {
        return Err(RowsError::Empty);
    }
    Ok(Rows { features, values })
}

fn check_names(names: &[String]) -> Result<(), RowsError> {
    if names.len() > COLUMNS_MAX {
        return Err(RowsError::TooMany { what: "columns", most: COLUMNS_MAX });
    }
    if !names.is_empty() && names.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err(RowsError::NoHeader);
    }
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        let length = name.chars().count();
        if length == 0 || length > NAME_CHARS_MAX || !seen.insert(name) {
            return Err(RowsError::Name { column: index + 1, name: name.chars().take(40).collect() });
        }
    }
    Ok(())
}

fn positions(names: &[String], chosen: &[String]) -> Result<Vec<usize>, RowsError> {
    if let Some(twice) = chosen.iter().enumerate().find(|(index, name)| chosen[..*index].contains(name)) {
        return Err(RowsError::Name { column: twice.0 + 1, name: twice.1.chars().take(40).collect() });
    }
    let position = |name: &String| {
        names.iter().position(|own| own == name).ok_or_else(|| RowsError::NoColumn {
            name: name.chars().take(40).collect(),
            columns: names.iter().take(20).cloned().collect::<Vec<_>>().join(", "),
        })
    };
    chosen.iter().map(position).collect()
}

/// The number of a cell, not-a-number for a missing reading, nothing for anything else.
fn reading(text: &str) -> Option<f64> {
    if text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(f64::NAN);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        read(text.as_bytes(), &[]).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_read_in_the_order_asked_for() {
        let text = "age,rms,peak\nold,0.5,1\nyoung,,2e-1\n";
        let rows = read(text.as_bytes(), &["peak".into(), "rms".into()]).unwrap();
        assert_eq!((rows.features.join(" "), rows.count()), ("peak rms".into(), 2));
        assert_eq!(rows.row(0), [1.0, 0.5]);
        assert!(rows.row(1)[1].is_nan());
        assert_eq!(rows.readings(0).collect::<Vec<_>>(), [1.0, 0.2]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert!(said("a,b\n1,2\n3,x\n").contains("line 3, column b: \"x\""));
        assert!(said("a,b\n1,inf\n").contains("inf"));
        assert!(said("1,2\n3,4\n").contains("first line"));
        assert!(said("a,a\n1,2\n").contains("column 2"));
        assert!(said("a,b\n1\n").contains("CSV"));
        assert!(said("a,b\n").contains("no rows"));
        assert!(said("").contains("no rows"));
        let lacking = read("a\n1\n".as_bytes(), &["b".into()]).unwrap_err().to_string();
        assert!(lacking.contains("its columns are a"), "{lacking}");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(bytes.as_slice(), &[]);
        }

        #[test]
        fn nearly_a_table_never_panics(text in "[a-c,\"\n0-9.e-]{0,80}") {
            let _ = read(text.as_bytes(), &["a".into()]);
        }
    }
}
