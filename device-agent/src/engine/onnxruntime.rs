//! ONNX Runtime, opened at run time from a path.

mod arena;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use half::{bf16, f16};
use modelfleet_model_file::probe;
use modelfleet_protocol::state::EngineInfo;
use ort::ErrorCode;
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef, ValueType};

use super::{Engine, LoadError, Ports, RunError, Session, bounded};
use crate::probe::machine_bytes;
use crate::tensor::{Elements, NamedTensor};

/// The name that plans use.
pub const NAME: &str = "OnnxRuntime";
/// Highest versions that are asked for when the engine's operator sets are found out.
const OPSETS_ASKED: [(&str, u8); 2] = [("ai.onnx", 40), ("ai.onnx.ml", 10)];

/// Old enough for any engine of today.
const PROBE_IR_VERSION: u8 = 8;
const PROBE_OPSET: u8 = 13;
/// Highest version of the file format that is asked for.
const IR_VERSION_ASKED: u8 = 40;

/// Most memory that predictions of all models take together, besides weights: what a small net never needs, and no
/// more than a quarter of the machine's.
const SCRATCH_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// On however small a machine; also where the system does not say how large it is.
const SCRATCH_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// What is freed after a prediction is given back to the system.
const GIVE_BACK: (&str, &str) = ("memory.enable_memory_arena_shrinkage", "cpu:0");

fn scratch_bytes(machine_bytes: u64) -> usize {
    let bytes = (machine_bytes / 4).clamp(SCRATCH_BYTES_MIN, SCRATCH_BYTES_MAX);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Why the engine is not there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library could not be opened, or is too old.
    #[error("open ONNX Runtime at {path}: {detail}")]
    Library {
        /// Where it was looked for.
        path: String,
        /// What the loader said.
        detail: String,
    },
    /// The library is there but did not start.
    #[error("start ONNX Runtime: {0}")]
    Start(String),
}

/// ONNX Runtime.
pub struct OnnxRuntime {
    environment: Environment,
    info: EngineInfo,
    threads: usize,
}

impl OnnxRuntime {
    /// Opens the shared library and finds out which operator sets it knows. As many predictions of one model
    /// run at once as there are `threads`.
    ///
    /// # Errors
    /// When there is no such library, it is too old or it does not start.
    pub fn open(path: &Path, threads: usize) -> Result<OnnxRuntime, OpenError> {
        let mut engine = OnnxRuntime::start(path, threads)?;
        engine.describe();
        Ok(engine)
    }

    /// Opens the shared library, without asking what it knows.
    ///
    /// # Errors
    /// When there is no such library, it is too old or it does not start.
    pub fn start(path: &Path, threads: usize) -> Result<OnnxRuntime, OpenError> {
        let shown = path.display().to_string();
        let library = |e: ort::LoadDynamicError| OpenError::Library { path: shown, detail: e.to_string() };
        let builder = ort::init_from(path).map_err(library)?;
        let start = |e: ort::Error| OpenError::Start(e.to_string());
        let mut environment = builder.with_name("modelfleet").with_telemetry(false).build().map_err(start)?;
        arena::bound(&mut environment, scratch_bytes(machine_bytes())).map_err(start)?;
        environment.set_log_level(LogLevel::Fatal);
        let info = EngineInfo { name: NAME.into(), version: version(path), ..EngineInfo::default() };
        Ok(OnnxRuntime { environment, info, threads: threads.max(1) })
    }

    /// Finds out which operator sets and which versions of the file format it knows.
    pub fn describe(&mut self) {
        let opsets = OPSETS_ASKED.iter().filter_map(|&(domain, most)| {
            let known =
                (1..=most).rev().find(|&v| self.session(&probe(domain, v, PROBE_IR_VERSION)).is_ok())?;
            Some((domain.to_owned(), i64::from(known)))
        });
        let opsets = opsets.chain([("com.microsoft".to_owned(), 1)]).collect();
        let newest = (PROBE_IR_VERSION..=IR_VERSION_ASKED)
            .rev()
            .find(|&version| self.session(&probe("ai.onnx", PROBE_OPSET, version)).is_ok());
        (self.info.opsets, self.info.ir_version) = (opsets, newest.map_or(0, i64::from));
    }

