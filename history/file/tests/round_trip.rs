//! Rows go into a file and come back as they were.

use bytes::Bytes;
use modelfleet_history::counters::COUNTERS;
use modelfleet_history::place::Tier;
use modelfleet_history::row::{Key, RAW, Row, Value, merged_to};
use modelfleet_history_file::{FileError, column_names, read, write};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::metric::TABLE;

/// A row in which every column differs, some without latencies or values.
fn row(number: u64) -> Row {
    let mut counters = Counters::default();
    for (at, counter) in COUNTERS.iter().enumerate() {
        *(counter.place)(&mut counters) = number * 100 + at as u64;
    }
    let mut latency = LatencyHistogram::default();
    if !number.is_multiple_of(3) {
        latency.add(0, number);
        latency.add(number * 1_000_003, number);
        latency.add(1, 2);
        latency.add(u64::MAX, 1);
    }
    let known = TABLE.iter().enumerate().filter(|(at, _)| !(number + *at as u64).is_multiple_of(4));
    let values = known.map(|(at, entry)| {
        (entry.metric, Value::new(number * 1_234_567 + at as u64, 1_000_001 * (1 + at as u64)))
    });
    let key = Key {
        namespace: format!("plant-{}", number % 2),
        model: "vibration".into(),
        start_ms: 1_796_000_000_000 + number * 60_000,
        window_ms: 60_000,
        resolution: RAW.into(),
        version: format!("1.{}.0", number % 5),
        arm: if number.is_multiple_of(2) { "canary" } else { "control" }.into(),
        stratum: if number.is_multiple_of(7) { "ort=Köln".into() } else { String::new() },
    };
    let (devices, device_windows) = (number, number);
    Row {
        key,
        windows: 1,
        devices,
        device_windows,
        revision: 99,
        counters,
        latency,
        values: values.collect(),
    }
}

#[test]
fn rows_come_back_as_they_were() {
    for count in [0, 1, 2, 1_500] {
        let rows: Vec<Row> = (0..count).map(row).collect();
        let file = write(&rows).unwrap();
        assert_eq!(file, write(&rows).unwrap(), "the same rows make the same bytes");
        let back = read(Bytes::from(file)).unwrap();
        assert_eq!(back.len(), rows.len());
        for (back, row) in back.iter().zip(&rows) {
            assert!(back.says_the_same_as(row) && back.revision == 99, "{back:?} for {row:?}");
        }
    }
    let hours = merged_to(Tier::Hours, &(0..1_500).map(row).collect::<Vec<_>>());
    let back = read(Bytes::from(write(&hours).unwrap())).unwrap();
    // Means have no last digit that a double could keep; all else is exact.
    for (back, hour) in back.iter().zip(&hours) {
        assert_eq!((&back.key, &back.counters, &back.latency), (&hour.key, &hour.counters, &hour.latency));
        assert_eq!(back.values.len(), hour.values.len());
        for (metric, value) in &hour.values {
            let read = back.values[metric];
            assert!(read.samples == value.samples && read.value().abs_diff(value.value()) <= 1, "{metric:?}");
        }
    }
}

#[test]
fn what_is_no_file_of_ours_is_refused_with_what_is_wrong() {
    assert!(matches!(read(Bytes::from_static(b"PAR1, not")), Err(FileError::Read { .. })));
    let whole = write(&[row(1)]).unwrap();
    for end in 0..whole.len() {
        assert!(read(Bytes::copy_from_slice(&whole[..end])).is_err(), "the first {end} bytes");
    }
}

/// The columns are promised in the docs.
#[test]
fn every_column_is_documented() {
    let page = include_str!("../../../docs/history.md");
    for column in column_names().iter().filter(|name| !name.ends_with("_samples")) {
        assert!(page.contains(&format!("`{column}`")), "docs/history.md lacks the column {column}");
    }
}
