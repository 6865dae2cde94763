//! A table of rows: a header with the columns' names, then numbers and texts.

use std::collections::HashSet;
use std::io::{Cursor, Read};

use super::cell::{self, DecimalMarks};

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of the header line that are looked at for what separates cells.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Most columns.
const COLUMNS_MAX: usize = 4_096;
/// Most values, which bounds the memory at 128 MiB of numbers.
const VALUES_MAX: usize = 16 << 20;
/// Longest name of a column.
const NAME_CHARS_MAX: usize = 128;
/// Longest text of a cell.
const TEXT_BYTES_MAX: usize = 256;
/// What may stand between cells; a comma when none of them does.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Why a file is no table of rows.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Not CSV.
    #[error(
        "it is not readable as CSV (one header line, the same number of cells in each line, separated by {separator})"
    )]
    Csv {
        /// What separates cells, as the header line shows it.
        separator: &'static str,
        /// What is wrong.
        source: csv::Error,
    },
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] std::io::Error),
    /// No row below the header.
    #[error("it has no rows below the header line")]
    Empty,
    /// The first line holds numbers.
    #[error("its first line holds numbers; write the names of the columns there")]
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
    /// A text that is too long.
    #[error("line {line}, column {column}: the text has more than {TEXT_BYTES_MAX} bytes")]
    Text {
        /// Line of the file, from 1.
        line: u64,
        /// Name of the column.
        column: String,
    },
    /// Numbers in two dialects.
    #[error(
        "some of its numbers have a comma before their decimals and some a point, so that thousands cannot be told from \
         decimals; write all of them in one way"
    )]
    TwoDialects,
}

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Numbers; a missing reading is not a number.
    Numbers(Vec<f64>),
    /// Texts; a missing one is `None`.
    Texts(Vec<Option<String>>),
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its cells, one for each row.
    pub cells: Cells,
}

/// Rows, by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns that were asked for, in that order.
    pub columns: Vec<Column>,
    /// Number of rows.
    pub count: usize,
}

/// A table whose header has been read.
pub struct RowsFile<R> {
    reader: csv::Reader<R>,
    separator: u8,
    /// Names of all columns.
    pub names: Vec<String>,
}

/// Reads the header of a table, and finds out what separates its cells.
///
/// # Errors
/// When it is no header, or not CSV.
pub fn open<R: Read>(source: R) -> Result<RowsFile<impl Read>, RowsError> {
    let mut source = source.take(FILE_BYTES_MAX + 1);
    let mut begin = Vec::new();
    source.by_ref().take(HEADER_BYTES_MAX).read_to_end(&mut begin)?;
    let separator = separator(&begin);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(separator)
        .from_reader(Cursor::new(begin).chain(source));
    let header = reader.headers().map_err(|source| RowsError::Csv { separator: named(separator), source })?;
    let names: Vec<String> =
        header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
    check_names(&names)?;
    Ok(RowsFile { reader, separator, names })
}

/// The separator that is most often in the first line, outside of quotes.
fn separator(begin: &[u8]) -> u8 {
    let mut counts = [0_usize; SEPARATORS.len()];
    let mut quoted = false;
    for byte in begin {
        if *byte == b'\n' && !quoted {
            break;
        }
        quoted ^= *byte == b'"';
        if let Some(index) = SEPARATORS.iter().position(|separator| separator == byte).filter(|_| !quoted) {
            counts[index] += 1;
        }
    }
    // The first one of those that are there equally often.
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.iter().position(|&count| count == most).map_or(b',', |index| SEPARATORS[index])
}

fn named(separator: u8) -> &'static str {
    match separator {
        b';' => "semicolons",
        b'\t' => "tabs",
        b'|' => "bars",
        _ => "commas",
    }
}

impl<R: Read> RowsFile<R> {
    /// Reads the cells of some columns, each as texts or as numbers.
    ///
    /// # Errors
    /// When a line has another number of cells, a cell is not a number, or there is too much of anything.
    pub fn rows(mut self, wanted: &[(usize, bool)]) -> Result<Rows, RowsError> {
        let column = |&(index, is_text): &(usize, bool)| Column {
            name: self.names.get(index).cloned().unwrap_or_default(),
            cells: if is_text { Cells::Texts(Vec::new()) } else { Cells::Numbers(Vec::new()) },
        };
        let mut rows = Rows { columns: wanted.iter().map(column).collect(), count: 0 };
        let mut seen = DecimalMarks::default();
        let commas = self.separator != b',';
        let mut record = csv::StringRecord::new();
        let refused = |source| RowsError::Csv { separator: named(self.separator), source };
        while self.reader.read_record(&mut record).map_err(refused)? {
            let line = record.position().map_or(0, csv::Position::line);
            for (&(index, _), column) in wanted.iter().zip(&mut rows.columns) {
                column.take(record.get(index).unwrap_or_default(), line, commas, &mut seen)?;
            }
            rows.count += 1;
            if rows.count * wanted.len().max(1) > VALUES_MAX {
                return Err(RowsError::TooMany { what: "values", most: VALUES_MAX });
            }
        }
        if self.reader.position().byte() > FILE_BYTES_MAX {
            return Err(RowsError::TooMany { what: "MiB", most: (FILE_BYTES_MAX >> 20) as usize });
        }
        if seen.comma && seen.point {
            return Err(RowsError::TwoDialects);
        }
        if rows.count == 0 { Err(RowsError::Empty) } else { Ok(rows) }
    }
}

