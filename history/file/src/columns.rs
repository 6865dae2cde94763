//! The columns, in their order: what a row is of, sums, the histogram of latencies, and the value of each metric.

use std::sync::Arc;

use modelfleet_history::counters::COUNTERS;
use modelfleet_history::row::{Key, Row};
use modelfleet_protocol::metric::{Entry, TABLE, Unit};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::Result;
use parquet::schema::types::{Type, TypePtr};

/// A column of texts: its name, and the way to it.
pub(crate) type Text = (&'static str, fn(&Key) -> &String, fn(&mut Key) -> &mut String);

/// What a row is of.
pub(crate) const TEXTS: [Text; 6] = [
    ("namespace", |key| &key.namespace, |key| &mut key.namespace),
    ("model", |key| &key.model, |key| &mut key.model),
    ("version", |key| &key.version, |key| &mut key.version),
    ("arm", |key| &key.arm, |key| &mut key.arm),
    ("stratum", |key| &key.stratum, |key| &mut key.stratum),
    ("resolution", |key| &key.resolution, |key| &mut key.resolution),
];

/// A column of whole numbers: its name, and the way to it.
pub(crate) type Whole = (&'static str, fn(&Row) -> u64, fn(&mut Row) -> &mut u64);

/// When it began, how long it is, and what it rests on.
pub(crate) const WHOLES: [Whole; 6] = [
    ("window_start", |row| row.key.start_ms, |row| &mut row.key.start_ms),
    ("window_ms", |row| row.key.window_ms, |row| &mut row.key.window_ms),
    ("windows", |row| row.windows, |row| &mut row.windows),
    ("devices", |row| row.devices, |row| &mut row.devices),
    ("device_windows", |row| row.device_windows, |row| &mut row.device_windows),
    ("revision_ms", |row| row.revision, |row| &mut row.revision),
];

/// Predictions of no measurable time, and then the buckets that hold something: numbers and counts.
pub const LATENCY_COLUMNS: [&str; 3] = ["latency_zero", "latency_bucket", "latency_count"];

/// The column of a metric's value: the name of its family of numbers without the prefix.
#[must_use]
pub fn value_column(entry: &Entry) -> String {
    let family = entry.family();
    family.strip_prefix("modelfleet_").unwrap_or(&family).to_owned()
}

/// The column with how many samples a metric's value rests on.
pub(crate) fn samples_column(entry: &Entry) -> String {
    format!("{}_samples", entry.prometheus)
}

/// How many of a metric's unit make one of the base unit that columns have.
pub(crate) fn scale(unit: Unit) -> f64 {
    match unit {
        Unit::Duration => 1e9,
        Unit::Share | Unit::Number | Unit::PerSecond | Unit::PerYear => 1e6,
    }
}

fn one(name: &str, physical: Physical, logical: Option<LogicalType>, required: bool) -> Result<TypePtr> {
    let repetition = if required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let built = Type::primitive_type_builder(name, physical);
    Ok(Arc::new(built.with_logical_type(logical).with_repetition(repetition).build()?))
}

/// A list of numbers, in the three levels that the format asks for.
fn list(name: &str, physical: Physical) -> Result<TypePtr> {
    let element = one("element", physical, None, true)?;
    let repeated = Type::group_type_builder("list");
    let repeated = repeated.with_repetition(Repetition::REPEATED).with_fields(vec![element]).build()?;
    let outer = Type::group_type_builder(name).with_repetition(Repetition::REQUIRED);
    let outer = outer.with_logical_type(Some(LogicalType::List)).with_fields(vec![Arc::new(repeated)]);
    Ok(Arc::new(outer.build()?))
}

/// The schema of a file.
pub(crate) fn schema() -> Result<TypePtr> {
    let mut fields = Vec::new();
    for (name, ..) in TEXTS {
        fields.push(one(name, Physical::BYTE_ARRAY, Some(LogicalType::String), true)?);
    }
    for (name, ..) in WHOLES {
        let moment = LogicalType::timestamp(true, TimeUnit::MILLIS);
        fields.push(one(name, Physical::INT64, (name == "window_start").then_some(moment), true)?);
    }
    for counter in COUNTERS {
        fields.push(one(counter.name, Physical::INT64, None, true)?);
    }
    let [zero, bucket, count] = LATENCY_COLUMNS;
    fields.push(one(zero, Physical::INT64, None, true)?);
    fields.push(list(bucket, Physical::INT32)?);
    fields.push(list(count, Physical::INT64)?);
    for entry in TABLE {
        fields.push(one(&value_column(entry), Physical::DOUBLE, None, false)?);
        fields.push(one(&samples_column(entry), Physical::INT64, None, false)?);
    }
    Ok(Arc::new(Type::group_type_builder("window").with_fields(fields).build()?))
}

/// All columns, in their order.
#[must_use]
pub fn column_names() -> Vec<String> {
    let texts = TEXTS.iter().map(|(name, ..)| (*name).to_owned());
    let wholes = WHOLES.iter().map(|(name, ..)| (*name).to_owned());
    let counters = COUNTERS.iter().map(|counter| counter.name.to_owned());
    let latency = LATENCY_COLUMNS.iter().map(|name| (*name).to_owned());
    let values = TABLE.iter().flat_map(|entry| [value_column(entry), samples_column(entry)]);
    texts.chain(wholes).chain(counters).chain(latency).chain(values).collect()
}
