"""The planner's numbers from their definitions: by search over every count, by scipy's normal and beta."""

import math

import numpy as np
from scipy import optimize, special, stats


def remaining_bound(fleet, tried, failed, confidence):
    rest = fleet - tried
    failing = np.arange(rest + 1)
    credible = stats.hypergeom.cdf(failed, fleet, failed + failing, tried) > 1 - confidence
    return {"fleet": fleet, "tried": tried, "failed": failed, "confidence_ppm": round(confidence * 1e6),
            "bound_ppm": -(int(failing[credible].max()) * -1_000_000 // rest)}


def devices_for_bound(fleet, share_ppm, confidence):
    enough = next(n for n in range(1, fleet + 1)
                  if n == fleet or remaining_bound(fleet, n, 0, confidence)["bound_ppm"] <= share_ppm)
    return {"fleet": fleet, "share_ppm": share_ppm, "confidence_ppm": round(confidence * 1e6), "devices": enough}


def devices_to_meet(share_ppm, probability):
    n = 1
    while 1 - (1 - share_ppm * 1e-6) ** n < probability:
        n += 1
    return {"share_ppm": share_ppm, "probability_ppm": round(probability * 1e6), "devices": n}


def per_group(rate, rise, alpha, power):
    after = rate * (1 + rise)
    mean = (rate + after) / 2
    z = stats.norm.isf(alpha / 2) + stats.norm.ppf(power)
    n = 2 * mean * (1 - mean) * (z / (after - rate)) ** 2
    return {"rate_ppm": round(rate * 1e6), "rise_ppm": round(rise * 1e6), "alpha_ppm": round(alpha * 1e6),
            "power_ppm": round(power * 1e6), "samples": math.ceil(n)}


def events(ratio, canary_share, alpha):
    share = stats.bernoulli(ratio * canary_share / (ratio * canary_share + 1 - canary_share))
    distance = stats.entropy([share.pmf(1), share.pmf(0)], [canary_share, 1 - canary_share])
    needed = 1.1 * math.log(1 / alpha) / distance
    return {"ratio_ppm": round(ratio * 1e6), "share_ppm": round(canary_share * 1e6),
            "alpha_ppm": round(alpha * 1e6), "events": math.ceil(needed),
            "in_canaries": math.ceil(needed * share.mean())}


SHAPES = [(200, 5, 195, 60, 1.0, 6), (200, 20, 180, 60, 0.9, 6), (200, 50, 150, 600, 1.0, 6),
          (100_000, 1_000, 99_000, 60, 0.8, 6)]
HABITS = [(0.152, 1.0, 0.0, 600), (0.037, 1.0, 0.0, 600), (0.002, 0.5, 0.0, 60), (0.1, 0.0, 3.5, 600)]


def dispersion(shape, habit):
    return habit[2] if habit[2] > 0 else 1 + shape[3] / habit[3]


def power(shape, habit, share, ratio):
    """A normal approximation of the excess over controls, averaged over 21 points of the canaries' own level."""
    canary, control = (n * shape[3] * shape[4] * habit[0] for n in shape[1:3])
    bar = stats.norm.isf(share / shape[5])
    scatter = dispersion(shape, habit) * (1 + canary / control)
    spread = math.sqrt(math.log1p((math.exp(habit[1] ** 2) - 1) / shape[1]))
    level = canary * stats.lognorm(spread, scale=math.exp(-spread ** 2 / 2)).ppf((np.arange(21) + 0.5) / 21) \
        if spread > 0 else np.full(21, canary)
    z = (0.8 * (ratio - 1) * level - bar * np.sqrt(scatter * level)) / np.sqrt(scatter * ratio * level)
    return stats.norm.cdf(z).mean()


def margin(shape, habit, passing):
    """Upper limit of the ratio at the count that a harmless candidate stays at or below so often."""
    canary, control = (n * shape[3] * shape[4] * habit[0] for n in shape[1:3])
    d, both, exposure = dispersion(shape, habit), canary + control, canary / control
    size = both / d
    below = optimize.brentq(lambda x: special.betainc(size - x, x + 1, 1 / (1 + exposure)) - passing, 0, size,
                            xtol=1e-12)
    count = min(math.ceil(below * d - 1e-6), both)
    high = special.betaincinv(count / d + 1, (both - count) / d, 0.96)
    return high / (1 - high) / exposure


def stages():
    found = []
    for shape in SHAPES:
        for habit in HABITS:
            powers = [power(shape, habit, 0.01, ratio) for ratio in (1.5, 2, 3, 10)]
            found.append({"shape": [*shape[:4], round(shape[4] * 1e6), shape[5]],
                          "habit": [round(habit[0] * 1e6), round(habit[1] * 1e3), round(habit[2] * 1e3), habit[3]],
                          "power": powers, "margin": margin(shape, habit, 0.998)})
    return found


def vectors():
    return {
        "remaining": [remaining_bound(*case) for case in
                      [(200, 5, 0, 0.95), (200, 20, 0, 0.95), (200, 20, 2, 0.95), (200, 199, 0, 0.95),
                       (2000, 300, 0, 0.95), (2000, 300, 5, 0.99), (100_000, 1000, 0, 0.95), (200, 1, 1, 0.95)]],
        "for_bound": [devices_for_bound(200, 140_000, 0.95), devices_for_bound(500, 20_000, 0.9),
                      devices_for_bound(100, 200_000, 0.95), devices_for_bound(1_000, 5_000, 0.95),
                      devices_for_bound(100, 50_000, 0.95)],
        "to_meet": [devices_to_meet(s, p) for s in (200_000, 50_000, 10_000, 1_000) for p in (0.8, 0.95, 0.99)],
        "per_group": [per_group(*case) for case in
                      [(0.2, 0.1, 0.05, 0.8), (0.01, 1.0, 0.01, 0.9), (0.05, -0.2, 0.05, 0.8), (0.001, 0.5, 0.05, 0.95)]],
        "events": [events(*case) for case in
                   [(2, 0.025, 0.01), (3, 0.025, 0.01), (5, 0.1, 0.01), (10, 0.025, 0.01), (2, 0.25, 0.001)]],
        "stages": stages(),
    }
