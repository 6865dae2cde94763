"""Golden vectors for the golden tests: one file per module, on fixed seeds. Run it by make.sh."""

import importlib
import json
import pathlib
import sys

import numpy
import river
import scipy
import sklearn

MODULES = {
    "judge": ["tails", "exact", "planner", "verdicts", "anytime"],
    "monitor": ["charts", "quality", "distances", "summaries", "gate", "streams"],
}
VERSIONS = {m.__name__: m.__version__ for m in (numpy, scipy, sklearn, river)}


def plain(value):
    """numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, numpy.generic) else value


def main():
    root = pathlib.Path(__file__).parent.parent.parent
    wanted = sys.argv[1:]
    for room, modules in MODULES.items():
        folder = root / room / "golden"
        sys.path.insert(0, str(folder))
        for name in modules:
            if wanted and name not in wanted:
                continue
            vectors = {"versions": VERSIONS, **plain(importlib.import_module(name).vectors())}
            text = json.dumps(vectors, separators=(",", ":"), allow_nan=False)
            (folder / "vectors" / f"{name}.json").write_text(text.replace("},{", "},\n{") + "\n")
            print(f"{room}/{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
