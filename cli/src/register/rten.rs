//! rten, the other engine of devices: loaded and run by the rules of devices (`modelfleet-rten`). Its answers are
//! compared with those of ONNX Runtime.

use std::borrow::Cow;

use modelfleet_crds::model_version::Datatype;
use modelfleet_model_file::{DEFAULT_DOMAIN, Header, Kind};
use modelfleet_rten::{Elements, Input, Loaded, OPEN_MAX, OPSET, Output, OutputKind};

use super::named_tensor::{Data, NamedTensor, Session};

/// Most bytes of an answer, as on devices.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A loaded model.
pub struct Rten {
    header: Header,
    loaded: Loaded,
}

impl Rten {
    /// Loads a model; nothing when devices do not try it with rten, because of the operator sets that it uses.
    ///
    /// # Errors
    /// Says why devices that try it would refuse it, in words that follow rten's name.
    pub fn load(model: &[u8]) -> Result<Option<Rten>, String> {
        let header = modelfleet_model_file::read(model).map_err(|error| first_line(&error))?;
        let has = |(domain, version): (&String, &i64)| domain == DEFAULT_DOMAIN && *version <= OPSET;
        if !header.opsets.iter().all(has) {
            return Ok(None);
        }
        let output = |value: &modelfleet_model_file::Value| {
            let Kind::Tensor { element, .. } = &value.kind else { return None };
            Some(OutputKind { name: value.name.clone(), datatype: element.protocol_name()? })
        };
        let outputs = header.outputs.iter().filter_map(output).collect();
        let loaded =
            modelfleet_rten::Rten::default().load(model, outputs).map_err(|error| first_line(&error))?;
        Ok(Some(Rten { header, loaded }))
    }

    /// The largest size of an input where the file leaves it open; devices take no larger ones than [`OPEN_MAX`].
    fn open_size(&self, input: &NamedTensor) -> usize {
        let declared = self.header.inputs.iter().find(|value| value.name == input.name);
        let shape = declared.and_then(|value| match &value.kind {
            Kind::Tensor { shape, .. } => shape.as_ref(),
            _ => None,
        });
        let is_open = |at: usize| shape.and_then(|shape| shape.get(at)).is_none_or(|&size| size < 0);
        let sizes = sizes(&input.shape).into_iter().enumerate();
        sizes.filter(|(at, _)| is_open(*at)).map(|(_, size)| size).max().unwrap_or(0)
    }
}

impl Session for Rten {
    fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, String> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| sizes(&input.shape)).collect();
        let mut taken = Vec::new();
        for (input, shape) in inputs.iter().zip(&shapes) {
            let open = self.open_size(input);
            if open > OPEN_MAX {
                return Err(format!(
                    "input {:?} has a size of {open} that the file leaves open, and at most {OPEN_MAX} is taken",
                    input.name
                ));
            }
            taken.push(Input { name: &input.name, shape, elements: elements(input)? });
        }
        let outputs = self.loaded.run(&taken, ANSWER_BYTES_MAX).map_err(|error| first_line(&error))?;
        Ok(outputs.into_iter().map(filling).collect())
    }
}

fn sizes(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are as the type holds them"
)]
fn elements(input: &NamedTensor) -> Result<Elements<'_>, String> {
    let lacks = || format!("it has no {:?} elements", input.datatype);
    let Data::Numbers(numbers) = &input.data else { return Err(lacks()) };
    let numbers = numbers.iter();
    Ok(match input.datatype {
        Datatype::Fp32 => Elements::F32(numbers.map(|&v| v as f32).collect()),
        Datatype::Uint8 => Elements::U8(numbers.map(|&v| v as u8).collect()),
        Datatype::Int8 => Elements::I8(numbers.map(|&v| v as i8).collect()),
        Datatype::Int32 => Elements::I32(numbers.map(|&v| v as i32).collect()),
        Datatype::Int64 => Elements::I64(numbers.map(|&v| v as i64).collect()),
        Datatype::Bool => Elements::Bool(numbers.map(|&v| v != 0.0).collect()),
        _ => return Err(lacks()),
    })
}

#[allow(clippy::cast_precision_loss, reason = "rten computed the number with 32 bits")]
fn filling(output: Output) -> NamedTensor {
    fn numbers<T: Clone>(values: Cow<'_, [T]>, number: impl Fn(T) -> f64) -> Vec<f64> {
        values.iter().cloned().map(number).collect()
    }
    let (datatype, numbers) = match output.elements {
        Elements::F32(v) => (Datatype::Fp32, numbers(v, f64::from)),
        Elements::I8(v) => (Datatype::Int8, numbers(v, f64::from)),
        Elements::I32(v) => (Datatype::Int32, numbers(v, f64::from)),
        Elements::I64(v) => (Datatype::Int64, numbers(v, |v| v as f64)),
        Elements::U8(v) => (Datatype::Uint8, numbers(v, f64::from)),
        Elements::Bool(v) => (Datatype::Bool, numbers(v, |v| f64::from(u8::from(v)))),
    };
    let shape = output.shape.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    NamedTensor { name: output.name, datatype, shape, data: Data::Numbers(numbers) }
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(300).collect()
}
