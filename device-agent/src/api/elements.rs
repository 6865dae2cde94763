//! Elements of tensors as JSON. Numbers are numbers; what JSON has no number for is told by `null` (not a number: a
//! missing value), `"Infinity"` and `"-Infinity"`, in requests and answers alike.

use half::{bf16, f16};
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::tensor::{Elements, RANK_MAX};

/// Reads the elements of a tensor of this datatype. Data may be flat or nested as the shape is.
///
/// # Errors
/// When the datatype is none, an element is not of it, or there are more than `count`.
pub(super) fn read(datatype: &str, data: &RawValue, count: usize) -> Result<Elements, String> {
    macro_rules! read {
        ($kind:ident) => {
            typed(data, count).map(Elements::$kind)
        };
    }
    let read = match datatype {
        "FP16" => read!(F16),
        "BF16" => read!(Bf16),
        "FP32" => read!(F32),
        "FP64" => read!(F64),
        "INT8" => read!(I8),
        "INT16" => read!(I16),
        "INT32" => read!(I32),
        "INT64" => read!(I64),
        "UINT8" => read!(U8),
        "UINT16" => read!(U16),
        "UINT32" => read!(U32),
        "UINT64" => read!(U64),
        "BOOL" => read!(Bool),
        "BYTES" => read!(Text),
        _ => return Err(format!("datatype {datatype:?} is not supported")),
    };
    read.map_err(|error| format!("data of {datatype}: {error}"))
}

fn typed<T: Element>(data: &RawValue, count: usize) -> Result<Vec<T>, serde_json::Error> {
    let mut elements = Vec::new();
    let mut json = serde_json::Deserializer::from_str(data.get());
    json.deserialize_seq(Nest { into: &mut elements, depth: 1, count })?;
    Ok(elements)
}

/// An element of one type out of whatever JSON holds.
trait Element: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;

    fn of_int(_: i64) -> Option<Self> {
        None
    }
    fn of_natural(_: u64) -> Option<Self> {
        None
    }
    fn of_decimal(_: f64) -> Option<Self> {
        None
    }
    fn of_truth(_: bool) -> Option<Self> {
        None
    }
    fn of_text(_: &str) -> Option<Self> {
        None
    }
    fn of_nothing() -> Option<Self> {
        None
    }
}

macro_rules! whole {
    ($type:ty, $expected:literal) => {
        impl Element for $type {
            const EXPECTED: &'static str = $expected;
            fn of_int(x: i64) -> Option<Self> {
                x.try_into().ok()
            }
            fn of_natural(x: u64) -> Option<Self> {
                x.try_into().ok()
            }
            #[allow(clippy::cast_possible_truncation)] // Whole and below 2^53: it is exact.
            fn of_decimal(x: f64) -> Option<Self> {
                let whole = x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0;
                whole.then_some(x as i64)?.try_into().ok()
            }
            fn of_truth(x: bool) -> Option<Self> {
                Some(Self::from(x))
            }
        }
    };
}
whole!(i8, "whole numbers from -128 to 127");
whole!(i16, "whole numbers from -32768 to 32767");
whole!(i32, "whole numbers from -2147483648 to 2147483647");
whole!(i64, "whole numbers of 64 bits");
whole!(u8, "whole numbers from 0 to 255");
whole!(u16, "whole numbers from 0 to 65535");
whole!(u32, "whole numbers from 0 to 4294967295");
whole!(u64, "whole numbers from 0 on of 64 bits");

macro_rules! decimal {
    ($type:ty, $of:expr) => {
        impl Element for $type {
            const EXPECTED: &'static str =
                "numbers within its range, null where one is missing, \"Infinity\" or \"-Infinity\"";
            #[allow(clippy::cast_precision_loss)] // What the type cannot hold is rounded, as for any decimal.
            fn of_int(x: i64) -> Option<Self> {
                Self::of_decimal(x as f64)
            }
            #[allow(clippy::cast_precision_loss)]
            fn of_natural(x: u64) -> Option<Self> {
                Self::of_decimal(x as f64)
            }
            fn of_decimal(x: f64) -> Option<Self> {
                let element: $type = $of(x);
                f64::from(element).is_finite().then_some(element)
            }
            fn of_truth(x: bool) -> Option<Self> {
                Some($of(f64::from(u8::from(x))))
            }
            fn of_text(x: &str) -> Option<Self> {
                match x {
                    "NaN" => Self::of_nothing(),
                    "Infinity" => Some($of(f64::INFINITY)),
                    "-Infinity" => Some($of(f64::NEG_INFINITY)),
                    _ => None,
                }
            }
            fn of_nothing() -> Option<Self> {
                Some($of(f64::NAN))
            }
        }
    };
}
decimal!(f16, f16::from_f64);
decimal!(bf16, bf16::from_f64);
#[allow(clippy::cast_possible_truncation)]
mod single {
    use super::Element;
    decimal!(f32, |x: f64| x as f32);
}
decimal!(f64, |x: f64| x);

