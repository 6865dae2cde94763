//! Every line of docs/capacity.md is computed anew, and what it takes from docs/NUMBERS.md is there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::tree::text;

type Names = BTreeMap<String, f64>;

/// What an expression of sums, products, brackets, names and `erlang_c(servers, load)` comes to.
struct Expression<'a> {
    rest: &'a str,
    names: &'a Names,
}

impl Expression<'_> {
    fn value(text: &str, names: &Names) -> f64 {
        let mut expression = Expression { rest: text, names };
        let value = expression.sum();
        assert!(expression.rest.trim().is_empty(), "{text}: what is {:?}", expression.rest);
        value
    }

    fn takes(&mut self, sign: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> f64 {
        let mut value = self.product();
        loop {
            match () {
                () if self.takes('+') => value += self.product(),
                () if self.takes('-') => value -= self.product(),
                () => return value,
            }
        }
    }

    fn product(&mut self) -> f64 {
        let mut value = self.factor();
        loop {
            match () {
                () if self.takes('*') => value *= self.factor(),
                () if self.takes('/') => value /= self.factor(),
                () => return value,
            }
        }
    }

    fn factor(&mut self) -> f64 {
        if self.takes('(') {
            let value = self.sum();
            assert!(self.takes(')'), "a bracket is open at {:?}", self.rest);
            return value;
        }
        let rest = self.rest.trim_start();
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        if word == "erlang_c" {
            assert!(self.takes('('), "erlang_c(servers, load)");
            let servers = self.sum();
            assert!(self.takes(','), "erlang_c(servers, load)");
            let load = self.sum();
            assert!(self.takes(')'), "erlang_c(servers, load)");
            return erlang_c(servers as u32, load);
        }
        let named = self.names.get(word).copied();
        named.or_else(|| word.parse().ok()).unwrap_or_else(|| panic!("{word} is neither a name nor a number"))
    }
}

/// The probability that an arrival waits in an M/M/c queue with this load in servers.
fn erlang_c(servers: u32, load: f64) -> f64 {
    // Erlang's B by its recursion, from it C.
    let blocked = (1..=servers).fold(1.0, |b, n| load * b / (f64::from(n) + load * b));
    let busy = load / f64::from(servers);
    blocked / (1.0 - busy * (1.0 - blocked))
}

/// The cells of the rows below a heading.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<String>> =
        lines.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
    assert!(rows.len() >= 5 && rows.iter().all(|row| row.len() == 6), "{heading}");
    rows
}

#[test]
fn every_line_of_the_page_of_capacity_adds_up() {
    let (page, numbers) = (text(Path::new("docs/capacity.md")), text(Path::new("docs/NUMBERS.md")));
    let name = |cell: &str| cell.trim_matches('`').to_owned();
    let mut names = Names::new();
    for row in rows(&page, "What goes in") {
        names.insert(name(&row[1]), row[2].parse().unwrap());
        if let Some(quoted) = row[4].strip_prefix('`') {
            let quoted = quoted.trim_end_matches('`');
            assert!(numbers.contains(quoted), "docs/NUMBERS.md does not say {quoted:?} any more: {}", row[1]);
        }
    }
    for heading in ["Controller", "Broker", "Store", "Cost"] {
        for row in rows(&page, heading) {
            let value = Expression::value(row[2].trim_matches('`'), &names);
            let told: f64 = row[3].parse().unwrap();
            assert!((value - told).abs() <= 0.005 * told.abs(), "{}: {value}, and not {told}", row[1]);
            names.insert(name(&row[1]), value);
        }
    }
}

#[test]
fn waiting_by_erlang_is_what_tables_say() {
    // One server: the load itself. Two: a^2 / (2 + a) over all, by hand.
    assert!((erlang_c(1, 0.3) - 0.3).abs() < 1e-12);
    for load in [0.1, 0.5, 1.0, 1.9] {
        let by_hand = load * load / (2.0 + load);
        assert!((erlang_c(2, load) - by_hand).abs() < 1e-12, "{load}");
    }
    // A value of the printed tables of Erlang C: 10 servers at 7 erlangs.
    assert!((erlang_c(10, 7.0) - 0.2217).abs() < 1e-4, "{}", erlang_c(10, 7.0));
}
