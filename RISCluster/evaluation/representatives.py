"""Samples of each cluster to look at: typical, borderline and outlying ones.

Letters: N samples of the file, n samples, D latent features, K clusters, c candidates.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas
from scipy.spatial.distance import cdist

from .. import io
from ..runs.run import FinishedRun, FinishedStage
from .outliers import TrainingDistribution

TYPICAL = 12  # samples of a cluster, the most central first
CANDIDATES = 400  # members of a cluster, drawn at random, of which typical ones are chosen
BORDERLINE = 6  # samples of a cluster
OUTLYING = 24  # samples in all
SPARE = 4  # times as many are chosen first, as some may be duplicates
NEIGHBOURS = 10  # whose distance measures the density at a candidate


class Representatives(NamedTuple):
    """Samples to look at in a stage's clusters, tables with the columns of `describe`."""

    typical: list[pandas.DataFrame]  # of each cluster: spread over it, the most central first
    borderline: list[pandas.DataFrame]  # of each: the smallest lead over a second cluster first
    outlying: pandas.DataFrame  # of all, the least likely first


def representatives_of(run: FinishedRun, stage: FinishedStage) -> Representatives:
    """Choose samples of a stage that labels, by its latents; CheckpointError for damaged files."""
    soft, latents, k = stage.soft, stage.latents, stage.n_clusters
    borderline, outlying = extremes(stage, soft)
    chosen = []
    for members in drawn_members(stage.labels, k, CANDIDATES, run.settings.run.seed):
        members = np.sort(_distinct(latents, members))
        weights = stage.table["probability"].to_numpy(dtype=np.float64)[members]
        chosen.append(members[medoids(latents[members].astype(np.float64), weights, TYPICAL)])
    chosen += [_distinct(latents, members)[:BORDERLINE] for members in borderline]
    chosen.append(_distinct(latents, outlying)[:OUTLYING])
    ends = np.cumsum([len(index) for index in chosen])[:-1]
    every = describe(stage, soft, np.concatenate(chosen).astype(np.int64))
    parts = [every.iloc[rows] for rows in np.split(np.arange(len(every)), ends)]
    return Representatives(parts[:k], parts[k : 2 * k], parts[-1])


def drawn_members(
    labels: np.ndarray, k: int, most: int | np.ndarray, seed: int
) -> list[np.ndarray]:
    """Indices of random members of each of `k` clusters, ascending, at most `most` (K,) each."""
    keys = np.random.default_rng(seed).random(len(labels))
    quota = np.broadcast_to(most, k).tolist()
    return [np.sort(_smallest(keys, labels == label, quota[label])) for label in range(k)]


def _smallest(keys: np.ndarray, among: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` smallest keys where `among`, ascending in them, then in the index."""
    index = np.flatnonzero(among)
    return index[np.argsort(keys[index], kind="stable")[:most]]


def medoids(latents: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    """Positions of members (c, D), all distinct, that are typical and spread over a cluster.

    The BUILD phase of k-medoids (Kaufman and Rousseeuw 1990, chapter 2): first the member with the
    smallest sum of distances, then each time the one that most reduces the distances of all from
    the nearest chosen one. Members are weighted, also by the density around them, so that the
    chosen ones do not lie at the fringe.
    """
    distances = cdist(latents, latents)
    weights = weights * _density(distances)
    nearest = np.full(len(latents), distances.max(initial=0.0))
    chosen: list[int] = []
    for _ in range(min(n, len(latents))):
        gain = (weights * np.maximum(nearest - distances, 0)).sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return np.array(chosen, dtype=np.int64)


def _density(distances: np.ndarray) -> np.ndarray:
    """Inverse distance of the tenth neighbour of each of c samples, scaled to at most 1."""
    if len(distances) < 2:
        return np.ones(len(distances))
    place = min(NEIGHBOURS, len(distances) - 1)
    reach = np.partition(distances, place, axis=1)[:, place]
    shortest = reach[reach > 0].min(initial=np.inf)
    return shortest / np.maximum(reach, shortest) if reach.any() else np.ones(len(reach))


def extremes(
    stage: FinishedStage, soft: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Indices of the most borderline samples of each cluster, and of the least likely of all.

    A single cluster has no borderline samples.
    """
    labels, k = stage.labels, stage.n_clusters
    lead, likelihood = np.full((2, len(labels)), np.nan)  # over the second cluster; logarithm
    usable = np.flatnonzero(labels >= 0)
    for start in range(0, len(usable), io.BLOCK_ROWS):
        index = usable[start : start + io.BLOCK_ROWS]
        largest = np.sort(soft(index), axis=1)[:, -2:]
        lead[index] = largest[:, -1] - largest[:, 0]
        likelihood[index] = stage.mixture.log_likelihood(stage.latents[index])
    borderline = [
        _smallest(lead, (labels == label) & (k > 1), SPARE * BORDERLINE) for label in range(k)
    ]
    return borderline, _smallest(likelihood, labels >= 0, SPARE * OUTLYING)


def _distinct(latents: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Without exact duplicates in latent space, of which the first one is used."""
    _, first = np.unique(latents[index], axis=0, return_index=True)
    return index[np.sort(first)]


def describe(
    stage: FinishedStage, soft: Callable[[np.ndarray], np.ndarray], index: np.ndarray
) -> pandas.DataFrame:
    """Samples (n,) with label, probability, the second cluster (-1 for none) and likelihood.

    Columns: sample, label, second, probability, second_probability, log_likelihood, less_likely
    (the share of the training samples that are less likely).
    """
    latents, labels = stage.latents[index], stage.labels[index].astype(np.int64)
    rows, each = soft(index).reshape(len(index), stage.n_clusters), np.arange(len(index))
    own = rows[each, labels]
    rows[each, labels] = -1
    likelihood = stage.mixture.log_likelihood(latents) if len(index) else np.empty(0)
    training = TrainingDistribution.load(stage.path / "novelty.npz")
    return pandas.DataFrame(
        {
            "sample": index,
            "label": labels,
            "second": np.where(rows.max(1) < 0, -1, rows.argmax(1)),
            "probability": own,
            "second_probability": np.maximum(rows.max(1), 0),
            "log_likelihood": likelihood,
            "less_likely": training.likelihood_quantile(likelihood),
        }
    )
