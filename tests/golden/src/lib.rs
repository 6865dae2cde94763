//! Golden vectors and how close an answer has to be to them. `make.sh` makes the vectors with scipy, scikit-learn and River.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test may end where it stands")]

pub use serde_json::Value;

/// Relative error that exact computations may have.
pub const EXACT: f64 = 1e-9;

/// The vectors of one file.
pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A list under a key.
pub fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().unwrap()
}

/// A number under a key.
pub fn float(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap()
}

/// A whole number under a key.
pub fn whole(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap()
}

/// A list of numbers.
pub fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// A list of whole numbers.
pub fn counts(v: &Value) -> Vec<u64> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect()
}

/// Thousandths as the floats that Python makes of them.
pub fn thousandths(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_i64().unwrap() as f64 / 1000.0).collect()
}

/// Whether an answer is as close as it has to be.
#[track_caller]
pub fn near(got: f64, want: &Value, relative: f64) {
    let want = want.as_f64().unwrap();
    let scale = want.abs().max(1e-300);
    assert!((got - want).abs() <= relative * scale || (got - want).abs() < 1e-15, "got {got}, want {want}");
}

/// A number stored in whole units against one that was not rounded.
#[track_caller]
pub fn stored(got: u64, unit: f64, want: f64) {
    assert!((got as f64 * unit - want).abs() <= 1.5 * unit, "got {got} of {unit}, want {want}");
}
