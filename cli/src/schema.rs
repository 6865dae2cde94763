//! The API server's checks without an API server: types, unknown fields, bounds and CEL rules of our kinds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use modelfleet_crds::definitions;
use regex::Regex;
use serde_json::{Map, Value};

/// Most problems that are listed for one object.
const PROBLEMS_MAX: usize = 50;
/// Deepest nesting of an object.
const DEPTH_MAX: usize = 32;

/// First words of the messages that have the field as their subject.
const VERBS: [&str; 8] = ["adds", "does", "has", "holds", "is", "may", "must", "needs"];

/// Something that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, such as `spec.stages[0].devices`.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

/// `spec.slos has 9 entries; the maximum is 8`. The field is the subject, unless the message has one of its own:
/// `spec.stages: the last stage must have devices: 100%`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.message.split_whitespace().next().unwrap_or_default();
        let colon = if VERBS.contains(&verb) || self.field.is_empty() { "" } else { ":" };
        let gap = if self.field.is_empty() { "" } else { " " };
        write!(f, "{}{colon}{gap}{}", self.field, self.message)
    }
}

/// The schema of one kind.
pub struct Schema {
    openapi: Value,
    rules: CompiledSchema,
}

/// The schemas of all kinds, by kind.
#[must_use]
pub fn schemas() -> &'static BTreeMap<String, Schema> {
    static COMPILED: OnceLock<BTreeMap<String, Schema>> = OnceLock::new();
    COMPILED.get_or_init(compiled)
}

fn compiled() -> BTreeMap<String, Schema> {
    let mut all = BTreeMap::new();
    for definition in definitions::all() {
        let kind = definition.spec.names.kind.clone();
        let version = definition.spec.versions.into_iter().find(|version| version.storage);
        let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
        if let Some(openapi) = schema.and_then(|schema| serde_json::to_value(schema).ok()) {
            let rules = compile_schema(&openapi);
            all.insert(kind, Schema { openapi, rules });
        }
    }
    all
}

impl Schema {
    /// What the API server would refuse in a new object, in the order of the fields.
    #[must_use]
    pub fn problems(&self, object: &Value) -> Vec<Problem> {
        let mut found = Vec::new();
        // The server checks these parts of every object itself.
        let mut own = object.clone();
        if let Some(fields) = own.as_object_mut() {
            ["apiVersion", "kind", "metadata"].iter().for_each(|field| drop(fields.remove(*field)));
        }
        check(&self.openapi, &own, "", 0, &mut found);
        // Rules expect objects of the right shape; their messages about others are of no help.
        if found.is_empty() {
            let filled = kube_cel::apply_defaults(&self.openapi, object);
            if let Err(broken) = Validator::new().validate_compiled(&self.rules, &filled, None) {
                found.extend(broken.as_slice().iter().map(|error| Problem {
                    field: error.field_path.trim_start_matches('.').to_owned(),
                    message: error.message.clone(),
                }));
            }
        }
        found.sort();
        found.dedup();
        found.truncate(PROBLEMS_MAX);
        found
    }

    /// The object with the values that the API server fills in.
    #[must_use]
    pub fn filled(&self, object: &Value) -> Value {
        kube_cel::apply_defaults(&self.openapi, object)
    }
}

