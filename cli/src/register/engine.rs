//! ONNX Runtime, opened at run time from a path: the answers of the self-test come from it.
//!
//! A device opens the same library by the same rule: a path that is given, or what the system finds.

use std::path::Path;

use modelfleet_crds::model_version::{Datatype, Tensor, TensorValues};
use modelfleet_crds::text::Decimal;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use crate::decimal::{decimal, decimal_of_f32};

/// What the system's loader looks for when no path is given.
const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else if cfg!(windows) {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so"
};

/// Most elements of one tensor in a self-test.
pub const ELEMENTS_MAX: usize = 4_096;

/// Why the model cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library is not there or too old.
    #[error("ONNX Runtime is not at {path} ({reason}); name its library with --onnxruntime")]
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
    #[error("the model does not load in ONNX Runtime: {0}")]
    Load(String),
    /// Elements that this program does not pass in.
    #[error("the self-test cannot pass {0:?} elements to a model")]
    Datatype(Datatype),
    /// The model failed at a row.
    #[error("the model fails on a training row: {0}")]
    Run(String),
}

/// A loaded model.
pub struct Engine {
    session: Session,
    /// Version of the engine, as it calls itself.
    pub version: String,
}

impl Engine {
    /// Opens the library and loads the model.
    ///
    /// # Errors
    /// When there is no such library, or it refuses the model.
    pub fn load(library: Option<&Path>, model: &[u8]) -> Result<Engine, EngineError> {
        let path = library.unwrap_or(Path::new(LIBRARY));
        let environment = open(path)?;
        let text = |error: ort::Error| EngineError::Load(first_line(error.message()));
        let builder = |error: ort::Error<ort::session::builder::SessionBuilder>| {
            EngineError::Load(first_line(error.message()))
        };
        let session = Session::builder(&environment)
            .map_err(text)?
            .with_intra_threads(1)
            .map_err(builder)?
            .commit_from_memory(model)
            .map_err(text)?;
        Ok(Engine { session, version: version() })
    }

    /// The outputs for one row; outputs without decimal elements are left out.
    ///
    /// # Errors
    /// When the model does not take the row.
    pub fn answer(
        &mut self,
        input: &Tensor,
        shape: &[i64],
        row: &[f64],
    ) -> Result<Vec<TensorValues>, EngineError> {
        let failed = |error: ort::Error| EngineError::Run(first_line(error.message()));
        let value = input_value(input.datatype, shape, row)?.map_err(failed)?;
        let names: Vec<String> =
            self.session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let answers = self.session.run([value].as_slice()).map_err(failed)?;
        let named = names.into_iter().zip(answers.values());
        Ok(named
            .filter_map(|(name, value)| Some(TensorValues { name, values: elements(&value)? }))
            .filter(|tensor| !tensor.values.is_empty() && tensor.values.len() <= ELEMENTS_MAX)
            .collect())
    }
}

fn open(path: &Path) -> Result<Environment, EngineError> {
    let library = |error: ort::LoadDynamicError| EngineError::Library {
        path: path.display().to_string(),
        reason: first_line(&error.to_string()),
    };
    let start = |error: ort::Error| EngineError::Start(first_line(error.message()));
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

type Built = Result<SessionInputValue<'static>, ort::Error>;

fn input_value(datatype: Datatype, shape: &[i64], row: &[f64]) -> Result<Built, EngineError> {
    let shape = shape.to_vec();
    macro_rules! tensor {
        ($type:ty) => {
            OrtTensor::from_array((shape, row.iter().map(|&v| v as $type).collect::<Vec<_>>()))
                .map(SessionInputValue::from)
        };
    }
    Ok(match datatype {
        Datatype::Fp32 => tensor!(f32),
        Datatype::Fp64 => tensor!(f64),
        Datatype::Int64 => tensor!(i64),
        Datatype::Int32 => tensor!(i32),
        other => return Err(EngineError::Datatype(other)),
    })
}

/// The elements of an output; nothing when it is no tensor of numbers, or one of them is not finite.
fn elements(value: &DynValue) -> Option<Vec<Decimal>> {
    let ValueType::Tensor { ty, .. } = value.dtype() else { return None };
    macro_rules! whole {
        ($type:ty) => {
            Some(
                value
                    .try_extract_tensor::<$type>()
                    .ok()?
                    .1
                    .iter()
                    .map(|v| Decimal::from(v.to_string()))
                    .collect(),
            )
        };
    }
    match ty {
        TensorElementType::Float32 => {
            value.try_extract_tensor::<f32>().ok()?.1.iter().map(|&v| decimal_of_f32(v)).collect()
        }
        TensorElementType::Float64 => {
            value.try_extract_tensor::<f64>().ok()?.1.iter().map(|&v| decimal(v)).collect()
        }
        TensorElementType::Int64 => whole!(i64),
        TensorElementType::Int32 => whole!(i32),
        TensorElementType::Uint8 => whole!(u8),
        _ => None,
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
