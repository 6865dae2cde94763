#!/usr/bin/env python3
"""Times scipy and River on the data that examples/speed.rs uses (same sizes and distributions)."""

import time

import numpy as np
from river import drift
from scipy import stats
from scipy.spatial.distance import jensenshannon


def median(repeats, work):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


rng = np.random.default_rng(2)
normals = rng.normal(0, 1, 100_000)
errors = (rng.random(100_000) < 0.1).astype(int)
for name, make, values in [("ADWIN", drift.ADWIN, normals.tolist()),
                           ("Page-Hinkley", drift.PageHinkley, normals.tolist()),
                           ("KSWIN", lambda: drift.KSWIN(seed=1), normals[:4000].tolist()),
                           ("DDM", drift.binary.DDM, errors.tolist()),
                           ("EDDM", drift.binary.EDDM, errors.tolist()),
                           ("HDDM-A", drift.binary.HDDMA, errors.tolist())]:
    detector = make()

    def work():
        for value in values:
            detector.update(value)

    print(f"{name:<24} {median(3, work) / len(values) * 1e9:12.1f} ns / value")
other = normals + 0.05
for n in [1000, 100_000]:
    ks = median(5, lambda: stats.ks_2samp(normals[:n], other[:n]))
    wasserstein = median(5, lambda: stats.wasserstein_distance(normals[:n], other[:n]))
    print(f"{n} rows: ks {ks * 1e3:.3f} ms, wasserstein {wasserstein * 1e3:.3f} ms")
a = np.array([1000 + 37 * i for i in range(20)])
b = np.array([1050 + 35 * i for i in range(20)])


def psi():
    p, q = (a + 0.5) / (a.sum() + 10), (b + 0.5) / (b.sum() + 10)
    return np.sum((q - p) * np.log(q / p))


for name, work in [("psi", psi), ("jensen-shannon", lambda: jensenshannon(a, b) ** 2),
                   ("chi-squared", lambda: stats.chi2_contingency(np.array([a, b]), correction=False).pvalue),
                   ("hellinger", lambda: np.sqrt(0.5 * np.sum((np.sqrt(a / a.sum()) - np.sqrt(b / b.sum())) ** 2)))]:
    print(f"{name:<24} {median(200, work) * 1e9:12.1f} ns / pair of 20 bins")
