use std::collections::BTreeMap;

use modelfleet_history::row::{Key, RAW, Value};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::metric::Metric;

use super::*;

fn row(minute: u64) -> Row {
    let key = Key {
        namespace: "plant".into(),
        model: "m".into(),
        start_ms: 1_796_000_000_000 + minute * 60_000,
        window_ms: 60_000,
        resolution: RAW.into(),
        version: "1.0.0".into(),
        arm: "canary".into(),
        stratum: String::new(),
    };
    Row {
        key,
        windows: 1,
        devices: 2,
        device_windows: 2,
        revision: 1,
        counters: Counters { requests: minute, ..Counters::default() },
        latency: LatencyHistogram::default(),
        values: BTreeMap::from([(Metric::ErrorRate, Value::new(minute, 100))]),
    }
}

/// A folder that is made, with a name that a URL has to quote.
#[tokio::test]
async fn a_folder_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(dir.path().join("made here")).unwrap();
    let store = HistoryStore::open(url.as_str(), &[]).unwrap();
    assert!(store.list("").await.unwrap().is_empty());
    let place = row(0).place();
    let path = place.file("part-1.parquet");
    store.put(&path, write(&[row(0), row(1)]).unwrap()).await.unwrap();
    assert!(dir.path().join("made here").join(&path).exists());
    let listing = store.list(&place.to_string()).await.unwrap();
    assert_eq!(listing[&place].keys().collect::<Vec<_>>(), ["part-1.parquet"]);
    assert_eq!(listing, store.list("").await.unwrap());
    assert_eq!(store.rows(&path).await.unwrap(), [row(0), row(1)]);
    store.delete(&path).await.unwrap();
    store.delete(&path).await.unwrap();
    assert_eq!(store.rows(&path).await.unwrap(), [], "it is in another file by then");
    store.put(&path, b"something else".to_vec()).await.unwrap();
    let told = with_causes(&store.rows(&path).await.unwrap_err());
    assert!(told.starts_with("the file minutes/plant/m/2026-11-30/part-1.parquet of the history"), "{told}");
}

#[test]
fn an_address_that_is_none_is_told_at_once() {
    for address in ["history", "nowhere://here", "file://host/folder"] {
        assert!(matches!(HistoryStore::open(address, &[]), Err(HistoryError::Address { .. })), "{address}");
    }
}
