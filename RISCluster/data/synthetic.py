"""Synthetic seismic spectrograms of eight known classes.

Traces are made in the time domain and cut into spectrograms with the parameters of Jenkins et al.
(2021): 4 s at 50 Hz, Kaiser window of 0.4 s (beta 5.7), overlap 0.9, NFFT 256, linear power, 3 to
20 Hz, which gives 87 frequency bins and 100 time bins. Letters: n traces, L samples a trace.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..io import new_file

DEMO_FILE = "Data/demo.h5"

SAMPLING_RATE = 50.0  # Hz
WINDOW, HOP, NFFT = 20, 2, 256  # samples: 0.4 s, overlap 0.9
BINS = slice(16, 103)  # 3.125 to 19.92 Hz
N_TIMES = 100
TRACE_LENGTH = HOP * (N_TIMES - 1) + WINDOW  # 218 samples
BLOCK = 512  # traces that are transformed at a time
STATIONS = tuple(f"SY.DEMO{number}..HHZ" for number in range(1, 7))
YEAR_START = np.datetime64("2016-01-01T00:00:00", "us")
# Frequency of each class in summer, autumn, winter and spring: bursts by thermal cracking in
# winter, tremor in the melt season.
SEASONS = {
    "impulsive burst": (0.5, 1.0, 2.0, 1.0),
    "narrow-band tremor": (2.0, 1.0, 0.5, 1.0),
    "harmonic tremor": (1.5, 1.0, 0.7, 1.0),
    "gliding tremor": (1.0, 1.0, 1.0, 1.0),
    "dispersive arrival": (0.6, 1.2, 1.4, 0.8),
    "emergent event": (1.8, 0.8, 0.4, 1.2),
    "double event": (0.8, 1.0, 1.4, 1.0),
    "noise": (1.0, 1.0, 1.0, 1.0),
}
CLASS_NAMES = tuple(SEASONS)


def write_demo(
    path: str | Path, n_samples: int = 4000, snr_db: float = 6.0, seed: int = 2009,
    imbalance: float = 1.0,
) -> Path:  # fmt: skip
    """Write a synthetic set of known classes; see `make_synthetic_set`. Return the path."""
    columns = make_synthetic_set(n_samples, snr_db, seed, imbalance)
    columns["starttime"] = [f"{time}Z".encode() for time in columns["starttime"]]
    with new_file(Path(path)) as partial, h5py.File(partial, "w") as file:
        for name, values in columns.items():
            chunks = (min(n_samples, 64), *values.shape[1:]) if name == "spectrogram" else None
            file.create_dataset(name, data=values, chunks=chunks)
        file["spectrogram"].attrs["units"] = "arbitrary power"
        file["frequency"].attrs["units"], file["time"].attrs["units"] = "Hz", "s"
        file["labels"].attrs["class_names"] = CLASS_NAMES
        source = "synthetic spectrograms of known classes, made by RISCluster"
        file.attrs.update(source=source, snr_db=snr_db, seed=seed)
    return Path(path)


def make_synthetic_set(
    n_samples: int, snr_db: float, seed: int, imbalance: float = 1.0
) -> dict[str, Any]:
    """Draw a synthetic set, ascending in time: the columns of the layout ``samples``.

    `snr_db` is the median power of the events over that of the background between 3 and 20 Hz, in
    dB; each event varies by 3 dB (standard deviation) about it. `imbalance` is the ratio of the
    most to the least frequent class. Labels are indices into `CLASS_NAMES`.
    """
    rng = np.random.default_rng(seed)
    share = np.geomspace(1.0, 1.0 / imbalance, len(CLASS_NAMES))
    counts = np.floor(n_samples * share / share.sum()).astype(int)
    counts[: n_samples - counts.sum()] += 1
    labels = rng.permutation(np.repeat(np.arange(len(share)), counts))
    traces = np.empty((n_samples, TRACE_LENGTH))
    for label, name in enumerate(CLASS_NAMES):
        members = np.flatnonzero(labels == label)
        traces[members] = _traces(rng, name, members.size, snr_db)
    weights = np.array(list(SEASONS.values()))[labels]
    weights = weights / weights.sum(axis=1, keepdims=True)
    season = (rng.random((n_samples, 1)) > np.cumsum(weights, axis=1)).sum(axis=1)
    seconds = np.round((season + rng.random(n_samples)) * 366 / 4 * 86400, 2)
    is_best = rng.random(n_samples) < 0.4  # at the station where the class is observed best
    drawn = rng.integers(0, len(STATIONS), n_samples)
    stations = np.where(is_best, labels % len(STATIONS), drawn)
    order, taper = np.argsort(seconds, kind="stable"), np.kaiser(WINDOW, 5.7)
    frames = np.lib.stride_tricks.sliding_window_view(traces[order], WINDOW, axis=1)[:, ::HOP]
    power = np.empty((n_samples, BINS.stop - BINS.start, N_TIMES), dtype=np.float32)
    for start in range(0, n_samples, BLOCK):
        spectra = np.fft.rfft(frames[start : start + BLOCK] * taper, NFFT, axis=2)[:, :, BINS]
        power[start : start + BLOCK] = (np.abs(spectra) ** 2).transpose(0, 2, 1)
    return {
        "spectrogram": power,
        "frequency": np.fft.rfftfreq(NFFT, 1 / SAMPLING_RATE)[BINS],
        "time": (np.arange(N_TIMES) * HOP + WINDOW / 2) / SAMPLING_RATE,
        "starttime": YEAR_START + (seconds[order] * 1e6).astype("timedelta64[us]"),
        "trace_id": [STATIONS[station].encode() for station in stations[order]],
        "labels": labels[order],
    }


def _traces(rng: np.random.Generator, name: str, n: int, snr_db: float) -> np.ndarray:
    """Traces (n, L) of a class, with coloured background `snr_db` below their mean power."""
    events = np.broadcast_to(_events(rng, name, n), (n, TRACE_LENGTH))
    background = _band_noise(rng, np.full((n, 1), 2.0), np.full((n, 1), 9.0))
    background /= background.std(axis=1, keepdims=True) + 1e-300
    amplitude = 10 ** ((snr_db + 3.0 * rng.standard_normal((n, 1))) / 20)
    strength = np.sqrt(np.mean(events**2, axis=1, keepdims=True))
    scaled = np.divide(events, strength, out=np.zeros_like(events), where=strength > 0)
    gain = 10 ** rng.normal(0.0, 0.5, (n, 1))  # by the distance to the station
    return gain * (amplitude * scaled + background)


def _band_noise(rng: np.random.Generator, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Gaussian noise with a Gaussian pass band; centre and standard deviation in Hz, (n, 1)."""
    spectrum = np.fft.rfft(rng.standard_normal((len(centre), TRACE_LENGTH)), axis=1)
    frequency = np.fft.rfftfreq(TRACE_LENGTH, 1 / SAMPLING_RATE)
    spectrum *= np.exp(-0.5 * ((frequency - centre) / width) ** 2)
    return np.fft.irfft(spectrum, TRACE_LENGTH, axis=1)


