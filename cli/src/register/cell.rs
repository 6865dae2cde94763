//! One cell of a table of rows: a number, a truth value, a gap, in the dialect of the file.

/// What stands for a missing reading: what pandas writes and reads as one, and the question mark of older tables.
const GAPS: [&str; 20] = [
    "", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na",
    "nan", "nat", "none", "null", "?", "-", "+nan", "nil",
];

/// What was seen of how the file writes numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DecimalMarks {
    /// A number with a point before its decimals.
    pub point: bool,
    /// A number with a comma before its decimals.
    pub comma: bool,
}

/// The number of a cell, not-a-number for a gap, nothing for anything else. True and False are 1 and 0. A comma before
/// decimals is taken where `commas` says that it does not separate cells.
pub(super) fn number(text: &str, commas: bool, seen: &mut DecimalMarks) -> Option<f64> {
    if is_gap(text) {
        return Some(f64::NAN);
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(f64::from(u8::from(text.eq_ignore_ascii_case("true"))));
    }
    let value = match text.split_once(',') {
        Some((whole, fraction)) if commas && !text.contains('.') && !fraction.contains(',') => {
            seen.comma = true;
            format!("{whole}.{fraction}").parse()
        }
        _ => {
            seen.point |= text.contains('.');
            text.parse()
        }
    };
    value.ok().filter(|value: &f64| value.is_finite())
}

/// Whether a cell stands for a missing reading.
pub(super) fn is_gap(text: &str) -> bool {
    GAPS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, commas: bool, expected: Option<f64>) {
        let found = number(text, commas, &mut DecimalMarks::default());
        assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{text}");
    }

    #[test]
    fn numbers_truth_values_and_gaps() {
        for (text, value) in
            [("1.5", 1.5), ("-2e-3", -2e-3), ("True", 1.0), ("FALSE", 0.0), ("true", 1.0), ("7", 7.0)]
        {
            check(text, false, Some(value));
            check(text, true, Some(value));
        }
        for gap in ["", "NaN", "<NA>", "None", "#N/A", "-nan", "NULL", "?", "1.#QNAN", "NaT"] {
            check(gap, false, Some(f64::NAN));
        }
        for wrong in ["inf", "high", "yes", "1 000", "1.000,5", "1,000,5"] {
            check(wrong, true, None);
        }
    }

    #[test]
    fn a_comma_stands_before_decimals_where_it_does_not_separate_cells() {
        check("1,25", true, Some(1.25));
        check("-0,5e2", true, Some(-50.0));
        check("1,25", false, None);
    }
}
