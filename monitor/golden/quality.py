"""How good answers are: scikit-learn on labels and values, formulas for Apdex and for accuracy without labels."""

import warnings

import numpy as np
from scipy import stats
from sklearn import metrics


def classification(seed, rows, base, hit, false):
    r = np.random.default_rng([5, seed])
    truth = r.random(rows) < base
    called = np.where(truth, r.random(rows) < hit, r.random(rows) < false)
    table = metrics.confusion_matrix(truth, called, labels=[False, True])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where nothing is divided by nothing: None below
        return {"table": [table[1, 1], table[0, 1], table[0, 0], table[1, 0]],
                "accuracy": metrics.accuracy_score(truth, called),
                "precision": metrics.precision_score(truth, called) if called.any() else None,
                "recall": metrics.recall_score(truth, called) if truth.any() else None,
                "specificity": metrics.recall_score(~truth, ~called) if (~truth).any() else None,
                "f1": metrics.f1_score(truth, called) if (truth | called).any() else None}


def regression(seed, rows, scale):
    r = np.random.default_rng([6, seed])
    truth = r.integers(-scale, scale, rows)
    truth[::17] = 0
    predicted = truth + r.integers(-scale // 5, scale // 5 + 1, rows)
    t, p, some = truth / 1000, predicted / 1000, truth != 0
    return {"truth_milli": truth, "predicted_milli": predicted, "mae": metrics.mean_absolute_error(t, p),
            "rmse": metrics.root_mean_squared_error(t, p),
            "mape_percent": 100 * metrics.mean_absolute_percentage_error(t[some], p[some])}


def apdex(satisfied, tolerating, frustrated):
    return {"counts": [satisfied, tolerating, frustrated],
            "score": (satisfied + tolerating / 2) / (satisfied + tolerating + frustrated)}


def cbpe(bins, now):
    """Share of right answers per bin at training time, weighted by the answers now; an unseen bin is a coin toss."""
    shares = [right / answers if answers else 0.5 for answers, right in bins]
    return float(np.average(shares, weights=now))


def concept(bins, now, right, labelled, least, alpha):
    estimate = cbpe(bins, now)
    p = stats.binom.cdf(right, labelled, estimate)
    high = stats.binomtest(right, labelled).proportion_ci(1 - 2 * alpha, "exact").high
    z = stats.norm.isf(alpha) + stats.norm.ppf(0.8)
    alarm = p <= alpha and estimate - right / labelled >= least and high < estimate
    return {"bins": bins, "now": now, "right": right, "labelled": labelled, "least_ppm": round(least * 1e6),
            "alpha": alpha, "estimate": estimate, "accuracy": right / labelled, "p": p, "alarm": bool(alarm),
            "labels_needed": z ** 2 * max(estimate * (1 - estimate), 0.01) / least ** 2}


def vectors():
    bins = [(400, 220), (600, 410), (1500, 1250), (4000, 3800), (3500, 3490), (0, 0)]
    return {
        "classification": [classification(*case) for case in
                           [(0, 500, 0.1, 0.8, 0.05), (1, 5000, 0.5, 0.95, 0.1), (2, 200, 0.02, 0.5, 0.2),
                            (3, 40, 0.0, 0.5, 0.2), (4, 40, 1.0, 0.5, 0.2), (5, 40, 0.3, 0.0, 0.0)]],
        "regression": [regression(0, 200, 50_000), regression(1, 60, 2_000), regression(2, 300, 900_000)],
        "apdex": [apdex(60, 30, 10), apdex(1, 0, 0), apdex(0, 0, 7), apdex(170, 20, 10), apdex(1, 1, 1)],
        "concept": [concept(bins, *case) for case in
                    [((40, 60, 150, 400, 350, 0), 880, 1000, 0.02, 0.01),
                     ((40, 60, 150, 400, 350, 0), 930, 1000, 0.02, 0.01),
                     ((100, 100, 100, 100, 100, 100), 380, 500, 0.05, 0.001),
                     ((10, 0, 20, 300, 20, 5), 40, 50, 0.02, 0.01), ((0, 0, 0, 10, 90, 0), 20, 20, 0.05, 0.01),
                     ((0, 0, 50, 10, 90, 0), 160, 200, 0.05, 0.0005)]],
    }
