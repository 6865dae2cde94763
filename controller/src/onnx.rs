//! Reads the operator sets that an ONNX file imports while its bytes stream by; nothing is kept of the rest.
//!
//! ONNX is a protocol buffer (`onnx.proto`, message `ModelProto`). Only its outermost fields are walked: field 8 is
//! `opset_import`, with the domain in field 1 and the version in field 2; everything else is skipped by its length.

use std::collections::BTreeMap;

const OPSET_IMPORT: u64 = 8;
const GRAPH: u64 = 7;
/// Most bytes of one `opset_import`.
const OPSET_BYTES_MAX: u64 = 1024;
/// Most operator sets of a model.
const OPSETS_MAX: usize = 64;
const VARINT_BYTES_MAX: u32 = 10;

/// Walks a file that arrives in pieces.
#[derive(Debug)]
pub struct Scanner {
    step: Step,
    opsets: BTreeMap<String, i64>,
    has_graph: bool,
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A field's number and type.
    Tag(Varint),
    /// A number of the field that is skipped.
    Number(Varint),
    /// The length of the field.
    Length(u64, Varint),
    /// So many bytes to skip.
    Skip(u64),
    /// So many bytes of an `opset_import` to gather.
    Gather(u64, Vec<u8>),
}

#[derive(Debug, Default, Clone, Copy)]
struct Varint {
    value: u64,
    bytes: u32,
}

impl Varint {
    /// Takes a byte; the number when it is the last one.
    fn take(&mut self, byte: u8) -> Result<Option<u64>, &'static str> {
        if self.bytes >= VARINT_BYTES_MAX {
            return Err("a number that does not end");
        }
        self.value |= u64::from(byte & 0x7f).checked_shl(7 * self.bytes).unwrap_or(0);
        self.bytes += 1;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { step: Step::Tag(Varint::default()), opsets: BTreeMap::new(), has_graph: false, wrong: None }
    }
}

impl Scanner {
    /// Takes the next piece.
    pub fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.wrong.is_none() {
            match self.advance(piece) {
                Ok(used) => piece = &piece[used..],
                Err(wrong) => self.wrong = Some(wrong),
            }
        }
    }

    /// The operator sets by domain, when the whole file has been walked.
    ///
    /// # Errors
    /// Says why the file is no ONNX model.
    pub fn finish(self) -> Result<BTreeMap<String, i64>, &'static str> {
        match (self.wrong, self.step) {
            (Some(wrong), _) => Err(wrong),
            (None, Step::Tag(Varint { bytes: 0, .. })) if self.has_graph && !self.opsets.is_empty() => {
                Ok(self.opsets)
            }
            (None, Step::Tag(Varint { bytes: 0, .. })) => Err("no graph or no operator set in it"),
            (None, _) => Err("it ends in the middle of a field"),
        }
    }

    fn advance(&mut self, piece: &[u8]) -> Result<usize, &'static str> {
        let (used, next) = match &mut self.step {
            Step::Tag(varint) => (1, varint.take(piece[0])?.map(tag).transpose()?),
            Step::Number(varint) => (1, varint.take(piece[0])?.map(|_| Step::Tag(Varint::default()))),
            Step::Length(field, varint) => {
                let field = *field;
                let length = varint.take(piece[0])?;
                self.has_graph |= field == GRAPH && length.is_some_and(|l| l > 0);
                (1, length.map(|length| content(field, length)).transpose()?)
            }
            Step::Skip(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= used as u64;
                (used, (*left == 0).then(|| Step::Tag(Varint::default())))
            }
            Step::Gather(left, bytes) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                bytes.extend_from_slice(&piece[..used]);
                *left -= used as u64;
                if *left == 0 {
                    let (domain, version) = opset(bytes)?;
                    self.opsets.insert(domain, version);
                    if self.opsets.len() > OPSETS_MAX {
                        return Err("too many operator sets");
                    }
                }
                (used, (*left == 0).then(|| Step::Tag(Varint::default())))
            }
        };
        if let Some(next) = next {
            self.step = next;
        }
        Ok(used)
    }
}

