//! The types keep every field of the objects in `objects/good/` and of a full status, and a status stays small.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

mod full_status;
mod object_files;

use full_status::{FULL, LARGE, status};
use modelfleet_crds::rollout::status::RolloutStatus;
use modelfleet_crds::{ModelVersion, Rollout};
use object_files::files;
use serde_json::Value;

#[test]
fn types_keep_every_field_of_a_status() {
    let typed: RolloutStatus = serde_json::from_value(status(&FULL)).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), status(&FULL));
}

#[test]
fn a_large_status_is_small() {
    let (large, full) = (status(&LARGE).to_string().len(), status(&FULL).to_string().len());
    println!("a large status has {large} bytes, one with every list at its bound {full}");
    assert!(large < 32 * 1024, "{large} bytes");
    assert!(full < 44 * 1024, "{full} bytes");
}

/// Every field of a good object is one that the types know: nothing is lost on the way through them.
#[test]
fn types_keep_every_field_of_the_good_ones() {
    for (name, text) in files("good") {
        let object: Value = serde_yaml::from_str(&text).unwrap();
        let typed = if object["kind"] == "Rollout" {
            serde_json::to_value(serde_json::from_value::<Rollout>(object.clone()).unwrap()).unwrap()
        } else {
            serde_json::to_value(serde_json::from_value::<ModelVersion>(object.clone()).unwrap()).unwrap()
        };
        assert_holds(&name, &typed, &object);
    }
}

/// Everything in `part` is in `whole` too; `whole` may have more, which are the defaults.
fn assert_holds(path: &str, whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_holds(&format!("{path}.{name}"), &whole[name], value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                assert_holds(&format!("{path}[{index}]"), &whole[index], value);
            }
        }
        _ => assert_eq!(whole, part, "{path}"),
    }
}
