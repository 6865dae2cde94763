//! Numbers with their units, for people.

use jiff::Timestamp;
use modelfleet_crds::text::DurationText;

/// Parts per million as a percent: `0.12%`.
#[must_use]
pub fn percent(ppm: i64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, (ppm % 10_000).abs());
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes in binary units, to three digits: `180 KiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
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

/// A length of time by its two largest units: `7d`, `3m20s`.
#[must_use]
pub fn span(milliseconds: i64) -> String {
    let ms = u64::try_from(milliseconds).unwrap_or(0);
    // Cutting below a thousandth of the whole keeps what a person reads.
    let unit = match ms {
        0..10_000 => 1,
        10_000..3_600_000 => 1_000,
        3_600_000..86_400_000 => 60_000,
        _ => 3_600_000,
    };
    DurationText::from_milliseconds(ms / unit * unit).to_string()
}

/// Time from `then` until `now`: `3m20s`.
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
        assert_eq!(bytes(184_246), "180 KiB");
        assert_eq!(bytes(36_316), "35.5 KiB");
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(span(200_123), "3m20s");
        assert_eq!(span(90_061_000), "1d1h");
        assert_eq!(span(1_234), "1s234ms");
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
