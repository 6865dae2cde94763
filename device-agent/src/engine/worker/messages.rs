//! What agent and worker send each other, as bytes. A worker is not believed: whatever it sends is read within bounds.

use modelfleet_protocol::state::EngineInfo;
use serde::{Deserialize, Serialize};

use crate::tensor::{NamedTensor, bytes};

/// Most tensors of a message.
const TENSORS_MAX: usize = 1024;

/// What the agent asks of a worker.
#[derive(Debug, PartialEq)]
pub(super) enum Request<'a> {
    /// To say what the engine is.
    Describe,
    /// To load a model.
    Load(&'a [u8]),
    /// To run the model that is loaded.
    Run(Vec<NamedTensor>),
}

/// What a worker answers.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// What the engine is.
    Described(Described),
    /// The model is loaded.
    Loaded,
    /// The outputs, in the model's order.
    Answer(Vec<NamedTensor>),
    /// What went wrong.
    Failed(Failed),
}

/// What a worker says of its engine and of itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Described {
    /// The engine.
    pub info: EngineInfo,
    /// Why the worker is not confined; `None` when it is.
    pub unconfined: Option<String>,
}

/// What went wrong.
#[derive(Debug, PartialEq)]
pub(super) struct Failed {
    pub kind: Kind,
    /// The input or output that is spoken of; empty otherwise.
    pub name: String,
    /// What is wrong.
    pub detail: String,
    /// Bytes of an answer that is too large.
    pub bytes: u64,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    OperatorMissing,
    Refused,
    Input,
    Values,
    Memory,
    Large,
    Output,
    Engine,
}

const KINDS: [Kind; 9] = [
    Kind::Open,
    Kind::OperatorMissing,
    Kind::Refused,
    Kind::Input,
    Kind::Values,
    Kind::Memory,
    Kind::Large,
    Kind::Output,
    Kind::Engine,
];

/// Bytes that are not a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are not a message: {0}")]
pub(super) struct Malformed(&'static str);

pub(super) const DESCRIBE: u8 = 1;
pub(super) const LOAD: u8 = 2;
pub(super) const RUN: u8 = 3;
const DESCRIBED: u8 = 1;
const LOADED: u8 = 2;
const ANSWER: u8 = 3;
const FAILED: u8 = 4;

impl Request<'_> {
    pub(super) fn read(message: &[u8]) -> Result<Request<'_>, Malformed> {
        let (tag, rest) = message.split_first().ok_or(Malformed("nothing"))?;
        match *tag {
            DESCRIBE => Ok(Request::Describe),
            LOAD => Ok(Request::Load(rest)),
            RUN => tensors(rest).map(Request::Run),
            _ => Err(Malformed("an unknown request")),
        }
    }
}

impl Reply {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Reply::Described(described) => {
                to.push(DESCRIBED);
                // Maps with texts as keys, and texts and numbers, are always JSON.
                to.extend(serde_json::to_vec(described).unwrap_or_default());
            }
            Reply::Loaded => to.push(LOADED),
            Reply::Answer(outputs) => {
                to.push(ANSWER);
                write_tensors(outputs, to);
            }
            Reply::Failed(failed) => {
                let kind = KINDS.iter().position(|kind| *kind == failed.kind).unwrap_or(0);
                to.extend([FAILED, u8::try_from(kind).unwrap_or(0)]);
                write_text(&failed.name, to);
                write_text(&failed.detail, to);
                to.extend(failed.bytes.to_le_bytes());
            }
        }
    }

    pub(super) fn read(message: &[u8]) -> Result<Reply, Malformed> {
        let (tag, rest) = message.split_first().ok_or(Malformed("nothing"))?;
        let reply = match *tag {
            DESCRIBED => {
                let described = serde_json::from_slice(rest);
                Reply::Described(described.map_err(|_| Malformed("a description that is none"))?)
            }
            LOADED => Reply::Loaded,
            ANSWER => Reply::Answer(tensors(rest)?),
            FAILED => {
                let mut from = Cursor(rest);
                let [kind] = from.chunk::<1>()?;
                let kind = *KINDS.get(usize::from(kind)).ok_or(Malformed("an unknown error"))?;
                let (name, detail) = (from.text()?, from.text()?);
                let bytes = u64::from_le_bytes(from.chunk()?);
                Reply::Failed(Failed { kind, name, detail, bytes })
            }
            _ => return Err(Malformed("an unknown reply")),
        };
        Ok(reply)
    }
}

impl Failed {
    pub(super) fn of(kind: Kind, detail: impl Into<String>) -> Failed {
        Failed { kind, name: String::new(), detail: detail.into(), bytes: 0 }
    }
}

