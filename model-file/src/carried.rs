//! What no device can take in or give out, with the cure.

use crate::element::Element;
use crate::header::{Header, Kind, Value};

/// The operator that converters of scikit-learn put behind a classifier.
const ZIP_MAP: &str = "ai.onnx.ml:ZipMap";

/// An input or output that no device can take or give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// A list of maps of probabilities.
    #[error(
        "output {name:?} is a list of maps, which devices cannot answer with; convert without ZipMap (skl2onnx option \
         zipmap=False)"
    )]
    ZipMap {
        /// The output.
        name: String,
    },
    /// Not a tensor.
    #[error(
        "{side} {name:?} is {kind}, but devices support tensors only; export the model with a tensor there"
    )]
    NoTensor {
        /// Input or output.
        side: &'static str,
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A tensor whose type the file does not tell.
    #[error(
        "the file does not say which type {side} {name:?} has; run onnx.shape_inference.infer_shapes on it and save \
         it again"
    )]
    Unknown {
        /// Input or output.
        side: &'static str,
        /// Its name.
        name: String,
    },
    /// Elements that are not in the protocol in which devices are asked.
    #[error(
        "the elements of {side} {name:?} are of type {element}, which devices do not support; put a Cast to FLOAT \
         there"
    )]
    Element {
        /// Input or output.
        side: &'static str,
        /// Its name.
        name: String,
        /// The type.
        element: Element,
    },
}

impl Header {
    /// Whether a device can take every input and give every output.
    ///
    /// # Errors
    /// Names the first one that no device can take or give, and what to do.
    pub fn check_carried(&self) -> Result<(), NotCarried> {
        let inputs = self.inputs.iter().map(|value| ("input", value));
        let outputs = self.outputs.iter().map(|value| ("output", value));
        inputs.chain(outputs).try_for_each(|(side, value)| self.check_value(side, value))
    }

    fn check_value(&self, side: &'static str, value: &Value) -> Result<(), NotCarried> {
        let name = value.name.clone();
        let no_tensor = |kind| Err(NotCarried::NoTensor { side, name: name.clone(), kind });
        match &value.kind {
            Kind::Tensor { element: Element(0), .. } | Kind::Unknown => {
                Err(NotCarried::Unknown { side, name })
            }
            Kind::Tensor { element, .. } if element.protocol_name().is_none() => {
                Err(NotCarried::Element { side, name, element: *element })
            }
            Kind::Tensor { .. } => Ok(()),
            Kind::Sequence | Kind::Map if side == "output" && self.operators.contains(ZIP_MAP) => {
                Err(NotCarried::ZipMap { name })
            }
            Kind::Sequence => no_tensor("a list"),
            Kind::Map => no_tensor("a map"),
            Kind::SparseTensor => no_tensor("a sparse tensor"),
            Kind::Optional => no_tensor("optional"),
            Kind::Opaque => no_tensor("of a type that ONNX does not define"),
        }
    }
}
