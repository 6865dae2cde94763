//! Moments and texts as the API has them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as K8sTime;
use k8s_openapi::jiff::Timestamp;
use modelfleet_protocol::time::Time;

/// A moment as the API stores it: in whole seconds. With milliseconds a status would differ from what was stored of it, and
/// would be written again at every look.
#[must_use]
pub fn to_k8s(time: Time) -> K8sTime {
    let seconds = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    K8sTime(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

/// A moment that the API wrote; one before 1970 counts as 1970.
#[must_use]
pub fn from_k8s(time: &K8sTime) -> Time {
    Time(u64::try_from(time.0.as_millisecond()).unwrap_or(0))
}

/// The first `max` characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

/// A count as the API has it.
#[must_use]
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_as_it_was_written() {
        for ms in [0, 999, 1_800_036_854_167] {
            let written = to_k8s(Time(ms));
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<K8sTime>(&text).unwrap(), written, "{ms} ms");
        }
    }
}
