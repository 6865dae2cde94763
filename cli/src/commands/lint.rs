//! `lint`: what is wrong with a file, and what is unwise, without a server.

mod advice;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_crds::{GROUP, VERSION};
use serde::Deserialize;
use serde_json::Value;

use crate::outcome::Outcome;
use crate::schema::{Problem, schemas};
use crate::table::one_line;

/// Most bytes of a file; a Kubernetes object has less.
const BYTES_MAX: u64 = 4 << 20;
/// Most objects of a file.
const OBJECTS_MAX: usize = 256;

/// The command line of `lint`.
#[derive(Debug, Args)]
#[command(
    after_help = "An error is what the API server would refuse: the exit code is 1. A warning is what it takes, \
                        and what will surprise you later."
)]
pub struct LintArguments {
    /// File with Rollouts and ModelVersions, as YAML or JSON; - is the standard input; repeatable.
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Why a file cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long.
    #[error("{path} has more than {BYTES_MAX} bytes or {OBJECTS_MAX} objects")]
    Long {
        /// Where.
        path: PathBuf,
    },
    /// It is not YAML.
    #[error("read {path} as YAML")]
    Yaml {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
}

/// What was found in one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Kind and name.
    pub object: String,
    /// What the API server would refuse.
    pub errors: Vec<Problem>,
    /// What it takes, and what is unwise.
    pub warnings: Vec<Problem>,
}

/// Checks files.
///
/// # Errors
/// When a file cannot be read.
pub fn run(arguments: &LintArguments) -> Result<Outcome, LintError> {
    let mut failed = false;
    for path in &arguments.files {
        for findings in lint(&text_of(path)?).map_err(|error| error.at(path))? {
            failed |= !findings.errors.is_empty();
            print!("{}", shown(path, &findings));
        }
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// Why a text cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is not YAML.
    #[error("it is not YAML")]
    Yaml(#[from] serde_yaml::Error),
    /// It is too long.
    #[error("it holds more than {OBJECTS_MAX} objects")]
    Long,
}

impl TextError {
    fn at(self, path: &Path) -> LintError {
        match self {
            TextError::Yaml(source) => LintError::Yaml { path: path.to_owned(), source },
            TextError::Long => LintError::Long { path: path.to_owned() },
        }
    }
}

/// Checks the objects of a text.
///
/// # Errors
/// When it is not YAML, or holds too much.
pub fn lint(text: &str) -> Result<Vec<Findings>, TextError> {
    let schemas = schemas();
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let object = Value::deserialize(document)?;
        if object.is_null() {
            continue;
        }
        if all.len() == OBJECTS_MAX {
            return Err(TextError::Long);
        }
        let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, api_version) = (word("/kind"), word("/apiVersion"));
        let name = if word("/metadata/name").is_empty() {
            word("/metadata/generateName")
        } else {
            word("/metadata/name")
        };
        let mut findings = Findings { object: format!("{kind}/{name}"), ..Findings::default() };
        let problem = |field: &str, message: String| Problem { field: field.to_owned(), message };
        match schemas.get(kind) {
            _ if !api_version.starts_with(&format!("{GROUP}/")) => {
                findings.warnings.push(problem("apiVersion", format!("is not of {GROUP}: not checked")));
            }
            None => findings.errors.push(problem("kind", "is neither Rollout nor ModelVersion".to_owned())),
            Some(_) if api_version != format!("{GROUP}/{VERSION}") => {
                findings.errors.push(problem("apiVersion", format!("must be {GROUP}/{VERSION}")));
            }
            Some(schema) => {
                findings.errors = schema.problems(&object);
                if name.is_empty() {
                    findings.errors.push(problem("metadata.name", "is required".to_owned()));
                }
                if findings.errors.is_empty() {
                    findings.warnings = advice::advice(kind, schema.filled(&object));
                }
            }
        }
        all.push(findings);
    }
    Ok(all)
}

fn shown(path: &Path, findings: &Findings) -> String {
    let place = format!("{}: {}", path.display(), findings.object);
    if findings.errors.is_empty() && findings.warnings.is_empty() {
        return format!("{}: good\n", one_line(&place));
    }
    let line = |level: &str, problem: &Problem| {
        one_line(&format!("{place}: {level}: {} {}", problem.field, problem.message)) + "\n"
    };
    let errors = findings.errors.iter().map(|problem| line("error", problem));
    errors.chain(findings.warnings.iter().map(|problem| line("warning", problem))).collect()
}

fn text_of(path: &Path) -> Result<String, LintError> {
    let failed = |source| LintError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    source.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX { Err(LintError::Long { path: path.to_owned() }) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