    fn session(&self, bytes: &[u8]) -> Result<OrtSession, String> {
        let text = |e: ort::Error| e.message().to_owned();
        let builder = |e: ort::Error<ort::session::builder::SessionBuilder>| e.message().to_owned();
        // One thread: predictions are small, and a device has other things to do with its cores. Weights are not
        // counted with what predictions may take.
        let cpu = ep::CPU::default().with_arena_allocator(true).build();
        OrtSession::builder(&self.environment)
            .map_err(text)?
            .with_intra_threads(1)
            .map_err(builder)?
            .with_parallel_execution(false)
            .map_err(builder)?
            .with_memory_pattern(false)
            .map_err(builder)?
            .with_env_allocators()
            .map_err(builder)?
            .with_device_allocated_initializers()
            .map_err(builder)?
            .with_execution_providers([cpu])
            .map_err(builder)?
            .commit_from_memory(bytes)
            .map_err(text)
    }
}

/// `1.31.1` out of the library's path, where package managers and wheels write it: the library does not tell its
/// version through the bindings. Otherwise the version that the bindings ask for at least.
fn version(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let named = path.iter().rev().filter_map(|part| part.to_str()).find_map(|part| {
        let version = part.split_once(".so.").map_or(part, |(_, version)| version);
        let numbers: Vec<&str> = version.split('.').collect();
        let good = numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok());
        good.then(|| version.to_owned())
    });
    named.unwrap_or_else(|| format!("1.{}", ort::MINOR_VERSION))
}

impl Engine for OnnxRuntime {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn is_reference(&self) -> bool {
        true
    }

    fn open_max(&self) -> Option<usize> {
        None
    }

    fn load(&self, bytes: &[u8], _: &Ports) -> Result<Box<dyn Session>, LoadError> {
        let sessions = (0..self.threads).map(|_| self.session(bytes)).collect::<Result<Vec<_>, _>>();
        let sessions = sessions.map_err(|detail| {
            let engine = NAME.to_owned();
            // The engine's codes do not tell an unknown operator from a broken model; its words do.
            if detail.contains("is not a registered function/op")
                || detail.contains("Could not find an implementation")
                || detail.contains("No Op registered for")
            {
                LoadError::OperatorMissing { engine, detail }
            } else if lacks_memory(&detail) {
                LoadError::Memory { engine, detail }
            } else {
                LoadError::Refused { engine, detail }
            }
        })?;
        let outputs = sessions[0].outputs().iter().map(|o| o.name().to_owned()).collect();
        let inputs = sessions[0].inputs().iter().map(|i| i.name().to_owned()).collect();
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        let refuse = |e: ort::Error| LoadError::Refused { engine: NAME.into(), detail: e.message().into() };
        let mut options = RunOptions::new().map_err(refuse)?;
        options.set(GIVE_BACK.0, GIVE_BACK.1).map_err(refuse)?;
        Ok(Box::new(Loaded { inputs, outputs, options, sessions }))
    }
}

/// One session for each thread that predicts: the engine's own state is not safe to share.
struct Loaded {
    inputs: Vec<String>,
    outputs: Vec<String>,
    options: RunOptions,
    sessions: Vec<Mutex<OrtSession>>,
}

