//! `lint`: what is wrong with a file, and what is unwise, without a server.

mod warnings;

use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_crds::{GROUP, Rollout, VERSION};
use serde_json::Value;

use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::rollout_setup;
use crate::schema::{Problem, schemas};
use crate::table::one_line;
use crate::yaml_file::{self, FileError, TextProblem};

const ROLLOUT: &str = "Rollout";

/// The command line of `lint`.
#[derive(Debug, Args)]
#[command(
    after_help = "An error is something that the API server or the controller would refuse; the exit code is then \
                        1. A warning is something that they accept, but that may surprise you later."
)]
pub struct LintArguments {
    /// File with Rollouts and ModelVersions, as YAML or JSON; - reads standard input; repeatable.
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Why a file was not checked.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// What was found in one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Kind and name.
    pub object: String,
    /// What the API server or the controller would refuse.
    pub errors: Vec<Problem>,
    /// What they take, and what is unwise.
    pub warnings: Vec<Problem>,
}

/// Checks files.
///
/// # Errors
/// When a file cannot be read.
pub fn run(arguments: &LintArguments) -> Result<Outcome, LintError> {
    let mut failed = false;
    for path in &arguments.files {
        let all =
            lint(&yaml_file::text(path)?).map_err(|source| FileError::Text { path: path.clone(), source })?;
        if all.is_empty() {
            failed = true;
            printing::answer(&format!("{}: error: it holds no objects\n", path.display()))?;
        }
        for findings in all {
            failed |= !findings.errors.is_empty();
            printing::answer(&lines(path, &findings))?;
        }
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// Checks the objects of a text.
///
/// # Errors
/// When it is not YAML, or holds too much.
pub fn lint(text: &str) -> Result<Vec<Findings>, TextProblem> {
    Ok(yaml_file::objects(text)?.iter().map(findings).collect())
}

fn findings(object: &Value) -> Findings {
    let schemas = schemas();
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
            findings
                .warnings
                .push(problem("apiVersion", format!("is not of {GROUP}, so the object was not checked")));
        }
        None => findings.errors.push(problem("kind", "must be Rollout or ModelVersion".to_owned())),
        Some(_) if api_version != format!("{GROUP}/{VERSION}") => {
            findings.errors.push(problem("apiVersion", format!("must be {GROUP}/{VERSION}")));
        }
        Some(schema) => {
            findings.errors = schema.problems(object);
            if name.is_empty() {
                findings.errors.push(problem("metadata.name", "is required".to_owned()));
            }
            let filled = schema.filled(object);
            if findings.errors.is_empty() && kind == ROLLOUT {
                findings.errors.extend(cannot_work(&filled));
            }
            if findings.errors.is_empty() {
                findings.warnings = warnings::warnings(kind, filled);
            }
        }
    }
    findings
}

/// What the API server takes in a Rollout, and the controller does not.
fn cannot_work(object: &Value) -> Option<Problem> {
    let rollout: Rollout = serde_json::from_value(object.clone()).ok()?;
    let refused = rollout_setup::setup(&rollout).err()?;
    Some(Problem { field: refused.field, message: refused.what })
}

fn lines(path: &Path, findings: &Findings) -> String {
    let place = format!("{}: {}", path.display(), findings.object);
    if findings.errors.is_empty() && findings.warnings.is_empty() {
        return format!("{}: ok\n", one_line(&place));
    }
    let line = |level: &str, problem: &Problem| one_line(&format!("{place}: {level}: {problem}")) + "\n";
    let errors = findings.errors.iter().map(|problem| line("error", problem));
    errors.chain(findings.warnings.iter().map(|problem| line("warning", problem))).collect()
}

#[cfg(test)]
mod tests;
