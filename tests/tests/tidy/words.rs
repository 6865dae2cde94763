//! One word per thing: the glossary of docs/ARCHITECTURE.md, and the words that it has replaced.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::tree::{text, tracked};

const GLOSSARY: &str = "docs/ARCHITECTURE.md";

/// A row of the table of words that are not used.
struct Replaced {
    word: String,
    /// Not as a name in code.
    in_names: bool,
    /// Not in what people read.
    in_texts: bool,
    /// Paths that begin so may have it.
    except: Vec<String>,
}

impl Replaced {
    fn holds_for(&self, path: &Path) -> bool {
        !self.except.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// The section between a heading and the next of its level or above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let body = text.split(&format!("\n{heading}\n")).nth(1);
    let body = body.unwrap_or_else(|| panic!("{GLOSSARY} has no section {heading}"));
    let body = body.split("\n## ").next().unwrap();
    if heading.starts_with("### ") { body.split("\n### ").next().unwrap() } else { body }
}

/// The terms of a paragraph, which explains each as `*Term*: meaning.`
fn explained(paragraph: &str) -> Vec<(String, String)> {
    let term_at = |at: usize| {
        let (term, _) = paragraph[at + 1..].split_once("*: ")?;
        (term.starts_with(char::is_uppercase) && !term.contains('*')).then_some((at, term))
    };
    let terms: Vec<(usize, &str)> = paragraph.match_indices('*').filter_map(|(at, _)| term_at(at)).collect();
    let ends = terms.iter().skip(1).map(|(at, _)| *at).chain([paragraph.len()]);
    let meaning =
        |(at, term): &(usize, &str), end: usize| paragraph[at + term.len() + "**: ".len()..end].to_owned();
    terms.iter().zip(ends).map(|(term, end)| (term.1.to_owned(), meaning(term, end))).collect()
}

/// The terms, paragraph by paragraph.
fn glossary(text: &str) -> Vec<Vec<(String, String)>> {
    let words = section(text, "## Words").split("\n### ").next().unwrap();
    words.split("\n\n").map(explained).filter(|terms| !terms.is_empty()).collect()
}

fn replaced(text: &str) -> Vec<Replaced> {
    let table = section(text, "### Words that we do not use");
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert!(cells.len() == 6 && !cells[2].is_empty(), "not | word | instead | where | except |: {line}");
        let known = ["names", "texts", "names, texts"].contains(&cells[3]);
        assert!(known, "{line}: the third cell is `names`, `texts` or `names, texts`");
        Replaced {
            word: cells[1].to_lowercase(),
            in_names: cells[3].contains("names"),
            in_texts: cells[3].contains("texts"),
            except: cells[4].split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        }
    };
    rows.map(row).collect()
}

/// Rust files that ship, and their text without the tests at their end.
fn shipped() -> Vec<(PathBuf, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|e| e == "rs") && !path.starts_with("tests");
    let ours = |path: &PathBuf| {
        let mut parts = path.components().map(|part| part.as_os_str());
        parts.any(|part| part == "src") && !parts.any(|part| part == "tests" || part == "generated")
    };
    let of_tests = |path: &PathBuf| path.to_string_lossy().ends_with("tests.rs");
    let paths = tracked().into_iter().filter(|path| rust(path) && ours(path) && !of_tests(path));
    paths
        .map(|path| {
            let text = text(&path).split("\n#[cfg(test)]\nmod ").next().unwrap().to_owned();
            (path, text)
        })
        .collect()
}

/// The words of a name: of `FetchTurn`, `fetch_turn` and `FETCH_TURN` they are `fetch` and `turn`.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for letter in name.chars() {
        let begins = before == '_' || (letter.is_uppercase() && !before.is_uppercase());
        if letter != '_' {
            if begins {
                words.push(String::new());
            }
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}

/// What a file names: itself and the folders that it is in, types by each of their words, and functions, constants, modules
/// and public fields as a whole.
fn names(path: &Path, text: &str) -> BTreeSet<String> {
    let below_src = path.iter().map(|part| part.to_string_lossy()).skip_while(|part| part != "src").skip(1);
    let mut names: BTreeSet<String> =
        below_src.flat_map(|part| words_of(part.trim_end_matches(".rs"))).collect();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        let mut parts =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            match part {
                "struct" | "enum" | "trait" | "type" | "union" => {
                    names.extend(parts.next().map(words_of).unwrap_or_default());
                }
                "fn" | "const" | "static" | "mod" => names.extend(parts.next().map(str::to_lowercase)),
                _ => {}
            }
        }
        let field = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")).map(|(name, _)| name);
        names.extend(field.map(str::to_lowercase));
    }
    names
}

/// What people read of a file: all of a page or a manifest; of code the doc comments and the texts in quotes.
fn readable(path: &Path, text: &str) -> Vec<(usize, String)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    if path.extension().is_none_or(|e| e != "rs") {
        return numbered.map(|(number, line)| (number, line.to_owned())).collect();
    }
    let mut goes_on = false;
    let mut found = Vec::new();
    for (number, line) in numbered {
        let trimmed = line.trim_start();
        if trimmed.starts_with("///") || trimmed.starts_with("//!") {
            found.push((number, trimmed.to_owned()));
            continue;
        }
        let pieces: Vec<&str> = line.split('"').collect();
        // A text that began on a line before is the first piece.
        let quoted: Vec<&str> = pieces.iter().skip(usize::from(!goes_on)).step_by(2).copied().collect();
        found.push((number, quoted.join(" ")));
        let open = pieces.len().is_multiple_of(2) != goes_on;
        goes_on = open && line.ends_with('\\');
    }
    found
}

