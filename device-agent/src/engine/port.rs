//! What a loaded model takes and gives, as its file says, and whether a request is that.

use std::fmt;

use modelfleet_model_file::{Header, Kind, Value};

use crate::tensor::NamedTensor;

/// An input or output of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type in the words of the Open Inference Protocol.
    pub datatype: &'static str,
    /// Its sizes; -1 stands for any. `None`: the file does not say.
    pub shape: Option<Vec<i64>>,
}

/// What a model takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Its inputs, in order.
    pub inputs: Vec<Port>,
    /// Its outputs, in order.
    pub outputs: Vec<Port>,
    /// Largest size that a request may choose where the file leaves one open; `None`: any.
    pub open_max: Option<usize>,
}

impl Ports {
    /// The ports of a file whose inputs and outputs can all be carried.
    #[must_use]
    pub fn of(header: &Header) -> Ports {
        let ports = |values: &[Value]| values.iter().filter_map(Port::of).collect();
        Ports { inputs: ports(&header.inputs), outputs: ports(&header.outputs), open_max: None }
    }

    /// Whether a model takes these inputs: each once, under its name, with its type and shape.
    ///
    /// # Errors
    /// Says what was expected, in words for the client.
    pub fn check(&self, given: &[NamedTensor]) -> Result<(), String> {
        for tensor in given {
            let Some(port) = self.inputs.iter().find(|port| port.name == tensor.name) else {
                return Err(format!(
                    "there is no input {:?}; expected {}",
                    tensor.name,
                    listed(&self.inputs)
                ));
            };
            if !port.takes(tensor) {
                let (datatype, shape) = (tensor.data.datatype(), &tensor.shape);
                return Err(format!("expected input {port}, got {datatype} {shape:?}"));
            }
            if let Some(most) = self.open_max
                && let Some(size) = port.open_sizes(tensor).find(|size| *size > most)
            {
                return Err(format!("expected input {port} with open sizes of at most {most}, got {size}"));
            }
            if given.iter().filter(|other| other.name == tensor.name).count() > 1 {
                return Err(format!("input {:?} is given more than once", tensor.name));
            }
        }
        match self.inputs.iter().find(|port| !given.iter().any(|tensor| tensor.name == port.name)) {
            Some(missing) => Err(format!("input {missing} is missing")),
            None => Ok(()),
        }
    }

    /// Whether a model gives these outputs.
    ///
    /// # Errors
    /// Names the first that it does not give, and those that it gives.
    pub fn check_wanted<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
        match names.find(|name| !self.outputs.iter().any(|port| port.name == *name)) {
            Some(unknown) => {
                Err(format!("there is no output {unknown:?}; there are {}", listed(&self.outputs)))
            }
            None => Ok(()),
        }
    }
}

impl Port {
    fn of(value: &Value) -> Option<Port> {
        let Kind::Tensor { element, shape } = &value.kind else { return None };
        Some(Port { name: value.name.clone(), datatype: element.protocol_name()?, shape: shape.clone() })
    }

    /// Sizes of a tensor that the file leaves open.
    fn open_sizes<'a>(&'a self, tensor: &'a NamedTensor) -> impl Iterator<Item = usize> + 'a {
        let fixed =
            |at: usize| self.shape.as_ref().and_then(|shape| shape.get(at)).is_some_and(|&dim| dim >= 0);
        tensor.shape.iter().enumerate().filter(move |(at, _)| !fixed(*at)).map(|(_, &size)| size)
    }

    fn takes(&self, tensor: &NamedTensor) -> bool {
        let size = |(&dim, &size): (&i64, &usize)| dim < 0 || i64::try_from(size) == Ok(dim);
        self.datatype == tensor.data.datatype()
            && self.shape.as_ref().is_none_or(|shape| {
                shape.len() == tensor.shape.len() && shape.iter().zip(&tensor.shape).all(size)
            })
    }
}

/// `features: FP32 [-1, 7]`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.datatype)?;
        match &self.shape {
            Some(shape) => write!(f, " {shape:?}"),
            None => write!(f, " of any shape"),
        }
    }
}

fn listed(ports: &[Port]) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    ports.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Elements;

    fn ports() -> Ports {
        let features = Port { name: "features".into(), datatype: "FP32", shape: Some(vec![-1, 2]) };
        let site = Port { name: "site".into(), datatype: "BYTES", shape: None };
        Ports { inputs: vec![features, site], outputs: Vec::new(), open_max: None }
    }

    fn tensor(name: &str, shape: &[usize], data: Elements) -> NamedTensor {
        NamedTensor { name: name.into(), shape: shape.to_vec(), data }
    }

    #[test]
    fn a_request_that_no_build_can_answer_is_told_what_was_expected() {
        let site = || tensor("site", &[1], Elements::Text(vec!["a".into()]));
        let row = || tensor("features", &[1, 2], Elements::F32(vec![0.0; 2]));
        let check = |given: &[NamedTensor], expected: &str| {
            assert_eq!(ports().check(given).err().unwrap_or_default(), expected);
        };
        check(&[row(), site()], "");
        check(&[site(), row()], "");
        check(&[row()], "input site: BYTES of any shape is missing");
        check(&[], "input features: FP32 [-1, 2] is missing");
        let double = tensor("features", &[1, 2], Elements::F64(vec![0.0; 2]));
        check(&[double, site()], "expected input features: FP32 [-1, 2], got FP64 [1, 2]");
        let wide = tensor("features", &[1, 3], Elements::F32(vec![0.0; 3]));
        check(&[wide, site()], "expected input features: FP32 [-1, 2], got FP32 [1, 3]");
        let flat = tensor("features", &[2], Elements::F32(vec![0.0; 2]));
        check(&[flat, site()], "expected input features: FP32 [-1, 2], got FP32 [2]");
        let mut bounded = ports();
        bounded.open_max = Some(3);
        let rows = |count| tensor("features", &[count, 2], Elements::F32(vec![0.0; 2 * count]));
        assert_eq!(bounded.check(&[rows(3), site()]), Ok(()));
        let expected = "expected input features: FP32 [-1, 2] with open sizes of at most 3, got 4";
        assert_eq!(bounded.check(&[rows(4), site()]).unwrap_err(), expected);
        check(&[row(), row(), site()], "input \"features\" is given more than once");
        check(
            &[row(), tensor("other", &[1], Elements::Bool(vec![true]))],
            "there is no input \"other\"; expected features: FP32 [-1, 2] and site: BYTES of any shape",
        );
    }
}
