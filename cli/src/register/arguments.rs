//! The command line of `register`.

use std::path::PathBuf;

use clap::Args;
use modelfleet_crds::metric::Metric;
use modelfleet_crds::model_version::{BaselineMetric, Engine};
use modelfleet_crds::text::Decimal;
use modelfleet_protocol::metric::Unit;

use super::lineage::LineageEntry;
use crate::manifest::Output;
use crate::units::parse_bytes;

const AFTER_HELP: &str = "\
Registering the same file again changes nothing. Registering another file under the same version is refused.

The store is a folder (/srv/models or file:///srv/models), a WebDAV server (http://, https://) or a bucket (s3://,
gs://, az://). Credentials come from the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL,
GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and the like. For a WebDAV server, set
MODELFLEET_STORE_AUTHORIZATION to the value of the Authorization header. Devices download over http(s) or from a folder:
set --public-url for a bucket.

Example:
  kubectl modelfleet register pump-anomaly-1.1.0.onnx --name pump-anomaly --version 1.1.0 \\
      --store https://models.example.com --rows training-rows.csv \\
      --positive-output label --positive-label -1 --baseline Accuracy=0.97";

/// Uploads a model and creates its ModelVersion.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct RegisterArguments {
    /// The model: an ONNX file with its weights inside.
    #[arg(value_name = "FILE.onnx")]
    pub file: PathBuf,

    /// Name of the model, such as pump-anomaly.
    #[arg(long)]
    pub name: String,

    /// Semantic version, such as 1.1.0.
    #[arg(long, value_parser = parse_version)]
    pub version: semver::Version,

    /// Folder or URL to upload to; the file becomes URL/NAME/VERSION/DIGEST.onnx.
    #[arg(long, value_name = "URL")]
    pub store: String,

    /// Address that devices download from, if it is not the store's.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Print what would be registered, without uploading, changing or contacting anything.
    #[arg(long, conflicts_with = "upload_only")]
    pub dry_run: bool,

    /// Upload, and print the ModelVersion instead of applying it: for a GitOps repository.
    #[arg(long)]
    pub upload_only: bool,

    /// Print the object in this format.
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,

    /// What the model was trained with and how it does.
    #[command(flatten)]
    pub training: TrainingFlags,

    /// How an answer is read.
    #[command(flatten)]
    pub decision: DecisionFlags,

    /// What a device must offer.
    #[command(flatten)]
    pub requires: RequiresFlags,

    /// Who signs, and where the model comes from.
    #[command(flatten)]
    pub origin: OriginFlags,
}

/// What the model was trained with and how it does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training data and self-test")]
pub struct TrainingFlags {
    /// Training rows, as CSV with the names of the columns in the first line. The reference profile (range and distribution
    /// of each feature) and the inputs of the self-test are made from them. If the model has several inputs, each takes the
    /// column of its name. Cells are separated by commas, semicolons, tabs or bars; a missing reading is an empty cell or what pandas
    /// writes; True and False are 1 and 0.
    #[arg(long, value_name = "FILE.csv")]
    pub rows: Option<PathBuf>,

    /// Columns that fill the model's inputs, in this order if it has only one. Default: all columns.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", requires = "rows")]
    pub features: Vec<String>,

    /// Number of self-test cases, 0 to 16. Their expected answers come from running the model here.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=16), value_name = "N")]
    pub self_test_cases: u8,

    /// How far a device's answer may differ from the expected one.
    #[arg(long, default_value = "0.0001", value_parser = parse_decimal, value_name = "X")]
    pub self_test_tolerance: Decimal,

    /// Fail if no self-test can be made.
    #[arg(long, requires = "rows")]
    pub require_self_test: bool,

    /// Shared library of ONNX Runtime (libonnxruntime.so), which gives the expected answers. Default: the one that the
    /// system finds.
    #[arg(long, env = "MODELFLEET_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,

    /// Value of a metric in training, such as Accuracy=0.97 or LatencyP95=12 (milliseconds); repeatable.
    #[arg(long, value_parser = parse_baseline, value_name = "METRIC=VALUE")]
    pub baseline: Vec<BaselineMetric>,
}

/// How an answer is read.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "When an answer is an alarm")]
pub struct DecisionFlags {
    /// Output that decides whether an answer is an alarm.
    #[arg(long, value_name = "NAME", requires = "positive")]
    pub positive_output: Option<String>,

