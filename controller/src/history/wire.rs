//! Remote write on the wire: the messages of Prometheus' versions 1 and 2, compressed with Snappy's block format.
//!
//! prometheus/prompb/remote.proto, types.proto and prompb/io/prometheus/write/v2/types.proto; only the fields that are sent.

use std::collections::BTreeMap;

use modelfleet_history::series::{Labels, Sample};
use prost::Message;

/// The version of the protocol that a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Every receiver.
    One,
    /// Newer ones: they say in their answer how many samples they have written.
    Two,
}

impl Version {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Version::One => "application/x-protobuf",
            Version::Two => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    pub(crate) fn number(self) -> &'static str {
        match self {
            Version::One => "0.1.0",
            Version::Two => "2.0.0",
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Point {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesOne {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOne {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<SeriesOne>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesTwo {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Point>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestTwo {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<SeriesTwo>,
}

/// The kind of metric that goes up and down.
const GAUGE: i32 = 2;

fn points(samples: &[Sample]) -> Vec<Point> {
    let point =
        |(at, value): &Sample| Point { value: *value, timestamp: i64::try_from(*at).unwrap_or(i64::MAX) };
    samples.iter().map(point).collect()
}

/// The body of a request.
pub(crate) fn body(version: Version, series: &BTreeMap<Labels, Vec<Sample>>) -> Result<Vec<u8>, snap::Error> {
    let message = match version {
        Version::One => one(series).encode_to_vec(),
        Version::Two => two(series).encode_to_vec(),
    };
    snap::raw::Encoder::new().compress_vec(&message)
}

fn one(series: &BTreeMap<Labels, Vec<Sample>>) -> RequestOne {
    let label = |(name, value): (&&str, &String)| Label { name: (*name).to_owned(), value: value.clone() };
    let series = series.iter().map(|(labels, samples)| SeriesOne {
        labels: labels.iter().map(label).collect(),
        samples: points(samples),
    });
    RequestOne { timeseries: series.collect() }
}

fn two(series: &BTreeMap<Labels, Vec<Sample>>) -> RequestTwo {
    // The first symbol is the empty one.
    let (mut symbols, mut known) = (vec![String::new()], BTreeMap::from([(String::new(), 0_u32)]));
    let mut number = |text: &str| {
        if let Some(number) = known.get(text) {
            return *number;
        }
        let number = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
        symbols.push(text.to_owned());
        known.insert(text.to_owned(), number);
        number
    };
    let mut timeseries = Vec::with_capacity(series.len());
    for (labels, samples) in series {
        let labels_refs = labels.iter().flat_map(|(name, value)| [number(name), number(value)]).collect();
        let metadata = Some(Metadata { kind: GAUGE });
        timeseries.push(SeriesTwo { labels_refs, samples: points(samples), metadata });
    }
    RequestTwo { symbols, timeseries }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let labels = |version: &str| {
            Labels::from([
                ("__name__", "modelfleet_closed_window_devices".to_owned()),
                ("version", version.to_owned()),
            ])
        };
        let series = BTreeMap::from([
            (labels("1.0.0"), vec![(60_000, 0.5), (120_000, 0.25)]),
            (labels("1.1.0"), vec![(60_000, 1.0)]),
        ]);
        let read = |body: &[u8]| snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let one = RequestOne::decode(read(&body(Version::One, &series).unwrap()).as_slice()).unwrap();
        let two = RequestTwo::decode(read(&body(Version::Two, &series).unwrap()).as_slice()).unwrap();
        assert_eq!(two.symbols[0], "");
        assert_eq!(one.timeseries.len(), 2);
        for (first, second) in one.timeseries.iter().zip(&two.timeseries) {
            let refs = second.labels_refs.chunks(2).map(|pair| Label {
                name: two.symbols[pair[0] as usize].clone(),
                value: two.symbols[pair[1] as usize].clone(),
            });
            assert_eq!(refs.collect::<Vec<_>>(), first.labels);
            assert_eq!(first.samples, second.samples);
        }
        assert_eq!(one.timeseries[0].samples[1], Point { value: 0.25, timestamp: 120_000 });
    }
}
