//! Numbers with their units, for people.

use bytesize::ByteSize;
use jiff::fmt::friendly::{Designator, FractionalUnit, Spacing, SpanPrinter};
use jiff::{RoundMode, Span, SpanRound, Timestamp, Unit};

/// `3 minutes 20 seconds`.
const PRINTER: SpanPrinter = SpanPrinter::new()
    .designator(Designator::Verbose)
    .spacing(Spacing::BetweenUnitsAndDesignators)
    .zero_unit(Unit::Second)
    .fractional(Some(FractionalUnit::Second));

/// Parts per million as a percent: `0.12%`.
#[must_use]
pub fn percent(ppm: i64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, (ppm % 10_000).abs());
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes in decimal units: `184.2 kB`, `3.1 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}

/// `1 device`, `5 devices`.
#[must_use]
pub fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A length of time by its two largest units: `7 days`, `3 minutes 20 seconds`, `1.2 seconds`.
#[must_use]
pub fn span(milliseconds: i64) -> String {
    let ms = milliseconds.max(0);
    let (smallest, step) = match ms {
        ..10_000 => (Unit::Millisecond, 100),
        10_000..3_600_000 => (Unit::Second, 1),
        3_600_000..86_400_000 => (Unit::Minute, 1),
        _ => (Unit::Hour, 1),
    };
    let rounding =
        SpanRound::new().largest(Unit::Day).smallest(smallest).increment(step).mode(RoundMode::Trunc);
    let rounded = Span::new().try_milliseconds(ms).and_then(|span| span.round(rounding.days_are_24_hours()));
    // Beyond what a calendar holds, which no field of the API does.
    let Ok(span) = rounded else { return format!("{} days", ms / 86_400_000) };
    PRINTER.span_to_string(&span)
}

/// Time from `then` until `now`: `3 minutes 20 seconds`.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.as_millisecond().saturating_sub(then.as_millisecond()).max(0) / 1_000 * 1_000)
}

/// A moment to the second: `2026-08-01T12:00:00Z`.
#[must_use]
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The bytes of `32Mi`, `64M`, `1Gi`, `1048576`; nothing when it is no such text. Read here and not by a crate, because
/// Kubernetes takes fewer suffixes than they do: `500m` is half a byte there, and 500 megabytes for them.
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
        assert_eq!(bytes(184_246), "184.2 kB");
        assert_eq!(bytes(36_316), "36.3 kB");
        assert_eq!(bytes(12), "12 B");
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(span(200_123), "3 minutes 20 seconds");
        assert_eq!(span(90_061_000), "1 day 1 hour");
        assert_eq!((span(604_800_000), span(7_260_000)), ("7 days".into(), "2 hours 1 minute".into()));
        assert!(span(i64::MAX).ends_with(" days"));
        assert_eq!(span(-5), "0 seconds");
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
