//! House rules that no compiler holds: who may depend on whom, one word for each thing, how long a file may be, what it is
//! called, what is left open.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

mod capacity;
mod links;
mod roles;
mod rooms;
mod runbooks;
mod threats;
mod tree;
mod words;

use tree::{is_source, text, tracked};

/// Lines after which a file must be split, its tests included.
const FILE_LINES_MAX: usize = 600;

#[test]
fn files_stay_readable() {
    let sources = tracked().into_iter().filter(|path| is_source(path));
    let long = sources.map(|path| (text(&path).lines().count(), path));
    let long: Vec<_> = long.filter(|(lines, _)| *lines > FILE_LINES_MAX).collect();
    assert!(long.is_empty(), "over {FILE_LINES_MAX} lines; split by idea: {long:#?}");
}

#[test]
fn files_are_named_for_an_idea() {
    for path in tracked() {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        for vague in ["util", "utils", "common", "helper", "helpers", "manager", "misc"] {
            assert!(stem != vague, "{}: name the idea it holds", path.display());
        }
    }
}

#[test]
fn nothing_is_left_open() {
    // Spelled in pieces, so that this file does not hold what it looks for.
    let words = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["dbg", "!("], ["#[ig", "nore"]];
    for path in tracked().iter().filter(|p| is_source(p)) {
        let text = text(path);
        for word in words.map(|w| w.concat()) {
            assert!(!text.contains(&word), "{}: {word}", path.display());
        }
    }
}
