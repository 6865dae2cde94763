//! A file to rows. Columns are found by their names: a file of another version has others.

use std::collections::BTreeMap;

use bytes::Bytes;
use modelfleet_history::counters::COUNTERS;
use modelfleet_history::row::{Key, Row, Value};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::{BUCKETS_MAX, LatencyHistogram, upper_edge};
use modelfleet_protocol::metric::{Entry, TABLE};
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::FileError;
use crate::columns::{LATENCY_COLUMNS, TEXTS, WHOLES, samples_column, scale, value_column};

/// Most rows of a file: all minutes of a day for eight versions and strata hundredfold.
pub(crate) const ROWS_MAX: i64 = 2_000_000;

/// Reads the rows of a file.
///
/// # Errors
/// When it is no Parquet file, or lacks a column that every file of ours has.
pub fn read(bytes: Bytes) -> std::result::Result<Vec<Row>, FileError> {
    let size = bytes.len();
    let failed = |source| FileError::Read { bytes: size, source };
    let file = SerializedFileReader::new(bytes).map_err(failed)?;
    let count = file.metadata().file_metadata().num_rows();
    if !(0..=ROWS_MAX).contains(&count) {
        return Err(FileError::Rows(count));
    }
    let mut rows = Vec::new();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(failed)?;
        rows.extend(Group::of(&*group).rows()?);
    }
    Ok(rows)
}

/// One row group, with the places of its columns.
struct Group<'a> {
    reader: &'a dyn RowGroupReader,
    columns: BTreeMap<String, usize>,
    rows: usize,
}

