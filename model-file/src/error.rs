//! Why a file cannot be read as a model.

/// Longest name of an operator, operator set, input or output, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Why a file cannot be read as a model, in words that end with what to do where there is something to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes end in the middle of a field.
    #[error("it is not an ONNX model, or it is cut off: a field is longer than the part that holds it")]
    Short,
    /// A number that does not fit 64 bits.
    #[error("it is not an ONNX model: a number is longer than 64 bits")]
    Long,
    /// A kind of field that the format does not have.
    #[error("it is not an ONNX model: a field has an unknown kind")]
    Kind,
    /// Text that is not UTF-8.
    #[error("a name in it is not UTF-8 text")]
    Text,
    /// A part that every model has is missing.
    #[error("it is not a complete ONNX model: it has no {0}")]
    Missing(&'static str),
    /// More than a device would take.
    #[error("it has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A name that is empty or too long.
    #[error("the name of {what} has {length} bytes; 1 to {NAME_BYTES_MAX} are allowed")]
    Name {
        /// Of what.
        what: &'static str,
        /// Its length.
        length: u64,
    },
    /// Two tensors of one name.
    #[error("two {what} are named {name:?}")]
    Twice {
        /// Inputs or outputs.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A number outside what the format means.
    #[error("{what} is {value}; {allowed} is allowed")]
    Number {
        /// Which one.
        what: String,
        /// What it is.
        value: i64,
        /// What it may be.
        allowed: &'static str,
    },
    /// An operator of a set that the file does not import: no engine knows which version of it is meant.
    #[error("it uses {operator} but does not import the operator set {domain}; export it again")]
    NotImported {
        /// The operator, `domain:name`.
        operator: String,
        /// Its set.
        domain: String,
    },
    /// The weights are elsewhere.
    #[error(
        "its weights are in other files; save it as one file (onnx.save_model(model, path, \
         save_as_external_data=False))"
    )]
    ExternalWeights,
}