impl Loaded {
    /// A session that is not in use, or the first one when it is free.
    fn session(&self) -> MutexGuard<'_, OrtSession> {
        let free = self.sessions.iter().find_map(|session| session.try_lock().ok());
        free.unwrap_or_else(|| self.sessions[0].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session for Loaded {
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        let find = |name: &String| {
            let reason = || RunError::Input { name: name.clone(), reason: "is missing".into() };
            inputs.iter().find(|t| &t.name == name).ok_or_else(reason).and_then(input)
        };
        if let Some(extra) = inputs.iter().find(|t| !self.inputs.contains(&t.name)) {
            return Err(RunError::Input { name: extra.name.clone(), reason: "is not the model's".into() });
        }
        let values: Vec<SessionInputValue<'_>> = self.inputs.iter().map(find).collect::<Result<_, _>>()?;
        let mut session = self.session();
        let answers = session.run_with_options(values.as_slice(), &self.options).map_err(failed)?;
        let sizes = answers.values().map(|value| size(&value));
        bounded(sizes.fold(0, usize::saturating_add))?;
        let named = self.outputs.iter().zip(answers.values());
        named.map(|(name, value)| output(name, &value)).collect()
    }
}

fn lacks_memory(detail: &str) -> bool {
    ["bad_alloc", "smaller than requested bytes", "Failed to allocate memory"]
        .iter()
        .any(|words| detail.contains(words))
}

/// What an error of the engine speaks of. Its codes tell only a part of it; its words tell the rest.
fn failed(error: ort::Error) -> RunError {
    let (engine, detail) = (NAME, error.message().to_owned());
    if lacks_memory(&detail) {
        RunError::Memory { engine, detail }
    } else if error.code() == ErrorCode::InvalidArgument || detail.contains("division by zero") {
        RunError::Values { engine, detail }
    } else {
        RunError::Engine { engine, detail }
    }
}

fn input(tensor: &NamedTensor) -> Result<SessionInputValue<'_>, RunError> {
    let shape = tensor.shape.as_slice();
    macro_rules! view {
        ($values:expr) => {
            TensorRef::from_array_view((shape, $values.as_slice())).map(SessionInputValue::from)
        };
    }
    let value = match &tensor.data {
        Elements::F16(v) => view!(v),
        Elements::Bf16(v) => view!(v),
        Elements::F32(v) => view!(v),
        Elements::F64(v) => view!(v),
        Elements::I8(v) => view!(v),
        Elements::I16(v) => view!(v),
        Elements::I32(v) => view!(v),
        Elements::I64(v) => view!(v),
        Elements::U8(v) => view!(v),
        Elements::U16(v) => view!(v),
        Elements::U32(v) => view!(v),
        Elements::U64(v) => view!(v),
        Elements::Bool(v) => view!(v),
        Elements::Text(v) => Tensor::from_string_array((shape, v.as_slice())).map(SessionInputValue::from),
    };
    value.map_err(|e| RunError::Input { name: tensor.name.clone(), reason: e.message().to_owned() })
}

/// Bytes of an output's elements; those of texts are not known before they are read.
fn size(value: &DynValue) -> usize {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else { return 0 };
    let dims = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0));
    dims.fold(ty.byte_size(1).unwrap_or(0), usize::saturating_mul)
}

/// An output as a named tensor.
fn output(name: &str, value: &DynValue) -> Result<NamedTensor, RunError> {
    let refuse = |reason: String| RunError::Output { name: name.to_owned(), reason };
    let ValueType::Tensor { ty, .. } = value.dtype() else { return Err(refuse("is no tensor".into())) };
    macro_rules! take {
        ($kind:ident, $type:ty) => {{
            let taken = value.try_extract_tensor::<$type>();
            let (shape, data) = taken.map_err(|e| refuse(e.message().to_owned()))?;
            (shape.to_vec(), Elements::$kind(data.to_vec()))
        }};
    }
    let (shape, data) = match ty {
        TensorElementType::Float16 => take!(F16, f16),
        TensorElementType::Bfloat16 => take!(Bf16, bf16),
        TensorElementType::Float32 => take!(F32, f32),
        TensorElementType::Float64 => take!(F64, f64),
        TensorElementType::Int8 => take!(I8, i8),
        TensorElementType::Int16 => take!(I16, i16),
        TensorElementType::Int32 => take!(I32, i32),
        TensorElementType::Int64 => take!(I64, i64),
        TensorElementType::Uint8 => take!(U8, u8),
        TensorElementType::Uint16 => take!(U16, u16),
        TensorElementType::Uint32 => take!(U32, u32),
        TensorElementType::Uint64 => take!(U64, u64),
        TensorElementType::Bool => take!(Bool, bool),
        TensorElementType::String => {
            let taken = value.try_extract_strings();
            // The bindings refuse what is not UTF-8, which JSON could not carry either.
            let (shape, data) =
                taken.map_err(|e| refuse(format!("its text cannot be read: {}", e.message())))?;
            (shape.to_vec(), Elements::Text(data))
        }
        other => return Err(refuse(format!("elements of type {other} cannot be sent"))),
    };
    let shape = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    Ok(NamedTensor { name: name.to_owned(), shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_take_a_part_of_the_machine() {
        assert_eq!(scratch_bytes(0), 64 << 20);
        assert_eq!(scratch_bytes(1 << 30), 256 << 20);
        assert_eq!(scratch_bytes(64 << 30), 512 << 20);
    }

    #[test]
    fn a_version_is_read_from_the_path() {
        assert_eq!(version(Path::new("/nowhere/libonnxruntime.so.1.31.1")), "1.31.1");
        assert_eq!(version(Path::new("/nowhere/1.31.1/libonnxruntime.so")), "1.31.1");
        assert_eq!(version(Path::new("/nowhere/libonnxruntime.so")), format!("1.{}", ort::MINOR_VERSION));
    }
}
