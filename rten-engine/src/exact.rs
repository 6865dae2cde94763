//! What rten would run otherwise than the file says. It has 32-bit floats, 32-bit integers and bytes, and nothing else:
//! it narrows what is wider when it loads a file and says nothing. Found by running ONNX's own tests of operators and
//! by comparing with ONNX Runtime; whatever is not listed gave the same there.

use std::collections::BTreeMap;

use crate::facts::{Fact, Span, is_index, of_constant};
use crate::graph::{Graph, Model, Node, Tensor};

/// The operator set from which on `Softmax` is over one axis; before it was over all that follow as well.
const SOFTMAX_OPSET: i64 = 13;

/// Element types as ONNX numbers them.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const UINT8: i32 = 2;
pub(crate) const INT8: i32 = 3;
pub(crate) const INT32: i32 = 6;
pub(crate) const INT64: i32 = 7;
pub(crate) const BOOL: i32 = 9;

/// Deepest nesting of graphs that is looked into; the header's reader has refused deeper ones.
const DEPTH_MAX: usize = 16;
/// Most elements that a size written in the file may ask for: 256 MiB of 32-bit numbers.
const ELEMENTS_MAX: u64 = 1 << 26;

/// What rten computes otherwise than ONNX says, and how.
const DIFFERENT: [(&str, &str); 11] = [
    // Those that are replaced in the file's own graph, and are found in a branch or loop.
    ("ArgMax", "of equal values it takes the last"),
    ("ArgMin", "of equal values it takes the last"),
    ("Clip", "what is no number becomes one"),
    ("ConvInteger", "it gives other sums, with padding and in batches"),
    ("DynamicQuantizeLinear", "it rounds the zero point otherwise"),
    ("NonMaxSuppression", "it leaves boxes out"),
    ("QLinearConv", "it gives other sums, with padding and in batches"),
    ("QuantizeLinear", "it rounds halves otherwise, and what is far above its range becomes the smallest"),
    ("Relu", "what is no number becomes zero"),
    ("Sign", "the sign of zero is one there"),
    ("Softplus", "it is infinite for 89 and more"),
];

/// Operators that take the size of what they give from values, and which of their inputs these are.
const SIZED: [(&str, &[usize]); 16] = [
    ("AffineGrid", &[1]),
    ("BlackmanWindow", &[0]),
    ("CenterCropPad", &[1]),
    ("Col2Im", &[1, 2]),
    ("ConstantOfShape", &[0]),
    ("DFT", &[1]),
    ("Expand", &[1]),
    ("HammingWindow", &[0]),
    ("HannWindow", &[0]),
    ("Loop", &[0]),
    ("OneHot", &[1]),
    ("Pad", &[1]),
    ("Range", &[0, 1, 2]),
    ("Resize", &[2, 3]),
    ("Tile", &[1]),
    ("Upsample", &[1]),
];

/// The facts that are known by name, with those of the graphs around.
struct Scope<'a> {
    /// Version of ONNX's own operators.
    opset: i64,
    facts: BTreeMap<&'a str, Fact>,
    around: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Fact {
        match (self.facts.get(name), self.around) {
            (Some(fact), _) => fact.clone(),
            (None, Some(around)) => around.get(name),
            (None, None) => Fact::default(),
        }
    }
}

/// Whether rten runs the model as the file says.
///
/// # Errors
/// Says what it does not keep.
pub(crate) fn check(model: &Model) -> Result<(), String> {
    if !model.functions.is_empty() {
        return Err("it takes no functions that a file defines".into());
    }
    let Some(graph) = &model.graph else { return Ok(()) };
    let scope = Scope { opset: model.opset(), facts: BTreeMap::new(), around: None };
    walk(graph, scope, 0).map(|_| ())
}

