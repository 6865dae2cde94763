//! Rows of history as a Parquet file, and back: the only place that knows the format.
//!
//! The columns are named in `docs/history.md`, and are stable: a counter or a metric of a later version is a column more, which
//! files of before do not have. Each file is one row group, compressed with Snappy, and the same rows make the same bytes.

mod columns;
mod read;
mod write;

pub use columns::{LATENCY_COLUMNS, column_names, value_column};
pub use read::read;
pub use write::write;

/// Why rows are no file, or a file is no rows.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The rows cannot be written.
    #[error("write {rows} rows as a Parquet file")]
    Write {
        /// How many.
        rows: usize,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// The file cannot be read.
    #[error("read a Parquet file of {bytes} bytes")]
    Read {
        /// How large it is.
        bytes: usize,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// The file is of another kind: it lacks a column, or a column has another type.
    #[error("the Parquet file is no history: its column {0} is missing or has another type")]
    Column(String),
    /// More rows than a file of ours has.
    #[error("the Parquet file has {0} rows; at most {max} are read", max = read::ROWS_MAX)]
    Rows(i64),
}
