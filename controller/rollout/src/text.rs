//! Numbers and times as people read them, and sentences that keep their beginning where room is short.

/// A time in its two largest units, rounded up to whole seconds: `15 seconds`, `3 minutes 20 seconds`, `7 days`. The
/// plugin prints the same words by a crate; here they are written out, because the core takes no crates for text.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let largest = parts.iter().skip(first).take(2).enumerate();
    let printed = largest.filter(|(i, (n, _))| *i == 0 || *n > 0);
    printed.map(|(_, (n, unit))| many(*n, unit)).collect::<Vec<_>>().join(" ")
}

/// A time that runs, in whole minutes from two minutes on and in whole hours from two days on, rounded up. A sentence that
/// changed with every second would be written to the API server with every second, for as long as a stage bakes.
pub(crate) fn running(ms: u64) -> String {
    let step_ms = match ms {
        0..120_000 => 1_000,
        120_000..172_800_000 => 60_000,
        _ => 3_600_000,
    };
    span(ms.div_ceil(step_ms).saturating_mul(step_ms))
}

/// A number with its noun.
#[must_use]
pub fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Parts per million as percent: `2.5 %`, `0.0001 %`.
pub(crate) fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The parts as sentences, each with a capital and a stop; empty ones are left out.
#[must_use]
pub fn sentences(parts: &[&str]) -> String {
    let ended = parts.iter().map(|part| part.trim().trim_end_matches('.')).filter(|part| !part.is_empty());
    ended.map(|part| format!("{}.", capital(part))).collect::<Vec<_>>().join(" ")
}

/// The statistics as the last sentence; nothing without any.
pub(crate) fn statistics(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("statistics: {text}") }
}

/// A text without the statistics that end it, and these.
#[must_use]
pub fn apart(text: &str) -> (&str, &str) {
    let at = ["Statistics: ", "statistics: "].iter().find_map(|mark| text.find(mark)).unwrap_or(text.len());
    (text[..at].trim_end(), &text[at..])
}

fn capital(text: &str) -> String {
    // A field of the spec keeps its letters.
    if text.split(' ').next().is_some_and(|word| word.contains('.')) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// At most `max` bytes of it. What does not fit goes from the end: whole sentences, else whole clauses, else words. A cut
/// within a sentence is marked.
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    // The stop of a sentence needs the space after it: 1.2.0 has none.
    if let Some(stop) = text[..end].rfind(". ") {
        return text[..=stop].to_owned();
    }
    let room = max.saturating_sub(MARK.len());
    let end = (0..=room).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let kept = &text[..end];
    let clause = [": ", "; ", ", "].iter().filter_map(|mark| kept.rfind(mark)).max();
    // A clause that would throw most of it away keeps too little.
    let clause = clause.filter(|at| *at >= end / 2);
    let cut = clause.or_else(|| kept.rfind(' ').filter(|at| *at > 0)).unwrap_or(end);
    format!("{}{MARK}", &kept[..cut])
}

/// Stands for what was cut within a sentence.
const MARK: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_runs_changes_seldom() {
        let texts = |from_ms: u64, to_ms: u64| {
            (from_ms..to_ms).step_by(1_000).map(running).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(texts(0, 60_000), 60);
        assert_eq!(texts(3_600_000 + 1, 7_200_000), 60, "an hour has as many texts as minutes");
        assert_eq!(texts(10 * 86_400_000 + 1, 11 * 86_400_000), 24, "a day as many as hours");
        assert_eq!(running(10_719_000), "2 hours 59 minutes");
    }

    #[test]
    fn times_are_short_and_plain() {
        let cases = [
            (0, "0 seconds"),
            (1, "1 second"),
            (15_000, "15 seconds"),
            (90_000, "1 minute 30 seconds"),
            (180_000, "3 minutes"),
            (86_400_000, "1 day"),
            (604_800_000, "7 days"),
            (612_000_000, "7 days 2 hours"),
            (3_601_000, "1 hour"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text, "{ms}");
        }
        assert!(!span(u64::MAX).is_empty() && !running(u64::MAX).is_empty());
    }

    #[test]
    fn sentences_have_a_capital_and_one_stop() {
        assert_eq!(
            sentences(&["stage canary is over", "", "1.2.0 is back."]),
            "Stage canary is over. 1.2.0 is back."
        );
        assert_eq!(sentences(&["spec.abort was set"]), "spec.abort was set.");
        assert_eq!(sentences(&[]), "");
    }

    #[test]
    fn statistics_are_told_apart() {
        let told = "5 of 5 devices failed, 0 of 7 others. Statistics: p = 0.0013 (harm at 0.0015 or less).";
        let parts =
            ("5 of 5 devices failed, 0 of 7 others.", "Statistics: p = 0.0013 (harm at 0.0015 or less).");
        assert_eq!(apart(told), parts);
        assert_eq!(apart("the bytes hash to another digest"), ("the bytes hash to another digest", ""));
    }

    #[test]
    fn statistics_go_first_and_the_conclusion_never() {
        let told = "Rolled back 1.2.0 on 24 devices: too many false alarms (limit 25 %) on 7 of 24 updated devices, 1 of 36 others. \
                    All 7 have age=old, load=heavy. 1.2.0 is Rejected; register a new one. Rate 52.32x the expected \
                    (90 % interval: 11.11x to 860.61x), p = 4.3e-5.";
        let next = told.find(" Rate ").unwrap();
        assert_eq!(clip(told, 200), &told[..next]);
        let cases = [
            (next + 3, &told[..next]),
            (
                130,
                "Rolled back 1.2.0 on 24 devices: too many false alarms (limit 25 %) on 7 of 24 updated devices, 1 of 36 others.",
            ),
            (95, "Rolled back 1.2.0 on 24 devices: too many false alarms (limit 25 %) on 7 of 24 updated..."),
            (60, "Rolled back 1.2.0 on 24 devices..."),
            (30, "Rolled back 1.2.0 on 24..."),
        ];
        for (max, kept) in cases {
            assert_eq!(clip(told, max), kept, "{max}");
        }
    }

    #[test]
    fn clipping_fits_keeps_characters_whole_and_is_done_once() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("\u{e9}\u{e9}\u{e9}\u{e9}", 6), "\u{e9}...");
        for text in ["x".repeat(300), "a b, c; d. ".repeat(40), "\u{20ac} . ".repeat(90)] {
            for max in 3..250 {
                let once = clip(&text, max);
                assert!(once.len() <= max, "{max}: {once}");
                assert_eq!(clip(&once, max), once);
            }
        }
    }
}
