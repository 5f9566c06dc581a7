"""Samples of each cluster to look at: typical, borderline and outlying ones.

Letters: N samples of the file, D latent features, K clusters, n samples of a block, c candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ..io import open_rows, row_blocks
from ..runs.labels import of_usable
from ..runs.models import components
from ..runs.run import FinishedRun, FinishedStage
from .outliers import TrainingDistribution

TYPICAL = 12  # samples of a cluster, the most telling first
CANDIDATES = 400  # members of a cluster, drawn at random, of which typical ones are chosen
BORDERLINE = 6  # samples of a cluster
OUTLYING = 24  # samples in all
SPARE = 4  # times as many are chosen first, as some may be duplicates
NEIGHBOURS = 10  # whose distance measures the density at a candidate

Posterior = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """Samples to look at, (m,) each, in the order in which they are shown."""

    index: np.ndarray  # into the file
    label: np.ndarray
    second: np.ndarray  # the most probable other cluster; -1 where there is none
    probability: np.ndarray
    second_probability: np.ndarray
    log_likelihood: np.ndarray  # of the latents, under the stage's mixture
    less_likely: np.ndarray  # share of the training samples that are less likely

    def __len__(self) -> int:
        return len(self.index)

    def part(self, places: np.ndarray | slice) -> "Chosen":
        """Some of them."""
        return Chosen(*(values[places] for values in vars(self).values()))


@dataclass(frozen=True)
class Representatives:
    """Samples to look at in a stage's clusters."""

    typical: list[Chosen]  # of each cluster: spread over it, the most central first
    borderline: list[Chosen]  # of each: the smallest lead over a second cluster first
    outlying: Chosen  # of all, the least likely first


def representatives_of(run: FinishedRun, stage: FinishedStage) -> Representatives:
    """Choose samples of a stage that labels, by its latents.

    Raises
    ------
    CheckpointError
        A file of the stage is missing or damaged.
    """
    soft, latents, k = soft_of(stage), stage.latents, stage.n_clusters
    borderline, outlying = extremes(stage, soft)
    chosen = []
    for members in drawn_members(stage.table.labels, k, CANDIDATES, run.settings.run.seed):
        members = np.sort(_distinct(latents, members))
        z = latents[members].astype(np.float64)
        certain = stage.table.probability[members].astype(np.float64)
        chosen.append(members[medoids(z, certain, TYPICAL)])
    chosen += [_distinct(latents, members)[:BORDERLINE] for members in borderline]
    chosen.append(_distinct(latents, outlying)[:OUTLYING])
    every = _described(stage, soft, np.concatenate(chosen).astype(np.int64))
    ends = np.cumsum([0, *map(len, chosen)])
    parts = [every.part(slice(*pair)) for pair in zip(ends, ends[1:], strict=False)]
    return Representatives(parts[:k], parts[k : 2 * k], parts[-1])


def soft_of(stage: FinishedStage) -> Posterior:
    """Probabilities by which the stage has labelled.

    Returns
    -------
    callable
        ``soft(start, latents)``: (n, D) of the samples from `start` on to (n, K).
    """
    path = stage.path / "soft_assignments.npy"
    if path.exists():
        rows = open_rows(path)
        return lambda start, latents: rows[start : start + len(latents)].astype(np.float64)
    there, k = components(stage), stage.n_clusters

    def posterior(latents: np.ndarray) -> np.ndarray:
        values = np.zeros((len(latents), k))
        values[:, there] = stage.mixture.posterior(latents)
        return values

    return lambda _, latents: of_usable(latents, posterior, k)


def drawn_members(labels: np.ndarray, k: int, most: int, seed: int) -> list[np.ndarray]:
    """Indices of members of each of `k` clusters, at most `most` at random, ascending."""
    keys = np.random.default_rng(seed).random(len(labels))
    return [np.sort(_smallest(keys, labels == label, most)) for label in range(k)]