/// Looks at every node in order; what is known of the graph's outputs.
fn walk<'a>(graph: &'a Graph, mut scope: Scope<'a>, depth: usize) -> Result<Vec<Fact>, String> {
    if depth > DEPTH_MAX {
        return Err("it nests graphs too deeply".into());
    }
    if !graph.sparse_weights.is_empty() {
        return Err("it takes no sparse weights".into());
    }
    for weight in &graph.weights {
        let fact = constant(weight, "weight", &weight.name)?;
        scope.facts.insert(&weight.name, fact);
    }
    for input in &graph.inputs {
        let kind = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
        if scope.facts.contains_key(input.name.as_str()) {
            continue;
        }
        let element = kind.map_or(0, |kind| kind.element);
        known(element, "input", &input.name)?;
        let rank = kind.and_then(|kind| kind.shape.as_ref()).map(|shape| shape.dims.len());
        let span = if element == INT64 || element == FLOAT { Span::Wide } else { Span::Narrow };
        scope.facts.insert(&input.name, Fact { element, span, rank, values: None });
    }
    for node in &graph.nodes {
        let given: Vec<Fact> = node.inputs.iter().map(|name| scope.get(name)).collect();
        operator(node, &given, scope.opset)?;
        let inner = node.graphs().map(|graph| inside(node, graph, &given, &scope, depth));
        let inner: Vec<Vec<Fact>> = inner.collect::<Result<_, _>>()?;
        let gives = crate::facts::given_by(node, &given, &inner)?;
        for (name, fact) in node.outputs.iter().zip(gives) {
            known(fact.element, "value", name)?;
            scope.facts.insert(name, fact);
        }
    }
    let outputs: Vec<Fact> = graph.outputs.iter().map(|output| scope.get(&output.name)).collect();
    for (output, fact) in graph.outputs.iter().zip(&outputs).filter(|_| depth == 0) {
        let element = output.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).map_or(0, |t| t.element);
        known(element, "output", &output.name)?;
        if fact.is_wide() {
            return Err(format!("output {:?} has integers of 64 bits, and rten keeps 32", output.name));
        }
    }
    Ok(outputs)
}

/// Looks into a branch or loop. What goes round in a loop starts as what it is given.
fn inside<'a>(
    node: &Node,
    graph: &'a Graph,
    given: &[Fact],
    around: &'a Scope<'a>,
    depth: usize,
) -> Result<Vec<Fact>, String> {
    let mut facts = BTreeMap::new();
    let counter = Fact { element: INT64, span: Span::Size, rank: Some(0), values: None };
    let truth = Fact { element: BOOL, span: Span::Narrow, rank: Some(0), values: None };
    let carried = match node.operator.as_str() {
        "Loop" => [counter, truth].into_iter().chain(given.iter().skip(2).cloned()).collect(),
        "Scan" => given.to_vec(),
        _ => Vec::new(),
    };
    for (input, fact) in graph.inputs.iter().zip(carried) {
        facts.insert(input.name.as_str(), Fact { values: None, ..fact });
    }
    walk(graph, Scope { opset: around.opset, facts, around: Some(around) }, depth + 1)
}

fn constant(tensor: &Tensor, what: &str, name: &str) -> Result<Fact, String> {
    known(tensor.element, what, name)?;
    Ok(of_constant(tensor))
}

/// Whether rten has elements of this type; 0 stands for one that is not known.
fn known(element: i32, what: &str, name: &str) -> Result<(), String> {
    let kept = match element {
        0 | FLOAT | UINT8 | INT8 | INT32 | INT64 | BOOL => return Ok(()),
        10 | 16 => "half floats, which rten computes in single precision",
        11 => "double precision, which rten computes in single",
        8 => "texts, which rten has not",
        _ => "elements of a type that rten has not",
    };
    Err(format!("{what} {name:?} has {kept}"))
}

