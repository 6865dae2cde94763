"""Distances from summaries of 64 bins and from latency buckets, beside the same from every single value.

Within a bin a summary does not know where values lie. Wasserstein from a summary spreads them evenly; the greatest
distance of two cumulated shares can lie inside a bin, so from edges alone it is known within an interval.
"""

import numpy as np
from scipy import stats

ROWS = 20_000


def interval(p, q):
    """The least and the greatest that the distance can be, given both shares per bin."""
    before = np.concatenate([[0.0], np.cumsum(p - q)])
    inside = np.maximum(before[:-1] + p, q - before[:-1])
    return [np.max(np.abs(before)), inside.max()]


def summary(name, a, b, edges):
    """Values outside the edges would be lost: the outer edges are moved to the outermost values."""
    edges = np.array(edges, float)
    edges[0], edges[-1] = min(edges[0], a.min(), b.min()), max(edges[-1], a.max(), b.max())
    counts = [np.histogram(v, edges)[0] for v in (a, b)]
    assert counts[0].sum() == len(a) and counts[1].sum() == len(b)
    return {"name": name, "edges": edges, "a": counts[0], "b": counts[1],
            "wasserstein": stats.wasserstein_distance(a, b), "ks": stats.ks_2samp(a, b).statistic,
            "ks_interval": interval(counts[0] / len(a), counts[1] / len(b))}


def normal(rng, shift):
    a, b = rng.normal(0, 1, ROWS), rng.normal(shift, 1, ROWS)
    return summary(f"normal + {shift}, 64 equal bins", a, b, np.linspace(-6, 7, 65))


def quantiles(rng, shift):
    a, b = rng.normal(0, 1, ROWS), rng.normal(shift, 1, ROWS)
    return summary(f"normal + {shift}, 64 bins of equal share", a, b, np.quantile(a, np.linspace(0, 1, 65)))


def skewed(rng, factor):
    a, b = rng.exponential(1, ROWS), rng.exponential(factor, ROWS)
    return summary(f"exponential x {factor}, 64 equal bins", a, b, np.linspace(0, 16, 65))


def latency(rng, factor):
    """Durations in nanoseconds, log-normal around 20 ms, in buckets of a sixteenth of an octave."""
    a, b = (np.ceil(rng.lognormal(np.log(m * 20e6), 0.4, ROWS)) for m in (1, factor))
    low, high = (np.log2(min(a.min(), b.min())), np.log2(max(a.max(), b.max())))
    edges = 2 ** (np.arange(np.floor(low * 16), np.ceil(high * 16) + 1) / 16)
    # A bucket holds its upper edge and not its lower; durations are whole.
    return summary(f"latency x {factor}, 16 buckets an octave", a, b, edges)


def vectors():
    rng = np.random.default_rng(64)
    return {"summaries": [normal(rng, s) for s in (0.1, 0.2, 0.5, 1.0)]
            + [quantiles(rng, s) for s in (0.1, 0.2, 0.5, 1.0)] + [skewed(rng, f) for f in (1.1, 1.5, 3.0)]
            + [latency(rng, f) for f in (1.05, 1.2, 2.0)]}
