"""One second of accelerometer signal from a pump bearing, healthy or failing.

The signal is made up, not recorded. It follows what is known of rolling bearings: shaft harmonics,
vane pass, broadband flow noise, and, when the outer race is pitted, one impact per passing ball that
makes the housing ring. Units: g for acceleration, Hz for frequency, seconds for time.
"""

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE_HZ = 4000
WINDOW_SAMPLES = 4000
NOMINAL_RPM = 1800.0
IMPELLER_VANES = 5
KNOCK_SHARE = 0.025  # of all windows, healthy or not


@dataclass(frozen=True)
class Bearing:
    """Geometry of a deep-groove ball bearing. Defaults: type 6205, nine balls (catalogue sizes, mm)."""

    balls: int = 9
    ball_diameter_mm: float = 7.94
    pitch_diameter_mm: float = 39.04
    contact_angle_rad: float = 0.0

    def bpfo_hz(self, shaft_hz):
        """Ball-pass frequency of the outer race: n/2 * fr * (1 - d/D * cos(phi)), about 0.4 * fr * n."""
        ratio = self.ball_diameter_mm / self.pitch_diameter_mm
        return self.balls / 2 * shaft_hz * (1 - ratio * np.cos(self.contact_angle_rad))


@dataclass(frozen=True)
class Pump:
    """What stays the same for one pump: its age, duty, place, and the spread of its parts."""

    age_years: float
    load: float
    outdoor: bool
    gain: float
    rpm: float
    resonance_hz: float
    unbalance_g: float

    @property
    def wear(self):
        """0 at two years, 1 at fifteen."""
        return (self.age_years - 2.0) / 13.0


def draw_pump(age_years, load, outdoor, rng):
    """A pump of this age, load (0..1) and place, with its own sensor gain, speed, resonance, unbalance."""
    slip = 12.0 * (load - 0.5)
    return Pump(
        age_years=age_years,
        load=load,
        outdoor=outdoor,
        gain=float(rng.lognormal(0.0, 0.04)),
        rpm=float(NOMINAL_RPM - slip + rng.normal(0.0, 4.0)),
        resonance_hz=float(rng.normal(1400.0, 60.0)),
        unbalance_g=float(rng.lognormal(np.log(0.10), 0.10)),
    )


def _tones(pump, level, shaft_hz, time_s, rng):
    """Shaft harmonics (more of them as fits loosen with age) and the vane-pass tone."""
    loose = 0.6 + 0.8 * pump.wear
    amplitudes = {
        1.0: pump.unbalance_g,
        2.0: 0.045 * loose,
        3.0: 0.022 * loose,
        4.0: 0.010 * loose,
        float(IMPELLER_VANES): 0.05,
    }
    total = np.zeros_like(time_s)
    for order, amplitude in amplitudes.items():
        phase = rng.uniform(0, 2 * np.pi)
        total += level * amplitude * np.sin(2 * np.pi * order * shaft_hz * time_s + phase)
    return total


def _band_noise(low_hz, high_hz, rms_g, rng):
    """Gaussian noise held to one frequency band, with the given expected rms."""
    spectrum = np.zeros(WINDOW_SAMPLES // 2 + 1, dtype=complex)
    bins = slice(low_hz, high_hz)  # one bin is one hertz: the window lasts a second
    count = high_hz - low_hz
    spectrum[bins] = rng.normal(size=count) + 1j * rng.normal(size=count)
    return np.fft.irfft(spectrum, WINDOW_SAMPLES) * (rms_g * WINDOW_SAMPLES / (2 * np.sqrt(count)))


def _flow_noise(pump, level, temperature_c, rng):
    """Broadband noise, plus the rumble and hiss (150-1000 Hz) of a worn impeller that is driven hard.

    These need both wear and load: a worn impeller at half load does not recirculate.
    """
    cold_or_hot = 1.0 + 0.004 * abs(temperature_c - 20.0)
    broadband = rng.normal(0.0, 0.075 * level * (1 + 0.20 * pump.wear) * cold_or_hot, WINDOW_SAMPLES)
    driven = np.clip((pump.load - 0.65) / 0.30, 0.0, 1.0)
    hiss = _band_noise(500, 1000, 0.28 * level * pump.wear * driven, rng)
    rumble = _band_noise(150, 500, 0.13 * level * pump.wear * driven, rng)
    wind = _band_noise(2, 60, 0.02 if pump.outdoor else 0.005, rng)
    return broadband + hiss + rumble + wind


def _impacts(pump, severity, level, bpfo_hz, time_s, rng):
    """One impact per ball that passes the pit (spacing jitters by 1 %), each ringing the housing."""
    train = np.zeros(WINDOW_SAMPLES)
    moment = rng.uniform(0, 1 / bpfo_hz)
    while moment < 1.0:
        train[int(moment * SAMPLE_RATE_HZ)] += rng.lognormal(0.0, 0.25)
        moment += rng.normal(1.0, 0.01) / bpfo_hz
    ring_time = np.arange(64) / SAMPLE_RATE_HZ
    ring = np.exp(-ring_time / 0.0016) * np.sin(2 * np.pi * pump.resonance_hz * ring_time)
    ringing = np.convolve(train, ring)[:WINDOW_SAMPLES]
    deflection = np.sin(2 * np.pi * bpfo_hz * time_s + rng.uniform(0, 2 * np.pi))
    return level * severity * (1.3 * ringing + 0.08 * deflection)


def _knock(level, rng):
    """A single harmless blow, as when a valve closes or grit goes through: loud, but not repeated."""
    time_s = np.arange(160) / SAMPLE_RATE_HZ
    ring = np.exp(-time_s / 0.006) * np.sin(2 * np.pi * rng.uniform(1100, 1700) * time_s)
    signal = np.zeros(WINDOW_SAMPLES)
    start = int(rng.integers(0, WINDOW_SAMPLES - len(ring)))
    signal[start : start + len(ring)] = level * rng.uniform(0.4, 1.2) * ring
    return signal


def window(pump, severity, rng):
    """One second of signal in g. `severity`: 0 healthy, about 0.4 first pits, 1 due for replacement."""
    time_s = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE_HZ
    shaft_hz = pump.rpm / 60 * (1 + rng.normal(0.0, 0.001))
    level = (0.8 + 0.4 * pump.load) * rng.lognormal(0.0, 0.05)
    temperature_c = rng.uniform(-5, 38) if pump.outdoor else rng.uniform(18, 24)
    signal = _tones(pump, level, shaft_hz, time_s, rng) + _flow_noise(pump, level, temperature_c, rng)
    if severity > 0:
        signal += _impacts(pump, severity, level, Bearing().bpfo_hz(shaft_hz), time_s, rng)
    if rng.uniform() < KNOCK_SHARE:
        signal += _knock(level, rng)
    drift = 1.0 + 0.0005 * (temperature_c - 20.0)
    return pump.gain * drift * signal + rng.normal(0.0, 0.004, WINDOW_SAMPLES)
