//! A Rollout from a file, checked as the API server would and with its defaults filled in.

use std::path::{Path, PathBuf};

use modelfleet_crds::{GROUP, Rollout, VERSION};
use serde_json::Value;

use crate::schema::{Problem, schemas};
use crate::yaml_file::{self, FileError, TextProblem};

const KIND: &str = "Rollout";

/// Why there is no Rollout to work with.
#[derive(Debug, thiserror::Error)]
pub enum RolloutFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It does not hold a Rollout that can be used.
    #[error("read the rollout in {path}")]
    Text {
        /// Where.
        path: PathBuf,
        /// Why.
        source: NoRollout,
    },
}

/// Why a text holds no Rollout to work with.
#[derive(Debug, thiserror::Error)]
pub enum NoRollout {
    /// It cannot be read.
    #[error(transparent)]
    Text(#[from] TextProblem),
    /// It does not hold one Rollout.
    #[error("it holds {0} objects of kind Rollout ({GROUP}), and exactly one is needed")]
    Count(usize),
    /// The API server would refuse it.
    #[error("{first}{}", rest(*.more))]
    Refused {
        /// The first thing that is wrong with it.
        first: Problem,
        /// How many more are.
        more: usize,
    },
}

/// The Rollout of a file; other objects in it are passed over.
///
/// # Errors
/// When the file cannot be read, does not hold exactly one Rollout, or one that the API server would refuse.
pub fn rollout(path: &Path) -> Result<Rollout, RolloutFileError> {
    let text = yaml_file::text(path)?;
    rollout_of(&text).map_err(|source| RolloutFileError::Text { path: path.to_owned(), source })
}

/// The Rollout of a text.
///
/// # Errors
/// [`NoRollout`].
pub fn rollout_of(text: &str) -> Result<Rollout, NoRollout> {
    let word =
        |object: &Value, field| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut found = yaml_file::objects(text)?;
    // Others have a kind of this name too.
    let own = format!("{GROUP}/");
    found.retain(|object| word(object, "kind") == KIND && word(object, "apiVersion").starts_with(&own));
    let [object] = &found[..] else { return Err(NoRollout::Count(found.len())) };
    let refused = |field: &str, message: String| {
        let first = Problem { field: field.to_owned(), message };
        NoRollout::Refused { first, more: 0 }
    };
    if word(object, "apiVersion") != own + VERSION {
        return Err(refused("apiVersion", format!("must be {GROUP}/{VERSION}")));
    }
    let schema = schemas().get(KIND).ok_or_else(|| refused("kind", "has no schema".to_owned()))?;
    let mut problems = schema.problems(object).into_iter();
    if let Some(first) = problems.next() {
        return Err(NoRollout::Refused { first, more: problems.len() });
    }
    serde_json::from_value(schema.filled(object)).map_err(|error| refused("spec", error.to_string()))
}

fn rest(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more; see all with: kubectl modelfleet lint -f FILE)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n";

    fn message(text: &str) -> String {
        rollout_of(text).unwrap_err().to_string()
    }

    #[test]
    fn other_objects_are_passed_over_and_defaults_filled_in() {
        let text = format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n---\n{ROLLOUT}spec: {{model: pump, version: 1.0.0}}\n---\n"
        );
        assert_eq!(rollout_of(&text).unwrap().spec.stages.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field_and_how_much_more_is() {
        assert!(message("kind: Service\n").contains("0 objects of kind Rollout"));
        assert!(message("kind: [").starts_with("line 1, column"));
        assert!(
            message("apiVersion: modelfleet.io/v9\nkind: Rollout\n")
                .contains("must be modelfleet.io/v1alpha1")
        );
        let one = message(&format!("{ROLLOUT}spec: {{model: pump, version: 1.0.0, pased: true}}\n"));
        assert!(one.starts_with("spec.pased is not a field") && !one.contains("more"), "{one}");
        let two = message(&format!("{ROLLOUT}spec: {{model: 5, version: 1.0.0, pased: true}}\n"));
        assert!(two.starts_with("spec.model") && two.contains("(and 1 more; see all with"), "{two}");
    }
}
