#!/usr/bin/env python3
"""Golden vectors for tests/golden.rs, from scipy and river on fixed seeds.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install numpy==2.4.6 scipy==1.17.1 river==0.26.1
    /tmp/golden/bin/python golden/make.py > golden/vectors.json
"""

import json
import math
import sys

import numpy as np
import river
import scipy
from river import drift
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

rng = np.random.default_rng(20251121)
out = {"versions": {"numpy": np.__version__, "scipy": scipy.__version__, "river": river.__version__}}


def floats(values):
    return [float(v) for v in values]


# Distributions and tests --------------------------------------------------------------------------------

cases = []
for bad_a, a, bad_b, b in [(2, 5, 0, 195), (1, 5, 4, 195), (5, 5, 0, 5), (3, 20, 12, 180), (40, 1000, 900, 99000),
                           (0, 5, 3, 195), (50, 50, 100, 150), (7, 2500, 30, 97500)]:
    p = stats.fisher_exact([[bad_a, a - bad_a], [bad_b, b - bad_b]], alternative="greater").pvalue
    cases.append({"table": [bad_a, a, bad_b, b], "p": float(p)})
out["fisher"] = cases

out["normal"] = [{"p": p, "z": float(stats.norm.ppf(p))} for p in
                 [1e-12, 1e-6, 0.0025, 0.02425, 0.1, 0.5, 0.8, 0.975, 0.999999]]
out["chi2_tail"] = [{"x": x, "df": df, "p": float(stats.chi2.sf(x, df))} for x, df in
                    [(0.5, 1), (30.0, 9), (100.0, 19), (9.0, 9), (300.0, 19), (1000.0, 1000)]]
out["gamma_inverse"] = [{"a": a, "p": p, "x": float(stats.gamma.ppf(p, a))} for a, p in
                        [(0.5, 0.05), (1.0, 0.95), (12.3, 0.95), (300.0, 0.05), (5000.0, 0.998)]]
out["beta_inverse"] = [{"a": a, "b": b, "p": p, "x": float(stats.beta.ppf(p, a, b))} for a, b, p in
                       [(1.0, 200.0, 0.95), (3.5, 400.2, 0.05), (0.7, 0.4, 0.5), (5000.0, 100.0, 0.975)]]
out["clopper_pearson"] = []
out["wilson"] = []
for k, n in [(0, 20), (3, 20), (20, 20), (18, 2000), (1, 1)]:
    r = stats.binomtest(k, n)
    for name, method in [("clopper_pearson", "exact"), ("wilson", "wilson")]:
        ci = r.proportion_ci(0.95, method)
        out[name].append({"k": k, "n": n, "low": float(ci.low), "high": float(ci.high)})


def z_test(a, na, b, nb):
    pooled = (a + b) / (na + nb)
    se = math.sqrt(pooled * (1 - pooled) * (1 / na + 1 / nb))
    z = (b / nb - a / na) / se
    half = stats.norm.ppf(0.975) * se
    return {"table": [a, na, b, nb], "z": z, "p": float(2 * stats.norm.sf(abs(z))),
            "low": float(b / nb - a / na - half), "high": float(b / nb - a / na + half)}


out["two_proportions"] = [z_test(2000, 10000, 220, 1000), z_test(30, 1000, 70, 1000), z_test(50, 100, 48, 100)]

# Permutation test: exact by enumeration, scores as the judge weighs them.
perm = []
for seed in range(6):
    r = np.random.default_rng(seed)
    scores = r.integers(0, 5000, 24)
    scores[: 3] += 1500 * (seed % 3)
    res = stats.permutation_test((scores[:3], scores[3:]), lambda x, y, axis: np.sum(x, axis=axis),
                                 permutation_type="independent", alternative="greater",
                                 n_resamples=np.inf, vectorized=True)
    perm.append({"scores": [int(s) for s in scores], "canaries": 3, "p": float(res.pvalue)})
out["permutation"] = perm

# Whole verdicts: what the judge records, worked out again from the counts alone.


