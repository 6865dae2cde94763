//! What a label of a device may be: the rules of Kubernetes, in one place for agent, controller and schema.

/// Longest prefix of a key, before the slash, in bytes.
const PREFIX_BYTES_MAX: usize = 253;
/// Longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Longest key with its prefix and slash, in bytes.
pub const KEY_BYTES_MAX: usize = PREFIX_BYTES_MAX + 1 + NAME_BYTES_MAX;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 63;
/// Characters of a wrong key or value that are shown.
const SHOWN_MAX: usize = 40;

/// Why a text is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The key.
    #[error(
        "label key {key:?} is not NAME or PREFIX/NAME: a name has 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and \
         '.', a prefix is a DNS name of at most {PREFIX_BYTES_MAX}"
    )]
    Key {
        /// Its first characters.
        key: String,
    },
    /// The value is too long.
    #[error("label {key} has a value of {bytes} bytes; at most {VALUE_BYTES_MAX} are allowed")]
    Long {
        /// The label.
        key: String,
        /// How long its value is, bytes.
        bytes: usize,
    },
    /// The value has other characters.
    #[error(
        "label {key} has the value {value:?}; it may hold letters, digits, '-', '_' and '.', and begins and ends with a \
         letter or digit"
    )]
    Value {
        /// The label.
        key: String,
        /// The first characters of its value.
        value: String,
    },
}

/// Holds the rules that Kubernetes has for labels, so that every label can be named in a selector and in a status.
///
/// # Errors
/// Names the label and the rule that it breaks.
pub fn check(key: &str, value: &str) -> Result<(), LabelError> {
    if !is_key(key) {
        return Err(LabelError::Key { key: shown(key) });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(LabelError::Long { key: shown(key), bytes: value.len() });
    }
    if !value.is_empty() && !is_word(value) {
        return Err(LabelError::Value { key: shown(key), value: shown(value) });
    }
    Ok(())
}

fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    (1..=NAME_BYTES_MAX).contains(&name.len()) && is_word(name) && prefix.is_none_or(is_dns_name)
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    ends && text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
        ends && part.bytes().all(|b| plain(b) || b == b'-')
    };
    (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.split('.').all(part)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_kubernetes() {
        let long = |n: usize| "x".repeat(n);
        let prefix = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let good = [
            ("age".to_owned(), "old".to_owned()),
            ("Site_2.b-c".to_owned(), "Hall-7_A.1".to_owned()),
            ("example.com/pump-type".to_owned(), String::new()),
            (long(63), long(63)),
            (format!("{prefix}/{}", long(63)), long(63)),
        ];
        for (key, value) in good {
            assert_eq!(check(&key, &value), Ok(()), "{key}={value}");
        }
        let bad_keys = [
            "",
            "/",
            "/x",
            "x/",
            "a/b/c",
            "-a",
            "a-",
            "a b",
            "Upper.case/x",
            "a..b/x",
            "-a/x",
            "\u{e9}",
            "a\0",
        ];
        for key in bad_keys {
            assert!(matches!(check(key, "v"), Err(LabelError::Key { .. })), "{key:?}");
        }
        for key in [long(64), format!("{prefix}x/n"), format!("p/{}", long(64))] {
            assert!(matches!(check(&key, "v"), Err(LabelError::Key { .. })), "{key:?}");
        }
        assert!(matches!(check("site", &long(64)), Err(LabelError::Long { bytes: 64, .. })));
        for value in ["a b", "-a", "a-", "\u{e9}", "a\"b", "a\nb"] {
            assert!(matches!(check("site", value), Err(LabelError::Value { .. })), "{value:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_label_is_short() {
        let long = "\u{1f4a5}".repeat(10_000);
        for error in [check(&long, ""), check("k", &long)] {
            assert!(error.unwrap_err().to_string().chars().count() < 300);
        }
    }
}