impl Element for bool {
    const EXPECTED: &'static str = "true or false, 1 or 0";
    fn of_int(x: i64) -> Option<Self> {
        u64::try_from(x).ok().and_then(Self::of_natural)
    }
    fn of_natural(x: u64) -> Option<Self> {
        (x < 2).then_some(x == 1)
    }
    fn of_truth(x: bool) -> Option<Self> {
        Some(x)
    }
}

impl Element for String {
    const EXPECTED: &'static str = "texts";
    fn of_text(x: &str) -> Option<Self> {
        Some(x.to_owned())
    }
}

/// An array, and arrays in it.
struct Nest<'a, T> {
    into: &'a mut Vec<T>,
    depth: usize,
    count: usize,
}

/// What stands in an array.
struct Item<'a, 'b, T>(&'b mut Nest<'a, T>);

impl<'de, T: Element> Visitor<'de> for Nest<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Item(&mut self))?.is_some() {}
        Ok(())
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for Item<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<T: Element> Item<'_, '_, T> {
    fn push<E: serde::de::Error>(self, element: Option<T>) -> Result<(), E> {
        let expected = || E::custom(format!("expected {}", T::EXPECTED));
        let element = element.ok_or_else(expected)?;
        if self.0.into.len() >= self.0.count {
            return Err(E::custom(format!("data has more than the {} elements of the shape", self.0.count)));
        }
        self.0.into.push(element);
        Ok(())
    }
}

impl<'de, T: Element> Visitor<'de> for Item<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: serde::de::Error>(self, x: i64) -> Result<(), E> {
        self.push(T::of_int(x))
    }

    fn visit_u64<E: serde::de::Error>(self, x: u64) -> Result<(), E> {
        self.push(T::of_natural(x))
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<(), E> {
        self.push(T::of_decimal(x))
    }

    fn visit_bool<E: serde::de::Error>(self, x: bool) -> Result<(), E> {
        self.push(T::of_truth(x))
    }

    fn visit_str<E: serde::de::Error>(self, x: &str) -> Result<(), E> {
        self.push(T::of_text(x))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.push(T::of_nothing())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let Nest { into, depth, count } = self.0;
        if *depth >= RANK_MAX {
            return Err(A::Error::custom(format!("arrays nest more than {RANK_MAX} deep")));
        }
        Nest { into: &mut **into, depth: *depth + 1, count: *count }.visit_seq(seq)
    }
}

/// Elements as they are written.
pub(super) struct Written<'a>(pub(super) &'a Elements);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Elements::F16(v) => decimals(to, v.len(), v.iter().map(|x| x.to_f32())),
            Elements::Bf16(v) => decimals(to, v.len(), v.iter().map(|x| x.to_f32())),
            Elements::F32(v) => decimals(to, v.len(), v.iter().copied()),
            Elements::F64(v) => {
                let mut seq = to.serialize_seq(Some(v.len()))?;
                for x in v {
                    match special(*x) {
                        Some(text) => seq.serialize_element(&text)?,
                        None => seq.serialize_element(x)?,
                    }
                }
                seq.end()
            }
            Elements::I8(v) => v.serialize(to),
            Elements::I16(v) => v.serialize(to),
            Elements::I32(v) => v.serialize(to),
            Elements::I64(v) => v.serialize(to),
            Elements::U8(v) => v.serialize(to),
            Elements::U16(v) => v.serialize(to),
            Elements::U32(v) => v.serialize(to),
            Elements::U64(v) => v.serialize(to),
            Elements::Bool(v) => v.serialize(to),
            Elements::Text(v) => v.serialize(to),
        }
    }
}

