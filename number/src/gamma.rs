//! Incomplete gamma function: tails of Poisson and chi-squared, and their inverse.

use libm::{exp, lgamma, log, sqrt};

const EPSILON: f64 = 1e-16;
const STEPS: usize = 20_000;

/// Regularised lower incomplete gamma P(a, x). NaN for a <= 0 or x < 0.
pub fn lower(a: f64, x: f64) -> f64 {
    if !(a > 0.0 && x >= 0.0) {
        return f64::NAN;
    }
    if x == 0.0 {
        return 0.0;
    }
    if x.is_infinite() {
        return 1.0;
    }
    if x < a + 1.0 { series(a, x) } else { 1.0 - fraction(a, x) }
}

/// Regularised upper incomplete gamma Q(a, x) = 1 - P(a, x), exact in the tail.
pub fn upper(a: f64, x: f64) -> f64 {
    if !(a > 0.0 && x >= 0.0) {
        return f64::NAN;
    }
    if x == 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    if x < a + 1.0 { 1.0 - series(a, x) } else { fraction(a, x) }
}

/// P(X > x) for a chi-squared variable with `freedom` degrees.
pub fn chi_squared_tail(x: f64, freedom: f64) -> f64 {
    upper(0.5 * freedom, 0.5 * x.max(0.0))
}

/// The x with P(a, x) = p, by bisection: deterministic and never fails for a > 0, 0 <= p < 1.
pub fn lower_inverse(a: f64, p: f64) -> f64 {
    if !(a > 0.0 && (0.0..=1.0).contains(&p)) {
        return f64::NAN;
    }
    if p == 0.0 {
        return 0.0;
    }
    if p == 1.0 {
        return f64::INFINITY;
    }
    let mut low = 0.0;
    let mut high = a + 10.0 * sqrt(a) + 10.0;
    while lower(a, high) < p && high < 1e300 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if lower(a, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
        if high - low <= 1e-13 * high {
            break;
        }
    }
    0.5 * (low + high)
}

fn front(a: f64, x: f64) -> f64 {
    exp(a * log(x) - x - lgamma(a))
}

fn series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    let mut n = a;
    for _ in 0..STEPS {
        n += 1.0;
        term *= x / n;
        sum += term;
        if term.abs() < sum.abs() * EPSILON {
            break;
        }
    }
    sum * front(a, x)
}

/// Continued fraction by Lentz's method.
fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..STEPS {
        let i = i as f64;
        let an = -i * (i - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + an / c;
        c = if c.abs() < TINY { TINY } else { c };
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < EPSILON * 4.0 {
            break;
        }
    }
    front(a, x) * h
}
