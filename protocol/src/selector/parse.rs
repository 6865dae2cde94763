//! A selector as people write it for `kubectl`: `site=north,ring in (a, b),!spare`.

use std::str::FromStr;

use super::{Operator, Requirement, Selector};

/// Longest text that is read, bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// Most conditions of a text.
const CONDITIONS_MAX: usize = 16;
/// Most values of a condition.
const VALUES_MAX: usize = 64;

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorTextError {
    /// It is too long.
    #[error("read a label selector: it has more than {TEXT_BYTES_MAX} bytes or {CONDITIONS_MAX} conditions")]
    Long,
    /// One condition cannot be read.
    #[error(
        "read the label selector's condition {0:?}: write site=north, site!=north, site in (a, b), site notin (a, b), site or !site"
    )]
    Condition(String),
}

impl FromStr for Selector {
    type Err = SelectorTextError;

    fn from_str(text: &str) -> Result<Selector, SelectorTextError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(SelectorTextError::Long);
        }
        let mut selector = Selector::default();
        if text.trim().is_empty() {
            return Ok(selector);
        }
        let parts = conditions(text);
        if parts.len() > CONDITIONS_MAX {
            return Err(SelectorTextError::Long);
        }
        for part in parts {
            let requirement = condition(part).ok_or_else(|| SelectorTextError::Condition(part.to_owned()))?;
            selector.match_expressions.push(requirement);
        }
        Ok(selector)
    }
}

/// The parts between the commas that are outside brackets.
fn conditions(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

fn condition(part: &str) -> Option<Requirement> {
    let of = |key: &str, operator, values: Vec<String>| {
        let key = key.trim();
        is_key(key).then(|| Requirement { key: key.to_owned(), operator, values })
    };
    if let Some(list) = part.strip_suffix(')') {
        let (head, list) = list.split_once('(')?;
        let head = head.trim_end();
        let (key, operator) = match head.strip_suffix(" notin") {
            Some(key) => (key, Operator::NotIn),
            None => (head.strip_suffix(" in")?, Operator::In),
        };
        let values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
        return (values.len() <= VALUES_MAX && values.iter().all(|value| is_value(value)))
            .then(|| of(key, operator, values))?;
    }
    let single = |key: &str, operator, value: &str| {
        let value = value.trim();
        is_value(value).then(|| of(key, operator, vec![value.to_owned()]))?
    };
    if let Some((key, value)) = part.split_once("!=") {
        return single(key, Operator::NotIn, value);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return single(key, Operator::In, value);
    }
    match part.strip_prefix('!') {
        Some(key) => of(key, Operator::DoesNotExist, Vec::new()),
        None => of(part, Operator::Exists, Vec::new()),
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

fn is_value(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        selector.parse::<Selector>().unwrap().matches(&labels.iter().map(label).collect())
    }

    #[test]
    fn a_selector_is_read_as_kubectl_reads_it() {
        let labels: &[(&str, &str)] = &[("site", "north"), ("example.com/ring", "b")];
        for (text, wanted) in [
            ("", true),
            ("site=north", true),
            ("site==north", true),
            ("site = south", false),
            ("site!=south", true),
            ("age!=old", true),
            ("site in (south, north)", true),
            ("site notin (south,north)", false),
            ("example.com/ring", true),
            ("!site", false),
            ("!age,site=north,example.com/ring in (a,b)", true),
            ("site=north,age=old", false),
        ] {
            assert_eq!(matches(text, labels), wanted, "{text}");
        }
    }

    #[test]
    fn what_a_selector_prints_it_reads_again() {
        for text in ["site in (a, b)", "site notin (a)", "site", "!site", "a in (1),b,!c"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_what_to_write() {
        for text in
            ["=", ",", "a=b,", "a in ()x", "a in (b", "a b", "ä=1", "a=b c", "a>1", "a notin b)", "(a)"]
        {
            let read = text.parse::<Selector>();
            assert!(matches!(read, Err(SelectorTextError::Condition(_))), "{text} {read:?}");
        }
        assert_eq!("a".repeat(5_000).parse::<Selector>(), Err(SelectorTextError::Long));
        assert_eq!(vec!["a"; 17].join(",").parse::<Selector>(), Err(SelectorTextError::Long));
    }
}
