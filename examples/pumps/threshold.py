"""Where to cut the anomaly score: the cheapest point over a year, with the reference's costs (7.7.3).

Money is US dollars per year for the whole fleet. The reference counts twelve failures a year in 200
pumps; a caught one costs a planned repair, a missed one an unplanned failure, a false alarm a visit.
"""

from typing import NamedTuple

import numpy as np

UNPLANNED_FAILURE = 15_000
PLANNED_MAINTENANCE = 3_000
FALSE_ALARM_INSPECTION = 500
FAILURES_PER_YEAR = 12

# The reference gives false alarms per year, not per reading. We assume that a technician is sent on
# one reading per pump and month: 200 pumps * 12 months. This is our figure, not the reference's.
READINGS_ACTED_ON_PER_YEAR = 2_400


def annual_cost(missed, false_alarms, failures=FAILURES_PER_YEAR):
    """Dollars per year, given missed failures and false alarms per year."""
    caught = failures - missed
    return caught * PLANNED_MAINTENANCE + missed * UNPLANNED_FAILURE + false_alarms * FALSE_ALARM_INSPECTION


class Cut(NamedTuple):
    """A threshold (a reading scoring above it is an anomaly) and what it does on the tuning rows."""

    threshold: float
    recall: float
    false_alarm_rate: float
    cost: float


def cut_at(threshold, healthy_scores, failing_scores):
    """What one threshold does; scores are higher for stranger readings."""
    recall = float(np.mean(np.asarray(failing_scores) > threshold))
    false_alarm_rate = float(np.mean(np.asarray(healthy_scores) > threshold))
    missed = FAILURES_PER_YEAR * (1 - recall)
    cost = annual_cost(missed, READINGS_ACTED_ON_PER_YEAR * false_alarm_rate)
    return Cut(threshold, recall, false_alarm_rate, cost)


def cheapest_cut(healthy_scores, failing_scores):
    """The cut of least annual cost, tried between every two neighbouring scores."""
    scores = np.sort(np.concatenate([healthy_scores, failing_scores]))
    cuts = (cut_at(float(t), healthy_scores, failing_scores) for t in (scores[1:] + scores[:-1]) / 2)
    return min(cuts, key=lambda cut: cut.cost)
