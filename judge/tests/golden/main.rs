//! Numbers, whole verdicts and detectors against scipy, scikit-learn and River: `golden/make.sh` makes the vectors.
#![allow(clippy::unwrap_used)]

mod anytime;
mod charts;
mod distances;
mod exact;
mod gate;
mod planner;
mod quality;
mod streams;
mod summaries;
mod tails;
mod verdicts;

use serde_json::Value;

/// Relative error that exact computations may have.
const EXACT: f64 = 1e-9;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().unwrap()
}

fn float(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap()
}

fn whole(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn counts(v: &Value) -> Vec<u64> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect()
}

/// Thousandths as the floats that Python makes of them.
fn thousandths(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_i64().unwrap() as f64 / 1000.0).collect()
}

#[track_caller]
fn near(got: f64, want: &Value, relative: f64) {
    let want = want.as_f64().unwrap();
    let scale = want.abs().max(1e-300);
    assert!((got - want).abs() <= relative * scale || (got - want).abs() < 1e-15, "got {got}, want {want}");
}

/// A number stored in whole units against one that was not rounded.
#[track_caller]
fn stored(got: u64, unit: f64, want: f64) {
    assert!((got as f64 * unit - want).abs() <= 1.5 * unit, "got {got} of {unit}, want {want}");
}
