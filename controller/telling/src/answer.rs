//! What a sink's answer means for the delivery.

use jiff::fmt::rfc2822;
use modelfleet_protocol::time::Time;

/// Longest wait that a sink may ask for, milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// What a sink's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has taken the event.
    Taken,
    /// It has read this event and will not have it: the repetition would be refused as well.
    Refused,
    /// It wants no event ever again.
    Gone,
    /// It did not take the event now. It may have asked for a pause, in milliseconds.
    Later(Option<u64>),
}

/// Sorts a status code; `retry_after` is the header of that name. A redirect counts as a failure: who may answer for a sink
/// must not send events elsewhere.
#[must_use]
pub fn answer(status: u16, retry_after: Option<&str>, now: Time) -> Answer {
    match status {
        200..=299 => Answer::Taken,
        400 | 413 | 422 => Answer::Refused,
        410 => Answer::Gone,
        429 | 503 => Answer::Later(retry_after.and_then(|text| wait_ms(text, now))),
        _ => Answer::Later(None),
    }
}

/// The wait that the header asks for: seconds, or a date.
fn wait_ms(text: &str, now: Time) -> Option<u64> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let parser = rfc2822::DateTimeParser::new();
            let date = parser.parse_timestamp(text).ok()?.as_millisecond();
            Time(u64::try_from(date).ok()?).since_ms(now)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        let now = Time(1_800_000_000_000);
        let of = |status| answer(status, None, now);
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), Answer::Taken, "{status}");
        }
        for status in [400, 413, 422] {
            assert_eq!(of(status), Answer::Refused, "{status}");
        }
        assert_eq!(of(410), Answer::Gone);
        for status in
            [0, 100, 199, 301, 302, 307, 308, 401, 403, 404, 405, 408, 415, 429, 500, 502, 503, 504, 599, 999]
        {
            assert_eq!(of(status), Answer::Later(None), "{status}");
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_within_an_hour() {
        let now = Time(1_800_000_000_000);
        let asked = |text: &str| answer(429, Some(text), now);
        assert_eq!(asked("7"), Answer::Later(Some(7_000)));
        assert_eq!(asked(" 0 "), Answer::Later(Some(0)));
        assert_eq!(asked("99999999999999999999"), Answer::Later(None), "not a number that fits");
        assert_eq!(asked("18446744073709551615"), Answer::Later(Some(RETRY_AFTER_MAX_MS)));
        assert_eq!(asked("Fri, 15 Jan 2027 08:00:30 GMT"), Answer::Later(Some(30_000)));
        assert_eq!(asked("Fri, 15 Jan 2021 08:00:30 GMT"), Answer::Later(Some(0)), "it is over");
        for nonsense in ["", "soon", "-5", "1.5"] {
            assert_eq!(asked(nonsense), Answer::Later(None), "{nonsense}");
        }
        assert_eq!(answer(503, Some("7"), now), Answer::Later(Some(7_000)));
        assert_eq!(answer(500, Some("7"), now), Answer::Later(None));
    }
}
