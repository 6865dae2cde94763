//! What is wrong with an object, for its condition: the field, and what to do.

/// Why an object cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For programs, one CamelCase word.
    pub reason: &'static str,
    /// For people: the field, what is there, what to do.
    pub message: String,
}

impl Problem {
    /// A field of the spec cannot be used.
    #[must_use]
    pub fn spec(field: impl std::fmt::Display, what: impl std::fmt::Display) -> Problem {
        Problem { reason: "InvalidSpec", message: format!("{field}: {what}") }
    }

    /// The problem is not the rollout's but that of the version it names.
    #[must_use]
    pub fn of_version(self, version: &str) -> Problem {
        let message = format!("version {version} cannot be rolled out: {}", self.message);
        Problem { reason: "InvalidVersion", message }
    }
}
