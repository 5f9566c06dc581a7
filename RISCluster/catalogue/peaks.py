"""Amplitude and frequency of each cluster: largest value of each spectrogram, and its frequency.

Letters: N samples, K clusters, n samples of a cluster.
"""

from dataclasses import dataclass

import numpy as np

from ..data.layouts import SpectrogramFile
from ..evaluation.representatives import drawn_members

EXACT = 5000  # samples that are all read; of more, as many are drawn
QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Peaks:
    """Statistics of the largest value of spectrograms as they are stored."""

    read: np.ndarray  # (K,), int64, samples that were read
    amplitude: np.ndarray  # (K, 3), quartiles; NaN for a cluster without samples
    amplitude_error: np.ndarray  # (K,), of the medians, see `median_error`
    frequency: np.ndarray  # (K, 3)
    frequency_error: np.ndarray  # (K,)
    exact: bool  # whether all samples were read


def measure_peaks(file: SpectrogramFile, labels: np.ndarray, sizes: np.ndarray, seed: int) -> Peaks:
    """Peaks of all usable samples up to `EXACT`; of more, of random ones of each cluster.

    `labels` are (N,), `sizes` those of the clusters (K,).
    """
    members = drawn_members(labels, len(sizes), share_out(sizes, EXACT), seed)
    index = np.sort(np.concatenate(members))
    values, bins = np.full(len(labels), np.nan), np.zeros(len(labels), dtype=np.int64)
    for found, x in file.read_blocks(index):
        flat = x.reshape(len(x), -1)
        values[found], bins[found] = flat.max(axis=1), flat.argmax(axis=1) // x.shape[2]
    statistics = []
    for series in (values, file.frequency[bins]):
        parts = [series[mine] for mine in members]
        quartiles = [np.percentile(x, QUARTILES) if len(x) else [np.nan] * 3 for x in parts]
        errors = [median_error(*pair) for pair in zip(parts, sizes.tolist(), strict=True)]
        statistics += [np.array(quartiles), np.array(errors)]
    read = np.array([len(mine) for mine in members], dtype=np.int64)
    return Peaks(read, *statistics, len(index) == int(sizes.sum()))


def share_out(sizes: np.ndarray, most: int) -> np.ndarray:
    """Samples to read of each cluster, (K,): all of small ones, equally many of the others."""
    quota, left = np.zeros(len(sizes), dtype=np.int64), most
    for rank, label in enumerate(np.argsort(sizes, kind="stable")):
        quota[label] = min(int(sizes[label]), left // (len(sizes) - rank))
        left -= int(quota[label])
    return quota


def median_error(values: np.ndarray, size: int) -> float:
    """Standard error of the median of a random sample (n,) of a cluster of some size.

    Half the distance of the order statistics sqrt(n) / 2 ranks below and above the median (McKean
    and Schrader 1984), with the correction for a finite set; 0 for all, NaN for fewer than 4.
    """
    n = len(values)
    if n == size and n:
        return 0.0
    if n < 4:
        return float("nan")
    ordered, away = np.sort(values), np.sqrt(n) / 2
    low, high = int(np.floor(n / 2 - away)), int(np.ceil(n / 2 + away)) - 1
    return float((ordered[high] - ordered[low]) / 2 * np.sqrt(1 - n / size))
