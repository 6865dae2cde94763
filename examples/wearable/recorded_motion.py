"""Reads the BasicMotions recordings out of the aeon wheel, without installing it.

Six channels (accelerometer x, y, z, then gyroscope x, y, z) of 100 points at 10 Hz, from smart watches.
"""

import zipfile

import numpy as np

CHANNELS, POINTS = 6, 100
ACTIVITIES = ("Standing", "Running", "Walking", "Badminton")
COLUMNS = tuple(f"c{channel}_t{point:02d}" for channel in range(CHANNELS) for point in range(POINTS))
INSIDE_WHEEL = "aeon/datasets/data/BasicMotions/BasicMotions_{half}.ts"


def parse(text):
    """(values as text [recordings][600], activities) of a .ts file: channels end in ':', label last."""
    values, labels = [], []
    for line in text.splitlines():
        if not line or line[0] in "#@":
            continue
        *channels, label = line.split(":")
        numbers = [number for channel in channels for number in channel.split(",")]
        if len(numbers) != CHANNELS * POINTS:
            raise ValueError(f"expected {CHANNELS * POINTS} numbers in a recording, found {len(numbers)}")
        values.append(numbers)
        labels.append(label.strip())
    return values, labels


def read_wheel(wheel, half):
    """The `TRAIN` or `TEST` half as (numbers as written, activities)."""
    with zipfile.ZipFile(wheel) as archive:
        return parse(archive.read(INSIDE_WHEEL.format(half=half)).decode("ascii"))


def as_arrays(values, labels):
    """float32 [N,600] and the index of each activity in ACTIVITIES."""
    return np.array(values, np.float32), np.array([ACTIVITIES.index(label) for label in labels])
