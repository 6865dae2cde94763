"""Exact tests: Fisher's, and permutations within strata by counting every pick."""

from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
from scipy import stats


def fisher(bad_a, a, bad_b, b):
    p = stats.fisher_exact([[bad_a, a - bad_a], [bad_b, b - bad_b]], alternative="greater").pvalue
    return {"table": [bad_a, a, bad_b, b], "p": p}


def scipy_permutation(seed):
    r = np.random.default_rng(seed)
    scores = r.integers(0, 5000, 24)
    scores[:3] += 1500 * (seed % 3)
    res = stats.permutation_test((scores[:3], scores[3:]), lambda x, y, axis: np.sum(x, axis=axis),
                                 permutation_type="independent", alternative="greater", n_resamples=np.inf,
                                 vectorized=True)
    return {"strata": [{"scores": scores, "canaries": 3}], "p": res.pvalue}


def ways(scores, canaries):
    """How many picks of so many scores have each sum."""
    if set(scores) <= {0, 1}:
        ones = sum(scores)
        return Counter({k: comb(ones, k) * comb(len(scores) - ones, canaries - k) for k in range(canaries + 1)})
    return Counter(sum(pick) for pick in combinations(scores, canaries))


def stratified(strata):
    """P(sum over strata >= observed) when canaries are drawn anew within each stratum: every pick counted."""
    total, picks = Counter({0: 1}), 1
    for scores, canaries in strata:
        joined = Counter()
        for left, n in total.items():
            for right, m in ways(scores, canaries).items():
                joined[left + right] += n * m
        total = joined
        picks *= comb(len(scores), canaries)
    observed = sum(sum(scores[:canaries]) for scores, canaries in strata)
    hits = sum(n for s, n in total.items() if s >= observed)
    return {"strata": [{"scores": s, "canaries": k} for s, k in strata], "p": float(Fraction(hits, picks))}


def random_strata(seed):
    r = np.random.default_rng([7, seed])
    strata = []
    for _ in range(2 + seed % 3):
        size, canaries = int(r.integers(6, 16)), int(r.integers(1, 4))
        scores = r.integers(0, 400, size)
        scores[:canaries] += 60 * (seed % 4)
        strata.append(([int(s) for s in scores], canaries))
    return stratified(strata)


def silent(strata):
    """Per stratum: canaries silent, canaries, controls silent, controls."""
    flags = [([1] * a + [0] * (n - a) + [1] * b + [0] * (m - b), n) for a, n, b, m in strata]
    return {"silent": strata, "p": stratified(flags)["p"]}


def large(bad_canaries, canaries, bad_controls, controls):
    """0/1 scores, too many for sampling: the exact tail beside the curve that the judge draws."""
    p = stats.hypergeom.sf(bad_canaries - 1, canaries + controls, bad_canaries + bad_controls, canaries)
    return {"table": [bad_canaries, canaries, bad_controls, controls], "p": p}


def vectors():
    return {
        "fisher": [fisher(*case) for case in
                   [(2, 5, 0, 195), (1, 5, 4, 195), (5, 5, 0, 5), (3, 20, 12, 180), (40, 1000, 900, 99000),
                    (0, 5, 3, 195), (50, 50, 100, 150), (7, 2500, 30, 97500)]],
        "permutation": [scipy_permutation(seed) for seed in range(6)] + [random_strata(seed) for seed in range(10)],
        "silence": [silent(case) for case in
                    [[(2, 5, 0, 195)], [(1, 5, 4, 195)], [(3, 20, 6, 180)], [(0, 5, 3, 60)],
                     [(1, 2, 0, 40), (1, 3, 2, 60)], [(2, 4, 1, 30), (0, 4, 0, 30), (1, 4, 1, 30)],
                     [(3, 10, 2, 50), (2, 10, 4, 50)]]],
        "large": [large(*case) for case in
                  [(150, 1500, 180, 2500), (140, 1500, 180, 2500), (160, 1000, 360, 3000), (130, 1000, 360, 3000)]],
    }