    /// An answer is an alarm if the output is exactly N.
    #[arg(
        long,
        group = "positive",
        requires = "positive_output",
        allow_negative_numbers = true,
        value_name = "N"
    )]
    pub positive_label: Option<i64>,

    /// An answer is an alarm if the output is X or more.
    #[arg(long, group = "positive", requires = "positive_output", allow_negative_numbers = true,
          value_parser = parse_decimal, value_name = "X")]
    pub positive_at_least: Option<Decimal>,

    /// An answer is an alarm if the output is X or less.
    #[arg(long, group = "positive", requires = "positive_output", allow_negative_numbers = true,
          value_parser = parse_decimal, value_name = "X")]
    pub positive_at_most: Option<Decimal>,

    /// Output with the confidence; its highest element counts.
    #[arg(long, value_name = "NAME", requires_all = ["positive_output", "low_confidence"])]
    pub confidence_output: Option<String>,

    /// Answers with a confidence below X count as low (LowConfidenceRate).
    #[arg(long, requires = "confidence_output", value_parser = parse_decimal, value_name = "X")]
    pub low_confidence: Option<Decimal>,
}

/// What a device must offer.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Requirements on devices")]
pub struct RequiresFlags {
    /// Engine that may run the model: OnnxRuntime or Rten; repeatable. Default: every engine that knows its operator sets and
    /// answers the training rows as ONNX Runtime does, one by one and in batches.
    #[arg(long, value_parser = parse_engine, value_name = "ENGINE")]
    pub engine: Vec<Engine>,

    /// Memory that the loaded model needs, such as 32Mi.
    #[arg(long, value_parser = parse_memory, value_name = "SIZE")]
    pub memory: Option<i64>,

    /// Label that a device must have, such as arch=arm64; repeatable.
    #[arg(long, value_parser = parse_pair, value_name = "KEY=VALUE")]
    pub device_label: Vec<(String, String)>,
}

/// Who signs, and where the model comes from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Signature and lineage")]
pub struct OriginFlags {
    /// Minisign secret key to sign the file with.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// File whose first line is the key's password.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub key_password_file: Option<PathBuf>,

    /// Sign an in-toto statement in a DSSE envelope as well, for tools that read these.
    #[arg(long, requires = "key")]
    pub in_toto: bool,

    /// Bundle of OpenSSF Model Signing (model.sig) that has to list the file, signed with --model-signing-key.
    #[arg(long, value_name = "FILE", requires = "model_signing_key")]
    pub model_signing_bundle: Option<PathBuf>,

    /// The publisher's P-256 public key as a PEM file.
    #[arg(long, value_name = "FILE", requires = "model_signing_bundle")]
    pub model_signing_key: Option<PathBuf>,

    /// Where the model comes from: trainingData=..., createdBy=..., tag=..., or hyperparameters.NAME=...; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub lineage: Vec<LineageEntry>,

    /// Commit of the training code; `auto` takes the commit that is checked out here.
    #[arg(long, value_name = "COMMIT|auto")]
    pub git_commit: Option<String>,
}

fn parse_version(text: &str) -> Result<semver::Version, String> {
    text.parse().map_err(|error: semver::Error| format!("must be MAJOR.MINOR.PATCH, such as 1.1.0: {error}"))
}

fn parse_decimal(text: &str) -> Result<Decimal, String> {
    let decimal = Decimal::from(text);
    decimal.to_f64().map_err(|error| error.to_string())?;
    Ok(decimal)
}

fn parse_memory(text: &str) -> Result<i64, String> {
    const MOST: i64 = 64 << 30;
    let bytes = parse_bytes(text).filter(|bytes| *bytes <= MOST);
    bytes.ok_or_else(|| "must be a size up to 64Gi, such as 32Mi".to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_engine(text: &str) -> Result<Engine, String> {
    match text.to_ascii_lowercase().as_str() {
        "onnxruntime" => Ok(Engine::OnnxRuntime),
        "rten" => Ok(Engine::Rten),
        _ => Err("must be OnnxRuntime or Rten".to_owned()),
    }
}

fn parse_baseline(text: &str) -> Result<BaselineMetric, String> {
    let (name, value) = parse_pair(text)?;
    let name = Metric::all().find(|metric| metric.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Metric::all().map(Metric::name).collect();
        format!("unknown metric {name}, expected one of {}", names.join(", "))
    })?;
    let value = parse_decimal(&value)?;
    let number = value.to_f64().map_err(|error| error.to_string())?;
    let is_ratio = name.unit() == Unit::Share;
    if number < 0.0 || (is_ratio && number > 1.0) {
        return Err(
            "must be a ratio from 0 to 1, such as Accuracy=0.97, or milliseconds for a latency".to_owned()
        );
    }
    Ok(BaselineMetric { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_names_a_metric_and_a_value_that_it_can_have() {
        let good = parse_baseline("Accuracy=0.97").unwrap();
        assert_eq!((good.name, good.value.as_str()), (Metric::Accuracy, "0.97"));
        assert!(parse_baseline("LatencyP95=12.5").is_ok());
        assert!(parse_baseline("Accurcy=0.97").unwrap_err().contains("MissedDetectionRate"));
        for bad in ["Accuracy", "Accuracy=97", "Accuracy=-0.1", "Accuracy=high"] {
            assert!(parse_baseline(bad).is_err(), "{bad}");
        }
    }
}
