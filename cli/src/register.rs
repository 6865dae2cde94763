//! `register`: a file becomes a ModelVersion.
//!
//! Nothing is written before everything is checked, and the registry is asked before the store is: a version that
//! is taken leaves no bytes behind. Every step can be repeated.

pub mod agreement;
pub mod arguments;
mod cell;
mod credentials;
mod details;
pub mod inputs;
pub mod interface;
pub mod lineage;
pub mod model_file;
pub mod model_signing;
pub mod named_tensor;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
pub mod profile;
pub mod registry;
mod report;
pub mod rows;
#[cfg(feature = "rten")]
pub mod rten;
pub mod self_test;
pub mod signing;
pub mod store;
pub mod version_spec;

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::{Engine, FeatureBaseline};
use modelfleet_model_file::IR_VERSION_KNOWN;
use modelfleet_protocol::ids::{Digest, IdError};
use modelfleet_protocol::statement::Statement;
use modelfleet_spec::Problem;

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::manifest::{self, ManifestError};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use arguments::RegisterArguments;
use inputs::{FilledInput, InputsError};
use model_file::{ModelFile, ModelFileError};
use report::{Registration, Report};
use rows::Rows;
use store::{Content, Store, Upload};
use version_spec::ModelFacts;

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
    #[error("read the training rows in {path}")]
    Rows {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rows::RowsError,
    },
    /// The rows do not fit the model.
    #[error("fill the model's inputs from the training rows in {path}")]
    Inputs {
        /// Where.
        path: PathBuf,
        /// Why.
        source: InputsError,
    },
    /// The only engine that was asked for differs.
    #[error(
        "--engine Rten is the only engine, but rten {0}; leave out --engine Rten, so that devices use ONNX Runtime"
    )]
    Rten(String),
    /// There is no self-test, and there must be one.
    #[error("make the self-test, which --require-self-test asks for")]
    SelfTest(#[source] self_test::NoSelfTest),
    /// The flags make no ModelVersion.
    #[error(transparent)]
    Spec(#[from] version_spec::SpecError),
    /// Devices could not read the self-test or the baseline.
    #[error("write the details file for devices")]
    Details(#[source] Problem),
    /// The lineage is none.
    #[error(transparent)]
    Lineage(#[from] lineage::LineageError),
    /// The name cannot be signed.
    #[error("--name")]
    Name(#[source] IdError),
    /// The publisher has not signed the file.
    #[error(transparent)]
    Bundle(#[from] model_signing::BundleError),
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
    let details = details::file(&wanted.spec).map_err(RegisterError::Details)?;
    let uri = |digest: &Digest| store.uri(&arguments.name, &arguments.version, digest, Content::Details);
    wanted.spec.artifact.details = details.as_ref().map(|bytes| details::named(bytes, uri));
    if !store.reaches_devices {
        report.note(
            "devices can only download over http(s) or from a folder; set --public-url for this store"
                .to_owned(),
        );
    }
    if arguments.dry_run || arguments.upload_only {
        wanted.metadata.namespace.clone_from(&flags.namespace);
        let upload = match arguments.upload_only {
            true => Some(put(&store, arguments, &file, details).await?),
            false => None,
        };
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
    let (same_place, same_details) = found.as_ref().map_or((true, true), |found| {
        let (has, wants) = (&found.spec.artifact, &wanted.spec.artifact);
        (has.uri == wants.uri, has.details == wants.details)
    });
    let upload = match same_place {
        true => Some(put(&store, arguments, &file, details.filter(|_| same_details)).await?),
        false => None,
    };
    let registered = match found {
        Some(object) => registry::Registered { object, unchanged: true },
        None => registry::create(&api, &wanted).await?,
    };
    if registered.unchanged {
        report.differences(&registry::differing_fields(&registered.object.spec, &wanted.spec));
        report.refused(&registered.object, &cluster.namespace);
    }
    let done = Registration { registered: &registered, upload, namespace: &cluster.namespace };
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
    details: Option<Bytes>,
) -> Result<Upload, store::StoreError> {
    let (name, version) = (&arguments.name, &arguments.version);
    if let Some(details) = details {
        store.put_if_absent(name, version, details, Content::Details).await?;
    }
    store.put_if_absent(name, version, file.bytes.clone(), Content::Model).await
}

fn model_version(
    arguments: &RegisterArguments,
    file: &ModelFile,
    store: &Store,
    report: &mut Report,
) -> Result<ModelVersion, RegisterError> {
    let mut facts = ModelFacts {
        uri: store.uri(&arguments.name, &arguments.version, &file.digest, Content::Model),
        size_bytes: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
        ir_version: file.header.ir_version,
        signature: file.signature.clone(),
        opsets: interface::opsets(&file.header),
        engines: arguments.requires.engine.clone(),
        lineage: lineage::lineage(
            &arguments.origin.lineage,
            arguments.origin.git_commit.as_deref(),
            Path::new("."),
        )?,
        ..ModelFacts::default()
    };
    let origin = &arguments.origin;
    if let Some((bundle, key)) =
        origin.model_signing_bundle.as_deref().zip(origin.model_signing_key.as_deref())
    {
        model_signing::check(bundle, key, file.digest)?;
        report.note(format!("the publisher's key in {} has signed this file", key.display()));
    }
    report.header(&file.header);
    if let Some(path) = &arguments.training.rows {
        let (inputs, rows) = rows(path, &arguments.training.features, file, report)?;
        facts.features = features(&inputs, &rows, report);
        facts.rows = (!facts.features.is_empty()).then(|| i64::try_from(rows.count).unwrap_or(i64::MAX));
        let made = self_test_cases(arguments, file, &inputs, &rows, report)?;
        if let Some(made) = made {
            let engines = &arguments.requires.engine;
            facts.engines = engines_of(engines, made.rten_differs.as_deref(), report)?;
            facts.self_test = made.cases;
        }
    }
    // Last, because it may ask for a password: nothing that can fail without one comes after it.
    if let Some(key) = &arguments.origin.key {
        let statement = Statement {
            model: arguments.name.parse().map_err(RegisterError::Name)?,
            version: arguments.version.clone(),
            digest: file.digest,
            size_bytes: Some(file.bytes.len() as u64),
        };
        let password = arguments.origin.key_password_file.as_deref();
        let formats = signing::Formats { in_toto: arguments.origin.in_toto };
        facts.signed = signing::sign(&file.bytes, key, password, &statement, formats)?;
    }
    Ok(version_spec::model_version(arguments, &file.digest, facts)?)
}

/// The rows, and what they fill.
fn rows(
    path: &Path,
    features: &[String],
    file: &ModelFile,
    report: &mut Report,
) -> Result<(Vec<FilledInput>, Rows), RegisterError> {
    let opened =
        File::open(path).map_err(|source| RegisterError::RowsFile { path: path.to_owned(), source })?;
    let refused = |source| RegisterError::Rows { path: path.to_owned(), source };
    let table = rows::open(opened).map_err(refused)?;
    let mut inputs = inputs::filled(&table.names, features, &file.signature.inputs)
        .map_err(|source| RegisterError::Inputs { path: path.to_owned(), source })?;
    if features.is_empty() {
        report.left_over(&inputs::left_over(&table.names, &inputs));
    }
    // Read in the order of the inputs, each column where it goes.
    let wanted: Vec<(usize, bool)> = inputs
        .iter()
        .flat_map(|input| input.columns.iter().map(|&column| (column, input.is_text())))
        .collect();
    let mut next = 0..;
    for input in &mut inputs {
        input.columns = next.by_ref().take(input.columns.len()).collect();
    }
    Ok((inputs, table.rows(&wanted).map_err(refused)?))
}

fn features(inputs: &[FilledInput], rows: &Rows, report: &mut Report) -> Vec<FeatureBaseline> {
    let made = profile::profile(inputs, rows);
    if made.features.len() > profile::FEATURES_MAX {
        report.note(format!(
            "no reference profile was made, because the model has {} features and a ModelVersion holds at most {}; ranges and \
             drift are not watched",
            made.features.len(),
            profile::FEATURES_MAX
        ));
        return Vec::new();
    }
    made.notes.into_iter().for_each(|note| report.note(note));
    made.features
}

/// The engines that the version asks for, of those that were asked for here (none: any).
fn engines_of(
    asked: &[Engine],
    rten_differs: Option<&str>,
    report: &mut Report,
) -> Result<Vec<Engine>, RegisterError> {
    let Some(differs) = rten_differs else { return Ok(asked.to_vec()) };
    if asked == [Engine::Rten] {
        return Err(RegisterError::Rten(differs.to_owned()));
    }
    report.note(format!("only devices with ONNX Runtime get this version, because rten {differs}"));
    Ok(vec![Engine::OnnxRuntime])
}

fn self_test_cases(
    arguments: &RegisterArguments,
    file: &ModelFile,
    inputs: &[FilledInput],
    rows: &Rows,
    report: &mut Report,
) -> Result<Option<self_test::SelfTest>, RegisterError> {
    let training = &arguments.training;
    if training.self_test_cases == 0 && !training.require_self_test {
        return Ok(None);
    }
    let engines = &arguments.requires.engine;
    let wanted = self_test::SelfTestOptions {
        cases: usize::from(training.self_test_cases.max(1)),
        tolerance: training.self_test_tolerance.clone(),
        deciding_output: arguments.decision.positive_output.as_deref(),
        library: training.onnxruntime.as_deref(),
        may_run_on_rten: engines.is_empty() || engines.contains(&Engine::Rten),
    };
    match self_test::self_test(&file.bytes, inputs, rows, &wanted) {
        Ok(made) => {
            report.engine(made.engine.clone());
            Ok(Some(made))
        }
        Err(reason) if training.require_self_test => Err(RegisterError::SelfTest(reason)),
        // The note on the file's version says more than the engine does.
        Err(_) if file.header.ir_version > IR_VERSION_KNOWN => {
            report.note(
                "no self-test was made, because ONNX Runtime here cannot load the file's IR version"
                    .to_owned(),
            );
            Ok(None)
        }
        Err(reason) => {
            report.note(format!(
                "no self-test was made: {reason}. Devices will use the model as soon as it loads"
            ));
            Ok(None)
        }
    }
}
