//! ONNX Runtime, opened at run time from a path: the answers of the self-test come from it.
//!
//! A device opens the same library by the same rule: a path that is given, or what the system finds.

use std::path::Path;

use half::{bf16, f16};
use modelfleet_crds::model_version::Datatype;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use super::named_tensor::{Data, NamedTensor, Session};

/// What the system's loader looks for when no path is given.
const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else if cfg!(windows) {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so"
};

/// Most elements of one output.
const ELEMENTS_MAX: i64 = 4_096 * 16;

/// Why the model cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum OnnxRuntimeError {
    /// The library is not there or too old.
    #[error("ONNX Runtime was not found at {path} ({reason}); set its library with --onnxruntime")]
    Library {
        /// Where it was looked for.
        path: String,
        /// The loader's words.
        reason: String,
    },
    /// The library is there but did not start.
    #[error("ONNX Runtime does not start: {0}")]
    Start(String),
    /// The engine refuses the model.
    #[error("ONNX Runtime cannot load the model: {0}")]
    Load(String),
}

/// A loaded model.
pub struct OnnxRuntime {
    session: OrtSession,
    /// Version of the engine, as it calls itself.
    pub version: String,
}

impl OnnxRuntime {
    /// Opens the library and loads the model.
    ///
    /// # Errors
    /// When there is no such library, or it refuses the model.
    pub fn load(library: Option<&Path>, model: &[u8]) -> Result<OnnxRuntime, OnnxRuntimeError> {
        let path = library.unwrap_or(Path::new(LIBRARY));
        let environment = open(path)?;
        let text = |error: ort::Error| OnnxRuntimeError::Load(first_line(error.message()));
        let builder = |error: ort::Error<ort::session::builder::SessionBuilder>| {
            OnnxRuntimeError::Load(first_line(error.message()))
        };
        let session = OrtSession::builder(&environment)
            .map_err(text)?
            .with_intra_threads(1)
            .map_err(builder)?
            .commit_from_memory(model)
            .map_err(text)?;
        Ok(OnnxRuntime { session, version: version() })
    }
}

impl Session for OnnxRuntime {
    fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, String> {
        let failed = |error: ort::Error| first_line(error.message());
        let mut values = Vec::new();
        for outlet in self.session.inputs() {
            let input = inputs.iter().find(|input| input.name == outlet.name());
            let input = input.ok_or_else(|| format!("no column fills its input {:?}", outlet.name()))?;
            values.push(input_value(input).map_err(failed)?);
        }
        let names: Vec<String> =
            self.session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let answers = self.session.run(values.as_slice()).map_err(failed)?;
        let named = names.into_iter().zip(answers.values());
        Ok(named
            .filter_map(|(name, value)| filling(name, &value))
            .filter(|output| (1..=ELEMENTS_MAX).contains(&output.shape.iter().product::<i64>()))
            .collect())
    }
}

fn open(path: &Path) -> Result<Environment, OnnxRuntimeError> {
    let library = |error: ort::LoadDynamicError| OnnxRuntimeError::Library {
        path: path.display().to_string(),
        reason: first_line(&error.to_string()),
    };
    let start = |error: ort::Error| OnnxRuntimeError::Start(first_line(error.message()));
    let builder = ort::init_from(path).map_err(library)?;
    let environment = builder.with_name("modelfleet").with_telemetry(false).build().map_err(start)?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(environment)
}

/// `1.31.1` out of the build's description; empty where it says nothing of the kind.
fn version() -> String {
    let info = ort::info();
    let branch = info.split("git-branch=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    let number = branch.trim().trim_start_matches("rel-");
    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
    if is_number { number.chars().take(32).collect() } else { String::new() }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are as the type holds them"
)]
fn input_value(input: &NamedTensor) -> Result<SessionInputValue<'static>, ort::Error> {
    let shape = input.shape.clone();
    let numbers = match &input.data {
        Data::Texts(texts) => {
            return OrtTensor::from_string_array((shape, texts.as_slice())).map(SessionInputValue::from);
        }
        Data::Numbers(numbers) => numbers.iter(),
    };
    macro_rules! tensor {
        ($of:expr) => {
            OrtTensor::from_array((shape, numbers.map($of).collect::<Vec<_>>())).map(SessionInputValue::from)
        };
    }
    match input.datatype {
        Datatype::Fp16 => tensor!(|&v| f16::from_f64(v)),
        Datatype::Bf16 => tensor!(|&v| bf16::from_f64(v)),
        Datatype::Fp32 => tensor!(|&v| v as f32),
        Datatype::Fp64 | Datatype::String => tensor!(|&v| v),
        Datatype::Int8 => tensor!(|&v| v as i8),
        Datatype::Int16 => tensor!(|&v| v as i16),
        Datatype::Int32 => tensor!(|&v| v as i32),
        Datatype::Int64 => tensor!(|&v| v as i64),
        Datatype::Uint8 => tensor!(|&v| v as u8),
        Datatype::Uint16 => tensor!(|&v| v as u16),
        Datatype::Uint32 => tensor!(|&v| v as u32),
        Datatype::Uint64 => tensor!(|&v| v as u64),
        Datatype::Bool => tensor!(|&v| v != 0.0),
    }
}

/// An output; nothing when it is no tensor of numbers or texts.
#[allow(clippy::cast_precision_loss, reason = "labels and counts stay far below 2^53")]
fn filling(name: String, value: &DynValue) -> Option<NamedTensor> {
    let ValueType::Tensor { ty, .. } = value.dtype() else { return None };
    macro_rules! numbers {
        ($datatype:ident, $type:ty, $number:expr) => {{
            let (shape, elements) = value.try_extract_tensor::<$type>().ok()?;
            let numbers = elements.iter().map($number).collect();
            (Datatype::$datatype, shape.to_vec(), Data::Numbers(numbers))
        }};
    }
    let (datatype, shape, data) = match ty {
        TensorElementType::Float32 => numbers!(Fp32, f32, |&v| f64::from(v)),
        TensorElementType::Float64 => numbers!(Fp64, f64, |&v| v),
        TensorElementType::Float16 => numbers!(Fp16, f16, |&v| f64::from(v)),
        TensorElementType::Bfloat16 => numbers!(Bf16, bf16, |&v| f64::from(v)),
        TensorElementType::Int64 => numbers!(Int64, i64, |&v| v as f64),
        TensorElementType::Int32 => numbers!(Int32, i32, |&v| f64::from(v)),
        TensorElementType::Int16 => numbers!(Int16, i16, |&v| f64::from(v)),
        TensorElementType::Int8 => numbers!(Int8, i8, |&v| f64::from(v)),
        TensorElementType::Uint64 => numbers!(Uint64, u64, |&v| v as f64),
        TensorElementType::Uint32 => numbers!(Uint32, u32, |&v| f64::from(v)),
        TensorElementType::Uint16 => numbers!(Uint16, u16, |&v| f64::from(v)),
        TensorElementType::Uint8 => numbers!(Uint8, u8, |&v| f64::from(v)),
        TensorElementType::Bool => numbers!(Bool, bool, |&v| f64::from(u8::from(v))),
        TensorElementType::String => {
            let (shape, texts) = value.try_extract_strings().ok()?;
            (Datatype::String, shape.to_vec(), Data::Texts(texts))
        }
        _ => return None,
    };
    Some(NamedTensor { name, datatype, shape, data })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
