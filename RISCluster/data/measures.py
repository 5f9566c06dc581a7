"""Measures of n samples, from spectrograms (n, F, T) and waveforms of S values (n, S)."""

import numpy as np
from scipy.ndimage import uniform_filter1d

SMOOTHING = 100  # of a window, the length of averages of the power
BANDS = ("band_low", "band_middle", "band_high")
# Unit, empty for that of the waveforms, and meaning
MEASURES = {
    "peak_frequency": ("Hz", "frequency of the largest value of the spectrogram"),
    "rms": ("", "root mean square of the waveform of the window"),
    "duration": ("s", "time between 5 and 95 % of the energy of the waveform"),
    "onset_slope": ("dB/s", "rise of the smoothed power by 10 dB up to its peak"),
    "band_low": ("1", "share of the power in the lowest third of the frequencies (octaves)"),
    "band_middle": ("1", "share of the power in the middle third of the frequencies (octaves)"),
    "band_high": ("1", "share of the power in the highest third of the frequencies (octaves)"),
}


def find_peaks(x: np.ndarray, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each spectrogram (n, F, T), and its frequency."""
    flat = x.reshape(len(x), -1)
    return flat.max(axis=1), frequency[flat.argmax(axis=1) // x.shape[2]]


def measure_spectrograms(x: np.ndarray, frequency: np.ndarray) -> dict[str, np.ndarray]:
    """Peak frequency and band ratios (Provost et al. 2017) of power spectrograms (n, F, T).

    The ratios are shares of the power in three bands of as many octaves; NaN without power.
    """
    above = frequency > 0
    power, edges = x.sum(axis=2, dtype=np.float64)[:, above], band_edges(frequency)
    band = np.clip(np.digitize(frequency[above], edges[1:3]), 0, 2)
    with np.errstate(invalid="ignore"):
        shares = (power @ np.eye(3)[band]).T / power.sum(axis=1)
    return {"peak_frequency": find_peaks(x, frequency)[1], **dict(zip(BANDS, shares, strict=True))}


def band_edges(frequency: np.ndarray) -> np.ndarray:
    """Edges of the three bands of `measure_spectrograms`, (4,), Hz."""
    return np.geomspace(frequency[frequency > 0][0], frequency[-1], 4)


def measure_waveforms(traces: np.ndarray, sampling_rate: float) -> dict[str, np.ndarray]:
    """RMS, duration (Trifunac and Brady 1975) and onset slope of waveforms (n, S).

    The onset slope is 10 dB over the time before the peak of the power, averaged over
    1 / `SMOOTHING` of the window, since it was 10 dB below (or since the start).
    """
    n = traces.shape[1]
    power = uniform_filter1d(np.square(traces, dtype=np.float64), max(1, n // SMOOTHING), axis=1)
    peak, at = power.argmax(axis=1), np.arange(n)
    below = (power < 0.1 * power.max(axis=1, keepdims=True)) & (at < peak[:, None])
    rise = peak - np.where(below, at, 0).max(axis=1)
    energy = np.cumsum(np.square(traces, dtype=np.float64), axis=1)
    total = energy[:, -1:]
    first, last = ((energy < share * total).sum(axis=1) for share in (0.05, 0.95))
    known = np.where(total[:, 0] > 0, 1.0, np.nan)
    return {
        "rms": np.sqrt(total[:, 0] / n),
        "duration": known * (last - first) / sampling_rate,
        "onset_slope": known * 10 * sampling_rate / np.maximum(rise, 1),
    }
