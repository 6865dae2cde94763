//! What is known of a value before the model runs: its element type, and how large its integers can be.

use crate::exact::{BOOL, FLOAT, INT32, INT64, UINT8};
use crate::graph::{Node, Tensor};

/// Elements of a constant that are kept one by one.
const VALUES_MAX: usize = 64;
/// A factor up to which a size stays far from 32 bits.
const FACTOR_MAX: u64 = 1 << 16;
const LARGEST: u64 = i32::MAX as u64;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    /// Its element type as ONNX numbers it; 0: not known.
    pub(crate) element: i32,
    pub(crate) span: Span,
    /// How many dimensions it has.
    pub(crate) rank: Option<usize>,
    /// Its elements, when they are integers that the file writes.
    pub(crate) values: Option<Vec<i64>>,
}

impl Default for Fact {
    fn default() -> Fact {
        Fact { element: 0, span: Span::Wide, rank: None, values: None }
    }
}

/// How large the numbers of a value can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Span {
    /// Written in the file, and at most so large.
    Known(u64),
    /// Sizes of tensors, and what is computed of them.
    Size,
    /// They come from a request, and fit 32 bits.
    Narrow,
    /// They come from a request, and may be anything.
    Wide,
}

impl Fact {
    /// Whether its integers may be larger than 32 bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.element == INT64
            && match self.span {
                Span::Wide => true,
                Span::Known(most) => most > LARGEST,
                Span::Size | Span::Narrow => false,
            }
    }

    fn of(element: i32, span: Span) -> Fact {
        Fact { element, span, rank: None, values: None }
    }
}

impl Span {
    /// The span of either.
    fn or(self, other: Span) -> Span {
        match (self, other) {
            (Span::Known(a), Span::Known(b)) => Span::Known(a.max(b)),
            (Span::Known(a), Span::Size) | (Span::Size, Span::Known(a)) if a <= LARGEST => Span::Size,
            (Span::Size, Span::Size) => Span::Size,
            (Span::Wide, _) | (_, Span::Wide) => Span::Wide,
            (Span::Known(a), _) | (_, Span::Known(a)) if a > LARGEST => Span::Wide,
            _ => Span::Narrow,
        }
    }
}

/// What is known of a tensor that the file writes.
pub(crate) fn of_constant(tensor: &Tensor) -> Fact {
    let values = tensor.integers();
    Fact {
        element: tensor.element,
        span: Span::Known(tensor.most()),
        rank: Some(tensor.dims.len()),
        values: values.filter(|values| values.len() <= VALUES_MAX),
    }
}

/// Whether this input of a node may be wider than 32 bits: an index that is too large is out of bounds anyhow, and the
/// end of a slice means the end.
pub(crate) fn is_index(node: &Node, input: usize) -> bool {
    match node.operator.as_str() {
        "Gather" | "GatherElements" | "GatherND" => input == 1,
        "Slice" => input == 1 || input == 2,
        _ => false,
    }
}

/// What is known of the outputs of a node.
///
/// # Errors
/// Says which operator may compute integers that do not fit.
pub(crate) fn given_by(node: &Node, given: &[Fact], inner: &[Vec<Fact>]) -> Result<Vec<Fact>, String> {
    let at = |index: usize| given.get(index).cloned().unwrap_or_default();
    let first = at(0).element;
    let one = |fact: Fact| Ok(vec![fact]);
    match node.operator.as_str() {
        "Shape" | "Size" => one(Fact::of(INT64, Span::Size)),
        "NonZero" | "ArgMax" | "ArgMin" | "Unique" => one(Fact::of(INT64, Span::Narrow)),
        "TopK" | "MaxPool" => Ok(vec![at(0), Fact::of(INT64, Span::Narrow)]),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Not" | "And" | "Or" | "Xor"
        | "IsNaN" | "IsInf" => one(Fact::of(BOOL, Span::Narrow)),
        "Constant" => one(written(node)),
        "ConstantOfShape" => {
            let value = node.attribute("value").and_then(|a| a.tensor.as_ref());
            one(value.map_or(Fact::of(FLOAT, Span::Known(0)), |t| Fact {
                rank: None,
                values: None,
                ..of_constant(t)
            }))
        }
        "Cast" => one(cast(node, &at(0))),
        "QuantizeLinear" => {
            let zero = at(2).element;
            one(Fact::of(if zero == 0 { UINT8 } else { zero }, Span::Narrow))
        }
        "DequantizeLinear" => one(Fact::of(FLOAT, Span::Wide)),
        "MatMulInteger" => one(Fact::of(INT32, Span::Narrow)),
        "OneHot" => one(Fact { rank: None, values: None, ..at(2) }),
        "Where" => one(join(node, &given[1.min(given.len())..])),
        "If" | "Loop" | "Scan" => Ok(inside(node, inner)),
        "Sigmoid" | "Softmax" | "Hardmax" | "Tanh" | "HardSigmoid" | "Softsign" | "Erf" | "Sin" | "Cos" => {
            one(Fact { rank: at(0).rank, ..Fact::of(first, Span::Narrow) })
        }
        "Split" => Ok(node.outputs.iter().map(|_| Fact { rank: None, values: None, ..at(0) }).collect()),
        operator => {
            let taken = join(node, given);
            if first != INT64 || keeps(operator) {
                return one(Fact {
                    span: if first == FLOAT && !keeps(operator) { Span::Wide } else { taken.span },
                    ..taken
                });
            }
            match grown(operator, given) {
                Some(span) => one(Fact { span, ..taken }),
                None => Err(format!("{operator} of 64-bit integers may pass 32 bits, which rten keeps")),
            }
        }
    }
}