def _events(rng: np.random.Generator, name: str, n: int) -> np.ndarray:
    """Events of a class without background, (n, L) or a shape that broadcasts, not normalised."""
    t = np.arange(TRACE_LENGTH) / SAMPLING_RATE  # s
    middle = t[-1] / 2

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1))

    def sine(cycles: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * cycles)

    def decay(onset: np.ndarray, rise: float, fall: np.ndarray) -> np.ndarray:
        since = np.maximum(t - onset, 0.0)  # s
        return (1.0 - np.exp(-since / rise)) * np.exp(-since / fall)

    if name == "impulsive burst":
        onset = middle + u(-0.3, 0.1)
        return _band_noise(rng, u(9, 13), u(4, 6)) * decay(onset, 0.02, u(0.15, 0.3))
    if name == "narrow-band tremor":
        return _band_noise(rng, u(10, 13), u(0.5, 0.9)) * (1 + 0.3 * sine(0.4 * t + u(0, 1)))
    if name == "harmonic tremor":
        cycles = u(5.4, 6.2) * t
        return sum(sine(k * cycles + u(0, 1)) * (u(0.7, 1.3) / k**0.5) for k in range(1, 4))
    if name == "gliding tremor":
        first, last = u(5, 7), u(14, 18)
        return sine(first * t + (last - first) * t**2 / (2 * t[-1]) + u(0, 1))
    if name == "dispersive arrival":  # high frequencies arrive first
        onset = middle + u(-1.0, -0.6)
        since = np.maximum(t - onset, 0.0)
        low, spread, scale = u(3.5, 4.5), u(14, 17), u(0.5, 0.7)
        phase = low * since + spread * scale * (1.0 - np.exp(-since / scale))
        return decay(onset, 0.1, u(0.9, 1.4)) * sine(phase + u(0, 1))
    if name == "emergent event":
        low = _band_noise(rng, u(4.5, 6.0), u(1.0, 1.6))
        peak, length = middle + u(-0.3, 0.3), u(0.55, 0.8)
        return low * np.exp(-0.5 * ((t - peak) / length) ** 2)
    if name == "double event":
        first = middle + u(-0.9, -0.6)
        second, fall = first + u(1.2, 1.6), u(0.12, 0.2)
        early = _band_noise(rng, u(11, 14), u(3, 5))
        late = _band_noise(rng, u(7, 9), u(3, 5))
        return 0.8 * early * decay(first, 0.02, fall) + late * decay(second, 0.02, 1.3 * fall)
    return np.zeros((n, 1))
