"""Trains both networks on the train half and writes the models and tables of this example.

    python train.py aeon-1.6.0-py3-none-any.whl
"""

import csv
import sys
from pathlib import Path

from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import motion_net
from recorded_motion import COLUMNS, as_arrays, read_wheel

HERE = Path(__file__).parent
SEED = 1


def fit(inputs, activities, hidden):
    """A scaler and a network with one hidden layer."""
    scaler = StandardScaler().fit(inputs)
    network = MLPClassifier((hidden,), alpha=0.01, max_iter=2000, random_state=SEED)
    return scaler, network.fit(scaler.transform(inputs), activities)


def write_model(version, model):
    path = HERE / "models" / f"motion-{version}.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_table(name, header, rows):
    with open(HERE / name, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(wheel):
    written, labels = read_wheel(wheel, "TRAIN")
    motion, activities = as_arrays(written, labels)
    # 1.0.0 looks at the raw points; 1.1.0 at what a person would: level, spread and roughness.
    raw = motion_net.build(*fit(motion, activities, hidden=32), "motion-1.0.0", summarised=False)
    summary = motion_net.build(
        *fit(motion_net.summaries(motion), activities, hidden=16), "motion-1.1.0", summarised=True
    )
    write_model("1.0.0", raw)
    write_model("1.1.0", summary)
    write_table("training-rows.csv", COLUMNS, [[f"{value:.4g}" for value in row] for row in motion])
    test_values, test_labels = read_wheel(wheel, "TEST")
    rows = [[label, *values] for label, values in zip(test_labels, test_values, strict=True)]
    write_table("traffic.csv", ("label", *COLUMNS), rows)


if __name__ == "__main__":
    main(sys.argv[1])
