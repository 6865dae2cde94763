//! Numbers and times as people read them.

/// A time in its two largest units, rounded up to whole seconds.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let parts =
        [(seconds / 86_400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).enumerate();
    let shown = shown.filter(|(i, (n, _))| *i == 0 || *n > 0);
    shown.map(|(_, (n, unit))| format!("{n}{unit}")).collect::<Vec<_>>().join(" ")
}

/// A number with its noun.
pub(crate) fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// At most `max` bytes of it, cut between characters.
pub(crate) fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(3);
    let end = (0..=room).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases = [
            (0, "0s"),
            (1, "1s"),
            (90_000, "1m 30s"),
            (180_000, "3m"),
            (604_800_000, "7d"),
            (612_000_000, "7d 2h"),
            (3_601_000, "1h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text, "{ms}");
        }
        assert!(!span(u64::MAX).is_empty());
    }

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("\u{e9}\u{e9}\u{e9}\u{e9}", 6), "\u{e9}...");
        assert!(clip(&"x".repeat(300), 200).len() <= 200);
    }
}
