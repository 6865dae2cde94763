"""Writes the three tables of the example: training-rows.csv, traffic.csv, devices.csv."""

import csv
from pathlib import Path

import numpy as np

import operating_class
from features import NAMES

HERE = Path(__file__).parent
TRAINING_SEED, TRAFFIC_SEED, FLEET_SEED = 31, 32, 33
WINDOWS_PER_PUMP = 5
TRAINING_ROWS_PER_CLASS = 100
HEALTHY_PER_CLASS, FAILING_PER_CLASS = 150, 12

# How the utility's 200 pumps are spread; a quarter are old and driven hard.
FLEET = {
    ("young", "light", "indoor"): 34,
    ("young", "light", "outdoor"): 26,
    ("young", "heavy", "indoor"): 30,
    ("young", "heavy", "outdoor"): 20,
    ("old", "light", "indoor"): 24,
    ("old", "light", "outdoor"): 16,
    ("old", "heavy", "indoor"): 26,
    ("old", "heavy", "outdoor"): 24,
}


def _write(name, header, rows):
    with open(HERE / name, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _digits(row):
    """Six significant digits: finer than any sensor here."""
    return [f"{value:.6g}" for value in row]


def training_rows():
    """Healthy readings of every class, in mixed order: the reference profile is made from these."""
    rng = np.random.default_rng(TRAINING_SEED)
    rows = np.vstack(
        [
            operating_class.healthy_rows(kind, TRAINING_ROWS_PER_CLASS, WINDOWS_PER_PUMP, rng)
            for kind in operating_class.ALL
        ]
    )
    return [_digits(row) for row in rng.permutation(rows)]


def traffic_rows():
    """What the demo's pumps send: each class healthy and failing, labelled with the truth."""
    rng = np.random.default_rng(TRAFFIC_SEED)
    rows = []
    for kind in operating_class.ALL:
        healthy = operating_class.healthy_rows(kind, HEALTHY_PER_CLASS, WINDOWS_PER_PUMP, rng)
        failing = operating_class.failing_rows(kind, FAILING_PER_CLASS, rng)
        rows += [[*kind, "normal", *_digits(row)] for row in healthy]
        rows += [[*kind, "anomaly", *_digits(row)] for row in failing]
    return rows


def device_rows():
    """Two hundred pumps in mixed order."""
    kinds = [kind for kind, count in FLEET.items() for _ in range(count)]
    order = np.random.default_rng(FLEET_SEED).permutation(len(kinds))
    return [[f"pump-{number:03d}", *kinds[index]] for number, index in enumerate(order, start=1)]


def main():
    _write("training-rows.csv", NAMES, training_rows())
    _write("traffic.csv", ("age", "load", "environment", "truth", *NAMES), traffic_rows())
    _write("devices.csv", ("id", "age", "load", "environment"), device_rows())


if __name__ == "__main__":
    main()
