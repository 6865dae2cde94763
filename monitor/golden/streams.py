"""River's detectors on streams of errors and of numbers: where they alarm, and where they warn.

Errors are a text of 0 and 1, numbers are thousandths. KSWIN sees the first 1 200 values only: River needs a
millisecond for each.
"""

import numpy as np
from river import drift


def signals(detector, stream):
    """Indices of alarms, and of values at which a warning is newly decided."""
    alarms, warnings = [], []
    for i, value in enumerate(stream):
        greatest = getattr(detector, "_p2s_prime_max", None)
        detector.update(value)
        if detector.drift_detected:
            alarms.append(i)
        elif getattr(detector, "warning_detected", False):
            # River's EDDM keeps its flag until it next compares an error; here only the comparison counts.
            if greatest is None or (value == 1 and detector._p2s_prime_max == greatest):
                warnings.append(i)
    return alarms, warnings


def numeric(values):
    return {"adwin": signals(drift.ADWIN(), values)[0],
            "adwin_clock_1": signals(drift.ADWIN(delta=0.01, clock=1), values)[0],
            "page_hinkley": signals(drift.PageHinkley(), values)[0],
            "page_hinkley_20": signals(drift.PageHinkley(threshold=20, delta=0.1), values)[0],
            "kswin": signals(drift.KSWIN(seed=1), values[:1200])[0]}


def errors(seed, rates, length=1200):
    r = np.random.default_rng([8, seed])
    values = (r.random(length * len(rates)) < np.repeat(rates, length)).astype(int).tolist()
    alarms, warnings = numeric([float(v) for v in values]), {}
    for name, detector in [("ddm", drift.binary.DDM()), ("eddm", drift.binary.EDDM()),
                           ("hddm_a", drift.binary.HDDMA())]:
        alarms[name], warnings[name] = signals(detector, values)
    return {"bits": "".join(map(str, values)), "alarms": alarms, "warnings": warnings}


def numbers(seed, means, deviation=1.0, length=1000):
    r = np.random.default_rng([4, seed])
    milli = np.rint(1000 * (r.normal(0, deviation, length * len(means)) + np.repeat(means, length))).astype(int)
    return {"milli": milli, "alarms": numeric((milli / 1000).tolist())}


def vectors():
    return {
        "errors": [errors(0, [0.1, 0.1, 0.1]), errors(1, [0.02, 0.1, 0.3, 0.05, 0.4]),
                   errors(2, [0.05, 0.2, 0.5, 0.05, 0.3]), errors(3, [0.3, 0.5, 0.8, 0.2, 0.6]),
                   errors(4, [0.01, 0.05, 0.02, 0.1, 0.4]), errors(5, [0.1, 0.4, 0.1, 0.4, 0.1, 0.4]),
                   errors(6, [0.5, 0.05, 0.5, 0.9, 0.3])],
        "numbers": [numbers(0, [0, 0, 0]), numbers(1, [0, 1, 0, 2, -2]), numbers(2, [0, 10, 0, 5]),
                    numbers(3, [0.5, 0.6, 0.9, 0.5], 0.1), numbers(4, [100, 103, 99, 110], 3.0),
                    numbers(5, [0, 0.3, 0.6, 0.9, 1.2])],
    }
