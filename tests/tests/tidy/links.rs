//! Links of pages lead somewhere: the file is there, and so is the heading that the part behind `#` names.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::tree::{root, text, tracked};

/// The targets of the links of a page, with the numbers of their lines. What is in code is no link.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        // Every other part of a line lies between backticks.
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for rest in outside.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors of a page: its headings as GitHub and mdBook name them, and what it names itself with `<a id="...">`.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let again = (1..).map(|n| format!("{anchor}-{n}"));
            let free = std::iter::once(anchor.clone()).chain(again).find(|name| !found.contains(name));
            found.extend(free);
        }
        for rest in line.split("<a id=\"").skip(1) {
            found.extend(rest.split_once('"').map(|(id, _)| id.to_owned()));
        }
    }
    found
}

/// `a/b/../c` as `a/c`; nothing if it leaves the tree.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            other => clean.push(other),
        }
    }
    Some(clean)
}

/// Why a link of a page leads nowhere.
fn broken(page: &Path, target: &str, pages: &BTreeSet<PathBuf>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = match file {
        "" => page.to_owned(),
        _ => match without_dots(&page.parent().unwrap_or(Path::new("")).join(file)) {
            Some(path) => path,
            None => return Some("leaves the tree".to_owned()),
        },
    };
    if !root().join(&path).exists() {
        return Some(format!("{} is not there", path.display()));
    }
    let anchor = anchor.filter(|_| pages.contains(&path))?;
    let known = anchors(&text(&path));
    (!known.contains(anchor)).then(|| format!("{} has no heading #{anchor}", path.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let pages: BTreeSet<PathBuf> =
        tracked().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in &pages {
        for (number, target) in links(&text(page)) {
            count += 1;
            if let Some(why) = broken(page, &target, &pages) {
                wrong.push(format!("{}:{number}: {target}: {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} links lead nowhere:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "only {count} links were found");
}

#[test]
fn every_page_of_the_site_is_in_its_contents() {
    let contents: BTreeSet<PathBuf> = links(&text(Path::new("docs/SUMMARY.md")))
        .into_iter()
        .filter_map(|(_, target)| without_dots(&Path::new("docs").join(target)))
        .collect();
    let pages = tracked().into_iter().filter(|path| {
        path.starts_with("docs")
            && path.extension().is_some_and(|e| e == "md")
            && path != Path::new("docs/SUMMARY.md")
            // Decisions are reached from the pages that they are about.
            && !path.starts_with("docs/decisions")
    });
    let missing: Vec<_> = pages.filter(|page| !contents.contains(page)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = "# One two\n## `a.b`: c_d\n## One two\n[x](#one-two-1) `[code](no.md)` [y](no.md)\n```\n[z](no.md)\n# no\n```\n";
    let names: Vec<String> = anchors(page).into_iter().collect();
    assert_eq!(names, ["ab-c_d", "one-two", "one-two-1"]);
    let targets: Vec<String> = links(page).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["#one-two-1", "no.md"]);
    let pages = BTreeSet::from([PathBuf::from("README.md")]);
    let of = |target| broken(Path::new("docs/metrics.md"), target, &pages);
    assert_eq!(of("https://example.com/no"), None);
    assert_eq!(of("../README.md#two-commands"), None);
    assert!(of("../README.md#no").unwrap().contains("has no heading #no"));
    assert!(of("no.md").unwrap().contains("docs/no.md is not there"));
    assert!(of("../../no.md").unwrap().contains("leaves the tree"));
}
