"""The eight kinds of pump that a rollout must cover: age x load x environment.

The reference asks that canaries cover ages of 2 and 15 years, loads of 50 % and 95 %, indoors and
outdoors; each class here is a range around one of these corners.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from bearing_signal import draw_pump, window
from features import extract

AGE_YEARS = {"young": (2.0, 7.0), "old": (10.0, 15.0)}
LOAD = {"light": (0.50, 0.65), "heavy": (0.80, 0.95)}
OUTDOOR = {"indoor": False, "outdoor": True}

# A bearing that fails within the next two to four weeks, on the severity scale of `window`.
FAILING_SEVERITY = (0.45, 1.0)


class OperatingClass(NamedTuple):
    """One combination of labels, as devices carry them."""

    age: str
    load: str
    environment: str


ALL = tuple(OperatingClass(*labels) for labels in product(AGE_YEARS, LOAD, OUTDOOR))
OLD_HEAVY = tuple(c for c in ALL if c.age == "old" and c.load == "heavy")


def draw_from(kind, rng):
    """A pump somewhere within the class."""
    return draw_pump(
        age_years=rng.uniform(*AGE_YEARS[kind.age]),
        load=rng.uniform(*LOAD[kind.load]),
        outdoor=OUTDOOR[kind.environment],
        rng=rng,
    )


def healthy_rows(kind, count, windows_per_pump, rng):
    """Feature rows of `count` healthy windows, from as many pumps as that takes."""
    rows = []
    while len(rows) < count:
        pump = draw_from(kind, rng)
        rows += [extract(window(pump, 0.0, rng)) for _ in range(min(windows_per_pump, count - len(rows)))]
    return np.array(rows)


def failing_rows(kind, count, rng):
    """Feature rows of `count` failing pumps, one window each, evenly spread in severity."""
    low, high = FAILING_SEVERITY
    severities = low + (high - low) * (np.arange(count) + rng.uniform(size=count)) / count
    return np.array([extract(window(draw_from(kind, rng), severity, rng)) for severity in severities])
