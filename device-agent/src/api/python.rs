//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON itself has no numbers for.

/// The text with these words as [`super::elements`] reads them; `None` where there are none outside of texts.
pub(super) fn as_json(text: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [(&[u8], &[u8]); 3] =
        [(b"NaN", b"null"), (b"Infinity", b"\"Infinity\""), (b"-Infinity", b"\"-Infinity\"")];
    let mut json = Vec::with_capacity(text.len());
    let (mut rest, mut in_text, mut found) = (text, false, false);
    while let Some((&first, after)) = rest.split_first() {
        let word = WORDS.iter().find(|(word, _)| !in_text && rest.starts_with(word));
        if let Some((word, instead)) = word {
            json.extend_from_slice(instead);
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        json.push(first);
        rest = after;
        match (first, rest.split_first()) {
            (b'\\', Some((&escaped, after))) if in_text => {
                json.push(escaped);
                rest = after;
            }
            (b'"', _) => in_text = !in_text,
            _ => {}
        }
    }
    found.then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            as_json(text.as_bytes()).map(|json| String::from_utf8(json).unwrap()).as_deref(),
            expected
        );
    }

    #[test]
    fn words_are_found_outside_of_texts_alone() {
        check("[1, NaN, -Infinity,Infinity]", Some(r#"[1, null, "-Infinity","Infinity"]"#));
        check(r#"["NaN", "a\"NaN", "\\", NaN]"#, Some(r#"["NaN", "a\"NaN", "\\", null]"#));
        check(r#"{"name": "Infinity\\\"NaN"}"#, None);
        check("[1, 2.5]", None);
        check("\"NaN", None);
        check("\"\\", None);
        check("NaNNa", Some("nullNa"));
    }
}
