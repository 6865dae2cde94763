//! Moments as people write them: milliseconds since 1970, or `2026-05-03`, `2026-05-03T07:30`, `2026-05-03 07:30:15.5+02:00`.
//! Without a zone they are UTC.

use modelfleet_protocol::time::Time;

const DAY_MS: i64 = 24 * 3_600_000;

/// The first moment of what is meant, and the first moment after it: of a day, a minute, a second.
#[must_use]
pub fn moment(text: &str) -> Option<(Time, Time)> {
    let text = text.trim();
    if text.len() >= 11 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let ms: u64 = text.parse().ok()?;
        return Some((Time(ms), Time(ms.checked_add(1)?)));
    }
    let (date, rest) = text.split_at_checked(10)?;
    let day = day_ms(date)?;
    if rest.is_empty() {
        return span(day, DAY_MS);
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let zone = clock.rfind(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone);
    let (ms, width) = clock_ms(clock.trim_end())?;
    span(day + ms - zone_ms(zone)?, width)
}

fn span(from: i64, width: i64) -> Option<(Time, Time)> {
    Some((Time(u64::try_from(from).ok()?), Time(u64::try_from(from + width).ok()?)))
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Midnight of a date, in milliseconds since 1970.
fn day_ms(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let at = usize::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let long = i64::from(leap && at == 2);
    if parts.next().is_some() || day < 1 || day > before[at] - before[at - 1] + long {
        return None;
    }
    let past = year - 1;
    let days = past * 365 + past / 4 - past / 100 + past / 400 - 719_162;
    Some((days + before[at - 1] + i64::from(leap && at > 2) + day - 1) * DAY_MS)
}

/// Milliseconds since midnight, and how long what is meant lasts.
fn clock_ms(clock: &str) -> Option<(i64, i64)> {
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (second, milli, width) = match parts.next() {
        None => (0, 0, 60_000),
        Some(text) => match text.split_once('.') {
            None => (digits(text, 2)?, 0, 1_000),
            Some((second, part)) => {
                let known = part.get(..part.len().min(3)).filter(|_| !part.is_empty() && part.len() <= 9)?;
                let scale = [0, 100, 10, 1][known.len()];
                digits(part, part.len())?;
                (digits(second, 2)?, digits(known, known.len())? * scale, 1)
            }
        },
    };
    let good = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    good.then_some((((hour * 60 + minute) * 60 + second) * 1_000 + milli, width))
}

/// Milliseconds that a zone is before UTC.
fn zone_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, text) =
        if let Some(text) = zone.strip_prefix('+') { (1, text) } else { (-1, zone.strip_prefix('-')?) };
    let (hour, minute) = text.split_once(':').or_else(|| text.split_at_checked(2)).unwrap_or((text, ""));
    let minute = if minute.is_empty() { 0 } else { digits(minute, 2)? };
    let hour = digits(hour, 2)?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 60 + minute) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let day = 1_777_766_400_000; // 2026-05-03
        for (text, from, width) in [
            ("2026-05-03", day, 86_400_000),
            (" 2026-05-03T07:30 ", day + 27_000_000, 60_000),
            ("2026-05-03 07:30:15", day + 27_015_000, 1_000),
            ("2026-05-03T07:30:15.25Z", day + 27_015_250, 1),
            ("2026-05-03T07:30:15+02:00", day + 19_815_000, 1_000),
            ("2026-05-03T07:30:15-0130", day + 32_415_000, 1_000),
            ("1777766400000", day, 1),
            ("1970-01-01", 0, 86_400_000),
            ("2024-02-29", 1_709_164_800_000, 86_400_000),
        ] {
            assert_eq!(moment(text), Some((Time(from), Time(from + width))), "{text}");
        }
        for bad in [
            "",
            "3 May",
            "2026-5-3",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-05-32",
            "2026-05-03T25:00",
            "2026-05-03T07",
            "03.05.2026",
            "2026-05-03T07:30:61",
            "2026-05-03T07:30:15.",
            "2026-05-03x",
            "1969-12-31",
            "99999999999999999999999",
            "2026-05-03T07:30+99:00",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
            "2026-05-03T07:30:15.1234567890",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
