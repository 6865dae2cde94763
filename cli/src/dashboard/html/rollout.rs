//! One rollout.

use maud::{Markup, html};

use super::layout::{commands, path, phase, scrolled, verdict};
use crate::dashboard::chart;
use crate::dashboard::page::rollout::{Budget, Counts, RolloutPage, StageStep, StepState, Tile, Watch};
use crate::units::moment;

/// One rollout.
#[must_use]
pub fn rollout(page: &RolloutPage) -> Markup {
    html! {
        p.lead { (phase(page.phase)) " " span data-field="/status/message" { (page.message) } }
        @if page.is_behind { p.banner { "The controller has not seen the last change of the spec yet: what follows is of the spec before." } }
        p { "Version " (page.version) " of model " a href=(path(&["models", &page.namespace, &page.model])) { (page.model) } "." }
        @if !page.next.is_empty() {
            section.next aria-label="What decides next" {
                h2 { "What decides next" }
                ol { @for sentence in &page.next { li { (sentence) } } }
            }
        }
        (ladder(&page.stages))
        @if let Some(counts) = &page.counts { (devices(counts, page)) }
        h2 { "Objectives" }
        @if page.tiles.iter().any(|tile| tile.plot.is_some()) {
            p.small {
                "Curves: harm with the version, in multiples of the controls, with its confidence interval. Line at 1×: no difference. "
                "Dashed line: what the stage has to rule out. Ticks: looks, strong ones are reached. Earlier looks are drawn as far as this "
                "dashboard has seen them."
            }
        }
        @if page.tiles.is_empty() { p.empty { "The rollout has no objectives: nothing is judged." } }
        div.tiles { @for one in &page.tiles { (tile(one)) } }
        @if let Some(spent) = &page.budget { (budget(spent)) }
        @if let Some(watched) = &page.watch { (watch(watched)) }
        (decisions(page))
        (conditions(page))
        (commands(&page.commands))
    }
}

fn ladder(stages: &[StageStep]) -> Markup {
    html! {
        section aria-label="Stages" {
            h2 { "Stages" }
            ol.ladder { @for stage in stages {
                @let (class, words) = match stage.state {
                    StepState::Done => ("done", "passed"),
                    StepState::Current => ("current", "now"),
                    StepState::ToCome => ("to-come", "to come"),
                    StepState::TakenBack => ("taken-back", "taken back"),
                };
                li class=(class) aria-current=[(stage.state == StepState::Current).then_some("step")] {
                    strong { (stage.name) } " "
                    span.small { (words) }
                    br; (stage.devices) " of the devices"
                    br; span.small { "bakes " (stage.bake) @if stage.needs_approval { ", needs approval" } }
                }
            } }
        }
    }
}

fn devices(counts: &Counts, page: &RolloutPage) -> Markup {
    html! {
        section aria-label="Devices" {
            h2 { "Devices" }
            (chart::bar(&counts.parts, counts.eligible))
            ul.legend { @for (what, class, count) in &counts.parts {
                li { span class=(format!("key key-{class}")) {} (count) " " (what) }
            } }
            details id="counts" {
                summary { "All counts of the status" }
                (scrolled("Counts", &html! { table { tbody { @for (what, figure) in &counts.rows {
                    tr { th scope="row" { (what) } td.number { (figure) } }
                } } } }))
            }
            @if !page.failures.is_empty() {
                h3 { "Some of the devices that failed" }
                ul { @for failure in &page.failures {
                    li { a href=(path(&["devices", &page.namespace, &failure.device])) { (failure.device) } " " code { (failure.code) } " " (failure.message) }
                } }
            }
        }
    }
}

fn tile(tile: &Tile) -> Markup {
    html! {
        article.tile aria-label=(format!("Objective {}", tile.slo)) {
            h3 { (tile.slo) " " (verdict(tile.verdict)) }
            p.small { (tile.limit) }
            @if let Some(measured) = &tile.measured { p.measured { (measured) } }
            @match &tile.plot {
                Some(plot) => (chart::plot(plot)),
                None if tile.verdict.is_some() => p.small { "The verdict has no numbers for a comparison with the controls." }
                None => {}
            }
            @if let Some(sentence) = &tile.sentence { p { (sentence) } }
            @if !tile.rows.is_empty() {
                ul.numbers { @for (what, figure) in &tile.rows { li { strong { (figure) } " " (what) } } }
            }
        }
    }
}

fn budget(budget: &Budget) -> Markup {
    let what = format!("{} of {} spent", budget.spent.text, budget.whole.text);
    html! {
        section aria-label="Error budget" {
            h2 { "Chance of a false rollback" }
            (chart::meter(budget.share, &what))
            p {
                (budget.spent) " of " (budget.whole) " spent, in " (budget.looks)
                @if let Some(planned) = budget.planned { " of " (planned) " planned" }
                " looks of this stage."
            }
        }
    }
}

fn watch(watch: &Watch) -> Markup {
    html! {
        section aria-label="Watch" {
            h2 { "Watch over the version in production" }
            (chart::meter(watch.share, &format!("{} % of the way to an alarm", watch.level.text)))
            p {
                (watch.level) " % of the way to an alarm after " (watch.windows) " windows of the fleet."
                @if let Some(since) = &watch.alarm_since { " There is an alarm since " (moment(*since)) "." }
            }
        }
    }
}

fn decisions(page: &RolloutPage) -> Markup {
    html! {
        section aria-label="Decisions" {
            h2 { "Decisions" }
            @if page.decisions.is_empty() { p.empty { "Nothing was decided yet." } } @else {
                (scrolled("Decisions", &html! { table {
                    thead { tr { th { "When" } th { "Stage" } th { "Decision" } th { "Reason" } th { "Why" } } }
                    tbody { @for one in &page.decisions { tr {
                        td { (moment(one.at.0)) } td { (one.stage) } td { (format!("{:?}", one.decision)) }
                        td { code { (one.reason) } } td.message { (one.message) }
                    } } }
                } }))
            }
        }
    }
}

fn conditions(page: &RolloutPage) -> Markup {
    html! {
        details id="conditions" {
            summary { "Conditions" }
            (scrolled("Conditions", &html! { table {
                thead { tr { th { "Type" } th { "Status" } th { "Reason" } th { "Message" } } }
                tbody { @for [kind, status, reason, message] in &page.conditions { tr {
                    th scope="row" { (kind) } td { (status) } td { code { (reason) } } td.message { (message) }
                } } }
            } }))
        }
    }
}
