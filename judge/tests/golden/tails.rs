//! Tails, inverses and intervals.

use modelfleet_golden::*;
use modelfleet_number::{beta, gamma, hypergeometric, normal};
use modelfleet_number::{clopper_pearson, two_proportions, wilson};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/tails.json"))
}

#[test]
fn distributions() {
    let v = vectors();
    for case in list(&v, "normal") {
        near(normal::quantile(float(case, "p")), &case["z"], EXACT);
    }
    for case in list(&v, "chi2_tail") {
        near(gamma::chi_squared_tail(float(case, "x"), float(case, "df")), &case["p"], EXACT);
    }
    for case in list(&v, "gamma_inverse") {
        near(gamma::lower_inverse(float(case, "a"), float(case, "p")), &case["x"], EXACT);
    }
    for case in list(&v, "beta_inverse") {
        near(beta::inverse(float(case, "a"), float(case, "b"), float(case, "p")), &case["x"], EXACT);
    }
    for case in list(&v, "binomial_tail") {
        let got = beta::binomial_upper_tail(whole(case, "k"), whole(case, "n"), float(case, "p"));
        near(got, &case["tail"], EXACT);
    }
}

/// Up to 100 000 devices to nine digits. At a million the logarithms of factorials lose one more.
#[test]
fn hypergeometric() {
    for case in list(&vectors(), "hypergeometric") {
        let [k, total, marked, draws] = ["k", "total", "marked", "draws"].map(|key| whole(case, key));
        let limit = if total > 100_000 { 1e-7 } else { EXACT };
        near(hypergeometric::mass(k, total, marked, draws), &case["mass"], limit);
        near(hypergeometric::upper_tail(k, total, marked, draws), &case["tail"], limit);
    }
}

#[test]
fn intervals_and_tests() {
    let v = vectors();
    for case in list(&v, "clopper_pearson") {
        let (low, high) = clopper_pearson(whole(case, "k"), whole(case, "n"), 0.95);
        near(low, &case["low"], EXACT);
        near(high, &case["high"], EXACT);
    }
    for case in list(&v, "wilson") {
        let (low, high) = wilson(whole(case, "k"), whole(case, "n"), 0.95);
        near(low, &case["low"], EXACT);
        near(high, &case["high"], EXACT);
    }
    for case in list(&v, "two_proportions") {
        let t = counts(&case["table"]);
        let test = two_proportions(t[0], t[1], t[2], t[3], 0.05).unwrap();
        near(test.z, &case["z"], EXACT);
        near(test.p_value, &case["p"], EXACT);
        near(test.interval.0, &case["low"], EXACT);
        near(test.interval.1, &case["high"], EXACT);
    }
}
