"""Amplitude and frequency of each cluster: largest value of each spectrogram, and where it is.

Letters: N samples, K clusters, F x T bins, n samples of a block or of a cluster.
"""

from dataclasses import dataclass

import numpy as np

from ..data.spectrograms import SpectrogramFile

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
        Quartiles of the largest value, and of the frequency at which it is; NaN for a cluster
        without samples.
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
    """Read samples of each cluster and measure their peaks.

    All usable samples up to `EXACT`; of more, random ones of each cluster, all of small clusters
    and about equally many of the others.

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
    value = np.empty(len(index))
    frequency = np.empty(len(index))
    done = 0
    for _, x in file.read_blocks(index):
        value[done : done + len(x)], bins = largest_value(x)
        frequency[done : done + len(x)] = file.frequency[bins]
        done += len(x)
    mine = [labels[index] == label for label in range(len(sizes))]
    values, frequencies = ([series[m] for m in mine] for series in (value, frequency))
    return Peaks(
        np.array([m.sum() for m in mine], dtype=np.int64),
        *(np.array([_quartiles(v) for v in series]) for series in (values, frequencies)),
        *(
            np.array([median_error(v, int(size)) for v, size in zip(series, sizes, strict=True)])
            for series in (values, frequencies)
        ),
        len(index) == int(sizes.sum()),
    )


def largest_value(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each of (n, F, T), and the frequency bin it is in: (n,), (n,)."""
    flat = x.reshape(len(x), -1)
    place = flat.argmax(axis=1)
    return flat[np.arange(len(x)), place], place // x.shape[2]


def share_out(sizes: np.ndarray, most: int) -> np.ndarray:
    """How many of each cluster are read, (K,): all of small ones, equally many of the others.

    Parameters
    ----------
    sizes : ndarray, (K,)
    most : int
        In all.
    """
    quota = np.zeros(len(sizes), dtype=np.int64)
    left = most
    order = np.argsort(sizes, kind="stable")
    for rank, label in enumerate(order):
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


def _quartiles(values: np.ndarray) -> np.ndarray:
    return np.percentile(values, QUARTILES) if len(values) else np.full(3, np.nan)


def median_error(values: np.ndarray, size: int) -> float:
    """Standard error of a median, free of the distribution's shape.

    Half the distance of the order statistics that are one standard error of a rank, sqrt(n) / 2,
    away from the median (McKean and Schrader 1984, at one standard error), times the correction
    for a sample of n out of `size`.

    Parameters
    ----------
    values : ndarray, (n,)
    size : int
        Of the cluster.
    """
    n = len(values)
    if n == size and n:
        return 0.0
    if n < 4:
        return float("nan")
    ordered, away = np.sort(values), np.sqrt(n) / 2
    low, high = int(np.floor(n / 2 - away)), int(np.ceil(n / 2 + away)) - 1
    return float((ordered[high] - ordered[low]) / 2 * np.sqrt(1 - n / size))
