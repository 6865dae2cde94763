//! docs/threats.md: what each attacker can and cannot do, by a test for each line. A page that names a test that is not there
//! claims what nothing shows. docs/faults.md has the same bond: whose fault trouble is, and what follows from it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::tree::{root, text};

const PAGE: &str = "docs/threats.md";
const FAULTS: &str = "docs/faults.md";

/// Who has a section of its own.
const ATTACKERS: [&str; 11] = [
    "A device",
    "A program on the device",
    "A device's login",
    "The broker",
    "The store of artifacts",
    "CI",
    "A plan key",
    "An artifact key",
    "The network",
    "A cluster user",
    "A backup",
];

/// One line of a table.
struct Line<'a> {
    attacker: &'a str,
    can: bool,
    tests: Vec<&'a str>,
    text: &'a str,
}

fn lines(page: &str) -> Vec<Line<'_>> {
    let sections = page.split("\n## ").skip(1);
    sections
        .flat_map(|section| {
            let (attacker, body) = section.split_once('\n').unwrap();
            body.lines().filter(|line| line.starts_with('|')).skip(2).map(move |text| line(attacker, text))
        })
        .collect()
}

fn line<'a>(attacker: &'a str, text: &'a str) -> Line<'a> {
    let cells: Vec<&str> = text.split('|').map(str::trim).collect();
    assert!(cells.len() == 5, "not | can or cannot | what | tests |: {text}");
    let can = match cells[1] {
        "can" => true,
        "cannot" => false,
        other => panic!("{other:?} is neither can nor cannot: {text}"),
    };
    assert!(!cells[2].is_empty(), "it does not say what: {text}");
    let tests = cells[3].split(", ").map(|test| test.trim_matches('`')).collect();
    Line { attacker, can, tests, text }
}

/// Whether a source has a test of this name: a function behind an attribute that makes it one.
fn has_test(source: &str, name: &str) -> bool {
    let declared = format!("fn {name}(");
    source.match_indices(&declared).any(|(at, _)| {
        let before = &source[..at];
        // The attributes stand between the end of the item before and the function.
        let own = before.rfind(['}', ';', '{']).map_or(before, |end| &before[end..]);
        own.contains("#[test]") || own.contains("#[tokio::test")
    })
}

/// Tests (`path::name`) that a text names and that are not in the source.
fn missing<'a>(named: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let there = |test: &str| {
        test.split_once("::").is_some_and(|(path, name)| {
            let source = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            has_test(&source, name)
        })
    };
    named.filter(|test| !there(test)).collect()
}

#[test]
fn every_line_names_tests_that_there_are() {
    let page = text(Path::new(PAGE));
    let lines = lines(&page);
    let missing = missing(lines.iter().flat_map(|line| line.tests.iter().copied()));
    assert!(missing.is_empty(), "{PAGE} names tests that are not there: {missing:#?}");
}

/// The table of whose fault trouble is: each line says where it is decided, and a test that shows it.
#[test]
fn every_fault_has_a_place_and_a_test() {
    let page = text(Path::new(FAULTS));
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 10, "{FAULTS} has {} lines", rows.len());
    for row in &rows {
        assert!(row.len() == 6, "not | trouble | decided in | effect | test |: {row:?}");
        let files = row[2].split('`').skip(1).step_by(2).filter(|name| name.contains('/'));
        for file in files {
            assert!(root().join(file).is_file(), "{FAULTS}: there is no {file}");
        }
    }
    let tests = rows.iter().flat_map(|row| row[4].split(", ").map(|test| test.trim_matches('`')));
    let missing = missing(tests);
    assert!(missing.is_empty(), "{FAULTS} names tests that are not there: {missing:#?}");
}

#[test]
fn every_attacker_has_what_it_can_and_what_it_cannot_do() {
    let page = text(Path::new(PAGE));
    let mut seen: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for line in lines(&page) {
        assert!(
            ATTACKERS.contains(&line.attacker),
            "{} is no attacker of the list: {}",
            line.attacker,
            line.text
        );
        seen.entry(line.attacker).or_default()[usize::from(line.can)] += 1;
    }
    for attacker in ATTACKERS {
        let [cannot, can] = seen.get(attacker).copied().unwrap_or_default();
        assert!(
            can > 0 && cannot > 0,
            "{attacker} has {can} lines of what it can and {cannot} of what it cannot do"
        );
    }
}

/// The attack tests are the page's: one that no line names is a claim that the page leaves out.
#[test]
fn every_attack_test_is_on_the_page() {
    let page = text(Path::new(PAGE));
    let attacks = text(Path::new("tests/support/tests/attacks.rs"));
    let names =
        attacks.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split_once('('));
    let left_out: Vec<&str> =
        names.map(|(name, _)| name).filter(|name| !page.contains(&format!("::{name}`"))).collect();
    assert!(left_out.is_empty(), "{PAGE} has no line for {left_out:#?}");
}

#[test]
fn a_test_is_found_by_its_attribute_alone() {
    let source = "#[test]\n#[cfg(unix)]\nfn one() {}\n\nfn two() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn three() {}\n";
    assert!(has_test(source, "one") && has_test(source, "three"));
    assert!(!has_test(source, "two") && !has_test(source, "on") && !has_test(source, "four"));
}
