//! Walks a file that may come in pieces. What is open at a moment, a graph in an attribute of a node in a graph, is a
//! stack, so that nothing but names has to be kept of what has passed.

use crate::draft::{Draft, Scope};
use crate::element::Element;
use crate::error::{NAME_BYTES_MAX, ReadError};
use crate::header::{Header, Kind};
use crate::varint::Varint;

/// Deepest nesting of graphs (loops and branches).
const DEPTH_MAX: usize = 16;
/// Most dimensions of an input or output.
const DIMENSIONS_MAX: usize = 8;
/// Longest text that is looked at. A weight with a longer name is none of the inputs.
const TEXT_BYTES_MAX: u64 = 1_024;

/// Reads a file that comes in pieces.
#[derive(Debug)]
pub struct Reader {
    /// Bytes taken so far.
    position: u64,
    step: Step,
    /// What is open, outermost first.
    open: Vec<Open>,
    draft: Draft,
    wrong: Option<ReadError>,
}

/// A message that is open, and where it ends.
#[derive(Debug)]
struct Open {
    message: Message,
    end: u64,
}

/// A message, with what has been read of it.
#[derive(Debug)]
enum Message {
    Model,
    Opset { domain: String, version: i64 },
    Function,
    Graph { is_outermost: bool },
    Node { domain: String, name: String },
    Attribute,
    Tensor { is_weight: bool },
    SparseTensor { is_weight: bool },
    Value { is_input: bool, name: String, kind: Kind },
    Type,
    TensorType,
    Shape,
    Dimension { size: i64 },
}

#[derive(Debug)]
enum Step {
    /// A field's number and kind.
    Key(Varint),
    /// The number in a field.
    Number(u64, Varint),
    /// The length of a field.
    Length(u64, Varint),
    /// So many bytes that are not looked at.
    Skip(u64),
    /// So many bytes of text in a field.
    Text(u64, u64, Vec<u8>),
}

/// What to do with a field that has a length.
enum Content {
    Enter(Message),
    Text,
    Skip,
}

const NEXT: Step = Step::Key(Varint::ZERO);

impl Default for Reader {
    fn default() -> Reader {
        let model = Open { message: Message::Model, end: u64::MAX };
        Reader { position: 0, step: NEXT, open: vec![model], draft: Draft::default(), wrong: None }
    }
}

/// Reads a file that is there as a whole. No input makes it panic or take much memory.
///
/// # Errors
/// When the bytes are no ONNX model, or one that no device can be given.
pub fn read(bytes: &[u8]) -> Result<Header, ReadError> {
    let mut reader = Reader::default();
    reader.take(bytes);
    reader.finish()
}

