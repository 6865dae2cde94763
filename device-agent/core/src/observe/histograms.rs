//! Histograms of the open window: latency, confidence and features over fixed bins, counted without allocation. The
//! bad-value firewall stands before them.

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::{BUCKETS_MAX, LatencyHistogram, bucket, upper_edge};
use modelfleet_protocol::model::{FeatureProfile, Profile};

/// Features that have a histogram. Further features only pass the bad-value firewall.
const FEATURES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Histograms {
    features: Vec<Feature>,
    confidence: Option<Confidence>,
    /// Counts per latency bucket, the first one for bucket -1.
    latency: Box<[u64]>,
    latency_zero: u64,
}

#[derive(Debug)]
struct Feature {
    min: f64,
    max: f64,
    edges: Box<[f64]>,
    bins: Bins,
}

#[derive(Debug)]
struct Confidence {
    low_below: f64,
    edges: Box<[f64]>,
    bins: Bins,
}

impl Default for Histograms {
    fn default() -> Histograms {
        let latency = vec![0; BUCKETS_MAX + 1].into_boxed_slice();
        Histograms { features: Vec::new(), confidence: None, latency, latency_zero: 0 }
    }
}

impl Histograms {
    /// Uses the bins of this profile from now on.
    pub fn use_profile(&mut self, profile: Option<&Profile>) {
        let features = profile.map_or(&[][..], |p| &p.features);
        let feature = |f: &FeatureProfile| Feature {
            min: f.expected_min,
            max: f.expected_max,
            edges: f.edges.clone().into_boxed_slice(),
            bins: Bins::for_edges(f.edges.len()),
        };
        self.features = features.iter().take(FEATURES_MAX).map(feature).collect();
        self.confidence = profile.and_then(|p| p.confidence.as_ref()).map(|c| Confidence {
            low_below: c.low_below,
            edges: c.edges.clone().into_boxed_slice(),
            bins: Bins::for_edges(c.edges.len()),
        });
    }

    pub fn record_latency(&mut self, nanos: u64) {
        if nanos == 0 {
            self.latency_zero += 1;
        } else if let Some(count) =
            usize::try_from(bucket(nanos) + 1).ok().and_then(|at| self.latency.get_mut(at))
        {
            *count += 1;
        }
    }

    pub fn record_confidence(&mut self, value: f64, c: &mut Counters) {
        if let Some(profile) = &mut self.confidence {
            c.low_confidence += u64::from(value < profile.low_below);
            profile.bins.record(&profile.edges, value);
        }
    }

    /// The bad-value firewall: a value that is not a number, or infinite, counts as missing and does not reach a histogram.
    /// A feature of the profile without a value counts as missing, too.
    pub fn record_features(&mut self, values: &[f32], c: &mut Counters) {
        let absent = self.features.len().saturating_sub(values.len()) as u64;
        c.readings += values.len() as u64 + absent;
        c.missing += absent;
        let (known, further) = values.split_at(values.len().min(self.features.len()));
        for (feature, &value) in self.features.iter_mut().zip(known) {
            let value = f64::from(value);
            if value.is_finite() {
                c.out_of_range += u64::from(value < feature.min || value > feature.max);
                feature.bins.record(&feature.edges, value);
            } else {
                c.missing += 1;
            }
        }
        c.missing += further.iter().filter(|value| !value.is_finite()).count() as u64;
    }

    /// Returns the counts, and starts again from zero.
    pub fn take(&mut self) -> (LatencyHistogram, Bins, Vec<Bins>) {
        let mut latency = LatencyHistogram::default();
        latency.add(0, std::mem::take(&mut self.latency_zero));
        for (at, count) in self.latency.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let index = i32::try_from(at).unwrap_or(i32::MAX) - 1;
            latency.add(upper_edge(index), std::mem::take(count));
        }
        let emptied = |bins: &mut Bins| {
            let empty = Bins(vec![0; bins.0.len()]);
            std::mem::replace(bins, empty)
        };
        let confidence = self.confidence.as_mut().map(|c| emptied(&mut c.bins)).unwrap_or_default();
        (latency, confidence, self.features.iter_mut().map(|f| emptied(&mut f.bins)).collect())
    }
}
