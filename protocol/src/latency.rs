//! Latency as a base-2 exponential histogram with exact merge.
//!
//! The bucket rule is that of OpenTelemetry's exponential histogram and of Prometheus native histograms
//! (OTLP data model, "ExponentialHistogram"), scale 4: bucket *i* holds (2^(i/16), 2^((i+1)/16)], an error of
//! at most 2.2 % at the bucket's middle. Values are whole nanoseconds and bucket edges are compared as
//! integers, so two machines never disagree.

use crate::generated;

/// Buckets per power of two.
const PER_OCTAVE: i32 = 16;
/// 64 octaves of 16 buckets: the most that values of 64 bits can touch.
pub const BUCKETS_MAX: usize = 64 * 16;

/// `floor(2^(63 + k/16))` for k = 0..16: the upper edges within an octave, aligned to the top bit.
const EDGES: [u64; 16] = [
    0x8000_0000_0000_0000,
    0x85AA_C367_CC48_7B14,
    0x8B95_C1E3_EA8B_D6E6,
    0x91C3_D373_AB11_C336,
    0x9837_F051_8DB8_A96F,
    0x9EF5_3260_91A1_11AD,
    0xA5FE_D6A9_B151_38EA,
    0xAD58_3EEA_42A1_4AC6,
    0xB504_F333_F9DE_6484,
    0xBD08_A39F_580C_36BE,
    0xC567_2A11_5506_DADD,
    0xCE24_8C15_1F84_80E3,
    0xD744_FCCA_D69D_6AF4,
    0xE0CC_DEEC_2A94_E111,
    0xEAC0_C6E7_DD24_392E,
    0xF525_7D15_2486_CC2C,
];

/// Counts of durations in nanoseconds. Merging is exact, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    zero: u64,
    /// Index of the first bucket of `counts`.
    offset: i32,
    counts: Vec<u64>,
}

/// The bucket of a duration above zero.
#[must_use]
pub fn bucket(nanos: u64) -> i32 {
    let value = nanos.max(1);
    let octave = 63 - value.leading_zeros() as i32;
    let aligned = value << (63 - octave);
    // Upper edges are inclusive: the first edge that is not below the value closes its bucket.
    let within = EDGES.partition_point(|&edge| edge < aligned) as i32;
    octave * PER_OCTAVE + within - 1
}

/// Largest whole number of nanoseconds in bucket `index`.
#[must_use]
pub fn upper_edge(index: i32) -> u64 {
    if index < -1 {
        return 0;
    }
    let next = index.saturating_add(1);
    let (octave, within) = (next / PER_OCTAVE, (next % PER_OCTAVE) as usize);
    if octave > 63 { u64::MAX } else { EDGES[within] >> (63 - octave) }
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn record(&mut self, nanos: u64) {
        self.add(nanos, 1);
    }

    /// Counts a duration `times` times.
    pub fn add(&mut self, nanos: u64, times: u64) {
        if nanos == 0 {
            self.zero = self.zero.saturating_add(times);
        } else {
            self.add_bucket(bucket(nanos), times);
        }
    }

    fn add_bucket(&mut self, index: i32, times: u64) {
        if times == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let grow = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, grow));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(times);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &LatencyHistogram) {
        self.zero = self.zero.saturating_add(other.zero);
        for (i, &count) in other.counts.iter().enumerate() {
            self.add_bucket(other.offset + i as i32, count);
        }
    }

    /// Adds the counts of another histogram as if it had counted so many durations: its shares, not its numbers.
    pub fn merge_as(&mut self, other: &LatencyHistogram, total: u64) {
        let counted = u128::from(other.zero) + other.counts.iter().map(|c| u128::from(*c)).sum::<u128>();
        let share = |count: u64| {
            let exact = u128::from(count) * u128::from(total) + counted / 2;
            u64::try_from(exact / counted.max(1)).unwrap_or(total)
        };
        self.zero = self.zero.saturating_add(share(other.zero));
        for (i, &count) in other.counts.iter().enumerate() {
            self.add_bucket(other.offset + i as i32, share(count));
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(self.zero, |sum, &c| sum.saturating_add(c))
    }

    /// The duration that `ppm` millionths of the counted ones do not exceed, in nanoseconds, rounded up to its
    /// bucket's edge (at most 4.4 % above the true one). `None` when nothing was counted.
    #[must_use]
    pub fn quantile(&self, ppm: u32) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = (u128::from(total) * u128::from(ppm.min(1_000_000))).div_ceil(1_000_000).max(1);
        let mut seen = u128::from(self.zero);
        if seen >= wanted {
            return Some(0);
        }
        for (i, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if seen >= wanted {
                return Some(upper_edge(self.offset + i as i32));
            }
        }
        Some(u64::MAX)
    }

    /// The buckets that hold something, with their counts.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> {
        let all = self.counts.iter().enumerate().map(|(i, &count)| (self.offset + i as i32, count));
        all.filter(|(_, count)| *count > 0)
    }

    /// How many durations are in buckets wholly above `nanos`.
    #[must_use]
    pub fn count_above(&self, nanos: u64) -> u64 {
        let first = if nanos == 0 { i32::MIN } else { bucket(nanos) + 1 };
        let above = |i: usize| self.offset + i as i32 >= first;
        self.counts.iter().enumerate().filter(|(i, _)| above(*i)).fold(0, |s, (_, &c)| s.saturating_add(c))
    }
}

impl From<&LatencyHistogram> for generated::Latency {
    fn from(h: &LatencyHistogram) -> Self {
        generated::Latency { offset: h.offset, counts: h.counts.clone(), zero: h.zero }
    }
}

impl TryFrom<&generated::Latency> for LatencyHistogram {
    type Error = String;
    /// # Errors
    /// When there are more buckets than values of 64 bits can fill.
    fn try_from(wire: &generated::Latency) -> Result<Self, String> {
        let end = i64::from(wire.offset) + wire.counts.len() as i64;
        if wire.counts.len() > BUCKETS_MAX || wire.offset < -1 || end > BUCKETS_MAX as i64 {
            return Err(format!("latency buckets {}..{end} are outside 64 octaves", wire.offset));
        }
        Ok(LatencyHistogram { zero: wire.zero, offset: wire.offset, counts: wire.counts.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_inclusive_above() {
        assert_eq!(bucket(1), -1, "2^0 closes the bucket below");
        assert_eq!(bucket(2), 15);
        assert_eq!(bucket(3), 25, "log2(3) * 16 = 25.36");
        assert_eq!(bucket(1 << 40), 639);
        assert_eq!(bucket((1 << 40) + 1), 640);
        for value in [1, 2, 3, 1000, 999_999_999, u64::MAX] {
            assert!(upper_edge(bucket(value)) >= value && upper_edge(bucket(value) - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles_stay_within_the_bucket_error() {
        let mut h = LatencyHistogram::default();
        (1..=1000_u64).for_each(|i| h.record(i * 1_000_000));
        for (ppm, exact) in [(500_000, 500_000_000_u64), (950_000, 950_000_000), (990_000, 990_000_000)] {
            let got = h.quantile(ppm).unwrap();
            assert!(got >= exact && got as f64 <= exact as f64 * 1.045, "{ppm}: {got}");
        }
        assert_eq!(h.count_above(u64::MAX), 0);
        assert_eq!(h.count_above(0), 1000);
    }
}
