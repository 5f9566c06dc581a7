"""Clusters among the samples themselves: means, deviations from them, silhouettes.

Data space is that of the samples after `data.amplitude` and `data.transform`, without
standardisation, as in the reference implementation (Jenkins et al. 2021), so that numbers can be
compared between runs. With the mean c of a cluster's members x, each of B bins:

    MSE to the mean            sum((x - c)^2) / B
    MAE to the mean            sum(|x - c|) / B
    inner product with it      sum(x c) / (|x| |c|), 1 for the same shape

A cluster has the mean of these over its members.

Letters: m samples that are measured, h of them held in memory, K clusters, F x T bins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data.loading import Reader
from ..data.spectrograms import SpectrogramFile
from ..data.transforms import Preparation
from .metrics import silhouettes

HELD = 100e6  # bytes of samples held for silhouettes; their arithmetic takes half as much again


@dataclass(frozen=True)
class Deviations:
    """Samples under one labelling, beside the means of their clusters.

    Attributes
    ----------
    means : ndarray, (K, F, T), float64
        NaN for a cluster without a sample.
    mse, mae : ndarray, (m,)
        Mean squared and mean absolute difference of each sample from its cluster's mean, over
        bins; NaN for a sample that can't be used.
    inner_product : ndarray, (m,)
        Of each sample with its cluster's mean, both scaled to unit norm.
    held : ndarray, (h,)
        Which of the samples have a silhouette.
    silhouettes : ndarray, (h,)
    """

    means: np.ndarray
    mse: np.ndarray
    mae: np.ndarray
    inner_product: np.ndarray
    held: np.ndarray
    silhouettes: np.ndarray


def deviations(
    file: SpectrogramFile,
    preparation: Preparation,
    index: np.ndarray,
    labellings: Sequence[np.ndarray],
    seed: int | None = None,
) -> list[Deviations]:
    """Measure samples under several labellings, in two passes over them.

    Parameters
    ----------
    file : SpectrogramFile
    preparation : Preparation
        Amplitude and transform are taken of it.
    index : ndarray, (m,), ascending
    labellings : sequence of ndarray, (m,), int64
        0 or more.
    seed : int, optional
        By which the samples of the silhouettes are drawn, where not all can be held; without it no
        sample has one.
    """
    shape = (file.n_frequencies, file.n_times)
    reader = Reader(file, preparation.plain, torch.device("cpu"))
    reader.skip_negative = True
    held = np.empty(0, dtype=np.int64)
    if seed is not None:
        held = _drawn(len(index), int(HELD / (4 * shape[0] * shape[1])), seed)
    means, x, known = _first_pass(reader, index, labellings, held)
    values = _second_pass(reader, index, labellings, means)
    if not known.all():
        held, x = held[known], x[known]
    scores = [silhouettes(x, labels[held]) for labels in labellings]
    return [
        Deviations(flat.reshape(-1, *shape), *parts, held, found)
        for flat, parts, found in zip(means, values, scores, strict=True)
    ]


def _drawn(n: int, most: int, seed: int) -> np.ndarray:
    """Positions of at most `most` of n samples, two or more, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, min(n, max(2, most)), replace=False))


def _first_pass(
    reader: Reader, index: np.ndarray, labellings: Sequence[np.ndarray], held: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Means of each labelling's clusters, held samples, and which of these could be used."""
    size = reader.file.n_frequencies * reader.file.n_times
    numbers = [int(labels.max(initial=-1)) + 1 for labels in labellings]
    totals = [np.zeros((k, size)) for k in numbers]
    counts = [np.zeros(k) for k in numbers]
    kept, known = np.zeros((len(held), size), np.float32), np.zeros(len(held), bool)
    for at, x in _blocks(reader, index):
        places = np.searchsorted(held, at)
        mine = np.isin(at, held)
        kept[places[mine]], known[places[mine]] = x[mine], True
        for labels, total, count in zip(labellings, totals, counts, strict=True):
            members = np.eye(len(count))[labels[at]]
            total += members.T @ x
            count += members.sum(0)
    with np.errstate(invalid="ignore"):
        return [t / n[:, None] for t, n in zip(totals, counts, strict=True)], kept, known


def _second_pass(
    reader: Reader,
    index: np.ndarray,
    labellings: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Of each labelling, (3, m): squared and absolute deviation, inner product."""
    values = [np.full((3, len(index)), np.nan) for _ in labellings]
    norms = [_norm(mean) for mean in means]
    for at, x in _blocks(reader, index):
        length = _norm(x)
        for labels, mean, norm, found in zip(labellings, means, norms, values, strict=True):
            label = labels[at]
            products = np.einsum("ij,ij->i", x, mean[label]) / (length * norm[label])
            away = np.subtract(x, mean[label])
            found[:, at] = np.square(away).mean(1), np.abs(away).mean(1), products
    return values


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(rows, axis=1), 1e-300)


def _blocks(reader: Reader, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions in `index` of usable samples, and these (n, F T) in double precision."""
    for wanted, x in reader.blocks(index):
        yield np.searchsorted(index, wanted), x.flatten(1).double().numpy()
