//! Inference engines behind one trait.

#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
mod port;
#[cfg(feature = "rten")]
pub mod rten;
#[cfg(feature = "onnxruntime")]
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use modelfleet_model_file::{NotCarried, ReadError};
use modelfleet_protocol::model::{Format, ModelBuild};
use modelfleet_protocol::state::{EngineInfo, FailureCode};

use crate::probe::Processes;
use crate::tensor::{ANSWER_BYTES_MAX, NamedTensor};
pub use port::{Port, Ports};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This device has no engine for the build.
    #[error("this device has no engine for the build (it needs {asked}, this device has {found})")]
    EngineMissing {
        /// The engines or operator sets that the build names.
        asked: String,
        /// The engines of the device.
        found: String,
    },
    /// The agent does not support the format.
    #[error("this agent does not support the model's format")]
    FormatUnknown,
    /// The verified bytes are not a model.
    #[error("read the model file")]
    File(#[from] ReadError),
    /// Devices do not support the model's inputs or outputs.
    #[error(transparent)]
    NotCarried(#[from] NotCarried),
    /// The file is of a newer version of the format than the engine takes.
    #[error("{engine} supports files up to IR version {known}, the model has version {needed}")]
    FileNewer {
        /// The engine.
        engine: String,
        /// The newest version that the engine takes.
        known: i64,
        /// The file's version.
        needed: i64,
    },
    /// The engine lacks an operator set.
    #[error("{engine} supports {domain} up to opset {known}, the model needs opset {needed}")]
    OpsetMissing {
        /// The engine.
        engine: String,
        /// The operator set's domain.
        domain: String,
        /// The highest version that the engine knows.
        known: i64,
        /// The version that the model imports.
        needed: i64,
    },
    /// The engine lacks an operator.
    #[error("{engine} does not support an operator of the model: {detail}")]
    OperatorMissing {
        /// The engine.
        engine: String,
        /// The engine's message.
        detail: String,
    },
    /// The engine would give other results than the file specifies.
    #[error("{engine} would give other results than the model specifies: {detail}")]
    Inexact {
        /// The engine.
        engine: String,
        /// What it does not keep.
        detail: String,
    },
    /// The model needs more memory than is allowed.
    #[error("{engine} needs more memory for the model than it may use: {detail}")]
    Memory {
        /// The engine.
        engine: String,
        /// The engine's message.
        detail: String,
    },
    /// The device cannot start a process for the model now.
    #[error("{engine} was not started: {detail}")]
    NotStarted {
        /// The engine.
        engine: String,
        /// What the system said.
        detail: String,
    },
    /// The engine cannot load the model for another reason.
    #[error("{engine} cannot load the model: {detail}")]
    Refused {
        /// The engine.
        engine: String,
        /// The engine's message.
        detail: String,
    },
}

impl LoadError {
    /// The code that the device reports.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        match self {
            LoadError::EngineMissing { .. } => FailureCode::EngineMissing,
            LoadError::FormatUnknown | LoadError::NotCarried(_) | LoadError::FileNewer { .. } => {
                FailureCode::FormatUnknown
            }
            LoadError::OpsetMissing { .. } => FailureCode::OpsetMissing,
            LoadError::OperatorMissing { .. } | LoadError::Inexact { .. } => FailureCode::OperatorMissing,
            LoadError::Memory { .. } => FailureCode::MemoryShort,
            LoadError::NotStarted { .. } => FailureCode::Unproven,
            LoadError::File(_) | LoadError::Refused { .. } => FailureCode::LoadRefused,
        }
    }
}

/// Why a prediction has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model has no such input, or the input has another type or shape.
    #[error("input {name:?}: {reason}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine cannot process these values: an index beyond a table, a division by zero.
    #[error("{engine} cannot answer these values: {detail}")]
    Values {
        /// The engine.
        engine: &'static str,
        /// The engine's message.
        detail: String,
    },
    /// The prediction needs more memory than is allowed.
    #[error("{engine} needs more memory than a prediction may use; send fewer rows at once: {detail}")]
    Memory {
        /// The engine.
        engine: &'static str,
        /// The engine's message.
        detail: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer has {bytes} bytes, at most {ANSWER_BYTES_MAX} are allowed; send fewer rows at once")]
    Large {
        /// How many it has.
        bytes: usize,
    },
    /// An output of a type that is not supported.
    #[error("output {name:?}: {reason}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine failed.
    #[error("{engine} could not run the model: {detail}")]
    Engine {
        /// The engine.
        engine: &'static str,
        /// The engine's message.
        detail: String,
    },
    /// The process that ran the model has ended. The session answers no more.
    #[error("{engine} could not run the model: {detail}")]
    Ended {
        /// The engine.
        engine: &'static str,
        /// How it ended.
        detail: String,
    },
}

