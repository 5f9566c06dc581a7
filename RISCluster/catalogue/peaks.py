"""Amplitude and frequency of each cluster: largest value of each spectrogram, and where it is.

Letters: N samples, K clusters, F x T bins, n samples of a block or of a cluster.
"""

from dataclasses import dataclass

import numpy as np

from ..data.layouts import SpectrogramFile

EXACT = 5000  # samples that are all read; of more, as many are drawn
QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Peaks:
    """Statistics of the largest value of spectrograms as they are stored.

    Attributes
    ----------
    read : ndarray, (K,), int64
        Samples of each cluster that were read.
    amplitude, frequency : ndarray, (K, 3)
        Quartiles of the largest value, and of its frequency; NaN for a cluster without samples.
    amplitude_error, frequency_error : ndarray, (K,)
        Standard error of the medians as estimates for all samples of the cluster; 0 where all
        were read, NaN where fewer than 4 were.
    exact : bool
        Whether all samples were read.
    """

    read: np.ndarray
    amplitude: np.ndarray
    frequency: np.ndarray
    amplitude_error: np.ndarray
    frequency_error: np.ndarray
    exact: bool


def measure_peaks(file: SpectrogramFile, labels: np.ndarray, sizes: np.ndarray, seed: int) -> Peaks:
    """Peaks of all usable samples up to `EXACT`; of more, of random ones of each cluster.

    Parameters
    ----------
    file : SpectrogramFile
    labels : ndarray, (N,)
    sizes : ndarray, (K,)
    seed : int

    Raises
    ------
    DataError
        Bytes can't be read.
    """
    index = draw_members(labels, share_out(sizes, EXACT), seed)
    blocks = [largest_value(x) for _, x in file.read_blocks(index)]
    values = np.concatenate([np.empty(0), *(value for value, _ in blocks)])
    bins = np.concatenate([np.empty(0, dtype=np.int64), *(bins for _, bins in blocks)])
    statistics = []
    for series in (values, file.frequency[bins]):
        mine = [series[labels[index] == label] for label in range(len(sizes))]
        quartiles = [np.percentile(v, QUARTILES) if len(v) else np.full(3, np.nan) for v in mine]
        errors = [median_error(v, int(size)) for v, size in zip(mine, sizes, strict=True)]
        statistics.append((np.array(quartiles), np.array(errors)))
    (amplitude, amplitude_error), (frequency, frequency_error) = statistics
    return Peaks(
        np.array([len(v) for v in mine], dtype=np.int64),
        amplitude,
        frequency,
        amplitude_error,
        frequency_error,
        len(index) == int(sizes.sum()),
    )


def largest_value(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each of (n, F, T), and the frequency bin it is in: (n,), (n,)."""
    flat = x.reshape(len(x), -1)
    place = flat.argmax(axis=1)
    return flat[np.arange(len(x)), place], place // x.shape[2]


def share_out(sizes: np.ndarray, most: int) -> np.ndarray:
    """Samples to read of each cluster, (K,): all of small ones, equally many of the others."""
    quota = np.zeros(len(sizes), dtype=np.int64)
    left = most
    for rank, label in enumerate(np.argsort(sizes, kind="stable")):
        quota[label] = min(int(sizes[label]), left // (len(sizes) - rank))
        left -= int(quota[label])
    return quota


def draw_members(labels: np.ndarray, quota: np.ndarray, seed: int) -> np.ndarray:
    """Random samples of each cluster, as many as its quota, ascending."""
    rng = np.random.default_rng(seed)
    drawn = [np.empty(0, dtype=np.int64)]
    for label, n in enumerate(quota):
        members = np.flatnonzero(labels == label)
        if len(members) > n:
            members = members[rng.choice(len(members), n, replace=False)]
        drawn.append(members)
    return np.sort(np.concatenate(drawn))


def median_error(values: np.ndarray, size: int) -> float:
    """Standard error of the median of a sample of a cluster of some size, without a distribution.

    Half the distance of the order statistics that are one standard error of a rank, sqrt(n) / 2,
    away from the median (McKean and Schrader 1984, at one standard error), times the correction
    for a sample of n out of `size`.
    """
    n = len(values)
    if n == size and n:
        return 0.0
    if n < 4:
        return float("nan")
    ordered, away = np.sort(values), np.sqrt(n) / 2
    low, high = int(np.floor(n / 2 - away)), int(np.ceil(n / 2 + away)) - 1
    return float((ordered[high] - ordered[low]) / 2 * np.sqrt(1 - n / size))
