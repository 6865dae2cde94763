"""Distances where they are exact: on counts per bin, and on samples."""

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics.pairwise import rbf_kernel


def psi(reference, current):
    bins = len(reference)
    p = (reference + 0.5) / (reference.sum() + 0.5 * bins)
    q = (current + 0.5) / (current.sum() + 0.5 * bins)
    return np.sum((q - p) * np.log(q / p))


def histogram(rng, bins, rows):
    ref = rng.multinomial(5000, rng.dirichlet(np.ones(bins) * 5))
    cur = rng.multinomial(rows, rng.dirichlet(np.ones(bins) * 5) * 0.3 + 0.7 * ref / ref.sum())
    p, q = ref / ref.sum(), cur / cur.sum()
    keep = (ref + cur) > 0
    chi = stats.chi2_contingency(np.array([ref[keep], cur[keep]]), correction=False)
    return {"reference": ref, "current": cur, "psi": psi(ref, cur),
            "kl": stats.entropy(q, p) if np.all(p[q > 0] > 0) else None, "js": jensenshannon(p, q) ** 2,
            "hellinger": np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2),
            "ks": np.max(np.abs(np.cumsum(p) - np.cumsum(q))),
            "chi2": chi.statistic, "chi2_p": chi.pvalue, "chi2_df": chi.dof}


def samples(rng, n, m, shift, decimals):
    a, b = np.round(rng.normal(0, 1, n), decimals), np.round(rng.normal(shift, 1.2, m), decimals)
    ks = stats.ks_2samp(a, b)
    return {"a": a, "b": b, "ks": ks.statistic, "ks_p": ks.pvalue, "wasserstein": stats.wasserstein_distance(a, b)}


def drawn(seed, count, shift):
    """Whole numbers from SplitMix64: four 16-bit parts summed, close to a normal of deviation 37 837."""
    mask, state, found = 2 ** 64 - 1, seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        found.append(sum((z >> s) & 0xFFFF for s in (0, 16, 32, 48)) + shift)
    return np.array(found, float)


def large(seed, n, m, shift):
    """Above 1 000 values; scipy counts paths up to 10 000 values and uses a limiting distribution above."""
    a, b = drawn(seed, n, 0), drawn(seed + 1, m, shift)
    ks = stats.ks_2samp(a, b)
    return {"seed": seed, "sizes": [n, m], "shift": shift, "ks": ks.statistic, "p": ks.pvalue,
            "p_asymptotic": stats.ks_2samp(a, b, method="asymp").pvalue,
            "wasserstein": stats.wasserstein_distance(a, b)}


def mmd(rng, n, m, dimensions, shift, gamma):
    x, y = rng.normal(0, 1, (n, dimensions)), rng.normal(shift, 1, (m, dimensions))
    kxx, kyy, kxy = rbf_kernel(x, gamma=gamma), rbf_kernel(y, gamma=gamma), rbf_kernel(x, y, gamma=gamma)
    value = (kxx.sum() - n) / (n * (n - 1)) + (kyy.sum() - m) / (m * (m - 1)) - 2 * kxy.mean()
    return {"a": x, "b": y, "gamma": gamma, "value": value}


def vectors():
    rng = np.random.default_rng(20251121)
    return {
        "histograms": [histogram(rng, bins, rows) for rows in (300, 5000) for bins in (10, 20, 64, 5)],
        "samples": [samples(rng, *case) for case in
                    [(30, 30, 0.0, 6), (30, 30, 1.0, 6), (50, 80, 0.5, 1), (200, 150, 0.3, 6), (7, 5, 2.0, 6),
                     (900, 1000, 0.1, 4)]],
        "large": [large(*case) for case in
                  [(1, 1500, 1200, 0), (3, 1500, 1200, 2000), (5, 3000, 2500, 1500), (7, 5000, 5000, 0),
                   (9, 5000, 4000, 3000), (11, 9000, 1100, 2500), (13, 20_000, 15_000, 400),
                   (15, 20_000, 15_000, 1200), (17, 60_000, 40_000, 300), (19, 1500, 1200, 9000),
                   (21, 12_000, 9000, 3500)]],
        "mmd": [mmd(rng, 40, 30, 3, 0.5, 0.5), mmd(rng, 25, 60, 1, 0.0, 1.0), mmd(rng, 30, 30, 8, 0.3, 0.05)],
    }