/// Checks the size of outputs before they are copied.
///
/// # Errors
/// When they are too large.
pub(crate) fn bounded(bytes: usize) -> Result<(), RunError> {
    if bytes > ANSWER_BYTES_MAX { Err(RunError::Large { bytes }) } else { Ok(()) }
}

/// An inference engine.
pub trait Engine: Send + Sync {
    /// Its name, version and highest operator sets.
    fn info(&self) -> EngineInfo;

    /// Whether its answers are those that self-tests are made of. Where another engine answers them otherwise, it is that
    /// engine which does not run the model exactly.
    fn is_reference(&self) -> bool;

    /// Largest size that a request may choose where a file leaves one open, for an engine that cannot be told how much
    /// memory it may take. `None`: any.
    fn open_max(&self) -> Option<usize>;

    /// The processes that it runs models in, where those are not the agent's own.
    fn processes(&self) -> Option<Arc<dyn Processes>> {
        None
    }

    /// Loads a model whose bytes are verified and whose file says that it has these inputs and outputs.
    ///
    /// # Errors
    /// When the engine lacks an operator, would not run the model exactly, or refuses it.
    fn load(&self, bytes: &[u8], ports: &Ports) -> Result<Box<dyn Session>, LoadError>;
}

/// A loaded model. Predictions of one session may wait for each other.
pub trait Session: Send + Sync {
    /// All outputs for these inputs, in the model's order.
    ///
    /// # Errors
    /// When an input does not fit, the engine fails or an output cannot be carried.
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError>;

    /// As [`Session::run`]; an engine in a process of its own is ended when it takes longer.
    ///
    /// # Errors
    /// As [`Session::run`], and when it takes longer.
    fn run_within(&self, inputs: &[NamedTensor], within: Duration) -> Result<Vec<NamedTensor>, RunError> {
        let _ = within;
        self.run(inputs)
    }

    /// How the process ended that ran the model, if it was one of its own and has ended. Such a session answers no more.
    fn ended(&self) -> Option<String> {
        None
    }

    /// Memory that the model takes in a process of its own, bytes.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// The engines of this process, in order of preference.
#[derive(Clone, Default)]
pub struct Engines(Vec<Arc<dyn Engine>>);

/// A loaded model and the engine that runs it.
pub struct Loaded {
    /// The session.
    pub session: Box<dyn Session>,
    /// The engine's name.
    pub engine: String,
    /// Whether self-tests are made of its answers.
    pub is_reference: bool,
    /// What it takes and gives.
    pub ports: Ports,
}

impl Engines {
    /// These engines, the preferred one first.
    #[must_use]
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Engines {
        Engines(engines)
    }

    /// What the device reports of its engines.
    #[must_use]
    pub fn infos(&self) -> Vec<EngineInfo> {
        self.0.iter().map(|e| e.info()).collect()
    }

    /// The processes in which engines run models.
    #[must_use]
    pub fn processes(&self) -> Option<Arc<dyn Processes>> {
        self.0.iter().find_map(|engine| engine.processes())
    }

    /// Loads a model on the first engine that takes it. The bytes must be verified.
    ///
    /// # Errors
    /// When no engine takes it; the reason is that of the engine that came furthest.
    pub fn load(&self, bytes: &[u8], build: &ModelBuild) -> Result<Loaded, LoadError> {
        self.load_without(bytes, build, &[])
    }