fn tag(tag: u64) -> Result<Step, &'static str> {
    let field = tag >> 3;
    if field == 0 {
        return Err("a field without a number");
    }
    match tag & 7 {
        0 => Ok(Step::Number(Varint::default())),
        1 => Ok(Step::Skip(8)),
        2 => Ok(Step::Length(field, Varint::default())),
        5 => Ok(Step::Skip(4)),
        _ => Err("a field of a type that protocol buffers do not have"),
    }
}

fn content(field: u64, length: u64) -> Result<Step, &'static str> {
    match (field, length) {
        (OPSET_IMPORT, OPSET_BYTES_MAX..) => Err("an operator set that is too long"),
        // An empty import means version 0 of the default domain, which no file needs.
        (_, 0) => Ok(Step::Tag(Varint::default())),
        (OPSET_IMPORT, _) => Ok(Step::Gather(length, Vec::new())),
        _ => Ok(Step::Skip(length)),
    }
}

/// Domain and version; the default domain is written empty in files and `ai.onnx` by people.
fn opset(bytes: &[u8]) -> Result<(String, i64), &'static str> {
    const WRONG: &str = "an operator set that cannot be read";
    let (mut domain, mut version, mut at) = (String::new(), 0, 0);
    let number = |at: &mut usize| {
        let mut varint = Varint::default();
        loop {
            let byte = *bytes.get(*at).ok_or(WRONG)?;
            *at += 1;
            if let Some(value) = varint.take(byte)? {
                return Ok::<u64, &'static str>(value);
            }
        }
    };
    while at < bytes.len() {
        match number(&mut at)? {
            0x0a => {
                let length = usize::try_from(number(&mut at)?).map_err(|_| WRONG)?;
                let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(WRONG)?;
                domain = std::str::from_utf8(&bytes[at..end]).map_err(|_| WRONG)?.to_owned();
                at = end;
            }
            0x10 => version = i64::try_from(number(&mut at)?).map_err(|_| WRONG)?,
            _ => return Err(WRONG),
        }
    }
    if domain.is_empty() {
        "ai.onnx".clone_into(&mut domain);
    }
    Ok((domain, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], piece: usize) -> Result<BTreeMap<String, i64>, &'static str> {
        let mut scanner = Scanner::default();
        bytes.chunks(piece).for_each(|piece| scanner.take(piece));
        scanner.finish()
    }

    /// `ir_version: 8, graph: <300 bytes>, opset_import: [{version: 17}, {domain: "ai.onnx.ml", version: 3}]`.
    fn model() -> Vec<u8> {
        let mut bytes = vec![0x08, 8, 0x3a, 0xac, 0x02];
        bytes.extend([0xff; 300]);
        bytes.extend([0x42, 2, 0x10, 17, 0x42, 14, 0x0a, 10]);
        bytes.extend(b"ai.onnx.ml");
        bytes.extend([0x10, 3]);
        bytes
    }

    #[test]
    fn operator_sets_are_found_whatever_the_pieces() {
        for piece in [1, 2, 7, 4096] {
            let opsets = scan(&model(), piece).unwrap();
            let found: Vec<(&str, i64)> = opsets.iter().map(|(d, v)| (d.as_str(), *v)).collect();
            assert_eq!(found, [("ai.onnx", 17), ("ai.onnx.ml", 3)]);
        }
    }

    #[test]
    fn what_is_no_model_is_refused() {
        assert!(scan(b"", 8).is_err());
        assert!(scan(b"<html>not found</html>", 8).is_err());
        assert!(scan(&model()[..200], 8).is_err(), "cut in the middle");
        assert!(scan(&[0xff; 64], 8).is_err());
    }
}
