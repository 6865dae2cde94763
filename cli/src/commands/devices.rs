//! `devices`: the devices of a fleet, as the controller knows them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use modelfleet_crds::device_api::{Device, DeviceModel, DevicePage, LIMIT_MAX};
use modelfleet_crds::text::DurationText;

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::device_client::{DeviceApiError, DeviceApiFlags, DeviceClient};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::Table;
use crate::units::{age, counted, span};

/// The command line of `devices`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kubectl modelfleet devices --model pump-anomaly --phase Failed --selector site=north\n\nThe controller \
                  answers; you need the right to list devices.modelfleet.io in the namespace, which the ClusterRole \
                  modelfleet-view gives."
)]
pub struct DevicesArguments {
    /// Devices whose labels match, such as site=north,age!=old.
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub selector: Option<String>,

    /// Devices that run, try or report this model.
    #[arg(long)]
    pub model: Option<String>,

    /// Devices that run this version.
    #[arg(long)]
    pub version: Option<String>,

    /// Devices whose last attempt stands here, such as Downloading, Confirmed or Failed.
    #[arg(long)]
    pub phase: Option<String>,

    /// Devices whose last attempt ended with this failure, such as SelfTestMismatch.
    #[arg(long, value_name = "CODE")]
    pub failure: Option<String>,

    /// Devices of which nothing was heard for this long, such as 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub silent: Option<Duration>,

    /// Devices that are connected, or with =false those that are not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub connected: Option<bool>,

    /// Most devices to print.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,

    /// Go on where a list before ended.
    #[arg(long = "continue", value_name = "TOKEN")]
    pub next: Option<String>,

    /// Print more columns, or JSON.
    #[arg(long, short, value_enum)]
    pub output: Option<DeviceOutput>,

    /// How the controller is reached.
    #[command(flatten)]
    pub api: DeviceApiFlags,
}

/// The form of a list of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceOutput {
    /// More columns.
    Wide,
    /// JSON, as the API has it.
    Json,
}

/// Why no devices are printed.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// The API server cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The controller does not answer.
    #[error(transparent)]
    Api(#[from] DeviceApiError),
    /// The answer cannot be printed.
    #[error("write the devices as JSON")]
    Json(#[from] serde_json::Error),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let milliseconds = DurationText::from(text).milliseconds().map_err(|error| error.to_string())?;
    Ok(Duration::from_millis(milliseconds))
}

/// Lists devices.
///
/// # Errors
/// When the controller does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &DevicesArguments) -> Result<Outcome, DevicesError> {
    let cluster = Cluster::connect(flags).await?;
    let client = DeviceClient::new(&arguments.api, flags, &cluster).await?;
    let page = pages(&client, arguments).await?;
    printing::answer(&match arguments.output {
        Some(DeviceOutput::Json) => serde_json::to_string_pretty(&page)? + "\n",
        output => table(&page.items, output.is_some(), Timestamp::now()),
    })?;
    if !page.complete {
        printing::note(
            "the controller is still reading what devices have retained at the broker; there may be more",
        );
    }
    if let Some(next) = &page.next {
        printing::note(&format!("there may be more devices; go on with: --continue {next}"));
    } else if page.items.is_empty() {
        printing::note(&format!(
            "none of the {} of the fleet matches",
            counted(page.devices as i64, "device")
        ));
    }
    Ok(Outcome::Done)
}

/// Pages until there are enough devices, as one.
async fn pages(client: &DeviceClient, arguments: &DevicesArguments) -> Result<DevicePage, DeviceApiError> {
    let wanted = arguments.limit as usize;
    let mut whole: Option<DevicePage> = None;
    let mut next = arguments.next.clone();
    loop {
        let had = whole.as_ref().map_or(0, |whole| whole.items.len());
        let limit = (wanted - had).clamp(1, LIMIT_MAX as usize);
        let page: DevicePage = client.get(&["devices"], &query(arguments, limit, next.as_deref())).await?;
        next.clone_from(&page.next);
        let whole = match &mut whole {
            None => whole.insert(page),
            Some(whole) => {
                let items = std::mem::take(&mut whole.items);
                *whole = DevicePage { items: [items, page.items].concat(), ..page };
                whole
            }
        };
        if next.is_none() || whole.items.len() >= wanted {
            // Within what was read, people look for names.
            whole.items.sort_by(|a, b| a.id.cmp(&b.id));
            return Ok(whole.clone());
        }
    }
}