def _smallest(keys: np.ndarray, among: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` smallest keys where `among`, ascending in them, then in the index."""
    index = np.flatnonzero(among)
    if len(index) > most:
        index = index[keys[index] <= np.partition(keys[index], most - 1)[most - 1]]
    return index[np.argsort(keys[index], kind="stable")[:most]]


def medoids(latents: np.ndarray, certain: np.ndarray, n: int) -> np.ndarray:
    """Members that represent a cluster: typical, and spread over it.

    The BUILD phase of k-medoids (Kaufman and Rousseeuw 1990, chapter 2): first the member with the
    smallest sum of distances, then each time the one that most reduces the distances of all from
    the nearest chosen one. Members are weighted by their probability and by the density around
    them, so that the chosen ones do not lie at the fringe.

    Parameters
    ----------
    latents : ndarray, (c, D)
        Distinct.
    certain : ndarray, (c,)
        Probability of the label.
    n : int

    Returns
    -------
    ndarray, (min(c, n),)
        Their positions, the most central first.
    """
    distances = cdist(latents, latents)
    weight = certain * _density(distances)
    nearest = np.full(len(latents), distances.max(initial=0.0))
    chosen: list[int] = []
    for _ in range(min(n, len(latents))):
        gain = (weight * np.maximum(nearest - distances, 0)).sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return np.array(chosen, dtype=np.int64)


def _density(distances: np.ndarray) -> np.ndarray:
    """Inverse of the distance of the tenth neighbour of each of c samples, 1 at most."""
    if len(distances) < 2:
        return np.ones(len(distances))
    place = min(NEIGHBOURS, len(distances) - 1)
    reach = np.partition(distances, place, axis=1)[:, place]
    shortest = reach[reach > 0].min(initial=np.inf)
    return shortest / np.maximum(reach, shortest) if reach.any() else np.ones(len(reach))


def extremes(stage: FinishedStage, soft: Posterior) -> tuple[list[np.ndarray], np.ndarray]:
    """Most borderline samples of each cluster and least likely ones of all, most so first.

    Returns
    -------
    list of ndarray
        Indices by cluster; empty ones where there is one cluster only.
    ndarray
    """
    labels, k = stage.table.labels, stage.n_clusters
    lead, likelihood = np.full((2, len(labels)), np.nan)  # over the second cluster; logarithm
    for start, block in row_blocks(stage.latents):
        known = (labels[start : start + len(block)] >= 0) & ~np.isnan(block[:, 0])
        if known.any():
            at = start + np.flatnonzero(known)
            largest = np.sort(soft(start, block)[known], axis=1)[:, -2:]
            lead[at] = largest[:, -1] - largest[:, 0]
            likelihood[at] = stage.mixture.log_likelihood(block[known])
    known = ~np.isnan(likelihood)
    borderline = [
        _smallest(lead, known & (labels == label) & (k > 1), SPARE * BORDERLINE)
        for label in range(k)
    ]
    return borderline, _smallest(likelihood, known, SPARE * OUTLYING)


def _distinct(latents: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Without exact duplicates in latent space; of these the first one stays."""
    _, first = np.unique(latents[index], axis=0, return_index=True)
    return index[np.sort(first)]


def _described(stage: FinishedStage, soft: Posterior, index: np.ndarray) -> Chosen:
    """Label, second label, probabilities and likelihood of samples in any order."""
    unique, place = np.unique(index, return_inverse=True)
    latents, labels = stage.latents[unique], stage.table.labels[unique].astype(np.int64)
    rows = [soft(int(i), z[None])[0] for i, z in zip(unique, latents, strict=True)]
    others = np.array(rows).reshape(len(unique), stage.n_clusters)
    each = np.arange(len(unique))
    own = others[each, labels]
    others[each, labels] = -1
    second, most = others.argmax(1), others.max(1)
    likelihood = stage.mixture.log_likelihood(latents) if len(unique) else np.empty(0)
    training = TrainingDistribution.load(stage.path / "novelty.npz")
    found = Chosen(
        unique, labels, np.where(most < 0, -1, second), own, np.maximum(most, 0), likelihood,
        training.likelihood_quantile(likelihood),
    )  # fmt: skip
    return found.part(place)