/// With as many digits as tell them apart from their neighbours of the same precision.
fn decimals<S: Serializer>(
    to: S,
    count: usize,
    values: impl Iterator<Item = f32>,
) -> Result<S::Ok, S::Error> {
    let mut seq = to.serialize_seq(Some(count))?;
    for x in values {
        match special(f64::from(x)) {
            Some(text) => seq.serialize_element(&text)?,
            None => seq.serialize_element(&x)?,
        }
    }
    seq.end()
}

/// What stands for something that JSON has no number for: `Some(None)` is null.
fn special(x: f64) -> Option<Option<&'static str>> {
    if x.is_finite() {
        None
    } else if x.is_nan() {
        Some(None)
    } else {
        Some(Some(if x > 0.0 { "Infinity" } else { "-Infinity" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(datatype: &str, data: &str, expected: Result<Elements, &str>) {
        let raw: Box<RawValue> = serde_json::from_str(data).unwrap();
        match (read(datatype, &raw, 4), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{datatype} {data}"),
            (Err(found), Err(part)) => assert!(found.contains(part), "{datatype} {data}: {found}"),
            (found, expected) => panic!("{datatype} {data}: {found:?} for {expected:?}"),
        }
    }

    #[test]
    fn each_type_takes_what_it_can_hold() {
        let single = || Ok(Elements::F32(vec![1.0, 2.0, 3.0, 4.0]));
        check("FP32", "[1,2,3,4]", single());
        check("FP32", "[[1,2],[3,4.0]]", single());
        check("FP32", "[1,2,3,4,5]", Err("more than the 4"));
        check("FP32", "[\"1\"]", Err("expected numbers"));
        check("FP32", "[1e39]", Err("within its range"));
        check("FP32", "7", Err("an array"));
        check("FP32", "[[[[[[[[[[1]]]]]]]]]]", Err("nest"));
        check("FP32", "[[],[]]", Ok(Elements::F32(Vec::new())));
        check("FP16", "[1, 65520]", Err("within its range"));
        check("FP16", "[0.5]", Ok(Elements::F16(vec![f16::from_f32(0.5)])));
        check("BF16", "[0.5]", Ok(Elements::Bf16(vec![bf16::from_f32(0.5)])));
        check("INT64", "[9007199254740993]", Ok(Elements::I64(vec![9_007_199_254_740_993])));
        check("UINT64", "[18446744073709551615]", Ok(Elements::U64(vec![u64::MAX])));
        check("INT64", "[18446744073709551615]", Err("whole numbers"));
        check("INT32", "[3000000000]", Err("from -2147483648"));
        check("INT32", "[1.5]", Err("whole numbers"));
        check("INT32", "[2.0, true]", Ok(Elements::I32(vec![2, 1])));
        check("INT8", "[-128, 127]", Ok(Elements::I8(vec![-128, 127])));
        check("INT8", "[128]", Err("from -128 to 127"));
        check("UINT8", "[-1]", Err("from 0 to 255"));
        check("UINT16", "[65535]", Ok(Elements::U16(vec![65535])));
        check("INT16", "[null]", Err("whole numbers"));
        check("BOOL", "[true, 0, 1]", Ok(Elements::Bool(vec![true, false, true])));
        check("BOOL", "[2]", Err("true or false"));
        check("BYTES", "[\"a\", \"\"]", Ok(Elements::Text(vec!["a".into(), String::new()])));
        check("BYTES", "[1]", Err("texts"));
        check("FP8", "[1]", Err("FP8"));
    }

    #[test]
    fn what_is_no_number_comes_back_as_it_was_sent() {
        let text = r#"[1.5,null,"Infinity","-Infinity"]"#;
        for datatype in ["FP16", "BF16", "FP32", "FP64"] {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            let elements = read(datatype, &raw, 4).unwrap();
            assert!(elements.number(1).is_some_and(f64::is_nan));
            assert_eq!(elements.number(3), Some(f64::NEG_INFINITY));
            assert_eq!(serde_json::to_string(&Written(&elements)).unwrap(), text, "{datatype}");
        }
    }
}