fn check(schema: &Value, value: &Value, field: &str, depth: usize, found: &mut Vec<Problem>) {
    let mut say = |message: String| found.push(Problem { field: field.to_owned(), message });
    if depth > DEPTH_MAX {
        return say("is nested too deeply".to_owned());
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let fits = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        let hint = if kind == "string" && (value.is_number() || value.is_boolean()) {
            match rule(schema) {
                Some(rule) => format!("; in quotes it {rule}"),
                None => "; put it in quotes".to_owned(),
            }
        } else {
            String::new()
        };
        return say(format!("must be {}, but is {}{hint}", named(kind), as_text(value)));
    }
    if let Some(allowed) =
        schema.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value))
    {
        let list: Vec<String> = allowed.iter().map(as_text).collect();
        say(format!("is {}; allowed are {}", as_text(value), list.join(", ")));
    }
    bounds(schema, value).into_iter().for_each(say);
    match value {
        Value::Object(fields) => object(schema, fields, field, depth, found),
        Value::Array(items) => {
            let item_schema = schema.get("items").unwrap_or(&Value::Null);
            for (index, item) in items.iter().enumerate() {
                check(item_schema, item, &format!("{field}[{index}]"), depth + 1, found);
            }
            found.extend(
                twice(schema, items).into_iter().map(|message| Problem { field: field.to_owned(), message }),
            );
        }
        _ => {}
    }
}

/// A type of the schema, in words.
fn named(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

/// What a text must be, by the first of its own rules.
fn rule(schema: &Value) -> Option<&str> {
    let message = schema.pointer("/x-kubernetes-validations/0/message")?.as_str()?;
    message.starts_with("must be ").then_some(message)
}

fn object(schema: &Value, fields: &Map<String, Value>, field: &str, depth: usize, found: &mut Vec<Problem>) {
    let path = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    let known = schema.get("properties").and_then(Value::as_object);
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            found.push(Problem { field: path(name), message: "is required".to_owned() });
        }
    }
    for (name, value) in fields {
        match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
            // The server drops a null of a field that is not nullable.
            (Some(_), _) if value.is_null() => {}
            (Some(inner), _) | (None, Some(inner @ Value::Object(_))) => {
                check(inner, value, &path(name), depth + 1, found);
            }
            (None, _) if known.is_some() => {
                let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                let message = format!("is not a field; the fields here are {}", names.join(", "));
                found.push(Problem { field: path(name), message });
            }
            (None, _) => {}
        }
    }
}

/// Bounds of numbers, lengths and patterns that a value breaks.
fn bounds(schema: &Value, value: &Value) -> Vec<String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut broken = Vec::new();
    let mut hold = |size: f64, least: &str, most: &str, is: &str| {
        if let Some(least) = limit(least).filter(|least| size < *least) {
            broken.push(format!("{is}; the minimum is {least}"));
        }
        if let Some(most) = limit(most).filter(|most| size > *most) {
            broken.push(format!("{is}; the maximum is {most}"));
        }
    };
    match value {
        Value::Number(number) => {
            hold(number.as_f64().unwrap_or(0.0), "minimum", "maximum", &format!("is {number}"));
        }
        Value::String(text) => {
            let length = text.chars().count();
            hold(length as f64, "minLength", "maxLength", &format!("has {length} characters"));
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
            {
                broken.push(format!("is {}, which does not match {pattern}", as_text(value)));
            }
        }
        Value::Array(items) => {
            hold(items.len() as f64, "minItems", "maxItems", &format!("has {} entries", items.len()));
        }
        Value::Object(fields) => {
            let count = fields.len();
            hold(count as f64, "minProperties", "maxProperties", &format!("has {count} entries"));
        }
        Value::Null | Value::Bool(_) => {}
    }
    broken
}

/// Entries of a list that the server takes for the same one.
fn twice(schema: &Value, items: &[Value]) -> Option<String> {
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let is_set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    let identity = |item: &Value| -> Option<String> {
        let keys = keys?.iter().filter_map(Value::as_str);
        Some(
            keys.map(|key| item.get(key).map_or_else(|| "(none)".to_owned(), as_text))
                .collect::<Vec<_>>()
                .join(", "),
        )
    };
    let mut seen = std::collections::BTreeSet::new();
    let names = items.iter().filter_map(|item| if is_set { Some(as_text(item)) } else { identity(item) });
    let repeated = names.into_iter().find(|name| !seen.insert(name.clone()));
    repeated.map(|name| format!("holds {name} twice"))
}

fn as_text(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain(['…']).collect() } else { text }
}
