//! `device`: one device, as the controller knows it.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use modelfleet_crds::device_api::{Attempt, DeviceChange, DeviceDetail, DeviceModel};

use crate::cluster::{Cluster, ClusterFlags};
use crate::commands::devices::{DevicesError, build, clock};
use crate::device_client::{DeviceApiFlags, DeviceClient};
use crate::outcome::Outcome;
use crate::printing;
use crate::table::{Table, one_line};
use crate::units::{age, moment, span};

/// The command line of `device`.
#[derive(Debug, Args)]
#[command(after_help = "Example: kubectl modelfleet device pump-017")]
pub struct DeviceArguments {
    /// Id of the device.
    pub device: String,

    /// Print JSON, as the API has it.
    #[arg(long, short, value_enum)]
    pub output: Option<OneOutput>,

    /// How the controller is reached.
    #[command(flatten)]
    pub api: DeviceApiFlags,
}

/// The form of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OneOutput {
    /// JSON.
    Json,
}

/// Shows one device.
///
/// # Errors
/// When it was never heard, or the controller does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &DeviceArguments) -> Result<Outcome, DevicesError> {
    let cluster = Cluster::connect(flags).await?;
    let client = DeviceClient::new(&arguments.api, flags, &cluster).await?;
    let detail: DeviceDetail = client.get(&["devices", &arguments.device], &[]).await?;
    printing::answer(&match arguments.output {
        Some(OneOutput::Json) => serde_json::to_string_pretty(&detail)? + "\n",
        None => text(&detail, Timestamp::now()),
    })?;
    Ok(Outcome::Done)
}

fn text(detail: &DeviceDetail, now: Timestamp) -> String {
    let device = &detail.device;
    let mut lines = vec![format!("device/{}", one_line(&device.id))];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<10} {}", one_line(&text)));
    let since = device.connected_since.as_ref().map(|since| format!(" since {}", moment(since.0)));
    let connected = if device.connected { "connected" } else { "not connected" };
    line("broker", format!("{connected}{}", since.unwrap_or_default()));
    match &device.heard_at {
        Some(heard) => line("heard", format!("{} ago", age(heard.0, now))),
        None => line("heard", "it has sent neither a state nor a report".to_owned()),
    }
    if let Some(why) = &device.left_out {
        line("left out", why.clone());
    }
    line("clock", clock(device));
    let trust = device.trust_version.map_or("none".to_owned(), |version| format!("document {version}"));
    line("trust", trust);
    let labels: Vec<String> = device.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    line("labels", if labels.is_empty() { "none".to_owned() } else { labels.join(", ") });
    for stage in &detail.stages {
        let phase = stage.phase.as_ref().map(|phase| format!(", {phase}")).unwrap_or_default();
        line("stage", format!("{} of rollout {} ({}{phase})", stage.stage, stage.rollout, stage.version));
    }
    for model in &device.models {
        model_lines(model, &mut line);
    }
    let mut whole = lines.join("\n") + "\n";
    for section in [windows(detail), changes(&detail.changes)] {
        if !section.is_empty() {
            whole.push('\n');
            whole.push_str(&section);
        }
    }
    whole
}

fn model_lines(model: &DeviceModel, line: &mut impl FnMut(&str, String)) {
    line("model", model.model.clone());
    let running = match &model.running {
        None => "nothing answers".to_owned(),
        Some(running) => {
            let since = model.activated_at.as_ref().map(|since| format!(" since {}", moment(since.0)));
            let probation = if model.confirmed { "" } else { ", on probation" };
            format!("{}{}{probation}", build(running), since.unwrap_or_default())
        }
    };
    line("  runs", running);
    line("  way back", model.spare.as_ref().map_or("none".to_owned(), build));
    if let Some(attempt) = &model.attempt {
        line("  attempt", attempt_text(attempt));
    }
    if let (Some(revision), Some(epoch)) = (model.plan_revision, model.plan_epoch) {
        line("  plan", format!("revision {revision} of leader {epoch}"));
    }
}

fn attempt_text(attempt: &Attempt) -> String {
    let mut text = attempt.phase.clone();
    if let Some(failure) = &attempt.failure {
        text.push_str(&format!(" ({failure})"));
    }
    if let Some(tried) = &attempt.build {
        text.push_str(&format!(", version {}", build(tried)));
    }
    if let Some(rollout) = &attempt.rollout {
        text.push_str(&format!(", rollout {rollout}"));
    }
    if let Some(since) = &attempt.since {
        text.push_str(&format!(", since {}", moment(since.0)));
    }
    text
}

/// A row for each objective: its newest windows, the oldest first.
fn windows(detail: &DeviceDetail) -> String {
    let mut table = Table::new(&[
        "MODEL",
        "OBJECTIVE",
        "WINDOW",
        "UNTIL",
        "BAD",
        "NEWEST WINDOWS (g good, b bad, - unknown)",
    ]);
    for report in &detail.reports {
        for objective in &report.objectives {
            let count = |letter: char| objective.windows.matches(letter).count();
            table.row(vec![
                report.model.clone(),
                objective.slo.clone(),
                span(i64::try_from(report.window_ms).unwrap_or(i64::MAX)),
                moment(report.ends_at.0),
                format!("{} of {}", count('b'), count('b') + count('g')),
                objective.windows.clone(),
            ]);
        }
    }
    if table.is_empty() { String::new() } else { table.render() }
}

fn changes(changes: &[DeviceChange]) -> String {
    let mut table = Table::new(&["HEARD", "MODEL", "RUNS", "CHANGE"]);
    for change in changes {
        let running = change.running.as_ref().map_or("nothing".to_owned(), build);
        let before = change.before.as_ref().map_or("nothing".to_owned(), build);
        let mut told = Vec::new();
        if before != running {
            told.push(format!("{before} before"));
        }
        told.extend(change.attempt.as_ref().map(attempt_text));
        table.row(vec![moment(change.heard_at.0), change.model.clone(), running, told.join("; ")]);
    }
    if table.is_empty() { String::new() } else { table.render() }
}
