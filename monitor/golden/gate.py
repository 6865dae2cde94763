"""The drift gate from its description: bins merged in pairs while rows are few, chi-squared and PSI together."""

import numpy as np
from distances import psi
from scipy import stats


def in_pairs(counts):
    return np.add.reduceat(counts, np.arange(0, len(counts), 2))


def gate(seed, bins, rows, shift, reference_rows=100_000):
    r = np.random.default_rng([9, seed])
    edges = stats.norm.ppf(np.arange(1, bins) / bins)
    count = [np.bincount(np.searchsorted(edges, r.normal(m, 1, n)), minlength=bins)
             for m, n in ((0, reference_rows), (shift, rows))]
    reference, current = count
    while len(current) > 10 and len(current) * 20 > rows:
        reference, current = in_pairs(reference), in_pairs(current)
    keep = (reference + current) > 0
    p = stats.chi2_contingency(np.array([reference[keep], current[keep]]), correction=False).pvalue
    effect = psi(reference, current)
    drift = bool(p <= 0.0005 and effect >= 0.1) if rows >= 30 else None
    return {"reference": count[0], "current": count[1], "p": p, "psi": effect, "bins": len(current), "drift": drift}


def vectors():
    cases = [(bins, rows, shift) for bins in (10, 20, 32) for rows, shift in
             [(20, 0.0), (50, 0.0), (50, 1.0), (100, 0.5), (500, 0.25), (500, 0.5), (5000, 0.2), (5000, 1.0)]]
    return {"gate": [gate(seed, *case) for seed, case in enumerate(cases)]
            + [gate(99, 10, 400, 0.8, reference_rows=300)]}