def verdict(seed, devices, canaries, lift):
    r = np.random.default_rng(seed)
    rate = 0.1 * np.exp(r.normal(0, 0.8, devices))
    rate[:canaries] *= lift
    past, now = 300, 40
    history = r.binomial(past, np.minimum(rate / np.where(np.arange(devices) < canaries, lift, 1), 0.9))
    post = r.binomial(now, np.minimum(rate, 0.95))
    # Usual rate: own past, drawn towards the fleet's with the weight of four windows.
    mean = (history.sum() + 0.5) / (devices * past + 1.0)
    usual = (history + 4.0 * mean) / (past + 4.0)
    # Change: mixture likelihood ratio over rises, around what is common to all.
    common = (post.sum() + 0.5) / ((now * usual).sum() + 0.5)
    p0 = np.clip(common * usual, 1e-9, 0.999)
    lam = -np.log1p(-p0)
    logs = [post * np.log(-np.expm1(-lam * k) / p0) - (now - post) * lam * (k - 1) for k in (1.5, 2, 3, 5, 10)]
    change = np.log(np.mean(np.exp(np.array(logs)), axis=0))
    # Savage scores to the power 1.5, shared among ties, in units of 1/4096.
    savage = np.cumsum(1.0 / np.arange(devices, 0, -1)) ** 1.5
    order = np.sort(np.round(change, 12))
    scores = np.array([np.mean(savage[order == c]) for c in np.round(change, 12)])
    scores = np.round(scores * 4096)
    res = stats.permutation_test((scores[:canaries], scores[canaries:]), lambda x, y, axis: np.sum(x, axis=axis),
                                 permutation_type="independent", alternative="greater", n_resamples=np.inf,
                                 vectorized=True)
    # Ratio and its limits: a binomial split, both counts over the controls' overdispersion.
    c, k = post[:canaries].sum(), post[canaries:].sum()
    usual_c, usual_k = (now * usual[:canaries]).sum(), (now * usual[canaries:]).sum()
    fleet = (k + 0.5) / (usual_k + 0.5)
    factor = (k + 10 * fleet) / (usual_k + 10)
    expected = factor * usual_c
    rest = post[canaries:] - factor * now * usual[canaries:]
    n = devices - canaries
    dispersion = max(((rest ** 2).sum() * n / (n - 1) + 2) / (factor * usual_k + 2), 0.25)
    exposure = expected / k
    low = stats.beta.ppf(0.05, c / dispersion, k / dispersion + 1)
    high = stats.beta.ppf(0.95, c / dispersion + 1, k / dispersion)
    return {"history": [int(v) for v in history], "post": [int(v) for v in post], "past": past, "now": now,
            "canaries": canaries, "p": float(res.pvalue), "estimate": float(c / expected),
            "dispersion": float(dispersion), "low": float(low / (1 - low) / exposure),
            "high": float(high / (1 - high) / exposure)}


out["verdicts"] = [verdict(1, 60, 3, 1.0), verdict(2, 60, 3, 2.0), verdict(3, 40, 4, 3.0), verdict(4, 60, 3, 1.5)]

# Distances ----------------------------------------------------------------------------------------------

