//! Each reason that a rollout can give has its place in docs/runbooks.md, and no place is for a reason that is gone.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree::text;

/// The words of the enum `ReasonCode`: its lines between the macro's braces.
fn reasons_of_the_core() -> BTreeSet<String> {
    let source = text(Path::new("controller/rollout/src/reason.rs"));
    let list = source.split("    ReasonCode {").nth(1).expect("the list of reasons");
    let list = list.split("\n    }").next().expect("its end");
    list.lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .filter(|w| is_word(w))
        .map(str::to_owned)
        .collect()
}

/// Words that shells and other rooms write as a reason: `reason: "Word"`.
fn reasons_beside_the_core() -> BTreeSet<String> {
    let rooms = ["controller/model/src", "controller/spec/src"];
    let sources = crate::tree::tracked().into_iter().filter(|path| {
        rooms.iter().any(|room| path.starts_with(room)) && path.extension().is_some_and(|e| e == "rs")
    });
    let sources = sources.filter(|path| !path.to_string_lossy().contains("test"));
    let texts: Vec<String> = sources.map(|path| text(&path)).collect();
    let words = texts
        .iter()
        .flat_map(|text| text.split("reason: \"").skip(1).chain(text.split("let reason = \"").skip(1)));
    words.filter_map(|rest| rest.split('"').next()).filter(|w| is_word(w)).map(str::to_owned).collect()
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Reasons of conditions that do not hold, or that report that all is well.
const NEED_NO_ACT: [&str; 4] = ["NotStarted", "NoDevice", "Checked", "LetGo"];

#[test]
fn every_reason_has_a_runbook() {
    let page = text(Path::new("docs/runbooks.md"));
    let headings: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    let mut reasons = reasons_of_the_core();
    assert!(reasons.len() > 30, "the list of reasons was not found: {reasons:?}");
    reasons.extend(reasons_beside_the_core());
    reasons.retain(|reason| !NEED_NO_ACT.contains(&reason.as_str()));
    let missing: Vec<_> = reasons.difference(&headings).collect();
    assert!(missing.is_empty(), "docs/runbooks.md says nothing of {missing:?}");
    let gone: Vec<_> = headings.difference(&reasons).collect();
    assert!(gone.is_empty(), "no code gives the reasons {gone:?} of docs/runbooks.md");
}

#[test]
fn every_condition_is_in_the_table() {
    let page = text(Path::new("docs/runbooks.md"));
    let source = text(Path::new("crds/src/conditions.rs"));
    let kinds = source.lines().filter_map(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";"));
    for kind in kinds.filter(|kind| *kind != "Verified") {
        assert!(page.contains(&format!("| `{kind}` |")), "docs/runbooks.md has no line for {kind}");
    }
}
