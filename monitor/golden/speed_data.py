"""The data that both sides are timed on, as whole numbers (thousandths), so that both read the same."""

import json
import sys

import numpy as np

ROWS = 100_000


def milli(values):
    return np.rint(1000 * values).astype(int).tolist()


def main():
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 1, ROWS)
    reference = rng.multinomial(100_000, np.ones(20) / 20)
    current = rng.multinomial(5_000, np.linspace(0.8, 1.2, 20) / 20)
    json.dump({
        "normals": milli(rng.normal(0, 1, ROWS)), "others": milli(rng.normal(0.05, 1, ROWS)),
        "errors": (rng.random(ROWS) < 0.1).astype(int).tolist(),
        "reference": reference.tolist(), "current": current.tolist(),
        "left": [milli(r) for r in rng.normal(0, 1, (1000, 4))],
        "right": [milli(r) for r in rng.normal(0.2, 1, (1000, 4))],
        "truth": milli(truth), "predicted": milli(truth + rng.normal(0, 0.4, ROWS)),
        "calibration": [[1000, 500 + 49 * i] for i in range(10)], "answers": [10 * (i + 1) for i in range(10)],
    }, sys.stdout)


if __name__ == "__main__":
    main()