impl Column {
    fn take(
        &mut self,
        text: &str,
        line: u64,
        commas: bool,
        seen: &mut DecimalMarks,
    ) -> Result<(), RowsError> {
        match &mut self.cells {
            Cells::Numbers(numbers) => match cell::number(text, commas, seen) {
                Some(number) => numbers.push(number),
                None => {
                    let text = text.chars().take(40).collect();
                    return Err(RowsError::Number { line, column: self.name.clone(), text });
                }
            },
            Cells::Texts(_) if text.len() > TEXT_BYTES_MAX => {
                return Err(RowsError::Text { line, column: self.name.clone() });
            }
            Cells::Texts(texts) => texts.push((!cell::is_gap(text)).then(|| text.to_owned())),
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], texts: &[&str]) -> Result<Rows, RowsError> {
        let table = open(text)?;
        let all: Vec<(usize, bool)> =
            table.names.iter().enumerate().map(|(i, name)| (i, texts.contains(&name.as_str()))).collect();
        table.rows(&all)
    }

    fn numbers(text: &str) -> Vec<Vec<f64>> {
        let rows = read(text.as_bytes(), &[]).unwrap();
        let of = |column: Column| match column.cells {
            Cells::Numbers(numbers) => numbers,
            Cells::Texts(_) => panic!("text"),
        };
        rows.columns.into_iter().map(of).collect()
    }

    fn message(text: &str) -> String {
        crate::printing::with_causes(&read(text.as_bytes(), &[]).unwrap_err())
    }

    #[test]
    fn columns_are_numbers_or_texts_as_asked() {
        let rows = read("age,rms,running\nold,0.5,True\n,,False\n".as_bytes(), &["age"]).unwrap();
        assert_eq!(rows.columns[0].cells, Cells::Texts(vec![Some("old".into()), None]));
        assert_eq!(rows.columns[2].cells, Cells::Numbers(vec![1.0, 0.0]));
        let Cells::Numbers(rms) = &rows.columns[1].cells else { panic!("text") };
        assert!(rms[0] == 0.5 && rms[1].is_nan());
    }

    #[test]
    fn separators_and_decimal_commas_are_recognised() {
        let expected = vec![vec![1.00025, 2.0], vec![3.5, -4.0]];
        assert_eq!(numbers("rms,peak\n1.00025,3.5\n2,-4\n"), expected);
        assert_eq!(numbers("rms;peak\n1,00025;3,5\n2;-4\n"), expected);
        assert_eq!(numbers("rms;peak\n1.00025;3.5\n2;-4\n"), expected);
        assert_eq!(numbers("rms\tpeak\r\n1,00025\t3,5\r\n2\t-4\r\n"), expected);
        assert_eq!(numbers("rms|peak\n1.00025|3.5\n2|-4\n"), expected);
        assert_eq!(numbers("\"a;b;c\",peak\n1.00025,3.5\n2,-4\n"), expected);
        assert!(message("rms;peak\n1,5;2.5\n").contains("write all of them in one way"));
        assert!(message("rms;peak\n1,5\n").contains("separated by semicolons"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert!(message("a,b\n1,2\n3,x\n").contains("line 3, column b: \"x\""));
        assert!(message("a,b\n1,inf\n").contains("inf"));
        assert!(message("1,2\n3,4\n").contains("first line"));
        assert!(message("a,a\n1,2\n").contains("column 2"));
        assert!(message("a,b\n1\n").contains("CSV"));
        assert!(message("a,b\n").contains("no rows"));
        assert!(message("").contains("no rows"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(bytes.as_slice(), &[]);
        }

        #[test]
        fn nearly_a_table_never_panics(text in "[a-c,;\"\n0-9.e-]{0,80}") {
            let _ = read(text.as_bytes(), &["a"]);
        }
    }
}
