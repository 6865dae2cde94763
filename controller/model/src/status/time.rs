//! Moments and texts as the API has them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as K8sTime;
use k8s_openapi::jiff::Timestamp;
use modelfleet_protocol::time::Time;

/// A moment as the API writes it.
#[must_use]
pub fn to_k8s(time: Time) -> K8sTime {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    K8sTime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
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
