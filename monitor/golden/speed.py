"""Times scipy, scikit-learn and River on the data of speed_data.py, beside what examples/speed printed.

    speed.py DATA OURS

Where no library has a chart, the same rule stands as a loop in Python, and the table says so.
"""

import json
import math
import sys
import time

import numpy as np
from distances import psi
from quality import cbpe
from river import drift
from river import stats as running
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn import metrics
from sklearn.metrics.pairwise import rbf_kernel


def median(repeats, work):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2] * 1e9, float(answer)


def distances(data):
    r, c = np.array(data["reference"]), np.array(data["current"])
    p, q = r / r.sum(), c / c.sum()
    yield "PSI, 20 bins", "numpy", median(500, lambda: psi(r, c))
    yield "KL, 20 bins", "scipy", median(500, lambda: stats.entropy(c, r))
    yield "JS, 20 bins", "scipy", median(500, lambda: jensenshannon(r, c) ** 2)
    yield "Hellinger, 20 bins", "numpy", median(500, lambda: np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    yield "chi-squared and p, 20 bins", "scipy", median(
        500, lambda: stats.chi2_contingency(np.array([r, c]), correction=False).pvalue)
    for rows in (1_000, 100_000):
        a, b = (np.array(data[k][:rows]) / 1000 for k in ("normals", "others"))
        yield f"KS and p, {rows} rows each", "scipy", median(5, lambda: stats.ks_2samp(a, b).pvalue)
        yield f"Wasserstein, {rows} rows each", "scipy", median(5, lambda: stats.wasserstein_distance(a, b))
    x, y = (np.array(data[k]) / 1000 for k in ("left", "right"))
    n = len(x)

    def mmd():
        xx, yy, xy = rbf_kernel(x, gamma=0.5), rbf_kernel(y, gamma=0.5), rbf_kernel(x, y, gamma=0.5)
        return (xx.sum() + yy.sum() - 2 * n) / (n * (n - 1)) - 2 * xy.mean()

    yield "MMD, 1000 rows of 4 each", "scikit-learn", median(3, mmd)


def welford(values):
    variance = running.Var()
    for value in values:
        variance.update(value)
    return variance.get()


def z_score(values):
    past, alarms = running.Var(), 0
    for value in values:
        if past.mean.n >= 30 and abs(value - past.mean.get()) > 3 * math.sqrt(past.get()):
            alarms += 1
        past.update(value)
    return alarms


def chart(values, step, warm_up=100):
    """Learns mean and deviation from 100 values, then asks `step`, and begins again after an alarm."""
    base, state, alarms = running.Var(), None, 0
    for value in values:
        if base.mean.n < warm_up:
            base.update(value)
            continue
        if state is None:
            state = [base.mean.get(), math.sqrt(base.get()), 0.0, 0.0]
        if step(state, value):
            base, state, alarms = running.Var(), None, alarms + 1
    return alarms


def ewma(state, value):
    mean, deviation, off, steps = state
    off, steps = 0.2 * (value - mean) + 0.8 * off, steps + 1
    state[2:] = off, steps
    return abs(off) > 3.5 * deviation * math.sqrt(0.2 / 1.8 * (1 - 0.8 ** (2 * steps)))


def cusum(state, value):
    mean, deviation, up, down = state
    z = (value - mean) / deviation
    state[2:] = max(0.0, up + z - 0.5), max(0.0, down - z - 0.5)
    return max(state[2:]) > 8


def alarms(detector, values):
    found = 0
    for value in values:
        detector.update(value)
        found += detector.drift_detected
    return found


def streams(data):
    normals, errors = [v / 1000 for v in data["normals"]], data["errors"]
    for name, library, values, work in [
        ("Welford", "River", normals, welford),
        ("z-score", "loop over River's Var", normals, z_score),
        ("EWMA chart", "loop in Python", normals, lambda v: chart(v, ewma)),
        ("CUSUM chart", "loop in Python", normals, lambda v: chart(v, cusum)),
        ("Page-Hinkley", "River", normals, lambda v: alarms(drift.PageHinkley(), v)),
        ("ADWIN", "River", normals, lambda v: alarms(drift.ADWIN(), v)),
        ("KSWIN", "River", normals[:4000], lambda v: alarms(drift.KSWIN(seed=1), v)),
        ("DDM", "River", errors, lambda v: alarms(drift.binary.DDM(), v)),
        ("EDDM", "River", errors, lambda v: alarms(drift.binary.EDDM(), v)),
        ("HDDM-A", "River", errors, lambda v: alarms(drift.binary.HDDMA(), v)),
    ]:
        ns, answer = median(3, lambda: work(values))
        yield name, library, (ns / len(values), answer)


def quality(data):
    truth, predicted = np.array(data["truth"]), np.array(data["predicted"])
    labels, called = truth > 0, predicted > 0

    def classification():
        metrics.accuracy_score(labels, called)
        metrics.recall_score(~labels, ~called)
        return metrics.precision_recall_fscore_support(labels, called, average="binary")[2]

    def regression():
        t, p, some = truth / 1000, predicted / 1000, truth != 0
        metrics.mean_absolute_error(t, p)
        metrics.mean_absolute_percentage_error(t[some], p[some])
        return metrics.root_mean_squared_error(t, p)

    def alarm():
        estimate, labelled, right = cbpe(bins, now), 1000, 880
        p = stats.binom.cdf(right, labelled, estimate)
        high = stats.binomtest(right, labelled).proportion_ci(1 - 2 * 0.0005, "exact").high
        return p <= 0.0005 and estimate - right / labelled >= 0.02 and high < estimate

    bins, now = data["calibration"], data["answers"]
    yield "accuracy, precision, recall, specificity, F1, 100000 rows", "scikit-learn", median(3, classification)
    yield "MAE, RMSE, MAPE, 100000 rows", "scikit-learn", median(5, regression)
    yield "CBPE, 10 bins", "numpy", median(500, lambda: cbpe(bins, now))
    yield "CBPE alarm, 1000 labels", "numpy, scipy", median(50, alarm)
    for name, method in (("Wilson interval", "wilson"), ("Clopper-Pearson interval", "exact")):
        yield name, "scipy", median(50, lambda: stats.binomtest(18, 2000).proportion_ci(0.95, method).high)
    yield "two-proportion z-test", "formula, scipy", median(500, z_test)


def z_test():
    se = math.sqrt(0.05 * 0.95 * (2 / 1000))
    return 2 * stats.norm.sf(0.04 / se)


def words(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def main():
    data = json.load(open(sys.argv[1]))
    lines = [line.rstrip("\n").split("\t") for line in open(sys.argv[2])]
    ours = {name: (float(ns), float(answer)) for name, ns, answer in lines}
    print("| what | this crate | Python | from | Python takes | answers differ by |\n|---|---|---|---|---|---|")
    for source in (distances, streams, quality):
        for name, library, (ns, answer) in source(data):
            mine, found = ours.pop(name)
            apart = abs(found - answer) / max(abs(answer), 1e-300)
            print(f"| {name} | {words(mine)} | {words(ns)} | {library} | {ns / mine:.3g} times | {apart:.0e} |")
    assert not ours, f"not compared: {ours}"


if __name__ == "__main__":
    main()
