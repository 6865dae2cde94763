"""Trains the example's models and writes them to models/. Takes about half a minute on one core.

Isolation forests learn from healthy readings only; the few failing ones serve to choose the threshold.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import IsolationForest

import lean_forest
import operating_class
from features import NAMES
from missing_operator import needing_envelope_spectrum
from slow_graph import slowed
from threshold import cheapest_cut, cut_at

MODELS = Path(__file__).parent / "models"
SEED = 20240501
WINDOWS_PER_PUMP = 5

# All but kurtosis are positive and spread over orders of magnitude; the forest sees their logarithms.
LOG_COLUMNS = tuple(i for i, name in enumerate(NAMES) if name != "kurtosis")


class Recipe(NamedTuple):
    """How one version is made: history per class, forest size, which pumps, and how the cut is chosen.

    `assumed_strange` is the share of learning rows called anomalies outright (scikit-learn's
    contamination); without it the cut is the cheapest one on the tuning rows.
    """

    windows_per_class: int
    trees: int
    rows_per_tree: int
    seed: int
    classes: tuple = operating_class.ALL
    assumed_strange: float | None = None


ALL_BUT_OLD_HEAVY = tuple(c for c in operating_class.ALL if c not in operating_class.OLD_HEAVY)

# 1.0.0 had a tenth of the history. 1.2.0 was made while no old, hard-driven pump was instrumented.
RECIPES = {
    "1.0.0": Recipe(60, trees=15, rows_per_tree=128, seed=7),
    "1.1.0": Recipe(600, trees=80, rows_per_tree=128, seed=1),
    "1.2.0": Recipe(
        600, trees=60, rows_per_tree=128, seed=1, classes=ALL_BUT_OLD_HEAVY, assumed_strange=0.015
    ),
    "1.4.0": Recipe(600, trees=80, rows_per_tree=128, seed=4),
}


class History(NamedTuple):
    """Feature rows per operating class: healthy to learn from, healthy and failing to tune on."""

    learn: dict
    tune: dict
    failing: dict


def record_history():
    """Readings from pumps that are not in the demo's traffic."""
    rng = np.random.default_rng(SEED)
    learn, tune, failing = {}, {}, {}
    for kind in operating_class.ALL:
        learn[kind] = operating_class.healthy_rows(kind, 600, WINDOWS_PER_PUMP, rng)
        tune[kind] = operating_class.healthy_rows(kind, 400, WINDOWS_PER_PUMP, rng)
        failing[kind] = operating_class.failing_rows(kind, 60, rng)
    return History(learn, tune, failing)


def _stacked(rows_by_class, classes, limit=None):
    rows = np.vstack([rows_by_class[kind][:limit] for kind in classes])
    return lean_forest.with_logs(rows, LOG_COLUMNS)


def fit(recipe, history):
    """The forest of one recipe and its cut, both from the recipe's classes only."""
    learn = _stacked(history.learn, recipe.classes, recipe.windows_per_class)
    forest = IsolationForest(
        n_estimators=recipe.trees, max_samples=recipe.rows_per_tree, random_state=recipe.seed
    ).fit(learn)
    healthy = -forest.score_samples(_stacked(history.tune, recipe.classes))
    failing = -forest.score_samples(_stacked(history.failing, recipe.classes))
    if recipe.assumed_strange is None:
        return forest, cheapest_cut(healthy, failing)
    strangest = np.quantile(-forest.score_samples(learn), 1 - recipe.assumed_strange)
    return forest, cut_at(float(strangest), healthy, failing)


def main():
    history = record_history()
    models = {}
    for version, recipe in RECIPES.items():
        forest, cut = fit(recipe, history)
        models[version] = lean_forest.build(forest, LOG_COLUMNS, cut.threshold, f"pump-anomaly-{version}")
        print(
            f"{version}: threshold {cut.threshold:.3f}, recall {cut.recall:.1%}, "
            f"false alarms {cut.false_alarm_rate:.2%}, ${cut.cost:,.0f} a year on the tuning rows"
        )
    models["1.3.0"] = slowed(models["1.1.0"])
    models["1.5.0"] = needing_envelope_spectrum(models["1.1.0"])
    MODELS.mkdir(exist_ok=True)
    for version, model in models.items():
        model.graph.name = f"pump-anomaly-{version}"
        (MODELS / f"pump-anomaly-{version}.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
