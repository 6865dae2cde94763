//! Devices, as the controller answers about them.

use jiff::Timestamp;
use maud::{Markup, html};
use modelfleet_crds::device_api::{Attempt, Device, DeviceDetail, DevicePage, FailureList, ObjectiveWindows};

use super::layout::{commands, path, scrolled};
use crate::commands::devices::{build, clock};
use crate::dashboard::figure::Figure;
use crate::units::{age, moment};

/// The fields by which devices are filtered: name in the query, in words, an example.
pub const FILTERS: [(&str, &str, &str); 5] = [
    ("labelSelector", "Labels", "site=north"),
    ("model", "Model", ""),
    ("version", "Version", "1.2.0"),
    ("phase", "Phase", "Failed"),
    ("failure", "Failure", "CrashLoop"),
];

/// Why devices cannot be shown, and what to do.
#[must_use]
pub fn unreachable(why: &str, namespace: &str) -> Markup {
    html! {
        p.banner { "Devices cannot be shown: " (why) }
        p { "Devices are no objects of Kubernetes: the controller alone knows them. docs/devices.md says how it is reached." }
        (commands(&[
            ("Ask in the terminal", format!("kubectl modelfleet devices -n {namespace}")),
            ("Reach the controller by a tunnel", "kubectl -n modelfleet-system port-forward deployment/modelfleet-controller 8443".to_owned()),
            ("Then start the dashboard with its address", "kubectl modelfleet dashboard --controller https://localhost:8443 --controller-ca FILE".to_owned()),
        ]))
    }
}

/// A page of devices, with why devices failed.
#[must_use]
pub fn devices(
    page: &DevicePage,
    failures: Option<&FailureList>,
    namespace: &str,
    query: &[(String, String)],
    now: Timestamp,
) -> Markup {
    let given = |name: &str| query.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value.as_str());
    let here = path(&["devices", namespace]);
    let next = page.next.as_ref().map(|next| {
        let kept = query.iter().filter(|(name, _)| name != "continue");
        let pairs =
            kept.map(|(name, value)| (name.as_str(), value.as_str())).chain([("continue", next.as_str())]);
        link(&here, pairs)
    });
    html! {
        p { "The fleet has " (Figure::text("/devices", &page.devices.to_string())) " devices." @if !page.complete {
            " The controller is still reading what devices have retained at the broker; there may be more."
        } }
        @if let Some(failures) = failures.filter(|failures| !failures.items.is_empty()) { (groups(failures, &here, now)) }
        form.filters method="get" action=(here) {
            @for (name, words, example) in FILTERS {
                label { (words) input type="text" name=(name) value=(given(name)) placeholder=(example) autocomplete="off"; }
            }
            label { "Connected" select name="connected" {
                @for (value, words) in [("", "any"), ("true", "yes"), ("false", "no")] {
                    option value=(value) selected[given("connected") == value] { (words) }
                }
            } }
            label { "Silent, seconds" input type="number" name="silentSeconds" min="0" value=(given("silentSeconds")); }
            button type="submit" { "Show" }
        }
        @if page.items.is_empty() { p.empty { "No device of this page matches." } } @else {
            (scrolled("Devices", &html! { table {
                thead { tr { th { "Device" } th { "Connected" } th { "Heard" } th { "Model" } th { "Runs" } th { "Phase" } th { "Failure" } th { "Labels" } } }
                tbody { @for device in &page.items { (rows(device, namespace, now)) } }
            } }))
        }
        @if let Some(next) = next { nav.pages aria-label="Pages of devices" { a href=(next) rel="next" { "Next" } } }
        (commands(&[
            ("List them in the terminal", format!("kubectl modelfleet devices -n {namespace} -o wide")),
            ("See why devices failed", format!("kubectl modelfleet failures -n {namespace}")),
        ]))
    }
}

fn link<'a>(here: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = reqwest::Url::parse("http://dashboard/").expect("a constant that is an address");
    url.query_pairs_mut().extend_pairs(pairs);
    format!("{here}?{}", url.query().unwrap_or_default())
}

fn groups(failures: &FailureList, here: &str, now: Timestamp) -> Markup {
    html! {
        h2 { "Why devices failed" }
        (scrolled("Failures", &html! { table {
            thead { tr { th { "Failure" } th.number { "Devices" } th { "Blames" } th { "Model" } th { "Version" } th { "Latest" } } }
            tbody { @for (at, group) in failures.items.iter().enumerate() { tr {
                th scope="row" { a href=(link(here, [("failure", group.failure.as_str())].into_iter())) { (group.failure) } }
                td.number { (Figure::text(&format!("/items/{at}/devices"), &group.devices.to_string())) }
                td { (group.blames) } td { (group.model) } td { (build(&group.build)) } td { (age(group.latest_at.0, now)) " ago" }
            } } }
        } }))
        h2 { "Devices" }
    }
}

