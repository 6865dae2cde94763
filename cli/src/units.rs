//! Numbers with their units, for people.

use jiff::Timestamp;

/// Parts per million as a percent: `0.12%`.
#[must_use]
pub fn percent(ppm: i64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, (ppm % 10_000).abs());
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes in decimal units, to three digits: `184 kB`, `3.1 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if unit == "bytes" || value >= 100.0 { 0 } else { 1 };
    format!("{value:.decimals$} {unit}")
}

/// `1 device`, `5 devices`.
#[must_use]
pub fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A length of time by its two largest units: `7 days`, `3 min 20 s`, `15 seconds`, `1.2 seconds`.
#[must_use]
pub fn span(milliseconds: i64) -> String {
    let ms = u64::try_from(milliseconds).unwrap_or(0);
    if ms < 60_000 {
        let tenths = if ms < 10_000 { ms / 100 % 10 } else { 0 };
        let seconds = ms / 1_000;
        return match (seconds, tenths) {
            (1, 0) => "1 second".to_owned(),
            (_, 0) => format!("{seconds} seconds"),
            _ => format!("{seconds}.{tenths} seconds"),
        };
    }
    let seconds = ms / 1_000;
    let days = seconds / 86_400;
    let parts = [
        (days, if days == 1 { "day" } else { "days" }),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(0);
    let shown = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Time from `then` until `now`: `3 min 20 s`.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.as_millisecond().saturating_sub(then.as_millisecond()).max(0) / 1_000 * 1_000)
}

/// A moment to the second: `2026-08-01T12:00:00Z`.
#[must_use]
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The bytes of `32Mi`, `64M`, `1Gi`, `1048576`; nothing when it is no such text.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<i64> {
    const SUFFIXES: [(&str, i64); 6] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    let found = SUFFIXES.iter().find_map(|(suffix, size)| Some((text.strip_suffix(suffix)?, *size)));
    let (number, size) = found.unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(size).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_units() {
        assert_eq!(percent(10_000), "1%");
        assert_eq!(percent(1_250), "0.125%");
        assert_eq!(percent(0), "0%");
        assert_eq!(bytes(184_246), "184 kB");
        assert_eq!(bytes(36_316), "36.3 kB");
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(span(200_123), "3 min 20 s");
        assert_eq!(span(90_061_000), "1 day 1 h");
        assert_eq!(
            (span(1_234), span(15_000), span(0)),
            ("1.2 seconds".into(), "15 seconds".into(), "0 seconds".into())
        );
    }

    #[test]
    fn memory_is_read_as_kubernetes_reads_it() {
        assert_eq!(parse_bytes("32Mi"), Some(33_554_432));
        assert_eq!(parse_bytes("1G"), Some(1_000_000_000));
        assert_eq!(parse_bytes("512"), Some(512));
        for text in ["", "Mi", "-1", "1.5Gi", "1 Gi", "0", "99999999999999999999", "9999999999Gi"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
