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

from ..data.layouts import SpectrogramFile
from ..data.loading import Reader
from ..data.transforms import Preparation
from ..runs.labels import usable_sample
from .metrics import silhouettes

HELD = 100e6  # bytes of samples held for silhouettes; computing them takes half as much again


@dataclass(frozen=True)
class Deviations:
    """Samples under one labelling, compared with the means of their clusters."""

    means: np.ndarray  # (K, F, T), float64; NaN for a cluster without a sample
    mse: np.ndarray  # (m,), of each sample and its cluster's mean; NaN for unusable ones
    mae: np.ndarray  # (m,)
    inner_product: np.ndarray  # (m,)
    held: np.ndarray  # (h,), positions of the samples with a silhouette
    silhouettes: np.ndarray  # (h,)


def deviations(
    file: SpectrogramFile,
    preparation: Preparation,
    index: np.ndarray,
    labellings: Sequence[np.ndarray],
    seed: int | None = None,
) -> list[Deviations]:
    """Compare samples with the means of their clusters, in two passes over them.

    Parameters
    ----------
    file : SpectrogramFile
    preparation : Preparation
        Its amplitude and transform are used.
    index : ndarray, (m,), ascending
    labellings : sequence of ndarray, (m,), int64
        0 or more.
    seed : int, optional
        For drawing the samples with silhouettes, where not all can be held; None: no silhouettes.
    """
    shape = (file.n_frequencies, file.n_times)
    reader = Reader(file, preparation.plain, torch.device("cpu"))
    reader.skip_negative = True
    held = np.empty(0, dtype=np.int64)
    if seed is not None:
        most = max(2, int(HELD / (4 * shape[0] * shape[1])))
        held = usable_sample(np.zeros(len(index)), most, seed)
    means, x, known = _first_pass(reader, index, labellings, held)
    values = _second_pass(reader, index, labellings, means)
    if not known.all():
        held, x = held[known], x[known]
    scores = [silhouettes(x, labels[held]) for labels in labellings]
    return [
        Deviations(flat.reshape(-1, *shape), *parts, held, found)
        for flat, parts, found in zip(means, values, scores, strict=True)
    ]


def _first_pass(
    reader: Reader, index: np.ndarray, labellings: Sequence[np.ndarray], held: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Means of each labelling's clusters, held samples, and which of these could be used."""
    size = reader.file.n_frequencies * reader.file.n_times
    numbers = [int(labels.max(initial=-1)) + 1 for labels in labellings]
    totals, counts = [np.zeros((k, size)) for k in numbers], [np.zeros(k) for k in numbers]
    x_held, known = np.zeros((len(held), size), np.float32), np.zeros(len(held), bool)
    for at, x in _blocks(reader, index):
        mine = np.isin(at, held)
        places = np.searchsorted(held, at[mine])
        x_held[places], known[places] = x[mine], True
        for labels, total, count in zip(labellings, totals, counts, strict=True):
            members = np.eye(len(count))[labels[at]]
            total += members.T @ x
            count += members.sum(0)
    with np.errstate(invalid="ignore"):
        means = [total / n[:, None] for total, n in zip(totals, counts, strict=True)]
    return means, x_held, known


def _second_pass(
    reader: Reader,
    index: np.ndarray,
    labellings: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Of each labelling, (3, m): MSE, MAE, inner product."""
    values = [np.full((3, len(index)), np.nan) for _ in labellings]
    norms = [_norm(mean) for mean in means]
    for at, x in _blocks(reader, index):
        length = _norm(x)
        for labels, mean, norm, found in zip(labellings, means, norms, values, strict=True):
            label = labels[at]
            products = np.einsum("ij,ij->i", x, mean[label]) / (length * norm[label])
            away = x - mean[label]
            found[:, at] = np.square(away).mean(1), np.abs(away).mean(1), products
    return values


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(rows, axis=1), 1e-300)


def _blocks(reader: Reader, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions in `index` of usable samples, and these (n, F T) in double precision."""
    for wanted, x in reader.blocks(index):
        yield np.searchsorted(index, wanted), x.flatten(1).double().numpy()