fn query(arguments: &DevicesArguments, limit: usize, next: Option<&str>) -> Vec<(&'static str, String)> {
    let DevicesArguments { selector, model, version, phase, failure, silent, connected, .. } = arguments;
    let given = [
        ("labelSelector", selector.clone()),
        ("model", model.clone()),
        ("version", version.clone()),
        ("phase", phase.clone()),
        ("failure", failure.clone()),
        ("connected", connected.map(|connected| connected.to_string())),
        ("silentSeconds", silent.map(|silent| silent.as_secs().to_string())),
        ("limit", Some(limit.to_string())),
        ("continue", next.map(str::to_owned)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A row for each model of each device.
fn table(devices: &[Device], wide: bool, now: Timestamp) -> String {
    let mut header = vec!["DEVICE", "CONNECTED", "HEARD", "MODEL", "VERSION", "PHASE", "FAILURE"];
    if wide {
        header.extend(["WAY BACK", "ROLLOUT", "PLAN", "CLOCK", "TRUST", "LABELS"]);
    }
    let mut table = Table::new(&header);
    for device in devices {
        if device.models.is_empty() {
            table.row(row(device, None, wide, now));
        }
        device.models.iter().for_each(|model| table.row(row(device, Some(model), wide, now)));
    }
    if table.is_empty() { String::new() } else { table.render() }
}

fn row(device: &Device, model: Option<&DeviceModel>, wide: bool, now: Timestamp) -> Vec<String> {
    let text =
        |value: Option<String>| value.filter(|value| !value.is_empty()).unwrap_or_else(|| "-".to_owned());
    let attempt = model.and_then(|model| model.attempt.as_ref());
    let mut cells = vec![
        device.id.clone(),
        if device.connected { "yes" } else { "no" }.to_owned(),
        text(device.heard_at.as_ref().map(|heard| format!("{} ago", age(heard.0, now)))),
        text(model.map(|model| model.model.clone())),
        text(model.and_then(|model| model.running.as_ref()).map(build)),
        text(attempt.map(|attempt| attempt.phase.clone())),
        text(match &device.left_out {
            Some(why) => Some(format!("left out: {why}")),
            None => attempt.and_then(|attempt| attempt.failure.clone()),
        }),
    ];
    if wide {
        let labels = device.labels.iter().map(|(key, value)| format!("{key}={value}"));
        cells.extend([
            text(model.and_then(|model| model.spare.as_ref()).map(build)),
            text(attempt.and_then(|attempt| attempt.rollout.clone())),
            text(model.and_then(|model| model.plan_revision).map(|revision| revision.to_string())),
            clock(device),
            text(device.trust_version.map(|version| version.to_string())),
            labels.collect::<Vec<_>>().join(","),
        ]);
    }
    cells
}

/// A build by its version, or by the beginning of its digest where the namespace has none of it.
#[must_use]
pub fn build(build: &modelfleet_crds::device_api::Build) -> String {
    let digest: String = build.digest.trim_start_matches("sha256:").chars().take(12).collect();
    build.version.clone().unwrap_or(digest)
}

/// What is to be said of a device's clock.
#[must_use]
pub fn clock(device: &Device) -> String {
    match device.clock_offset_ms {
        None => "right".to_owned(),
        Some(ms) if ms < 0 => format!("{} behind", span(ms.saturating_neg())),
        Some(ms) => format!("{} ahead", span(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::device_api::{Attempt, Build};

    #[test]
    fn a_table_has_a_row_for_each_model_and_one_for_a_device_without() {
        let build = |version: Option<&str>| Build {
            version: version.map(str::to_owned),
            digest: format!("sha256:{}", "ab".repeat(32)),
        };
        let model = |name: &str, running| DeviceModel {
            model: name.into(),
            running: Some(running),
            attempt: Some(Attempt {
                phase: "Failed".into(),
                failure: Some("CrashLoop".into()),
                ..Attempt::default()
            }),
            ..DeviceModel::default()
        };
        let models = vec![model("m", build(Some("1.0.0"))), model("n", build(None))];
        let devices = [
            Device { id: "a".into(), connected: true, models, ..Device::default() },
            Device { id: "b".into(), clock_offset_ms: Some(-3_600_000), ..Device::default() },
        ];
        let text = table(&devices, false, Timestamp::UNIX_EPOCH);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["a", "yes", "-", "m", "1.0.0", "Failed", "CrashLoop"]);
        assert_eq!(lines[2], ["a", "yes", "-", "n", "abababababab", "Failed", "CrashLoop"]);
        assert_eq!(lines[3], ["b", "no", "-", "-", "-", "-", "-"]);
        assert!(table(&devices, true, Timestamp::UNIX_EPOCH).contains("1 hour behind"));
    }
}