    /// As [`Engines::load`], without engines of these names.
    ///
    /// # Errors
    /// When no other engine takes it.
    pub fn load_without(
        &self,
        bytes: &[u8],
        build: &ModelBuild,
        without: &[String],
    ) -> Result<Loaded, LoadError> {
        if !matches!(build.format, Format::Onnx | Format::OnnxWithDetails) {
            return Err(LoadError::FormatUnknown);
        }
        let header = modelfleet_model_file::read(bytes)?;
        header.check_carried()?;
        let ports = Ports::of(&header);
        let mut best: Option<LoadError> = None;
        for engine in &self.0 {
            let info = engine.info();
            let allowed = build.engines.is_empty() || build.engines.contains(&info.name);
            if !allowed || without.contains(&info.name) {
                continue;
            }
            // A domain that the engine has never heard of shows as a missing operator when it loads.
            let lacking = header.opsets.iter().find_map(|(domain, &needed)| {
                let known = *info.opsets.get(domain)?;
                (known < needed).then(|| (domain.clone(), known, needed))
            });
            let is_newer = info.ir_version > 0 && header.ir_version > info.ir_version;
            let outcome = match lacking {
                _ if is_newer => Err(LoadError::FileNewer {
                    engine: info.name.clone(),
                    known: info.ir_version,
                    needed: header.ir_version,
                }),
                Some((domain, known, needed)) => {
                    Err(LoadError::OpsetMissing { engine: info.name.clone(), domain, known, needed })
                }
                None => engine.load(bytes, &ports),
            };
            match outcome {
                Ok(session) => {
                    let is_reference = engine.is_reference();
                    let ports = Ports { open_max: engine.open_max(), ..ports };
                    return Ok(Loaded { session, engine: info.name, is_reference, ports });
                }
                Err(e) if best.as_ref().is_none_or(|b| reach(&e) > reach(b)) => best = Some(e),
                Err(_) => {}
            }
        }
        Err(best.unwrap_or_else(|| self.missing(build)))
    }

    fn missing(&self, build: &ModelBuild) -> LoadError {
        let names: Vec<String> = self.0.iter().map(|e| e.info().name).collect();
        let or_any = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        LoadError::EngineMissing {
            asked: if build.engines.is_empty() { "any engine".into() } else { build.engines.join(", ") },
            found: or_any(names),
        }
    }
}

/// How far an engine came with a model before it gave up.
fn reach(error: &LoadError) -> u8 {
    match error {
        LoadError::EngineMissing { .. }
        | LoadError::FormatUnknown
        | LoadError::NotCarried(_)
        | LoadError::File(_) => 0,
        LoadError::FileNewer { .. } | LoadError::OpsetMissing { .. } => 1,
        LoadError::OperatorMissing { .. } | LoadError::Inexact { .. } => 2,
        LoadError::Memory { .. } | LoadError::NotStarted { .. } | LoadError::Refused { .. } => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that takes every file that it is given.
    struct Takes(EngineInfo);

    impl Engine for Takes {
        fn info(&self) -> EngineInfo {
            self.0.clone()
        }

        fn is_reference(&self) -> bool {
            true
        }

        fn open_max(&self) -> Option<usize> {
            None
        }

        fn load(&self, _: &[u8], _: &Ports) -> Result<Box<dyn Session>, LoadError> {
            Ok(Box::new(Nothing))
        }
    }

    struct Nothing;

    impl Session for Nothing {
        fn run(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
            Ok(Vec::new())
        }
    }

    fn outcome(file: &[u8]) -> Result<String, FailureCode> {
        let opsets = [("ai.onnx".to_owned(), 21), ("ai.onnx.ml".to_owned(), 3)].into();
        let info = EngineInfo { name: "E".into(), version: "1".into(), opsets, ir_version: 13 };
        let build = serde_json::json!({
            "model": "m", "version": "1.0.0", "digest": modelfleet_protocol::ids::Digest::of(file), "uri": "file:///m",
            "sizeBytes": file.len(), "format": "Onnx",
        });
        let build: ModelBuild = serde_json::from_value(build).unwrap();
        let loaded = Engines::new(vec![Arc::new(Takes(info))]).load(file, &build);
        loaded.map(|loaded| loaded.engine).map_err(|error| error.code())
    }

    #[test]
    fn what_a_device_cannot_run_is_no_failure_of_the_model() {
        macro_rules! file {
            ($name:literal) => {
                include_bytes!(concat!("../../model-file/testdata/", $name, ".onnx"))
            };
        }
        assert_eq!(outcome(file!("unused-opsets")), Ok("E".to_owned()), "imported and not used");
        assert_eq!(outcome(file!("half")), Ok("E".to_owned()));
        for file in [file!("ir14").as_slice(), file!("zipmap"), file!("float8")] {
            let code = outcome(file).unwrap_err();
            assert!(code.is_incompatibility() && !code.is_hard_stop(), "{code:?}");
        }
        assert_eq!(outcome(file!("external-in-branch")), Err(FailureCode::LoadRefused));
    }
}
