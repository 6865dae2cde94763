//! The file of a model.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use modelfleet_crds::model_version::ModelSignature;
use modelfleet_model_file::{Header, NotCarried, ReadError};
use modelfleet_protocol::ids::Digest;

use super::interface;

/// Most bytes: what the format allows for one file.
const BYTES_MAX: u64 = 2 << 30;

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// It cannot be read.
    #[error("read the model {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("the model {path} has more than 2 GiB, which is the most that an ONNX file can have")]
    Long {
        /// Where.
        path: PathBuf,
    },
    /// It is not a model that devices can be given.
    #[error("the model {path} cannot be registered")]
    Onnx {
        /// Where.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// Devices cannot carry what it takes or gives.
    #[error("the model {path} cannot be registered")]
    NotCarried {
        /// Where.
        path: PathBuf,
        /// Why.
        source: NotCarried,
    },
}

/// A model. The same bytes are hashed, read, run and uploaded, whatever happens to the file meanwhile.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What it says about itself.
    pub header: Header,
    /// The tensors that it takes and gives.
    pub signature: ModelSignature,
}

/// Reads a model.
///
/// # Errors
/// When there is no such file, or it is no model.
pub fn read(path: &Path) -> Result<ModelFile, ModelFileError> {
    let failed = |source| ModelFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(ModelFileError::Long { path: path.to_owned() });
    }
    let header = modelfleet_model_file::read(&bytes)
        .map_err(|source| ModelFileError::Onnx { path: path.to_owned(), source })?;
    let signature = interface::signature(&header)
        .map_err(|source| ModelFileError::NotCarried { path: path.to_owned(), source })?;
    Ok(ModelFile { digest: Digest::of(&bytes), bytes: Bytes::from(bytes), header, signature })
}
