"""Prints what each model does on traffic.csv: false alarms, recall, latency on this machine, size."""

import csv
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph

import operating_class
from features import NAMES

HERE = Path(__file__).parent
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0")
REFUSALS = (Fail, InvalidGraph)


def model_path(version):
    return HERE / "models" / f"pump-anomaly-{version}.onnx"


def open_session(model):
    """An ONNX Runtime session on one thread, as on a small gateway; takes a path or the bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read_traffic():
    """(class, truth) -> float32 rows, from traffic.csv."""
    rows = {}
    with open(HERE / "traffic.csv", newline="", encoding="ascii") as file:
        for line in csv.DictReader(file):
            kind = operating_class.OperatingClass(line["age"], line["load"], line["environment"])
            rows.setdefault((kind, line["truth"]), []).append([float(line[name]) for name in NAMES])
    return {key: np.array(values, np.float32) for key, values in rows.items()}


def alarm_share(session, rows):
    """Share of rows that the model calls an anomaly."""
    label = session.run(["label"], {"features": rows})[0]
    return float(np.mean(label == -1))


def latencies_us(session, rows, seconds=2.0):
    """Durations of single-row predictions, microseconds."""
    session.run(None, {"features": rows[:1]})
    taken = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        row = rows[len(taken) % len(rows)][None, :]
        before = time.perf_counter()
        session.run(None, {"features": row})
        taken.append((time.perf_counter() - before) * 1e6)
    return taken


def print_traffic_table(traffic):
    """One line per version: false alarms by kind of pump and over all, recall, latency, size."""
    kinds = operating_class.ALL
    healthy = np.vstack([traffic[kind, "normal"] for kind in kinds])
    failing = np.vstack([traffic[kind, "anomaly"] for kind in kinds])
    heads = ["version", *("/".join(kind) for kind in kinds), "all", "recall", "median us", "p95 us", "KiB"]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for version in VERSIONS:
        content = model_path(version).read_bytes()
        cells = ["does not load"] + ["-"] * (len(heads) - 3)
        try:
            session = open_session(content)
        except REFUSALS:
            pass
        else:
            groups = [*(traffic[kind, "normal"] for kind in kinds), healthy, failing]
            cells = [f"{alarm_share(session, rows):.1%}" for rows in groups]
            taken = latencies_us(session, healthy)
            cells += [f"{median(taken):.0f}", f"{np.quantile(taken, 0.95):.0f}"]
        print("| " + " | ".join([version, *cells, f"{len(content) / 1024:.0f}"]) + " |", flush=True)


def print_fresh(seed=4242):
    """False alarms and recall on 4 800 healthy and 800 failing readings made on the spot."""
    rng = np.random.default_rng(seed)
    kinds = operating_class.ALL
    healthy = np.vstack([operating_class.healthy_rows(kind, 600, 5, rng) for kind in kinds]).astype(np.float32)
    failing = np.vstack([operating_class.failing_rows(kind, 100, rng) for kind in kinds]).astype(np.float32)
    for version in ("1.0.0", "1.1.0", "1.4.0"):
        session = open_session(model_path(version).read_bytes())
        alarms, recall = alarm_share(session, healthy), alarm_share(session, failing)
        print(f"fresh readings, {version}: false alarms {alarms:.2%}, recall {recall:.1%}")


def main():
    print_traffic_table(read_traffic())
    print_fresh()


if __name__ == "__main__":
    main()
