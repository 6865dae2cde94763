//! Fleets, rollouts, models and alarms.

use maud::{Markup, html};

use super::layout::{commands, path, phase, scrolled};
use crate::dashboard::page::alarms::Alarm;
use crate::dashboard::page::model::{ModelPage, VersionRow};
use crate::dashboard::page::overview::{Overview, RolloutRow};
use crate::units::moment;

/// The first page, or with `fleet` the page of one fleet. `is_read`: all objects were read once.
#[must_use]
pub fn overview(overview: &Overview, fleet: Option<&str>, is_read: bool) -> Markup {
    let Overview { fleets, rollouts, total, page: (page, pages) } = overview;
    let here = fleet.map_or_else(|| "/".to_owned(), |fleet| path(&["fleets", fleet]));
    let namespace = fleet.map_or_else(|| "-A".to_owned(), |fleet| format!("-n {fleet}"));
    html! {
        @if fleets.is_empty() && !is_read {
            p.empty { "Nothing is known yet." }
        } @else if fleets.is_empty() {
            p.empty { "There are no rollouts and no versions here that you may see." }
            (commands(&[
                ("Register a model", "kubectl modelfleet register model.onnx --name NAME --version 1.0.0 --store URL".to_owned()),
                ("See what you may read", format!("kubectl auth can-i list rollouts.modelfleet.io {namespace}")),
            ]))
        } @else {
            @if fleet.is_none() { h2 { "Fleets" } }
            (scrolled("Fleets", &html! {
                table {
                    thead { tr {
                        th { "Fleet" } th.number { "Alarms" } th.number { "Need a person" } th.number { "Under way" }
                        th.number { "Waiting" } th.number { "Rolled back" } th.number { "Succeeded" } th { "Models" }
                    } }
                    tbody { @for row in fleets { tr {
                        th scope="row" { a href=(path(&["fleets", &row.namespace])) { (row.namespace) } }
                        td class=(if row.alarms > 0 { "number bad" } else { "number" }) { a href=(path(&["alarms", &row.namespace])) { (row.alarms) } }
                        td class=(if row.needed > 0 { "number care" } else { "number" }) { (row.needed) }
                        td.number { (row.underway) } td.number { (row.waiting) } td.number { (row.rolled_back) } td.number { (row.succeeded) }
                        td.models { @for model in row.models.iter().take(20) {
                            a href=(path(&["models", &row.namespace, model])) { (model) } " "
                        } @if row.models.len() > 20 { "and " (row.models.len() - 20) " more" } }
                    } } }
                }
            }))
            h2 { "Rollouts" }
            p { (total) " in all, those that need a person first." @if *pages > 1 { " Page " (page) " of " (pages) "." } }
            @if rollouts.is_empty() { p.empty { "No rollout yet." } } @else { (rows(rollouts, fleets.len() > 1, true)) }
            @if *pages > 1 {
                nav.pages aria-label="Pages of rollouts" {
                    @if *page > 1 { a href=(format!("{here}?page={}", page - 1)) rel="prev" { "Previous" } }
                    @if page < pages { a href=(format!("{here}?page={}", page + 1)) rel="next" { "Next" } }
                }
            }
            (commands(&[("List rollouts in the terminal", format!("kubectl get rollouts.modelfleet.io {namespace}"))]))
        }
    }
}

/// A table of rollouts.
fn rows(rollouts: &[RolloutRow], with_fleet: bool, with_model: bool) -> Markup {
    scrolled(
        "Rollouts",
        &html! {
            table {
                thead { tr {
                    th { "Rollout" } @if with_fleet { th { "Fleet" } } th { "Version" }
                    th { "Phase" } th { "Stage" } th { "Updated" } th { "Verdict" } th { "For" } th { "What it waits for, or why it ended" }
                } }
                tbody { @for row in rollouts { tr {
                    th scope="row" { a href=(path(&["rollouts", &row.namespace, &row.name])) { (row.name) } }
                    @if with_fleet { td { (row.namespace) } }
                    td.name { @if with_model { (row.model) " " } (row.version) }
                    td { (phase(row.phase)) } td.line { (row.stage) } td.line { (row.updated) } td { (row.verdict) }
                    td.line { (row.age) } td.message { (row.message) }
                } } }
            }
        },
    )
}

/// One model.
#[must_use]
pub fn model(page: &ModelPage) -> Markup {
    html! {
        h2 { "Versions" }
        @if page.versions.is_empty() { p.empty { "No version is registered." } }
        @for row in &page.versions { (version(row)) }
        h2 { "Rollouts" }
        @if page.rollouts.is_empty() { p.empty { "No rollout yet." } } @else { (rows(&page.rollouts, false, false)) }
        (commands(&[
            ("See where versions come from", format!("kubectl modelfleet lineage {} -n {}", page.model, page.namespace)),
            ("List its versions", format!("kubectl modelfleet history {} -n {}", page.model, page.namespace)),
            ("Compare two versions", format!("kubectl modelfleet diff {} OLD NEW -n {}", page.model, page.namespace)),
        ]))
    }
}

fn version(row: &VersionRow) -> Markup {
    use modelfleet_crds::model_version::VersionStage;
    let class = match row.stage {
        Some(VersionStage::Production) => "good",
        Some(VersionStage::Rejected) => "bad",
        Some(VersionStage::Verified) => "wait",
        Some(VersionStage::Registered | VersionStage::Archived) | None => "none",
    };
    let stage = row.stage.map_or_else(|| "Registered".to_owned(), |stage| format!("{stage:?}"));
    html! {
        article.card {
            h3 { (row.version) " " span class=(format!("badge badge-{class}")) { (stage) } }
            @if !row.message.is_empty() { p { (row.message) } }
            dl.facts {
                @if !row.production_for.is_empty() { dt { "In production for" } dd { (row.production_for.join("; ")) } }
                dt { "Registered" } dd { (row.registered) }
                dt { "File" } dd { (row.size) " " code { (row.digest) } }
                @for (name, value) in &row.origin { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// What is wrong.
#[must_use]
pub fn alarms(alarms: &[Alarm], fleet: Option<&str>) -> Markup {
    html! {
        @if alarms.is_empty() {
            p.empty { "Nothing is wrong that the controller knows of." }
        }
        @for alarm in alarms {
            article.card {
                h3 {
                    span.badge.badge-bad { (alarm.kind) } " "
                    a href=(path(&[alarm.page, &alarm.namespace, &alarm.name])) { (alarm.about) }
                    @if fleet.is_none() { " in " (alarm.namespace) }
                }
                p { (alarm.message) }
                p.small { "Reason " code { (alarm.reason) } ", since " (moment(alarm.since)) ". docs/runbooks.md says what to do about this reason." }
            }
        }
    }
}
