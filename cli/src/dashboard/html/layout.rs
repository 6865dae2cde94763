//! What all pages have: head, navigation, and word of what is old.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use modelfleet_crds::rollout::status::{RolloutPhase, VerdictKind};

use crate::dashboard::objects::Stale;
use crate::units::moment;

/// The frame of a page.
pub struct Frame<'a> {
    /// The fleet that the page is of; `None`: all.
    pub fleet: Option<&'a str>,
    /// What the page is called.
    pub title: &'a str,
    /// Why what it shows may be old.
    pub stale: &'a [Stale],
    /// The moment.
    pub now: Timestamp,
}

impl Frame<'_> {
    /// A whole page.
    #[must_use]
    pub fn page(&self, content: &Markup) -> Markup {
        let Frame { fleet, title, stale, now } = self;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " – Modelfleet" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/style.css";
                    script src="/script.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        nav aria-label="Pages" {
                            a.home href="/" { "Modelfleet" }
                            @if let Some(fleet) = fleet {
                                a href=(path(&["fleets", fleet])) { (fleet) }
                                a href=(path(&["devices", fleet])) { "Devices" }
                                a href=(path(&["alarms", fleet])) { "Alarms" }
                            } @else {
                                a href="/alarms" { "Alarms" }
                            }
                        }
                        p #live role="status" { "As of " time datetime=(moment(*now)) { (moment(*now)) } noscript { ". Reload to see changes." } }
                    }
                    main #main tabindex="-1" {
                        @for stale in *stale {
                            p.banner role="alert" {
                                @match &stale.since {
                                    Some(since) => { "No news of " (stale.kind) " since " (moment(*since)) ": what you see may be old. " }
                                    None => { "The " (stale.kind) " are not read yet. " }
                                }
                                (stale.why)
                            }
                        }
                        h1 { (title) }
                        (content)
                    }
                    footer { "Read only, by your own rights. To change something, copy a command." }
                }
            }
        }
    }
}

/// A page that only says something.
#[must_use]
pub fn message(text: &str) -> Markup {
    html! { p { (text) } }
}

/// A path of which each part stays one, whatever it holds.
#[must_use]
pub fn path(parts: &[&str]) -> String {
    let mut url = reqwest::Url::parse("http://dashboard/").expect("a constant that is an address");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(parts);
    }
    url.path().to_owned()
}

/// A table that scrolls within itself where the window is narrow, and that a keyboard can scroll.
#[must_use]
pub fn scrolled(name: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-label=(name) { (table) } }
}

/// Commands to copy. One click selects one whole.
#[must_use]
pub fn commands(commands: &[(&str, String)]) -> Markup {
    html! {
        section.commands aria-label="Commands" {
            h2 { "Commands to copy" }
            dl {
                @for (what, command) in commands {
                    dt { (what) }
                    dd { code { (command) } }
                }
            }
        }
    }
}

/// A phase as a badge.
#[must_use]
pub fn phase(phase: Option<RolloutPhase>) -> Markup {
    let (text, class) = match phase {
        None => ("not seen yet".to_owned(), "none"),
        Some(phase) => {
            let class = match phase {
                RolloutPhase::Queued => "none",
                RolloutPhase::Progressing => "wait",
                RolloutPhase::Succeeded => "good",
                RolloutPhase::AwaitingApproval | RolloutPhase::Paused => "care",
                RolloutPhase::RollingBack | RolloutPhase::RolledBack | RolloutPhase::Stalled => "bad",
            };
            let text = match phase {
                RolloutPhase::AwaitingApproval => "Awaiting approval".to_owned(),
                RolloutPhase::RollingBack => "Rolling back".to_owned(),
                RolloutPhase::RolledBack => "Rolled back".to_owned(),
                phase => format!("{phase:?}"),
            };
            (text, class)
        }
    };
    html! { span class=(format!("badge badge-{class}")) { (text) } }
}

/// A verdict as a badge.
#[must_use]
pub fn verdict(verdict: Option<VerdictKind>) -> Markup {
    let (text, class) = match verdict {
        None => ("Not judged yet".to_owned(), "none"),
        Some(kind) => {
            let class = match kind {
                VerdictKind::Healthy => "good",
                VerdictKind::Exposed => "care",
                VerdictKind::Undecided => "wait",
                VerdictKind::Degraded | VerdictKind::Incident => "bad",
            };
            (format!("{kind:?}"), class)
        }
    };
    html! { span class=(format!("badge badge-{class}")) { (text) } }
}
