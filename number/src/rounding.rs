//! From a computation's floats to stored integers. Non-finite and out-of-range values saturate.

/// A ratio or share as parts per million, rounded to nearest; NaN reads as 0.
pub fn ppm(value: f64) -> u64 {
    scaled(value, 1e6)
}

/// A probability as parts per billion, rounded up (never makes a p-value smaller), at most 1e9.
pub fn ppb_up(probability: f64) -> u64 {
    if probability.is_nan() {
        return 1_000_000_000;
    }
    // The slack keeps an exact 0.0025 from becoming 2 500 001 by the last bit.
    let scaled = (probability * 1e9 - 1e-6).ceil();
    if scaled <= 0.0 { u64::from(probability > 0.0) } else { scaled.min(1e9) as u64 }
}

/// A signed value in thousandths, rounded to nearest; NaN reads as 0.
pub fn milli(value: f64) -> i64 {
    // `as` saturates and maps NaN to 0.
    (value * 1e3).round() as i64
}

/// Value times scale, rounded to nearest, saturating.
fn scaled(value: f64, scale: f64) -> u64 {
    (value * scale).round() as u64
}

/// Parts per billion as a probability.
pub fn from_ppb(ppb: u64) -> f64 {
    ppb as f64 * 1e-9
}
