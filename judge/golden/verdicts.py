"""Whole verdicts: what the judge records, worked out again from the counts alone."""

import numpy as np
from scipy import stats


def fleet(seed, devices, canaries, lift):
    """Counts of bad windows before and since, for devices of one stratum; canaries first."""
    r = np.random.default_rng(seed)
    rate = 0.1 * np.exp(r.normal(0, 0.8, devices))
    rate[:canaries] *= lift
    past, now = 300, 40
    history = r.binomial(past, np.minimum(rate / np.where(np.arange(devices) < canaries, lift, 1), 0.9))
    return history, r.binomial(now, np.minimum(rate, 0.95)), past, now


def usual_rates(history, past):
    """Own past, drawn towards the fleet's with the weight of four windows."""
    mean = (history.sum() + 0.5) / (len(history) * past + 1.0)
    return (history + 4.0 * mean) / (past + 4.0)


def change(post, now, usual):
    """Mixture likelihood ratio over rises, around what is common to all."""
    common = (post.sum() + 0.5) / ((now * usual).sum() + 0.5)
    p0 = np.clip(common * usual, 1e-9, 0.999)
    lam = -np.log1p(-p0)
    logs = [post * np.log(-np.expm1(-lam * k) / p0) - (now - post) * lam * (k - 1) for k in (1.5, 2, 3, 5, 10)]
    return np.log(np.mean(np.exp(np.array(logs)), axis=0))


def scores(changes):
    """Savage scores to the power 1.5, shared among ties, in units of 1/4096."""
    savage = np.cumsum(1.0 / np.arange(len(changes), 0, -1)) ** 1.5
    order = np.sort(np.round(changes, 12))
    return np.round(np.array([np.mean(savage[order == c]) for c in np.round(changes, 12)]) * 4096)


def ratio(post, now, usual, canaries):
    """The ratio and its limits: a binomial split, both counts over the controls' overdispersion."""
    c, k = post[:canaries].sum(), post[canaries:].sum()
    usual_c, usual_k = (now * usual[:canaries]).sum(), (now * usual[canaries:]).sum()
    level = (k + 0.5) / (usual_k + 0.5)
    factor = (k + 10 * level) / (usual_k + 10)
    expected = factor * usual_c
    rest = post[canaries:] - factor * now * usual[canaries:]
    n = len(post) - canaries
    dispersion = max(((rest ** 2).sum() * n / (n - 1) + 2) / (factor * usual_k + 2), 0.25)
    low = stats.beta.ppf(0.05, c / dispersion, k / dispersion + 1)
    high = stats.beta.ppf(0.95, c / dispersion + 1, k / dispersion)
    exposure = expected / k
    return {"estimate": c / expected, "dispersion": dispersion, "low": low / (1 - low) / exposure,
            "high": high / (1 - high) / exposure, "bad": [c, k]}


def verdict(seed, devices, canaries, lift):
    history, post, past, now = fleet(seed, devices, canaries, lift)
    usual = usual_rates(history, past)
    worth = scores(change(post, now, usual))
    res = stats.permutation_test((worth[:canaries], worth[canaries:]), lambda x, y, axis: np.sum(x, axis=axis),
                                 permutation_type="independent", alternative="greater", n_resamples=np.inf,
                                 vectorized=True)
    return {"history": history, "post": post, "past": past, "now": now, "canaries": canaries, "p": res.pvalue,
            **ratio(post, now, usual, canaries)}


def vectors():
    return {"verdicts": [verdict(1, 60, 3, 1.0), verdict(2, 60, 3, 2.0), verdict(3, 40, 4, 3.0),
                         verdict(4, 60, 3, 1.5)]}
