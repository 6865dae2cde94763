use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fleet {
    devices: u64,
    strata: Vec<Stratum>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stratum {
    share: f64,
}

fn message(text: &str) -> String {
    document_of::<Fleet>(text).err().map(|problem| problem.to_string()).unwrap_or_default()
}

#[test]
fn a_problem_names_line_column_and_field() {
    let share = |value: &str| format!("strata:\n- share: 0.5\n- share: {value}\n");
    assert_eq!(message(&share("x")), "line 3, column 10: strata[1].share: must be a number such as 0.5");
    assert_eq!(message("devices: -1"), "line 1, column 10: devices: must be a whole number, 0 or more");
    assert_eq!(
        message("devices: 1\ndevces: 5\n"),
        "line 2, column 1: devces: unknown field `devces`; the fields here are devices, strata"
    );
    assert_eq!(message("strata: [{}]"), "line 1, column 10: strata[0]: field `share` is missing");
    assert!(
        message("devices: 1\ndevices: 2\n").starts_with("line 2, column 1"),
        "{}",
        message("devices: 1\ndevices: 2\n")
    );
    let open = objects("kind: [\n").unwrap_err();
    assert!(open.place.is_some_and(|(line, _)| line == 1) && open.what.contains('['), "{open}");
    assert_eq!(
        objects("a: 1\na: 2").unwrap_err().to_string(),
        "line 2, column 1: field `a` is written twice"
    );
    assert!(objects("a: *b").unwrap_err().to_string().contains("anchor (&) that is not there"));
}

#[test]
fn a_small_text_that_stands_for_a_large_one_is_refused() {
    let list = |entry: &str| format!("[{}]", vec![entry; 300].join(","));
    let text = format!("a: &a {}\nb: &b {}\nc: {}\n", list("x"), list("*a"), list("*b"));
    assert!(text.len() < 4_096);
    assert!(objects(&text).unwrap_err().to_string().contains("use fewer aliases"));
    assert!(document_of::<Value>(&text).unwrap_err().to_string().contains("use fewer aliases"));
    let turned = "a: &a [*a]\n";
    assert!(objects(turned).is_err(), "an anchor within itself");
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(objects(&deep).unwrap_err().what, "it is nested more than 64 levels deep");
}

#[test]
fn as_many_objects_are_read_as_a_file_may_hold() {
    let of = |count: usize| objects(&"---\nkind: Rollout\n".repeat(count));
    assert_eq!(of(OBJECTS_MAX).unwrap().len(), OBJECTS_MAX);
    assert_eq!(of(OBJECTS_MAX + 1).unwrap_err().what, "it holds more than 256 objects; split the file");
}

#[test]
fn values_are_read_as_kubectl_reads_them() {
    let fleet: Fleet = document_of("devices: 0x10\nstrata: [{share: 0.5}]").unwrap();
    assert_eq!((fleet.devices, fleet.strata[0].share), (16, 0.5));
    let read = |text: &str| objects(text).unwrap();
    assert_eq!(read(""), [Value::Null; 0]);
    assert_eq!(read("---\nnull\n---\n~\n---\n{}\n"), [serde_json::json!({})]);
    let values = "[1, -2, 0.5, true, ~, x, yes, no, on, off, 0755, 1e3, 2026-01-01, '5']";
    let expected = serde_json::json!([
        1,
        -2,
        0.5,
        true,
        null,
        "x",
        true,
        false,
        true,
        false,
        493,
        1000.0,
        "2026-01-01",
        "5"
    ]);
    assert_eq!(read(values), [expected]);
    assert_eq!(read("a: &a {b: c}\nd: *a\n"), [serde_json::json!({"a": {"b": "c"}, "d": {"b": "c"}})]);
    assert_eq!(read("base: &b {x: 1}\nown: {<<: *b, y: 2}")[0]["own"], serde_json::json!({"x": 1, "y": 2}));
    assert!(objects("a: .nan").unwrap_err().to_string().contains("not a finite number"));
}

#[test]
fn what_other_readers_take_for_something_else_is_written_in_quotes() {
    for text in
        ["yes", "no", "on", "y", "1.0", "0x1", "1e5", "null", "~", "2026-01-01", "12:30:00", "<<", ".5", ""]
    {
        let written = written(&serde_json::json!({ "a": text })).unwrap();
        assert_eq!(written, format!("a: \"{text}\"\n"));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(key in "[a-z0-9.~<=-]{1,6}", text in "(?s).{0,40}|[a-z0-9 :#,.\\-]{0,200}") {
        let object = serde_json::json!({ key: [text] });
        prop_assert_eq!(objects(&written(&object).unwrap()).unwrap(), [object]);
    }
}
