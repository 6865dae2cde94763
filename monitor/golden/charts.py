"""Welford, z-score, EWMA and CUSUM worked out directly: two passes, sums over all past values, no recursion.

After an alarm a chart starts afresh with the next value, as the detectors do; the z-score chart goes on.
"""

import numpy as np


def moments(values):
    """Mean and variance (n - 1) by numpy, in halves to be merged as well."""
    cut = len(values) // 3
    return {"values": values, "cut": cut, "mean": np.mean(values), "variance": np.var(values, ddof=1)}


def z_score(x, threshold=3.0, warm_up=30):
    found = []
    for t in range(warm_up, len(x)):
        past = x[:t]
        if abs(x[t] - past.mean()) > threshold * past.std(ddof=1):
            found.append(t)
    return found


def restarting(chart, x, warm_up):
    """Learns from `warm_up` values, looks for the first alarm after them, and begins again after it."""
    found, start = [], 0
    while start + warm_up < len(x):
        base = x[start:start + warm_up]
        first = chart(x[start + warm_up:], base.mean(), base.std(ddof=1))
        if first is None:
            break
        found.append(start + warm_up + first)
        start = found[-1] + 1
    return found


def first_of(far):
    return int(np.argmax(far)) if far.any() else None


def ewma(lam, width):
    """Z_t = (1 - lambda)^t mean + sum of lambda (1 - lambda)^(t - i) x_i; Var Z_t as the sum of squared weights."""
    def chart(x, mean, deviation):
        for t in range(len(x)):
            weights = lam * (1 - lam) ** np.arange(t, -1, -1)
            level = (1 - lam) ** (t + 1) * mean + weights @ x[:t + 1]
            if abs(level - mean) > width * deviation * np.sqrt((weights ** 2).sum()):
                return t
        return None
    return chart


def cusum(slack, decision):
    """The highest rise of the walk of (z - slack) above its lowest point, and of its mirror image."""
    def chart(x, mean, deviation):
        z = (x - mean) / deviation
        far = np.zeros(len(x), bool)
        for sign in (1, -1):
            walk = np.concatenate([[0.0], np.cumsum(sign * z - slack)])
            far |= (walk - np.minimum.accumulate(walk))[1:] > decision
        return first_of(far)
    return chart


def stream(seed, shifts, deviation=1.0):
    r = np.random.default_rng([3, seed])
    mean = np.repeat(shifts, 400)
    return np.round(r.normal(0, deviation, len(mean)) + mean, 3)


def charts(seed, shifts, deviation):
    x = stream(seed, shifts, deviation)
    return {"milli": [int(round(v * 1000)) for v in x],
            "z_score": z_score(x), "z_score_2_10": z_score(x, 2.0, 10),
            "ewma": restarting(ewma(0.2, 3.5), x, 100), "ewma_0.05_2.5_50": restarting(ewma(0.05, 2.5), x, 50),
            "cusum": restarting(cusum(0.5, 8.0), x, 100), "cusum_0.25_5_50": restarting(cusum(0.25, 5.0), x, 50)}


def vectors():
    r = np.random.default_rng(31)
    return {
        "moments": [moments(r.normal(0, 1, 50)), moments(r.normal(1e6, 1, 40)), moments(r.lognormal(0, 2, 60)),
                    moments(np.array([3.0, 3.0, 3.5])), moments(np.array([2.5, -1.0]))],
        "streams": [charts(0, [0, 0, 0], 1.0), charts(1, [0, 1, 0, -2], 1.0), charts(2, [0, 0.5, 1, 1.5], 1.0),
                    charts(3, [10, 10, 14, 10], 5.0), charts(4, [0, 4, 0, 4], 2.0)],
    }