fn rows(device: &Device, namespace: &str, now: Timestamp) -> Markup {
    let labels: Vec<String> = device.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    html! {
        @for at in 0..device.models.len().max(1) {
            @let model = device.models.get(at);
            @let attempt = model.and_then(|model| model.attempt.as_ref());
            tr {
                th scope="row" { a href=(path(&["devices", namespace, &device.id])) { (device.id) } }
                td { @if device.connected { "yes" } @else { "no" } }
                td { @if let Some(heard) = &device.heard_at { (age(heard.0, now)) " ago" } @else { "never" } }
                td { @if let Some(model) = model { (model.model) } }
                td { @if let Some(running) = model.and_then(|model| model.running.as_ref()) { (build(running)) } }
                td { @if let Some(attempt) = attempt { (attempt.phase) } }
                td { @if let Some(failure) = attempt.and_then(|attempt| attempt.failure.as_ref()) { code { (failure) } }
                     @if device.left_out.is_some() { " left out" } }
                td.message { (labels.join(", ")) }
            }
        }
    }
}

/// One device.
#[must_use]
pub fn device(detail: &DeviceDetail, namespace: &str) -> Markup {
    let device = &detail.device;
    let labels: Vec<String> = device.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    html! {
        @if let Some(why) = &device.left_out { p.banner { "It is left out of every rollout: " (why) } }
        dl.facts {
            dt { "Connected" } dd { @if device.connected { "yes" } @else { "no" } @if let Some(since) = &device.connected_since { ", since " (moment(since.0)) } }
            dt { "Heard" } dd { @if let Some(heard) = &device.heard_at { (moment(heard.0)) } @else { "never" } }
            dt { "Clock" } dd { (clock(device)) }
            dt { "Trust document" } dd { @if let Some(version) = device.trust_version { "version " (version) } @else { "none" } }
            dt { "Labels" } dd { (labels.join(", ")) }
        }
        h2 { "Models" }
        @for model in &device.models {
            article.card {
                h3 { (model.model) }
                dl.facts {
                    dt { "Runs" } dd { @match &model.running {
                        Some(running) => { (build(running)) @if !model.confirmed { ", on probation" } @if let Some(since) = &model.activated_at { ", since " (moment(since.0)) } }
                        None => "nothing",
                    } }
                    dt { "Way back, in the other slot" } dd { @match &model.spare { Some(spare) => (build(spare)), None => "none" } }
                    @if let Some(told) = &model.attempt { dt { "Last attempt" } dd { (attempt(told)) } }
                    @if let Some(revision) = model.plan_revision { dt { "Plan" } dd { "revision " (revision) } }
                }
            }
        }
        @if !detail.stages.is_empty() {
            h2 { "Stages that have selected it" }
            ul { @for stage in &detail.stages {
                li { (stage.stage) " of " a href=(path(&["rollouts", namespace, &stage.rollout])) { (stage.rollout) } " (" (stage.version) @if let Some(phase) = &stage.phase { ", " (phase) } ")" }
            } }
        }
        @if !detail.reports.is_empty() {
            h2 { "Newest windows" }
            @for report in &detail.reports { @for objective in &report.objectives { (windows(&report.model, objective)) } }
        }
        h2 { "What changed last" }
        @if detail.changes.is_empty() { p.empty { "Nothing since the controller began to lead, or too long ago to be kept." } } @else {
            (scrolled("Changes", &html! { table {
                thead { tr { th { "Heard" } th { "Model" } th { "Runs" } th { "Before" } th { "Attempt" } } }
                tbody { @for change in &detail.changes { tr {
                    td { (moment(change.heard_at.0)) } td { (change.model) }
                    td { @if let Some(running) = &change.running { (build(running)) } @else { "nothing" } }
                    td { @if let Some(before) = &change.before { (build(before)) } }
                    td { @if let Some(told) = &change.attempt { (attempt(told)) } }
                } } }
            } }))
        }
        (commands(&[
            ("See this in the terminal", format!("kubectl modelfleet device {} -n {namespace}", device.id)),
            ("Let it keep what it runs", format!("kubectl modelfleet hold {} MODEL -n {namespace}", device.id)),
            ("Leave it out of a rollout", format!("kubectl modelfleet set-aside ROLLOUT {} -n {namespace}", device.id)),
        ]))
    }
}

fn attempt(attempt: &Attempt) -> Markup {
    html! {
        (attempt.phase)
        @if let Some(failure) = &attempt.failure { " " code { (failure) } }
        @if let Some(tried) = &attempt.build { " " (build(tried)) }
        @if let Some(rollout) = &attempt.rollout { " in " (rollout) }
        @if let Some(since) = &attempt.since { ", since " (moment(since.0)) }
    }
}

/// A square for each window, the oldest first.
fn windows(model: &str, objective: &ObjectiveWindows) -> Markup {
    let bad = objective.windows.matches('b').count();
    let known = bad + objective.windows.matches('g').count();
    let words = format!("{model} {}: {bad} of {known} known windows outside the limit", objective.slo);
    html! {
        p.small { (words) }
        svg.windows role="img" viewBox="0 0 512 12" preserveAspectRatio="xMinYMid meet" aria-label=(words) {
            @for (at, letter) in objective.windows.chars().enumerate() {
                @let class = match letter { 'g' => "part part-good", 'b' => "part part-bad", _ => "part part-none" };
                rect class=(class) x=(at * 8) y="0" width="7" height="12" {}
            }
        }
    }
}
