//! Elements as bytes, as the Open Inference Protocol's extension for binary data has them: one after the other in row-major
//! order, little-endian; a text has its length in four bytes before it.

use half::{bf16, f16};

use super::Elements;

/// Reads all bytes as elements of this datatype.
///
/// # Errors
/// When the datatype is none, or the bytes are not `count` elements of it.
pub(crate) fn read(datatype: &str, bytes: &[u8], count: usize) -> Result<Elements, String> {
    macro_rules! read {
        ($kind:ident, $type:ty) => {{
            let (chunks, rest) = bytes.as_chunks::<{ size_of::<$type>() }>();
            if chunks.len() != count || !rest.is_empty() {
                let expected = count.saturating_mul(size_of::<$type>());
                return Err(format!(
                    "{count} elements of {datatype} have {expected} bytes, it has {}",
                    bytes.len()
                ));
            }
            Elements::$kind(chunks.iter().map(|chunk| <$type>::from_le_bytes(*chunk)).collect())
        }};
    }
    Ok(match datatype {
        "FP16" => read!(F16, f16),
        "BF16" => read!(Bf16, bf16),
        "FP32" => read!(F32, f32),
        "FP64" => read!(F64, f64),
        "INT8" => read!(I8, i8),
        "INT16" => read!(I16, i16),
        "INT32" => read!(I32, i32),
        "INT64" => read!(I64, i64),
        "UINT8" => read!(U8, u8),
        "UINT16" => read!(U16, u16),
        "UINT32" => read!(U32, u32),
        "UINT64" => read!(U64, u64),
        "BOOL" => {
            let truths: Option<Vec<bool>> = bytes.iter().map(|b| (*b < 2).then_some(*b == 1)).collect();
            let truths = truths.filter(|truths| truths.len() == count);
            Elements::Bool(truths.ok_or_else(|| format!("{count} elements of BOOL are bytes of 0 or 1"))?)
        }
        "BYTES" => Elements::Text(texts(bytes, count)?),
        _ => return Err(format!("datatype {datatype:?} is not supported")),
    })
}

fn texts(mut bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let text = rest.get(..length).ok_or_else(|| format!("text {} is cut off", texts.len()))?;
        let text = std::str::from_utf8(text).map_err(|_| format!("text {} is not UTF-8", texts.len()))?;
        texts.push(text.to_owned());
        bytes = &rest[length..];
    }
    if bytes.is_empty() && texts.len() == count {
        return Ok(texts);
    }
    Err(format!("expected {count} texts, each after its length in four bytes; it has {}", texts.len()))
}

/// Writes elements as bytes.
pub(crate) fn write(elements: &Elements, to: &mut Vec<u8>) {
    macro_rules! write {
        ($values:expr) => {
            $values.iter().for_each(|x| to.extend_from_slice(&x.to_le_bytes()))
        };
    }
    match elements {
        Elements::F16(v) => write!(v),
        Elements::Bf16(v) => write!(v),
        Elements::F32(v) => write!(v),
        Elements::F64(v) => write!(v),
        Elements::I8(v) => write!(v),
        Elements::I16(v) => write!(v),
        Elements::I32(v) => write!(v),
        Elements::I64(v) => write!(v),
        Elements::U8(v) => to.extend_from_slice(v),
        Elements::U16(v) => write!(v),
        Elements::U32(v) => write!(v),
        Elements::U64(v) => write!(v),
        Elements::Bool(v) => to.extend(v.iter().map(|x| u8::from(*x))),
        Elements::Text(v) => {
            for text in v {
                to.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                to.extend_from_slice(text.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let texts = || Elements::Text(vec!["grün".into(), String::new(), "x".into()]);
        let numbers = ["FP16", "BF16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16"];
        let numbers = numbers.into_iter().chain(["UINT32", "UINT64", "BOOL"]);
        let all = numbers.map(|datatype| Elements::of_datatype(datatype, &[0.0, 1.0, 1.0]).unwrap());
        for elements in all.chain([texts()]) {
            let mut bytes = Vec::new();
            write(&elements, &mut bytes);
            assert_eq!(read(elements.datatype(), &bytes, 3).as_ref(), Ok(&elements));
            assert!(read(elements.datatype(), &bytes, 2).is_err(), "{elements:?}");
            assert!(read(elements.datatype(), &bytes[1..], 3).is_err(), "{elements:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let mut bytes = Vec::new();
        write(&Elements::I16(vec![1, -2]), &mut bytes);
        assert_eq!(bytes, [1, 0, 254, 255]);
        bytes.clear();
        write(&Elements::Text(vec!["ab".into()]), &mut bytes);
        assert_eq!(bytes, [2, 0, 0, 0, b'a', b'b']);
        assert!(read("BYTES", &[1, 0, 0, 0, 0xff], 1).unwrap_err().contains("UTF-8"));
        assert!(read("BYTES", &[255, 255, 255, 255, b'a'], 1).unwrap_err().contains("cut off"));
        assert!(read("BOOL", &[2], 1).is_err());
    }
}
