"""Golden vectors for tests/golden: one file per module, on fixed seeds. Run it by make.sh."""

import importlib
import json
import pathlib
import sys

import numpy
import river
import scipy
import sklearn

MODULES = ["tails", "exact", "planner", "verdicts", "anytime", "charts", "quality", "distances", "summaries",
           "gate", "streams"]
VERSIONS = {m.__name__: m.__version__ for m in (numpy, scipy, sklearn, river)}


def plain(value):
    """numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, numpy.generic) else value


def main():
    here = pathlib.Path(__file__).parent
    (here / "vectors").mkdir(exist_ok=True)
    for name in sys.argv[1:] or MODULES:
        vectors = {"versions": VERSIONS, **plain(importlib.import_module(name).vectors())}
        text = json.dumps(vectors, separators=(",", ":"), allow_nan=False)
        (here / "vectors" / f"{name}.json").write_text(text.replace("},{", "},\n{") + "\n")
        print(f"{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