/// Writes the tensors of a request or a reply.
pub(super) fn write_tensors(tensors: &[NamedTensor], to: &mut Vec<u8>) {
    to.extend(length(tensors.len()));
    for tensor in tensors {
        write_text(&tensor.name, to);
        write_text(tensor.data.datatype(), to);
        to.extend(length(tensor.shape.len()));
        tensor.shape.iter().for_each(|&dim| to.extend((dim as u64).to_le_bytes()));
        to.extend((tensor.data.bytes() as u64).to_le_bytes());
        bytes::write(&tensor.data, to);
    }
}

fn tensors(message: &[u8]) -> Result<Vec<NamedTensor>, Malformed> {
    let mut from = Cursor(message);
    let count = from.length()?;
    if count > TENSORS_MAX {
        return Err(Malformed("too many tensors"));
    }
    let mut tensors = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, datatype, rank) = (from.text()?, from.slice()?, from.length()?);
        let datatype = std::str::from_utf8(datatype).map_err(|_| Malformed("an odd datatype"))?;
        let dims = from.take(rank.saturating_mul(8))?.as_chunks::<8>().0;
        let dims = dims.iter().map(|dim| usize::try_from(u64::from_le_bytes(*dim)));
        let shape: Vec<usize> = dims.collect::<Result<_, _>>().map_err(|_| Malformed("an odd shape"))?;
        let elements = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        let elements = elements.ok_or(Malformed("an odd shape"))?;
        let size = u64::from_le_bytes(from.chunk()?);
        let data = from.take(usize::try_from(size).map_err(|_| Malformed("too many bytes"))?)?;
        let data =
            bytes::read(datatype, data, elements).map_err(|_| Malformed("elements of another type"))?;
        tensors.push(NamedTensor { name, shape, data });
    }
    if from.0.is_empty() { Ok(tensors) } else { Err(Malformed("more than the tensors")) }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    to.extend(length(text.len()));
    to.extend_from_slice(text.as_bytes());
}

/// Reads from the front of bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        Ok(u32::from_le_bytes(self.chunk()?) as usize)
    }

    fn slice(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.slice()?).map_err(|_| Malformed("a text that is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Elements;

    fn some_tensors() -> Vec<NamedTensor> {
        let tensor =
            |name: &str, shape: &[usize], data| NamedTensor { name: name.into(), shape: shape.into(), data };
        vec![
            tensor("features", &[1, 3], Elements::F32(vec![0.5, f32::INFINITY, -1.0])),
            tensor("kind", &[2], Elements::Text(vec!["vane".into(), "grün".into()])),
            tensor("none", &[0, 4], Elements::I64(Vec::new())),
            tensor("scalar", &[], Elements::Bool(vec![true])),
        ]
    }

    fn replies() -> Vec<Reply> {
        let info = EngineInfo {
            name: "E".into(),
            version: "1".into(),
            opsets: [("ai.onnx".into(), 21)].into(),
            ir_version: 9,
        };
        let failed = |kind| Failed { kind, name: "x".into(), detail: "why".into(), bytes: 7 };
        let mut replies: Vec<Reply> = KINDS.map(failed).map(Reply::Failed).into();
        replies.push(Reply::Described(Described { info, unconfined: Some("no filter".into()) }));
        replies.extend([Reply::Loaded, Reply::Answer(some_tensors())]);
        replies
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = vec![RUN];
        write_tensors(&some_tensors(), &mut message);
        assert_eq!(Request::read(&message), Ok(Request::Run(some_tensors())));
        assert_eq!(Request::read(&[LOAD, 1, 2]), Ok(Request::Load(&[1, 2])));
        for reply in replies() {
            let mut message = Vec::new();
            reply.write(&mut message);
            assert_eq!(Reply::read(&message).as_ref(), Ok(&reply));
        }
    }

    #[test]
    fn no_bytes_of_a_worker_are_more_than_refused() {
        for reply in replies() {
            let mut message = Vec::new();
            reply.write(&mut message);
            for end in 0..message.len() {
                // A text that is cut off is another text; all else is refused.
                let _ = Reply::read(&message[..end]);
            }
            for at in 0..message.len() {
                for bits in [1, 0x80, 0xff] {
                    let mut odd = message.clone();
                    odd[at] ^= bits;
                    if let Ok(Reply::Answer(outputs)) = Reply::read(&odd) {
                        assert!(outputs.iter().all(|o| o.shape.iter().product::<usize>() == o.data.len()));
                    }
                }
            }
        }
        let many = [ANSWER, 255, 255, 255, 255];
        assert_eq!(Reply::read(&many), Err(Malformed("too many tensors")));
    }
}