/// Pages and manifests that people read; what was decided once stays as it was written.
fn pages() -> Vec<(PathBuf, String)> {
    let page = |path: &PathBuf| {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let read = ending == "md" || (path.starts_with("manifests") && ending == "yaml");
        read && !path.starts_with("docs/decisions")
    };
    tracked()
        .into_iter()
        .filter(page)
        .map(|path| (text(&path), path))
        .map(|(text, path)| (path, text))
        .collect()
}

/// Whether `word` stands in `line` by itself; in any case of letters.
fn stands_in(line: &str, word: &str) -> bool {
    let line = line.to_lowercase();
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, found)| {
        !inside(line[..at].chars().next_back()) && !inside(line[at + found.len()..].chars().next())
    })
}

#[test]
fn each_term_is_explained_once_and_in_order() {
    let groups = glossary(&text(Path::new(GLOSSARY)));
    let terms: Vec<&(String, String)> = groups.iter().flatten().collect();
    let once: BTreeSet<String> = terms.iter().map(|(term, _)| term.to_lowercase()).collect();
    assert!(terms.len() > 10 && once.len() == terms.len(), "a term is explained twice: {terms:#?}");
    for (term, meaning) in terms {
        let meaning = meaning.trim_end().trim_end_matches("\n-").trim_end();
        assert!(meaning.ends_with('.') && meaning.len() > 1, "{term} is explained by no sentence: {meaning}");
    }
    let list = |group: &&Vec<(String, String)>| group.iter().any(|(_, meaning)| meaning.ends_with("\n- "));
    for pair in groups.iter().filter(list).flat_map(|group| group.windows(2)) {
        assert!(
            pair[0].0.to_lowercase() < pair[1].0.to_lowercase(),
            "{} comes before {}",
            pair[0].0,
            pair[1].0
        );
    }
}

#[test]
fn each_term_is_a_name_in_the_code_or_a_field_of_a_resource() {
    let mut used = BTreeSet::new();
    for (path, text) in shipped() {
        for name in names(&path, &text) {
            used.extend(words_of(&name));
        }
    }
    for path in tracked().iter().filter(|path| path.starts_with("manifests/crds")) {
        let fields = text(path)
            .lines()
            .filter_map(|l| l.trim().split_once(':').map(|(f, _)| f.to_owned()))
            .collect::<Vec<_>>();
        used.extend(fields.iter().flat_map(|field| words_of(field)));
    }
    for (term, _) in glossary(&text(Path::new(GLOSSARY))).into_iter().flatten() {
        for word in term.to_lowercase().split(' ') {
            let found = used.contains(word) || used.contains(&format!("{word}s"));
            assert!(found, "{GLOSSARY} explains {term}, which no code and no resource names");
        }
    }
}

#[test]
fn no_term_is_a_word_that_is_not_used() {
    let page = text(Path::new(GLOSSARY));
    let replaced = replaced(&page);
    assert!(!replaced.is_empty());
    let words: BTreeSet<&str> = replaced.iter().map(|entry| entry.word.as_str()).collect();
    assert_eq!(words.len(), replaced.len(), "a word is there twice");
    for (term, _) in glossary(&page).into_iter().flatten() {
        assert!(!words.contains(term.to_lowercase().as_str()), "{term}");
    }
}

#[test]
fn replaced_words_are_no_names() {
    let page = text(Path::new(GLOSSARY));
    let replaced: Vec<Replaced> = replaced(&page).into_iter().filter(|entry| entry.in_names).collect();
    let mut found = Vec::new();
    for (path, text) in shipped() {
        let names = names(&path, &text);
        let bad = replaced.iter().filter(|entry| names.contains(&entry.word) && entry.holds_for(&path));
        found.extend(bad.map(|entry| format!("{}: {}", path.display(), entry.word)));
    }
    assert!(found.is_empty(), "{GLOSSARY} says what to call them: {found:#?}");
}

#[test]
fn replaced_words_are_in_no_text() {
    let page = text(Path::new(GLOSSARY));
    let replaced: Vec<Replaced> = replaced(&page).into_iter().filter(|entry| entry.in_texts).collect();
    let mut found = Vec::new();
    for (path, mut text) in shipped().into_iter().chain(pages()) {
        if path == Path::new(GLOSSARY) {
            // The table itself.
            text = text.replace(section(&page, "### Words that we do not use"), "");
        }
        for (number, line) in readable(&path, &text) {
            let bad = replaced.iter().filter(|entry| stands_in(&line, &entry.word) && entry.holds_for(&path));
            found.extend(bad.map(|entry| format!("{}:{number}: {}", path.display(), entry.word)));
        }
    }
    assert!(found.is_empty(), "{GLOSSARY} says what to write: {found:#?}");
}

#[test]
fn a_word_is_found_where_it_stands_by_itself() {
    assert!(stands_in("A Wave of devices", "wave") && stands_in("the wave.", "wave"));
    assert!(!stands_in("waves, microwave, wave_1", "wave"));
    assert_eq!(words_of("FetchTurn"), ["fetch", "turn"]);
    assert_eq!(words_of("FETCH_TURN_MS"), ["fetch", "turn", "ms"]);
    let code = "/// A wave.\nlet wave = say(\"one \\\n  wave\", 3);\nlet x = wave;\n";
    let lines: Vec<usize> = readable(Path::new("a.rs"), code)
        .into_iter()
        .filter(|(_, line)| stands_in(line, "wave"))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(lines, [1, 3]);
    let named = names(
        Path::new("a/src/fetch/wave.rs"),
        "pub struct BigStep;\nfn told() {}\npub aim: u8,\nlet mind = 1;",
    );
    assert!(
        ["fetch", "wave", "big", "step", "told", "aim"].iter().all(|name| named.contains(*name)),
        "{named:?}"
    );
    assert!(!named.contains("mind"));
}
