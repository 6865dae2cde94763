"""Tails of distributions, their inverses, and intervals: scipy, or whole numbers where scipy loses digits."""

import math
from fractions import Fraction

from scipy import stats


def hypergeometric(k, total, marked, draws):
    """Exactly, as a ratio of whole numbers."""
    ways = math.comb(total, draws)

    def count(x):
        return math.comb(marked, x) * math.comb(total - marked, draws - x)

    most = min(marked, draws)
    return {"k": k, "total": total, "marked": marked, "draws": draws,
            "mass": float(Fraction(count(k), ways)),
            "tail": float(Fraction(sum(count(x) for x in range(k, most + 1)), ways)),
            "scipy_tail": stats.hypergeom.sf(k - 1, total, marked, draws)}


def z_test(a, na, b, nb):
    pooled = (a + b) / (na + nb)
    se = math.sqrt(pooled * (1 - pooled) * (1 / na + 1 / nb))
    z = (b / nb - a / na) / se
    half = stats.norm.ppf(0.975) * se
    return {"table": [a, na, b, nb], "z": z, "p": 2 * stats.norm.sf(abs(z)),
            "low": b / nb - a / na - half, "high": b / nb - a / na + half}


def intervals(method):
    found = []
    for k, n in [(0, 20), (3, 20), (20, 20), (18, 2000), (1, 1)]:
        ci = stats.binomtest(k, n).proportion_ci(0.95, method)
        found.append({"k": k, "n": n, "low": ci.low, "high": ci.high})
    return found


def vectors():
    return {
        "normal": [{"p": p, "z": stats.norm.ppf(p)} for p in
                   [1e-12, 1e-6, 0.0025, 0.02425, 0.1, 0.5, 0.8, 0.975, 0.999999]],
        "chi2_tail": [{"x": x, "df": df, "p": stats.chi2.sf(x, df)} for x, df in
                      [(0.5, 1), (30.0, 9), (100.0, 19), (9.0, 9), (300.0, 19), (1000.0, 1000)]],
        "gamma_inverse": [{"a": a, "p": p, "x": stats.gamma.ppf(p, a)} for a, p in
                          [(0.5, 0.05), (1.0, 0.95), (12.3, 0.95), (300.0, 0.05), (5000.0, 0.998)]],
        "beta_inverse": [{"a": a, "b": b, "p": p, "x": stats.beta.ppf(p, a, b)} for a, b, p in
                         [(1.0, 200.0, 0.95), (3.5, 400.2, 0.05), (0.7, 0.4, 0.5), (5000.0, 100.0, 0.975)]],
        "binomial_tail": [{"k": k, "n": n, "p": p, "tail": stats.binom.sf(k - 1, n, p)} for k, n, p in
                          [(1, 5, 0.01), (20, 100, 0.1), (300, 5000, 0.05), (0, 7, 0.5), (7, 7, 0.5)]],
        "hypergeometric": [hypergeometric(*case) for case in
                           [(2, 200, 2, 5), (1, 200, 5, 5), (3, 200, 15, 20), (10, 2000, 40, 300),
                            (0, 50, 10, 5), (30, 1000, 100, 200), (5, 100_000, 50, 1_000),
                            (25, 100_000, 1_000, 1_000), (1, 1_000_000, 300, 10_000)]],
        "clopper_pearson": intervals("exact"),
        "wilson": intervals("wilson"),
        "two_proportions": [z_test(2000, 10000, 220, 1000), z_test(30, 1000, 70, 1000), z_test(50, 100, 48, 100)],
    }