impl Reader {
    /// Takes the next piece.
    pub fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.wrong.is_none() {
            match self.advance(piece) {
                Ok(used) => piece = &piece[used..],
                Err(wrong) => self.wrong = Some(wrong),
            }
        }
    }

    /// What the file says, when all of it has been taken.
    ///
    /// # Errors
    /// When the bytes are no ONNX model, or one that no device can be given.
    pub fn finish(self) -> Result<Header, ReadError> {
        match (self.wrong, self.step) {
            (Some(wrong), _) => Err(wrong),
            (None, Step::Key(key)) if key.is_fresh() && self.open.len() == 1 => self.draft.header(),
            (None, _) => Err(ReadError::Short),
        }
    }

    /// Takes some bytes, at least one, and says how many.
    fn advance(&mut self, piece: &[u8]) -> Result<usize, ReadError> {
        let used = match &mut self.step {
            Step::Key(_) | Step::Number(..) | Step::Length(..) => 1,
            Step::Skip(left) | Step::Text(_, left, _) => usize::try_from(*left).unwrap_or(usize::MAX),
        };
        let used = used.min(piece.len());
        self.position += used as u64;
        let end = self.open.last().map_or(u64::MAX, |open| open.end);
        if self.position > end {
            return Err(ReadError::Short);
        }
        match &mut self.step {
            Step::Key(key) => {
                if let Some(key) = key.take(piece[0])? {
                    self.step = field(key)?;
                }
            }
            Step::Number(field, number) => {
                let field = *field;
                if let Some(number) = number.take(piece[0])? {
                    self.step = NEXT;
                    self.number(field, number)?;
                }
            }
            Step::Length(field, length) => {
                let field = *field;
                if let Some(length) = length.take(piece[0])? {
                    self.begin(field, length)?;
                }
            }
            Step::Skip(left) => {
                *left -= used as u64;
                if *left == 0 {
                    self.step = NEXT;
                }
            }
            Step::Text(field, left, text) => {
                text.extend_from_slice(&piece[..used]);
                *left -= used as u64;
                if *left == 0 {
                    let (field, text) = (*field, std::mem::take(text));
                    self.step = NEXT;
                    self.text(field, text)?;
                }
            }
        }
        self.close_what_ends()?;
        Ok(used)
    }

    /// A field of so many bytes begins.
    fn begin(&mut self, field: u64, length: u64) -> Result<(), ReadError> {
        let parent_end = self.open.last().map_or(u64::MAX, |open| open.end);
        let end =
            self.position.checked_add(length).filter(|end| *end <= parent_end).ok_or(ReadError::Short)?;
        self.step = match self.content(field, length)? {
            Content::Enter(message) => {
                self.open.push(Open { message, end });
                NEXT
            }
            Content::Text if length > 0 => Step::Text(field, length, Vec::new()),
            Content::Text => {
                self.text(field, Vec::new())?;
                NEXT
            }
            Content::Skip if length > 0 => Step::Skip(length),
            Content::Skip => NEXT,
        };
        Ok(())
    }

    /// What a field with a length is in the message that is open.
    fn content(&mut self, field: u64, length: u64) -> Result<Content, ReadError> {
        use Message as M;
        const NAME: u64 = NAME_BYTES_MAX as u64;
        let Some(Open { message, .. }) = self.open.last() else { return Ok(Content::Skip) };
        let enter = |message| Ok(Content::Enter(message));
        let text = |what, most| match length {
            length if length > most => Err(ReadError::Name { what, length }),
            _ => Ok(Content::Text),
        };
        match (message, field) {
            (M::Model, 7) => {
                self.draft.has_graph |= length > 0;
                enter(M::Graph { is_outermost: true })
            }
            (M::Model, 8) | (M::Function, 9) => enter(M::Opset { domain: String::new(), version: 0 }),
            (M::Model, 25) => {
                self.draft.function = Some(Scope::default());
                enter(M::Function)
            }
            (M::Opset { .. }, 1) => text("an operator set", NAME),
            (M::Function, 1) => text("a function", NAME),
            (M::Function, 10) => text("a function's domain", NAME),
            (M::Graph { .. }, 1) | (M::Function, 7) => {
                enter(M::Node { domain: String::new(), name: String::new() })
            }
            (M::Graph { is_outermost }, 5) => enter(M::Tensor { is_weight: *is_outermost }),
            (M::Graph { is_outermost }, 15) => enter(M::SparseTensor { is_weight: *is_outermost }),
            (M::Attribute, 22 | 23) => enter(M::SparseTensor { is_weight: false }),
            (M::SparseTensor { is_weight }, 1) => enter(M::Tensor { is_weight: *is_weight }),
            (M::Graph { is_outermost: true }, 11 | 12) => {
                enter(M::Value { is_input: field == 11, name: String::new(), kind: Kind::Unknown })
            }
            (M::Node { .. }, 4) => text("an operator", NAME),
            (M::Node { .. }, 7) => text("an operator's domain", NAME),
            // A function's own attributes are those that its caller leaves out.
            (M::Node { .. }, 5) | (M::Function, 11) => enter(M::Attribute),
            (M::Attribute, 5 | 10) | (M::SparseTensor { .. }, 2) => enter(M::Tensor { is_weight: false }),
            (M::Attribute, 6 | 11) => self.graph_inside(),
            (M::Tensor { is_weight: true }, 8) if length <= TEXT_BYTES_MAX => Ok(Content::Text),
            (M::Value { .. }, 1) => text("an input or output", TEXT_BYTES_MAX),
            (M::Value { .. }, 2) => enter(M::Type),
            (M::Type, 1) => {
                self.kind(|kind| *kind = Kind::Tensor { element: Element(0), shape: None });
                enter(M::TensorType)
            }
            (M::Type, 4 | 5 | 7..=9) => {
                self.kind(|kind| *kind = other_kind(field));
                Ok(Content::Skip)
            }
            (M::TensorType, 2) => {
                self.kind(|kind| {
                    if let Kind::Tensor { shape, .. } = kind {
                        shape.get_or_insert_default();
                    }
                });
                enter(M::Shape)
            }
            (M::Shape, 1) => enter(M::Dimension { size: -1 }),
            _ => Ok(Content::Skip),
        }
    }

    /// A graph in an attribute begins.
    fn graph_inside(&self) -> Result<Content, ReadError> {
        let graphs = self.open.iter().filter(|open| matches!(open.message, Message::Graph { .. })).count();
        if graphs > DEPTH_MAX {
            return Err(ReadError::TooMany { what: "graphs inside each other", most: DEPTH_MAX });
        }
        Ok(Content::Enter(Message::Graph { is_outermost: false }))
    }

    /// Does something with the kind of the input or output that is open.
    fn kind<T>(&mut self, act: impl FnOnce(&mut Kind) -> T) -> Option<T> {
        self.open
            .iter_mut()
            .rev()
            .find_map(|open| match &mut open.message {
                Message::Value { kind, .. } => Some(kind),
                _ => None,
            })
            .map(act)
    }

    /// A number in a field of the message that is open.
    fn number(&mut self, field: u64, number: u64) -> Result<(), ReadError> {
        let Some(Open { message, .. }) = self.open.last_mut() else { return Ok(()) };
        match (message, field) {
            (Message::Model, 1) => self.draft.ir_version = number.cast_signed(),
            (Message::Opset { version, .. }, 2) => *version = number.cast_signed(),
            (Message::Tensor { .. }, 14) if number != 0 => return Err(ReadError::ExternalWeights),
            (Message::TensorType, 1) => {
                self.kind(|kind| {
                    if let Kind::Tensor { element, .. } = kind {
                        *element = Element(number);
                    }
                });
            }
            // Some exporters write 0 or -1 for "any".
            (Message::Dimension { size }, 1) => *size = number.cast_signed().max(0),
            _ => {}
        }
        Ok(())
    }

    /// A text in a field of the message that is open.
    fn text(&mut self, field: u64, text: Vec<u8>) -> Result<(), ReadError> {
        let text = String::from_utf8(text).map_err(|_| ReadError::Text)?;
        let Some(Open { message, .. }) = self.open.last_mut() else { return Ok(()) };
        match (message, field) {
            (Message::Opset { domain, .. }, _) | (Message::Node { domain, .. }, 7) => *domain = text,
            (Message::Node { name, .. } | Message::Value { name, .. }, _) => *name = text,
            (Message::Function, _) => {
                if let Some(function) = &mut self.draft.function {
                    if field == 1 { function.name = text } else { function.domain = text }
                }
            }
            (Message::Tensor { .. }, _) => self.draft.weight(text)?,
            _ => {}
        }
        Ok(())
    }

    /// Closes all messages that end here.
    fn close_what_ends(&mut self) -> Result<(), ReadError> {
        while matches!(&self.step, Step::Key(key) if key.is_fresh())
            && self.open.last().is_some_and(|open| open.end == self.position)
        {
            let Some(Open { message, .. }) = self.open.pop() else { break };
            match message {
                Message::Opset { domain, version } => self.draft.import(domain, version)?,
                Message::Node { domain, name } => self.draft.operator(domain, name)?,
                Message::Function => self.draft.end_of_function()?,
                Message::Value { is_input, name, kind } => self.draft.value(is_input, name, kind)?,
                Message::Dimension { size } => {
                    let size = if size > 0 { size } else { -1 };
                    let dimensions = self.kind(|kind| match kind {
                        Kind::Tensor { shape, .. } => {
                            let shape = shape.get_or_insert_default();
                            shape.push(size);
                            shape.len()
                        }
                        _ => 0,
                    });
                    if dimensions.unwrap_or(0) > DIMENSIONS_MAX {
                        return Err(ReadError::TooMany {
                            what: "dimensions of a tensor",
                            most: DIMENSIONS_MAX,
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn field(key: u64) -> Result<Step, ReadError> {
    let number = key >> 3;
    if number == 0 {
        return Err(ReadError::Kind);
    }
    match key & 7 {
        0 => Ok(Step::Number(number, Varint::ZERO)),
        1 => Ok(Step::Skip(8)),
        2 => Ok(Step::Length(number, Varint::ZERO)),
        5 => Ok(Step::Skip(4)),
        _ => Err(ReadError::Kind),
    }
}

/// What an input or output is that is no tensor, by its field in `TypeProto`.
fn other_kind(field: u64) -> Kind {
    match field {
        4 => Kind::Sequence,
        5 => Kind::Map,
        7 => Kind::Opaque,
        8 => Kind::SparseTensor,
        9 => Kind::Optional,
        _ => Kind::Unknown,
    }
}
