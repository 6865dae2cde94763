//! `register`: a file becomes a ModelVersion.
//!
//! Nothing is written before everything is checked, and the registry is asked before the store is: a version that
//! is taken leaves no bytes behind. Every step can be repeated.

pub mod arguments;
#[cfg(feature = "onnxruntime")]
pub mod engine;
pub mod interface;
pub mod lineage;
pub mod model_file;
pub mod profile;
pub mod registry;
mod report;
pub mod rows;
pub mod self_test;
pub mod signing;
pub mod store;
pub mod version_spec;

use std::fs::File;
use std::path::{Path, PathBuf};

use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::{Datatype, FeatureBaseline, ModelSignature};

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::manifest::{self, ManifestError};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use arguments::RegisterArguments;
use model_file::{ModelFile, ModelFileError};
use report::{Done, Report};
use rows::Rows;
use store::{Store, Upload};
use version_spec::Findings;

/// Why a file was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The file is no model.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The rows cannot be opened.
    #[error("open the training rows {path}")]
    RowsFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The rows are none.
    #[error("read the training rows {path}")]
    Rows {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rows::RowsError,
    },
    /// The rows do not fit the model.
    #[error(
        "the training rows {path} have {columns} columns ({names}), and the model's input {input:?} takes {wanted} \
         values; choose the columns with --features"
    )]
    Columns {
        /// Where.
        path: PathBuf,
        /// Columns of the rows.
        columns: usize,
        /// Their names, cut.
        names: String,
        /// The input.
        input: String,
        /// Values that it takes.
        wanted: i64,
    },
    /// The rows make no profile.
    #[error("make the reference profile of {path}")]
    Profile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: profile::ProfileError,
    },
    /// There is no self-test, and there must be one.
    #[error("make the self-test, which --require-self-test asks for")]
    SelfTest(#[source] self_test::NoSelfTest),
    /// The flags make no ModelVersion.
    #[error(transparent)]
    Spec(#[from] version_spec::SpecError),
    /// The lineage is none.
    #[error(transparent)]
    Lineage(#[from] lineage::LineageError),
    /// The signature failed.
    #[error(transparent)]
    Signing(#[from] signing::SigningError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// The API server cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The object cannot be printed.
    #[error(transparent)]
    Print(#[from] ManifestError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Registers a file.
///
/// # Errors
/// When the file is no model, the version is taken by another content, or store or API server refuse.
pub async fn run(flags: &ClusterFlags, arguments: &RegisterArguments) -> Result<Outcome, RegisterError> {
    version_spec::check_names(&arguments.name, &arguments.version)?;
    let file = model_file::read(&arguments.file)?;
    let store = Store::open(&arguments.store, arguments.public_url.as_deref())?;
    let mut report = Report::default();
    let mut wanted = model_version(arguments, &file, &store, &mut report)?;
    if !store.reaches_devices {
        report.note(
            "devices download over http(s) or from a folder: give --public-url for this store".to_owned(),
        );
    }
    if arguments.dry_run || arguments.upload_only {
        wanted.metadata.namespace.clone_from(&flags.namespace);
        let upload = if arguments.upload_only { Some(put(&store, arguments, &file).await?) } else { None };
        let output = arguments.output.unwrap_or(manifest::Output::Yaml);
        report.print_notes();
        report.print_upload(upload);
        printing::answer(&manifest::render(&wanted, output)?)?;
        return Ok(Outcome::Done);
    }
    let cluster = Cluster::connect(flags).await?;
    let api = cluster.api::<ModelVersion>();
    let found = registry::find(&api, &wanted).await?;
    // What is registered may name another store, which is none of this command's business.
    let same_place = found.as_ref().is_none_or(|found| found.spec.artifact == wanted.spec.artifact);
    let upload = if same_place { Some(put(&store, arguments, &file).await?) } else { None };
    let registered = match found {
        Some(object) => registry::Registered { object, unchanged: true },
        None => registry::create(&api, &wanted).await?,
    };
    if registered.unchanged {
        report.differences(&registry::differing_fields(&registered.object.spec, &wanted.spec));
    }
    let done = Done { registered: &registered, upload, namespace: &cluster.namespace };
    report.print_notes();
    printing::answer(&match arguments.output {
        Some(output) => manifest::render(&registered.object, output)?,
        None => report.text(&done),
    })?;
    Ok(Outcome::Done)
}

async fn put(
    store: &Store,
    arguments: &RegisterArguments,
    file: &ModelFile,
) -> Result<Upload, store::StoreError> {
    store.put_if_absent(&arguments.name, &arguments.version, &file.digest, file.bytes.clone()).await
}

fn model_version(
    arguments: &RegisterArguments,
    file: &ModelFile,
    store: &Store,
    report: &mut Report,
) -> Result<ModelVersion, RegisterError> {
    let mut findings = Findings {
        uri: store.uri(&arguments.name, &arguments.version, &file.digest),
        size_bytes: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
        ir_version: file.header.ir_version,
        signature: file.signature.clone(),
        opsets: interface::opsets(&file.header),
        lineage: lineage::lineage(
            &arguments.origin.lineage,
            arguments.origin.git_commit.as_deref(),
            Path::new("."),
        )?,
        ..Findings::default()
    };
    report.header(&file.header);
    if let Some(path) = &arguments.training.rows {
        let rows = rows(path, &arguments.training.features, &file.signature)?;
        findings.features = features(path, &rows, &file.signature, report)?;
        findings.rows =
            (!findings.features.is_empty()).then(|| i64::try_from(rows.count()).unwrap_or(i64::MAX));
        findings.self_test = self_test_cases(arguments, file, &rows, report)?;
    }
    // Last, because it may ask for a password: nothing that can fail without one comes after it.
    if let Some(key) = &arguments.origin.key {
        let comment = format!("{} {} {}", arguments.name, arguments.version, file.digest);
        let password = arguments.origin.key_password_file.as_deref();
        findings.signed = Some(signing::sign(&file.bytes, key, password, &comment)?);
    }
    Ok(version_spec::model_version(arguments, &file.digest, findings)?)
}

fn rows(path: &Path, features: &[String], signature: &ModelSignature) -> Result<Rows, RegisterError> {
    let file =
        File::open(path).map_err(|source| RegisterError::RowsFile { path: path.to_owned(), source })?;
    let rows =
        rows::read(file, features).map_err(|source| RegisterError::Rows { path: path.to_owned(), source })?;
    let Some((input, wanted)) =
        signature.inputs.first().and_then(|input| Some((input, values_of(&input.shape)?)))
    else {
        return Ok(rows);
    };
    if i64::try_from(rows.features.len()).ok() == Some(wanted) {
        return Ok(rows);
    }
    Err(RegisterError::Columns {
        path: path.to_owned(),
        columns: rows.features.len(),
        names: rows.features.iter().take(12).cloned().collect::<Vec<_>>().join(", "),
        input: input.name.clone(),
        wanted,
    })
}

/// Values of one row of an input; nothing when the file leaves it open.
fn values_of(shape: &[i64]) -> Option<i64> {
    let inner = if shape.len() > 1 { &shape[1..] } else { shape };
    inner.iter().try_fold(1_i64, |all, &size| if size > 0 { all.checked_mul(size) } else { None })
}

fn features(
    path: &Path,
    rows: &Rows,
    signature: &ModelSignature,
    report: &mut Report,
) -> Result<Vec<FeatureBaseline>, RegisterError> {
    if rows.features.len() > profile::FEATURES_MAX {
        report.note(format!(
            "no reference profile: {} features are more than the {} that a ModelVersion holds; ranges and drift are not \
             watched",
            rows.features.len(),
            profile::FEATURES_MAX
        ));
        return Ok(Vec::new());
    }
    let datatype = signature.inputs.first().map_or(Datatype::Fp64, |input| input.datatype);
    profile::profile(rows, datatype)
        .map_err(|source| RegisterError::Profile { path: path.to_owned(), source })
}

fn self_test_cases(
    arguments: &RegisterArguments,
    file: &ModelFile,
    rows: &Rows,
    report: &mut Report,
) -> Result<Vec<modelfleet_crds::model_version::SelfTestCase>, RegisterError> {
    let training = &arguments.training;
    if training.self_test_cases == 0 && !training.require_self_test {
        return Ok(Vec::new());
    }
    let wanted = self_test::Wanted {
        cases: usize::from(training.self_test_cases.max(1)),
        tolerance: training.self_test_tolerance.clone(),
        deciding_output: arguments.decision.positive_output.as_deref(),
        library: training.onnxruntime.as_deref(),
    };
    match self_test::self_test(&file.bytes, &file.signature, rows, &wanted) {
        Ok(made) => {
            report.engine(made.engine);
            Ok(made.cases)
        }
        Err(reason) if training.require_self_test => Err(RegisterError::SelfTest(reason)),
        Err(reason) => {
            report.note(format!("no self-test, devices use the model when it loads: {reason}"));
            Ok(Vec::new())
        }
    }
}