/// The values of a column, and the levels by which they are told to be there and to begin a list.
struct Column<T> {
    values: Vec<T>,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

fn missing(name: &str) -> FileError {
    FileError::Column(name.to_owned())
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl<'a> Group<'a> {
    fn of(reader: &'a dyn RowGroupReader) -> Group<'a> {
        let columns = reader.metadata().columns().iter().enumerate();
        let columns = columns
            .filter_map(|(at, column)| Some((column.column_descr().path().parts().first()?.clone(), at)));
        let rows = usize::try_from(reader.metadata().num_rows()).unwrap_or(0);
        Group { columns: columns.collect(), reader, rows }
    }

    fn column<T: DataType>(
        &self,
        name: &str,
        is_of_type: fn(&ColumnReader) -> bool,
    ) -> std::result::Result<Column<T::T>, FileError> {
        let at = *self.columns.get(name).ok_or_else(|| missing(name))?;
        let read = || -> Result<Option<Column<T::T>>> {
            let reader = self.reader.get_column_reader(at)?;
            if !is_of_type(&reader) {
                return Ok(None);
            }
            let mut reader = get_typed_column_reader::<T>(reader);
            let mut column = Column { values: Vec::new(), defined: Vec::new(), repeated: Vec::new() };
            let Column { values, defined, repeated } = &mut column;
            let mut left = self.rows;
            while left > 0 {
                let (records, ..) = reader.read_records(left, Some(defined), Some(repeated), values)?;
                if records == 0 {
                    return Err(ParquetError::General(format!("column {name} has {left} rows too few")));
                }
                left -= records;
            }
            Ok(Some(column))
        };
        read().map_err(|source| FileError::Read { bytes: 0, source })?.ok_or_else(|| missing(name))
    }

    fn whole(&self, name: &str) -> std::result::Result<Vec<u64>, FileError> {
        let column =
            self.column::<Int64Type>(name, |reader| matches!(reader, ColumnReader::Int64ColumnReader(_)))?;
        self.full(name, column.values.into_iter().map(unsigned).collect())
    }

    /// A value for each row.
    fn full<T>(&self, name: &str, values: Vec<T>) -> std::result::Result<Vec<T>, FileError> {
        if values.len() == self.rows { Ok(values) } else { Err(missing(name)) }
    }

    fn rows(&self) -> std::result::Result<Vec<Row>, FileError> {
        let mut rows = vec![empty(); self.rows];
        for (name, _, place) in TEXTS {
            let is_text = |reader: &ColumnReader| matches!(reader, ColumnReader::ByteArrayColumnReader(_));
            let texts = self.column::<ByteArrayType>(name, is_text)?.values;
            let text = |bytes: ByteArray| String::from_utf8_lossy(bytes.data()).into_owned();
            let texts = self.full(name, texts)?;
            rows.iter_mut().zip(texts).for_each(|(row, bytes)| *place(&mut row.key) = text(bytes));
        }
        for (name, _, place) in WHOLES {
            rows.iter_mut().zip(self.whole(name)?).for_each(|(row, number)| *place(row) = number);
        }
        // A file of before a counter or a metric lacks its columns.
        for counter in COUNTERS.iter().filter(|counter| self.columns.contains_key(counter.name)) {
            let numbers = self.whole(counter.name)?;
            rows.iter_mut().zip(numbers).for_each(|(row, n)| *(counter.place)(&mut row.counters) = n);
        }
        self.latencies(&mut rows)?;
        for entry in TABLE.iter().filter(|entry| self.columns.contains_key(&value_column(entry))) {
            self.values(entry, &mut rows)?;
        }
        Ok(rows)
    }

    fn latencies(&self, rows: &mut [Row]) -> std::result::Result<(), FileError> {
        let [zero, bucket, count] = LATENCY_COLUMNS;
        let zeros = self.whole(zero)?;
        let is_number = |reader: &ColumnReader| matches!(reader, ColumnReader::Int32ColumnReader(_));
        let buckets = self.column::<Int32Type>(bucket, is_number)?;
        let is_count = |reader: &ColumnReader| matches!(reader, ColumnReader::Int64ColumnReader(_));
        let counts = self.column::<Int64Type>(count, is_count)?;
        if buckets.values.len() != counts.values.len() || buckets.repeated != counts.repeated {
            return Err(missing(count));
        }
        let mut pairs = buckets.values.iter().zip(&counts.values);
        let mut lists: Vec<Vec<(i32, u64)>> = Vec::with_capacity(rows.len());
        for (defined, repeated) in buckets.defined.iter().zip(&buckets.repeated) {
            if *repeated == 0 {
                lists.push(Vec::new());
            }
            if *defined > 0
                && let Some((bucket, count)) = pairs.next()
                && let Some(list) = lists.last_mut()
            {
                list.push((*bucket, unsigned(*count)));
            }
        }
        let lists = self.full(bucket, lists)?;
        for ((row, zero), list) in rows.iter_mut().zip(zeros).zip(lists) {
            row.latency = histogram(zero, &list).ok_or_else(|| missing(bucket))?;
        }
        Ok(())
    }

    fn values(&self, entry: &Entry, rows: &mut [Row]) -> std::result::Result<(), FileError> {
        let name = value_column(entry);
        let is_value = |reader: &ColumnReader| matches!(reader, ColumnReader::DoubleColumnReader(_));
        let values = self.column::<DoubleType>(&name, is_value)?;
        let samples = samples_column(entry);
        let is_count = |reader: &ColumnReader| matches!(reader, ColumnReader::Int64ColumnReader(_));
        let counts = self.column::<Int64Type>(&samples, is_count)?;
        if values.values.len() != counts.values.len() || values.defined.len() != rows.len() {
            return Err(missing(&samples));
        }
        let mut known = values.values.iter().zip(&counts.values);
        for (row, _) in rows.iter_mut().zip(&values.defined).filter(|(_, defined)| **defined > 0) {
            let Some((value, samples)) = known.next() else { return Err(missing(&name)) };
            let samples = unsigned(*samples);
            let weighted = (value * scale(entry.unit) * samples as f64).round();
            // A cast of a number beyond the type's stops at its end, and of no number is zero.
            row.values.insert(entry.metric, Value { weighted: weighted as u128, samples });
        }
        Ok(())
    }
}

/// A histogram of its buckets; `None`: one is outside 64 octaves.
fn histogram(zero: u64, buckets: &[(i32, u64)]) -> Option<LatencyHistogram> {
    let mut latency = LatencyHistogram::default();
    latency.add(0, zero);
    for (bucket, count) in buckets {
        if !(-1..BUCKETS_MAX as i32).contains(bucket) {
            return None;
        }
        latency.add(upper_edge(*bucket), *count);
    }
    Some(latency)
}

fn empty() -> Row {
    Row {
        key: Key {
            namespace: String::new(),
            model: String::new(),
            start_ms: 0,
            window_ms: 0,
            resolution: String::new(),
            version: String::new(),
            arm: String::new(),
            stratum: String::new(),
        },
        windows: 0,
        devices: 0,
        device_windows: 0,
        revision: 0,
        counters: Counters::default(),
        latency: LatencyHistogram::default(),
        values: BTreeMap::new(),
    }
}