/// Operators whose numbers are some of those that they are given, or no larger.
fn keeps(operator: &str) -> bool {
    matches!(
        operator,
        "Abs"
            | "Ceil"
            | "Clip"
            | "Compress"
            | "Concat"
            | "DepthToSpace"
            | "Div"
            | "Dropout"
            | "Expand"
            | "Flatten"
            | "Floor"
            | "Gather"
            | "GatherElements"
            | "GatherND"
            | "Identity"
            | "Max"
            | "Min"
            | "Mod"
            | "Neg"
            | "Pad"
            | "Range"
            | "ReduceMax"
            | "ReduceMin"
            | "Relu"
            | "Reshape"
            | "ReverseSequence"
            | "Round"
            | "ScatterElements"
            | "ScatterND"
            | "Slice"
            | "SpaceToDepth"
            | "Squeeze"
            | "Tile"
            | "Transpose"
            | "Trilu"
            | "Unsqueeze"
    )
}

/// Inputs of an operator that say where, not what.
fn tells_where(operator: &str, input: usize) -> bool {
    match operator {
        "Compress" | "Expand" | "Gather" | "GatherElements" | "GatherND" | "Reshape" | "ReverseSequence"
        | "Slice" | "Squeeze" | "Tile" | "Trilu" | "Unsqueeze" | "ReduceMax" | "ReduceMin" | "ReduceSum"
        | "ReduceProd" | "CumSum" | "Dropout" => input > 0,
        "Pad" | "ScatterElements" | "ScatterND" => input == 1 || input == 3,
        _ => false,
    }
}

fn join(node: &Node, given: &[Fact]) -> Fact {
    let what = given.iter().enumerate().filter(|(index, fact)| {
        // An input that is left out is an empty name.
        fact.element != 0 && !tells_where(&node.operator, *index)
    });
    let spans = what.map(|(_, fact)| fact.span);
    let span = spans.reduce(Span::or).unwrap_or(Span::Wide);
    let known = given.first().cloned().unwrap_or_default();
    let values = known.values.filter(|_| node.operator == "Identity");
    Fact { element: known.element, span, rank: rank(&node.operator, given), values }
}

/// How many dimensions an operator gives, where that is easily said.
fn rank(operator: &str, given: &[Fact]) -> Option<usize> {
    let first = given.first().and_then(|fact| fact.rank);
    match operator {
        "Gemm" | "Flatten" => Some(2),
        "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "MatMul" | "Pow" => {
            given.iter().map(|fact| fact.rank).reduce(|a, b| Some(a?.max(b?))).flatten()
        }
        "BatchNormalization" | "Identity" | "Dropout" | "Transpose" | "LayerNormalization" => first,
        _ => None,
    }
}

/// How large integers can be that are computed of these; `None`: larger than 32 bits.
fn grown(operator: &str, given: &[Fact]) -> Option<Span> {
    let mut sized = false;
    let mut most = if operator == "Mul" { 1_u64 } else { 0 };
    for fact in given {
        match fact.span {
            Span::Known(bound) if operator == "Mul" => most = most.saturating_mul(bound),
            Span::Known(bound) => most = most.saturating_add(bound),
            Span::Size => sized = true,
            Span::Narrow | Span::Wide => return None,
        }
    }
    match operator {
        "Add" | "Sub" | "Mul" if sized && most <= FACTOR_MAX => Some(Span::Size),
        "Add" | "Sub" | "Mul" if !sized && most <= LARGEST => Some(Span::Known(most)),
        // How many elements a tensor has, of whose sizes this is made.
        "ReduceProd" | "ReduceSum" | "CumSum" if sized => Some(Span::Size),
        _ => None,
    }
}

fn written(node: &Node) -> Fact {
    if let Some(tensor) = node.attribute("value").and_then(|a| a.tensor.as_ref()) {
        return of_constant(tensor);
    }
    let integers = |values: Vec<i64>, rank| {
        let most = values.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0);
        Fact { element: INT64, span: Span::Known(most), rank: Some(rank), values: Some(values) }
    };
    if let Some(one) = node.attribute("value_int") {
        return integers(vec![one.int], 0);
    }
    if let Some(some) = node.attribute("value_ints") {
        return integers(some.ints.clone(), 1);
    }
    Fact::of(FLOAT, Span::Known(0))
}

fn cast(node: &Node, from: &Fact) -> Fact {
    let to = i32::try_from(node.int("to", 0)).unwrap_or(-1);
    let span = match (from.element, from.span) {
        (FLOAT, Span::Known(_)) => Span::Narrow,
        (FLOAT | 0, span) => span,
        (_, Span::Wide) if from.element != INT64 => Span::Narrow,
        (_, span) => span,
    };
    Fact {
        element: to,
        span,
        rank: from.rank,
        values: from.values.clone().filter(|_| to == INT64 || to == INT32),
    }
}

fn inside(node: &Node, inner: &[Vec<Fact>]) -> Vec<Fact> {
    let skip = usize::from(node.operator == "Loop");
    let mut branches = inner.iter().map(|facts| facts.iter().skip(skip));
    let Some(first) = branches.next() else { return Vec::new() };
    let first: Vec<Fact> = first.map(|f| Fact { values: None, rank: None, ..f.clone() }).collect();
    branches.fold(first, |known, other| {
        let joined = known.into_iter().zip(other);
        joined.map(|(a, b)| Fact { span: a.span.or(b.span), ..a }).collect()
    })
}
