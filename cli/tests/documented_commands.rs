//! Every `kubectl modelfleet ...` in a shell block of a page is one that the program takes: names of commands and options, and the
//! forms of their values. Nothing is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use modelfleet_cli::arguments::Arguments;

/// The pages of the tree, as git knows them.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = Command::new("git").args(["ls-files", "-z", "*.md"]).current_dir(root).output().unwrap();
    let names = String::from_utf8(out.stdout).unwrap();
    // Decisions say how things were on their day, and are never edited.
    let wanted = names.split('\0').filter(|name| !name.is_empty() && !name.starts_with("docs/decisions/"));
    wanted.map(|name| root.join(name)).filter(|path| path.exists()).collect()
}

/// The lines of the `sh` blocks of a page with their numbers; a line that ends in a backslash goes on in the next one.
fn shell_lines(page: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for (number, line) in (1..).zip(page.lines()) {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            inside = !inside && matches!(trimmed, "```sh" | "```bash" | "```shell");
            goes_on = false;
            continue;
        }
        if !inside {
            continue;
        }
        let (text, more) = match trimmed.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (trimmed, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, last)) => *last += text,
            None => lines.push((number, text.to_owned())),
        }
        goes_on = more;
    }
    lines
}

/// What a variable stands for here: something of the form that is wanted in its place.
fn value_of(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("PORT") => "8000",
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => "1.0.0",
        _ => "name",
    }
}

/// The words of the simple command that begins the text, as a shell splits them; enough of a shell for our pages.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.push(c),
            (_, '$') => {
                let mut name = String::new();
                if chars.next_if_eq(&'{').is_some() {
                    name = chars.by_ref().take_while(|c| *c != '}').collect();
                } else if chars.next_if_eq(&'(').is_some() {
                    let mut open = 1;
                    chars.by_ref().find(|c| {
                        open += i32::from(*c == '(') - i32::from(*c == ')');
                        open == 0
                    });
                } else {
                    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                }
                (word, begun) = (word + value_of(&name), true);
            }
            (_, '\\') => word.extend(chars.next()),
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, '|' | '&' | ';' | '>' | '<' | ')') => break,
            (None, '#') if word.is_empty() && !begun => break,
            (None, c) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The commands of ours in a line.
fn commands(line: &str) -> Vec<Vec<String>> {
    let starts = line.match_indices("kubectl modelfleet ").map(|(at, _)| &line[at..]);
    // In a comment or in quotes it is not a command.
    let real = starts.filter(|text| {
        let before = &line[..line.len() - text.len()];
        !before.contains('#')
            && before.matches('\'').count().is_multiple_of(2)
            && before.matches('"').count().is_multiple_of(2)
    });
    real.map(|text| words(&text["kubectl modelfleet ".len()..])).collect()
}

/// A word that stands for what the reader has to fill in.
fn is_left_out(word: &str) -> bool {
    word == "..." || word.starts_with('[')
}

#[test]
fn every_documented_command_is_one_that_the_program_takes() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in pages() {
        for (number, line) in shell_lines(&std::fs::read_to_string(&path).unwrap()) {
            for words in commands(&line) {
                count += 1;
                let words = words.into_iter().filter(|word| !is_left_out(word));
                let given = std::iter::once("kubectl-modelfleet".to_owned()).chain(words);
                if let Err(error) = Arguments::try_parse_from(given)
                    && error.use_stderr()
                {
                    let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                    wrong.push(format!("{}:{number}: {line}\n    {why}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 60, "only {count} commands were found: have the pages another form?");
}

#[test]
fn blocks_are_read_as_a_shell_reads_them() {
    let page = "`kubectl modelfleet no`\n```sh\nkubectl modelfleet plan -f a.yaml \\\n    --runs 5 | less  # kubectl modelfleet no\n\
                x=\"$(kubectl modelfleet history 'pump anomaly')\"\n```\n```text\nkubectl modelfleet no\n```\n";
    let lines = shell_lines(page);
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].0, commands(&lines[0].1)), (3, vec![words("plan -f a.yaml --runs 5")]));
    assert_eq!(
        words("a 'b c'\"d\" $PORT ${x:-y}z $(a (b)) e\\ f # g"),
        ["a", "b cd", "8000", "namez", "name", "e f"]
    );
    assert_eq!(words("a >b"), ["a"]);
}
