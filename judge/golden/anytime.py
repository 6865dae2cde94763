"""The e-process and the confidence sequence from their definition: mixtures integrated numerically.

The e-value is the mean of exp(theta S - theta^2 I / 2) over harmful effects theta, half-normal with deviation 0.5,
where S = z sqrt(I). The confidence sequence holds the effects whose two-sided mixture stays below 1 / alpha.
"""

import warnings

import numpy as np
from scipy import integrate, optimize, stats
from verdicts import fleet, ratio, usual_rates

EFFECT = 0.5

# Some areas meet rounding before the tolerance asked for: the sign that no more digits are to be had.
warnings.filterwarnings("ignore", category=integrate.IntegrationWarning)


def log_mixture(score, information, low):
    """Logarithm of the mean over a normal (low = -inf) or half-normal (low = 0) prior; scaled to stay finite."""
    precision = information + 1 / EFFECT ** 2
    peak = max(score / precision, low)
    width = 1 / np.sqrt(precision)
    top = peak * score - peak ** 2 * precision / 2

    def integrand(theta):
        return np.exp(theta * score - theta ** 2 * precision / 2 - top)

    # Left of a peak outside the range the integrand falls within 1 / (slope) of its edge.
    edge = min(width, 1 / max(abs(score - peak * precision), 1e-300))
    start = max(low, peak - 40 * width)
    points = [start, *(p for p in (peak - 5 * width, peak, peak + 5 * edge) if p > start), peak + 40 * edge]
    area = sum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-12, limit=500)[0]
               for a, b in zip(points, points[1:]) if b > a)
    scale = (2 if low == 0 else 1) / (EFFECT * np.sqrt(2 * np.pi))
    return top + np.log(area * scale)


def e_value(z, information):
    return {"z": z, "information": information, "log_e": log_mixture(z * np.sqrt(information), information, 0.0)}


def half_width(information, alpha):
    def excess(x):
        return log_mixture(x * information, information, -np.inf) + np.log(alpha)

    return {"information": information, "alpha": alpha, "half": optimize.brentq(excess, 1e-9, 1e3, xtol=1e-14)}


def contrast(strata):
    """Canaries' bad windows less what their past and the stratum's common factor let expect."""
    expected = excess = variance = slope = 0.0
    for history, post, past, now, canaries in strata:
        usual = now * usual_rates(history, past)
        common = post.sum() / usual.sum()
        share = usual[:canaries].sum() / usual.sum()
        weight = np.where(np.arange(len(post)) < canaries, 1 - share, share)
        variance += (weight ** 2 * (post - common * usual) ** 2).sum()
        expected += common * usual[:canaries].sum()
        excess += post[:canaries].sum() - common * usual[:canaries].sum()
        slope += common * usual[:canaries].sum() * (1 - share)
    z, information = excess / np.sqrt(variance), slope ** 2 / variance
    return {"strata": [{"history": h, "post": p, "past": past, "now": now, "canaries": k}
                       for h, p, past, now, k in strata],
            "expected": expected, "excess": excess, "z": z, "information": information, **e_value(z, information)}


def large(seed, devices, canaries, lift):
    """A stage large enough for layer 2: the e-value, and the limits of the confidence sequence in the record."""
    history, post, past, now = fleet(seed, devices, canaries, lift)
    found = contrast([(history, post, past, now, canaries)])
    effect = ratio(post, now, usual_rates(history, past), canaries)
    c, k = effect["bad"]
    half = half_width(1 / (effect["dispersion"] * (1 / c + 1 / k)), 0.05)["half"]
    return {**found, "always": [effect["estimate"] * np.exp(-half), effect["estimate"] * np.exp(half)]}


def strata(seed):
    return [(*fleet([seed, s], 40 + 10 * s, 6 + 2 * s, 1 + 0.4 * seed), 6 + 2 * s) for s in range(3)]


def vectors():
    return {
        "e_values": [e_value(z, i) for z in (-8.0, -1.0, 0.0, 1.5, 3.0, 6.0) for i in (0.5, 10.0, 400.0)],
        "half_widths": [half_width(i, a) for i in (0.5, 10.0, 400.0, 20_000.0) for a in (0.05, 0.001)],
        "contrasts": [contrast(strata(seed)) for seed in range(4)],
        "large": [large(11, 260, 60, 1.0), large(22, 500, 150, 1.1), large(28, 300, 80, 1.15), large(21, 300, 80, 1.15),
                  large(13, 300, 80, 1.5)],
    }
