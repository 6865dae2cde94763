//! rten, the other engine of devices. Its answers are compared with those of ONNX Runtime.

use modelfleet_crds::model_version::Datatype;
use rten::{Model, ModelOptions, NodeId, Value, ValueOrView};
use rten_tensor::prelude::*;

use super::feed::{Data, Filling, Runs};

/// A loaded model.
pub struct Rten {
    model: Model,
    outputs: Vec<(String, NodeId)>,
}

impl Rten {
    /// Loads a model.
    ///
    /// # Errors
    /// Says in rten's words why it does not.
    pub fn load(model: &[u8]) -> Result<Rten, String> {
        let model = ModelOptions::with_all_ops().load(model.to_vec()).map_err(|error| first_line(&error))?;
        let name = |&id: &NodeId| {
            let name = model.node_info(id).and_then(|node| node.name().map(ToOwned::to_owned));
            (name.unwrap_or_default(), id)
        };
        let outputs = model.output_ids().iter().map(name).collect();
        Ok(Rten { model, outputs })
    }
}

impl Runs for Rten {
    fn run(&mut self, inputs: &[Filling]) -> Result<Vec<Filling>, String> {
        let mut feeds: Vec<(NodeId, ValueOrView<'_>)> = Vec::new();
        for input in inputs {
            let missing = || format!("it has no input {:?}", input.name);
            let id = self.model.find_node(&input.name).ok_or_else(missing)?;
            feeds.push((id, input_value(input)?.into()));
        }
        let ids: Vec<NodeId> = self.outputs.iter().map(|(_, id)| *id).collect();
        let answers = self.model.run(feeds, &ids, None).map_err(|error| first_line(&error))?;
        let named = self.outputs.iter().zip(answers);
        named.map(|((name, _), value)| filling(name, value)).collect()
    }
}

/// rten has no elements but 32-bit floats, 32-bit integers and bytes; devices narrow what fits.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked, or as the type holds them"
)]
fn input_value(input: &Filling) -> Result<Value, String> {
    let lacks = || format!("it has no {:?} elements", input.datatype);
    let Data::Numbers(numbers) = &input.data else { return Err(lacks()) };
    let shape: Vec<usize> = input.shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let shape = shape.as_slice();
    let narrowed = |&number: &f64| {
        let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
        fits.then_some(number as i32).ok_or_else(|| format!("{number} does not fit 32 bits"))
    };
    macro_rules! value {
        ($elements:expr) => {
            Value::from_shape(shape, $elements).map_err(|error| first_line(&error))
        };
    }
    match input.datatype {
        Datatype::Fp32 => value!(numbers.iter().map(|&v| v as f32).collect::<Vec<f32>>()),
        Datatype::Uint8 => value!(numbers.iter().map(|&v| v as u8).collect::<Vec<u8>>()),
        Datatype::Int8 => value!(numbers.iter().map(|&v| v as i8).collect::<Vec<i8>>()),
        Datatype::Int32 | Datatype::Int64 | Datatype::Bool => {
            value!(numbers.iter().map(narrowed).collect::<Result<Vec<i32>, _>>()?)
        }
        _ => Err(lacks()),
    }
}

fn filling(name: &str, value: Value) -> Result<Filling, String> {
    macro_rules! numbers {
        ($datatype:ident, $tensor:expr) => {
            (Datatype::$datatype, $tensor.shape().to_vec(), $tensor.iter().map(|&v| f64::from(v)).collect())
        };
    }
    let (datatype, shape, numbers) = match &value {
        Value::FloatTensor(tensor) => numbers!(Fp32, tensor),
        Value::Int32Tensor(tensor) => numbers!(Int32, tensor),
        Value::UInt8Tensor(tensor) => numbers!(Uint8, tensor),
        Value::Int8Tensor(tensor) => numbers!(Int8, tensor),
        _ => return Err(format!("its output {name:?} is no tensor of numbers")),
    };
    let shape = shape.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    Ok(Filling { name: name.to_owned(), datatype, shape, data: Data::Numbers(numbers) })
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(300).collect()
}
