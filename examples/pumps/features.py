"""The seven vibration features of the worked example, from one second of signal at 4 kHz.

Same definitions as the example's `extract_vibration_features`; energies are sums of squared
magnitudes of the unscaled transform, over the positive frequencies.
"""

import numpy as np

from bearing_signal import SAMPLE_RATE_HZ

NAMES = (
    "rms",
    "peak",
    "crest_factor",
    "kurtosis",
    "energy_0_500hz",
    "energy_500_1000hz",
    "bpfo_energy",
)

# The example takes the ball-pass frequency at nominal speed: 0.4 * (1800 / 60) * 9 balls.
BPFO_HZ = 0.4 * (1800 / 60) * 9
BPFO_HALF_WIDTH_HZ = 5


def excess_kurtosis(values):
    """Fourth standardised moment less three (the biased estimate, scipy's default)."""
    centred = values - np.mean(values)
    variance = np.mean(centred**2)
    return np.mean(centred**4) / variance**2 - 3.0


def extract(signal, sample_rate_hz=SAMPLE_RATE_HZ):
    """The features of one window, in the order of `NAMES`."""
    half = len(signal) // 2
    power = np.abs(np.fft.fft(signal))[:half] ** 2
    freqs = np.fft.fftfreq(len(signal), 1 / sample_rate_hz)[:half]
    rms = np.sqrt(np.mean(signal**2))
    peak = np.max(np.abs(signal))
    near_bpfo = (freqs >= BPFO_HZ - BPFO_HALF_WIDTH_HZ) & (freqs <= BPFO_HZ + BPFO_HALF_WIDTH_HZ)
    return np.array(
        [
            rms,
            peak,
            peak / rms,
            excess_kurtosis(signal),
            np.sum(power[freqs < 500]),
            np.sum(power[(freqs >= 500) & (freqs < 1000)]),
            np.sum(power[near_bpfo]),
        ]
    )
