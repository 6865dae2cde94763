//! The data that both sides are timed on. Whole numbers, so that both read the same.

use serde_json::Value;

/// See `golden/speed_data.py` for what each holds.
pub struct Data {
    pub normals: Vec<f64>,
    pub others: Vec<f64>,
    pub errors: Vec<f64>,
    pub reference: Vec<u64>,
    pub current: Vec<u64>,
    pub left: Vec<Vec<f64>>,
    pub right: Vec<Vec<f64>>,
    pub truth: Vec<i64>,
    pub predicted: Vec<i64>,
    pub calibration: Vec<(u64, u64)>,
    pub answers: Vec<u64>,
}

fn whole(v: &Value) -> Vec<i64> {
    v.as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
}

fn counts(v: &Value) -> Vec<u64> {
    whole(v).into_iter().map(i64::unsigned_abs).collect()
}

fn thousandths(v: &Value) -> Vec<f64> {
    whole(v).into_iter().map(|x| x as f64 / 1000.0).collect()
}

fn rows(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().unwrap().iter().map(thousandths).collect()
}

impl Data {
    pub fn read(path: &str) -> Self {
        let v: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Self {
            normals: thousandths(&v["normals"]),
            others: thousandths(&v["others"]),
            errors: whole(&v["errors"]).into_iter().map(|x| x as f64).collect(),
            reference: counts(&v["reference"]),
            current: counts(&v["current"]),
            left: rows(&v["left"]),
            right: rows(&v["right"]),
            truth: whole(&v["truth"]),
            predicted: whole(&v["predicted"]),
            calibration: v["calibration"]
                .as_array()
                .unwrap()
                .iter()
                .map(counts)
                .map(|b| (b[0], b[1]))
                .collect(),
            answers: counts(&v["answers"]),
        }
    }
}
