//! What is wrong with an object, for its condition: the field, and what to do.

/// Why an object cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For programs, one CamelCase word.
    pub reason: &'static str,
    /// Path of the field, for example `spec.stages[1].bake`; empty when it is not a field of this object.
    pub field: String,
    /// For people: what is there, what to do.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.field, self.what)
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// A field of the spec cannot be used.
    #[must_use]
    pub fn spec(field: impl std::fmt::Display, what: impl std::fmt::Display) -> Problem {
        Problem { reason: "InvalidSpec", field: field.to_string(), what: what.to_string() }
    }

    /// The problem is not the rollout's but that of the version it names.
    #[must_use]
    pub fn of_version(self, version: &str) -> Problem {
        let what = format!("version {version} cannot be rolled out: {self}");
        Problem { reason: "InvalidVersion", field: String::new(), what }
    }
}
