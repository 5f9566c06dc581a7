"""Which samples a person should look at: typical, borderline and outlying ones.

One pass over the latents at constant memory, in which the few candidates of each kind are kept.

Letters: N samples of the file, D latent features, K clusters, n samples of a block, c candidates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ..io import open_rows, row_blocks
from ..runs.labels import of_usable
from ..runs.models import components
from ..runs.run import FinishedRun, FinishedStage
from .outliers import TrainingDistribution

TYPICAL = 12  # samples of a cluster, of which the first are the most telling
CANDIDATES = 400  # members of a cluster, drawn at random, that typical ones are chosen from
BORDERLINE = 6  # samples of a cluster
OUTLYING = 24  # samples in all
SPARE = 4  # times as many are kept, for some may be duplicates
NEIGHBOURS = 10  # by whose distance the density at a candidate is measured

Posterior = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """Samples to look at, in the order in which they are shown.

    Attributes
    ----------
    index : ndarray, (m,), int64
        Into the file.
    label, second : ndarray, (m,), int64
        Most and second most probable cluster; `second` is -1 where there is one cluster only.
    probability, second_probability : ndarray, (m,)
    log_likelihood : ndarray, (m,)
        Of the latents, under the stage's mixture.
    less_likely : ndarray, (m,)
        Share of the training samples that are less likely.
    """

    index: np.ndarray
    label: np.ndarray
    second: np.ndarray
    probability: np.ndarray
    second_probability: np.ndarray
    log_likelihood: np.ndarray
    less_likely: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def part(self, places: np.ndarray | slice) -> "Chosen":
        """Some of them."""
        return Chosen(*(values[places] for values in vars(self).values()))


@dataclass(frozen=True)
class Representatives:
    """What there is to look at in a stage's clusters.

    Attributes
    ----------
    typical : list of Chosen
        Of each cluster: spread over it, the most central first.
    borderline : list of Chosen
        Of each cluster: as probable in a second one as they can be, the most so first.
    outlying : Chosen
        Least likely of all, the least likely first.
    """

    typical: list[Chosen]
    borderline: list[Chosen]
    outlying: Chosen


def representatives_of(run: FinishedRun, stage: FinishedStage) -> Representatives:
    """Choose samples of a stage that labels; latents alone are read, and no data.

    Raises
    ------
    CheckpointError
        A file of the stage is missing or damaged.
    """
    soft, k = soft_of(stage), stage.n_clusters
    members = drawn_members(stage.table.labels, k, CANDIDATES, run.settings.run.seed)
    borderline, outlying = extremes(stage, soft)
    typical = [_typical(stage, mine) for mine in members]
    chosen = [*typical, *(_distinct(stage.latents, mine)[:BORDERLINE] for mine in borderline)]
    chosen.append(_distinct(stage.latents, outlying)[:OUTLYING])
    ends = np.cumsum([len(part) for part in chosen])
    every = _described(stage, soft, np.concatenate(chosen).astype(np.int64))
    parts = [
        every.part(slice(stop - len(part), stop)) for part, stop in zip(chosen, ends, strict=True)
    ]
    return Representatives(parts[:k], parts[k : 2 * k], parts[-1])


def soft_of(stage: FinishedStage) -> Posterior:
    """How probable each cluster is, by which the stage has labelled.

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


# ---- typical members ----------------------------------------------------------------------------


def drawn_members(labels: np.ndarray, k: int, most: int, seed: int) -> list[np.ndarray]:
    """Indices of members of each cluster, at most so many drawn at random, ascending.

    Every sample gets a random number; those with the smallest ones are kept, block by block.

    Parameters
    ----------
    labels : ndarray, (N,)
    k : int
    most : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    index = [np.empty(0, dtype=np.int64) for _ in range(k)]
    keys = [np.empty(0) for _ in range(k)]
    for start in range(0, len(labels), 2**18):
        block = labels[start : start + 2**18]
        key = rng.random(len(block))
        for label in np.unique(block[block >= 0]):
            members = np.flatnonzero(block == label)
            index[label], keys[label] = _smallest(
                index[label], keys[label], members + start, key[members], most
            )
    return [np.sort(part) for part in index]


def _smallest(
    index: np.ndarray, keys: np.ndarray, more: np.ndarray, more_keys: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `most` with the smallest keys, ascending in them; the earlier one first where equal."""
    index, keys = np.r_[index, more], np.r_[keys, more_keys]
    if len(keys) > most:
        near = np.argpartition(keys, most - 1)[:most]
        near = np.flatnonzero(keys <= keys[near].max())  # ties at the border: decided below
        index, keys = index[near], keys[near]
    order = np.lexsort((index, keys))[:most]
    return index[order], keys[order]


