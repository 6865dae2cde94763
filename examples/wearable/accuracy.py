"""Prints how often each model names the right activity in traffic.csv, its latency here, and its size."""

import csv
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

from recorded_motion import as_arrays

HERE = Path(__file__).parent
VERSIONS = ("1.0.0", "1.1.0")


def model_path(version):
    return HERE / "models" / f"motion-{version}.onnx"


def open_session(version):
    """An ONNX Runtime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model_path(version).read_bytes(), options)


def read_traffic():
    """The test half: float32 [N,600] and the true activity of each row."""
    with open(HERE / "traffic.csv", newline="", encoding="ascii") as file:
        _, *rows = csv.reader(file)
    return as_arrays([row[1:] for row in rows], [row[0] for row in rows])


def right_answers(session, motion, activities):
    """How many rows get the right label."""
    return int(np.sum(session.run(["label"], {"motion": motion})[0] == activities))


def latency_us(session, motion, repeats=2000):
    """Median of single-row predictions, microseconds."""
    taken = []
    for number in range(repeats):
        row = motion[number % len(motion)][None, :]
        before = time.perf_counter()
        session.run(None, {"motion": row})
        taken.append((time.perf_counter() - before) * 1e6)
    return median(taken)


def main():
    motion, activities = read_traffic()
    print("| version | right of 40 | accuracy | median us | KiB |\n|---|---|---|---|---|")
    for version in VERSIONS:
        session = open_session(version)
        right = right_answers(session, motion, activities)
        size = model_path(version).stat().st_size / 1024
        print(
            f"| {version} | {right} | {right / len(motion):.1%} | {latency_us(session, motion):.0f} "
            f"| {size:.0f} |"
        )


if __name__ == "__main__":
    main()
