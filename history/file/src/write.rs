//! Rows to a file.

use std::sync::Arc;

use modelfleet_history::counters::COUNTERS;
use modelfleet_history::row::Row;
use modelfleet_protocol::generated::Latency;
use modelfleet_protocol::metric::TABLE;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use crate::FileError;
use crate::columns::{TEXTS, WHOLES, scale, schema};

/// Makes a file of rows. The same rows make the same bytes.
///
/// # Errors
/// When the format does not take them.
pub fn write(rows: &[Row]) -> std::result::Result<Vec<u8>, FileError> {
    file(rows).map_err(|source| FileError::Write { rows: rows.len(), source })
}

fn file(rows: &[Row]) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("modelfleet".to_owned())
        .set_max_row_group_row_count(None)
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema()?, Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for (_, get, _) in TEXTS {
        let texts: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(get(&row.key).as_str())).collect();
        column::<ByteArrayType>(&mut group, &texts, None, None)?;
    }
    for (_, get, _) in WHOLES {
        whole(&mut group, rows, get)?;
    }
    for counter in COUNTERS {
        whole(&mut group, rows, |row| (counter.get)(&row.counters))?;
    }
    latencies(&mut group, rows)?;
    for entry in TABLE {
        let known = || rows.iter().filter_map(|row| row.values.get(&entry.metric));
        let levels: Vec<i16> =
            rows.iter().map(|row| i16::from(row.values.contains_key(&entry.metric))).collect();
        let one = |weighted: u128, samples: u64| weighted as f64 / samples.max(1) as f64 / scale(entry.unit);
        let values: Vec<f64> = known().map(|value| one(value.weighted, value.samples)).collect();
        column::<DoubleType>(&mut group, &values, Some(&levels), None)?;
        let samples: Vec<i64> = known().map(|value| signed(value.samples)).collect();
        column::<Int64Type>(&mut group, &samples, Some(&levels), None)?;
    }
    group.close()?;
    file.into_inner()
}

/// Counts beyond what the format has stop there.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn whole<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    get: impl Fn(&Row) -> u64,
) -> Result<()> {
    let numbers: Vec<i64> = rows.iter().map(|row| signed(get(row))).collect();
    column::<Int64Type>(group, &numbers, None, None)
}

fn latencies<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
) -> Result<()> {
    whole(group, rows, |row| Latency::from(&row.latency).zero)?;
    let (mut defined, mut repeated) = (Vec::new(), Vec::new());
    let (mut buckets, mut counts) = (Vec::new(), Vec::new());
    for row in rows {
        let before = buckets.len();
        for (bucket, count) in row.latency.buckets() {
            repeated.push(i16::from(buckets.len() > before));
            defined.push(1);
            buckets.push(bucket);
            counts.push(signed(count));
        }
        if buckets.len() == before {
            // An empty list is told by its levels alone.
            repeated.push(0);
            defined.push(0);
        }
    }
    column::<Int32Type>(group, &buckets, Some(&defined), Some(&repeated))?;
    column::<Int64Type>(group, &counts, Some(&defined), Some(&repeated))
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl std::io::Write + Send>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<()> {
    let missing = || ParquetError::General("the schema has fewer columns than a row".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}