def _typical(stage: FinishedStage, members: np.ndarray) -> np.ndarray:
    members = np.sort(_distinct(stage.latents, members))
    latents = stage.latents[members].astype(np.float64)
    certain = stage.table.probability[members].astype(np.float64)
    return members[medoids(latents, certain, TYPICAL)]


def medoids(latents: np.ndarray, certain: np.ndarray, n: int) -> np.ndarray:
    """Members that stand for a cluster: typical, and spread over it.

    The BUILD phase of k-medoids (Kaufman and Rousseeuw 1990, chapter 2): first the member with the
    smallest sum of distances from all, then each time the one that brings the members nearest to
    what has been chosen. Members count by their probability and by the density around them, so
    that the chosen ones lie where the cluster is, and not at its fringe.

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
        Their places, the most central first.
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
    """Around each of c samples: one over the distance of its tenth neighbour, 1 at most."""
    if len(distances) < 2:
        return np.ones(len(distances))
    place = min(NEIGHBOURS, len(distances) - 1)
    reach = np.partition(distances, place, axis=1)[:, place]
    positive = reach[reach > 0]
    return (
        positive.min() / np.maximum(reach, positive.min()) if len(positive) else np.ones(len(reach))
    )


# ---- borderline and outlying ones ---------------------------------------------------------------


def extremes(stage: FinishedStage, soft: Posterior) -> tuple[list[np.ndarray], np.ndarray]:
    """Most borderline samples of each cluster and least likely ones of all, most so first.

    Returns
    -------
    list of ndarray
        Indices by cluster; empty ones where there is one cluster only.
    ndarray
    """
    k = stage.n_clusters
    index = [np.empty(0, dtype=np.int64) for _ in range(k + 1)]
    keys = [np.empty(0) for _ in range(k + 1)]
    for at, label, margin, likelihood in _scored(stage, soft):
        for mine in np.unique(label) if k > 1 else ():
            members = label == mine
            index[mine], keys[mine] = _smallest(
                index[mine], keys[mine], at[members], margin[members], SPARE * BORDERLINE
            )
        index[k], keys[k] = _smallest(index[k], keys[k], at, likelihood, SPARE * OUTLYING)
    return index[:k], index[k]


def _scored(stage: FinishedStage, soft: Posterior) -> Iterator[tuple[np.ndarray, ...]]:
    """Of usable samples, block by block: index, label, lead over the second cluster, likelihood."""
    for start, block in row_blocks(stage.latents):
        label = stage.table.labels[start : start + len(block)].astype(np.int64)
        known = (label >= 0) & ~np.isnan(block[:, 0])
        if known.any():
            probability = np.sort(soft(start, block)[known], axis=1)
            lead = probability[:, -1] - probability[:, -2] if stage.n_clusters > 1 else None
            likelihood = stage.mixture.log_likelihood(block[known])
            yield start + np.flatnonzero(known), label[known], lead, likelihood


def _distinct(latents: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Without exact duplicates in latent space; of these the first one stays."""
    ascending = np.argsort(index)
    rows = np.empty((len(index), latents.shape[1]), dtype=np.float32)
    rows[ascending] = latents[index[ascending]]
    _, first = np.unique(rows, axis=0, return_index=True)
    return index[np.sort(first)]


def _described(stage: FinishedStage, soft: Posterior, index: np.ndarray) -> Chosen:
    """Label, second label, probabilities and likelihood of samples in any order."""
    unique, place = np.unique(index, return_inverse=True)
    latents = stage.latents[unique]
    rows = [soft(int(i), z[None])[0] for i, z in zip(unique, latents, strict=True)]
    probability = np.array(rows).reshape(len(unique), stage.n_clusters)
    labels = stage.table.labels[unique].astype(np.int64)
    own = probability[np.arange(len(unique)), labels]
    others = probability.copy()
    others[np.arange(len(unique)), labels] = -1
    likelihood = stage.mixture.log_likelihood(latents) if len(unique) else np.empty(0)
    training = TrainingDistribution.load(stage.path / "novelty.npz")
    found = Chosen(
        unique, labels, np.where(others.max(1, initial=-1) < 0, -1, others.argmax(1)), own,
        np.maximum(others.max(1, initial=-1), 0), likelihood,
        training.likelihood_quantile(likelihood),
    )  # fmt: skip
    return found.part(place)
