//! How many values a text stands for. An alias stands for everything behind its anchor, so that a text of four
//! kilobytes can stand for more values than a machine has memory; they are counted before any is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Most values of a file. Without aliases no file within its most bytes has more.
const VALUES_MAX: u32 = 4 << 20;

/// Refuses a text that stands for more than [`VALUES_MAX`] values.
///
/// # Errors
/// When it does, or is not YAML.
pub(super) fn bounded(text: &str) -> Result<(), serde_yaml::Error> {
    let mut left = VALUES_MAX;
    serde_yaml::Deserializer::from_str(text).try_for_each(|document| Counted(&mut left).deserialize(document))
}

/// A value that is counted and not kept; it holds how many more may come.
struct Counted<'a>(&'a mut u32);

impl Counted<'_> {
    fn one<E: serde::de::Error>(self) -> Result<(), E> {
        let too_many =
            || E::custom(format_args!("it stands for more than {VALUES_MAX} values; use fewer aliases"));
        *self.0 = self.0.checked_sub(1).ok_or_else(too_many)?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_element_seed(Counted(&mut *self.0))?.is_some() {}
        self.one()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(Counted(&mut *self.0))?.is_some() {
            entries.next_value_seed(Counted(&mut *self.0))?;
        }
        self.one()
    }

    // A tag, such as `!Ref`, is refused where the value is read; here its value is counted.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(Counted(&mut *self.0))?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_text_that_stands_for_a_large_one_is_refused() {
        let list = |entry: &str| format!("[{}]", vec![entry; 300].join(","));
        let text = format!("a: &a {}\nb: &b {}\nc: {}\n", list("x"), list("*a"), list("*b"));
        assert!(text.len() < 4_096);
        assert!(bounded(&text).unwrap_err().to_string().contains("more than 4194304 values"));
    }

    #[test]
    fn what_people_write_is_within_the_bound() {
        for text in ["", "---\n---\na: [1, -2, 0.5, true, ~, x]\n", "a: &a {b: c}\nd: *a\n", "!Ref x"] {
            assert!(bounded(text).is_ok(), "{text}");
        }
        assert!(bounded("a: [").is_err());
    }
}