hist = []
for i in range(8):
    bins = [10, 20, 64, 5][i % 4]
    ref = rng.multinomial(5000, rng.dirichlet(np.ones(bins) * 5))
    cur = rng.multinomial([300, 5000][i // 4], rng.dirichlet(np.ones(bins) * 5) * 0.3 + 0.7 * ref / ref.sum())
    edges = np.cumsum(rng.uniform(0.1, 2.0, bins + 1))
    p, q = ref / ref.sum(), cur / cur.sum()
    keep = (ref + cur) > 0
    chi = chi2_contingency(np.array([ref[keep], cur[keep]]), correction=False)
    ps, qs = (ref + 0.5) / (ref.sum() + 0.5 * bins), (cur + 0.5) / (cur.sum() + 0.5 * bins)
    hist.append({
        "reference": [int(v) for v in ref], "current": [int(v) for v in cur], "edges": floats(edges),
        "psi": float(np.sum((qs - ps) * np.log(qs / ps))),
        "kl": float(stats.entropy(q, p)) if np.all(p[q > 0] > 0) else None,
        "js": float(jensenshannon(p, q) ** 2),
        "hellinger": float(np.sqrt(0.5 * np.sum((np.sqrt(p) - np.sqrt(q)) ** 2))),
        "ks": float(np.max(np.abs(np.cumsum(p) - np.cumsum(q)))),
        "chi2": float(chi.statistic), "chi2_p": float(chi.pvalue), "chi2_df": int(chi.dof),
    })
out["histograms"] = hist

samples = []
for i, (n, m, shift) in enumerate([(30, 30, 0.0), (30, 30, 1.0), (50, 80, 0.5), (200, 150, 0.3), (7, 5, 2.0),
                                   (900, 1000, 0.1), (3000, 2500, 0.05)]):
    a = rng.normal(0, 1, n)
    b = rng.normal(shift, 1.2, m)
    if i == 2:
        a, b = np.round(a, 1), np.round(b, 1)
    ks = stats.ks_2samp(a, b, method="exact" if max(n, m) <= 1000 else "asymp")
    samples.append({"a": floats(a), "b": floats(b), "ks": float(ks.statistic),
                    "ks_p": float(ks.pvalue) if max(n, m) <= 1000 else None,
                    "wasserstein": float(stats.wasserstein_distance(a, b))})
out["samples"] = samples

# From 64-bin summaries: within a hundredth of the exact value.
coarse = []
for shift in [0.2, 0.5, 1.0]:
    a, b = rng.normal(0, 1, 20000), rng.normal(shift, 1.0, 20000)
    edges = np.linspace(-6, 7, 65)
    coarse.append({"edges": floats(edges), "a": [int(v) for v in np.histogram(a, edges)[0]],
                   "b": [int(v) for v in np.histogram(b, edges)[0]],
                   "wasserstein": float(stats.wasserstein_distance(a, b)),
                   "ks": float(stats.ks_2samp(a, b).statistic)})
out["coarse"] = coarse

x, y = rng.normal(0, 1, (40, 3)), rng.normal(0.5, 1, (30, 3))


def kernel(a, b, g):
    return np.exp(-g * ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1))


kxx, kyy, kxy = kernel(x, x, 0.5), kernel(y, y, 0.5), kernel(x, y, 0.5)
mmd = ((kxx.sum() - np.trace(kxx)) / (40 * 39) + (kyy.sum() - np.trace(kyy)) / (30 * 29) - 2 * kxy.mean())
out["mmd"] = {"a": [floats(r) for r in x], "b": [floats(r) for r in y], "gamma": 0.5, "value": float(mmd)}

# Detectors ----------------------------------------------------------------------------------------------

def alarms(detector, stream):
    found = []
    for i, v in enumerate(stream):
        detector.update(v)
        if detector.drift_detected:
            found.append(i)
    return found


streams = []
for i in range(6):
    n = 3000
    if i < 3:  # 0/1 errors
        rate = np.concatenate([np.full(n // 2, 0.1), np.full(n // 2, [0.1, 0.2, 0.4][i])])
        values = (rng.random(n) < rate).astype(int)
    else:
        shift = [0.0, 1.0, 10.0][i - 3]
        values = np.round(rng.normal(0, 1, n) + np.where(np.arange(n) < n // 2, 0, shift), 3)
    stream = [float(v) for v in values]
    found = {
        "adwin": alarms(drift.ADWIN(), stream),
        "adwin_clock_1": alarms(drift.ADWIN(delta=0.01, clock=1), stream),
        "page_hinkley": alarms(drift.PageHinkley(), stream),
        "kswin": alarms(drift.KSWIN(seed=1), stream[:1200]),
    }
    if i < 3:
        ints = [int(v) for v in values]
        found["ddm"] = alarms(drift.binary.DDM(), ints)
        found["eddm"] = alarms(drift.binary.EDDM(), ints)
        found["hddm_a"] = alarms(drift.binary.HDDMA(), ints)
    streams.append({"values": stream, "alarms": found})
out["streams"] = streams

json.dump(out, sys.stdout, separators=(",", ":"))
print()