fn operator(node: &Node, given: &[Fact], opset: i64) -> Result<(), String> {
    let operator = node.operator.as_str();
    for (index, _) in given.iter().enumerate().filter(|(_, fact)| fact.is_wide()) {
        if !is_index(node, index) {
            let input = &node.inputs[index];
            return Err(format!("{operator} reads {input:?}, integers of 64 bits, and rten keeps 32"));
        }
    }
    if !node.is_own() {
        return Ok(());
    }
    if let Some((_, why)) = DIFFERENT.iter().find(|(name, _)| *name == operator) {
        return Err(format!("{operator}: {why}"));
    }
    let element = |index: usize| given.get(index).map_or(0, |fact| fact.element);
    if node.text("auto_pad") == b"SAME_LOWER" {
        return Err(format!("{operator} with auto_pad SAME_LOWER: it pads as for SAME_UPPER"));
    }
    match operator {
        "Resize" | "Upsample" if node.text("mode") == b"cubic" => {
            return Err(format!("{operator} cubic: it computes a linear one"));
        }
        "Resize" if matches!(node.text("nearest_mode"), b"ceil" | b"round_prefer_ceil") => {
            return Err("Resize to the next point above: it takes another one where it hits a point".into());
        }
        "ReduceMax" | "ReduceMin" if element(0) == BOOL => {
            return Err(format!("{operator} of truths: it is wrong where there are none"));
        }
        "MatMul" if given.iter().any(|fact| fact.rank == Some(1)) => {
            return Err("MatMul with a vector: it gives a shape of one dimension more".into());
        }
        "Cast" if node.int("to", 0) == i64::from(BOOL) && element(0) != BOOL => {
            return Err("Cast to BOOL: it keeps the numbers".into());
        }
        "Cast" if cut(node, given) => {
            return Err("Cast of decimals to 8-bit integers: it cuts where others wrap".into());
        }
        "LSTM" | "GRU" if element(4) != 0 => {
            return Err(format!("{operator} with lengths of sequences: it does not look at them"));
        }
        "Softmax" | "LogSoftmax" if opset < SOFTMAX_OPSET && !is_last(node, given) => {
            return Err(format!(
                "{operator} of an operator set below {SOFTMAX_OPSET}: it takes one axis alone"
            ));
        }
        "CastLike" if element(0) != element(1) => return Err("CastLike between types".into()),
        _ => {}
    }
    sizes(node, given)
}

/// Whether the axis of an old `Softmax` is the last one.
fn is_last(node: &Node, given: &[Fact]) -> bool {
    let axis = node.int("axis", 1);
    let rank = given.first().and_then(|fact| fact.rank).and_then(|rank| i64::try_from(rank).ok());
    axis == -1 || rank.is_some_and(|rank| axis == rank - 1)
}

fn cut(node: &Node, given: &[Fact]) -> bool {
    let to = node.int("to", 0);
    let small = to == i64::from(UINT8) || to == i64::from(INT8);
    small && given.first().is_some_and(|fact| fact.element == FLOAT)
}

/// An allocation that is refused ends the process, and rten cannot be told a limit. So what it is to give must not be
/// sized by the values of a request, and not beyond measure by the file.
fn sizes(node: &Node, given: &[Fact]) -> Result<(), String> {
    let operator = node.operator.as_str();
    let Some((_, sizing)) = SIZED.iter().find(|(name, _)| *name == operator) else { return Ok(()) };
    for (&index, fact) in sizing.iter().filter_map(|index| Some((index, given.get(*index)?))) {
        let name = node.inputs.get(index).map_or("", String::as_str);
        if name.is_empty() {
            continue;
        }
        let asked = match (&fact.values, &fact.span) {
            (Some(values), _) => {
                values.iter().fold(1_u64, |product, &v| product.saturating_mul(v.unsigned_abs().max(1)))
            }
            (None, Span::Known(most)) => *most,
            (None, Span::Size) => 0,
            (None, Span::Narrow | Span::Wide) => {
                return Err(format!(
                    "{operator} takes a size ({name:?}) from the values of a request, which rten cannot bound"
                ));
            }
        };
        if asked > ELEMENTS_MAX {
            return Err(format!("{operator} asks for {asked} elements ({name:?}), which rten cannot bound"));
        }
    }
    Ok(())
}
