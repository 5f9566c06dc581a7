"""Samples of each cluster to look at: typical, borderline and outlying ones.

Letters: n samples, D latent features, K clusters, c candidates.
"""

from typing import NamedTuple

import numpy as np
import pandas
from sklearn.metrics import pairwise_distances_argmin

from .. import io
from ..clustering.mixture import fit_kmeans
from ..data.sets import subsample
from ..runs.run import FinishedRun, FinishedStage
from .outliers import TrainingDistribution

TYPICAL = 12  # samples of a cluster
CANDIDATES = 400  # members of a cluster, drawn at random, of which typical ones are chosen
BORDERLINE = 6  # samples of a cluster
OUTLYING = 24  # samples in all


class Representatives(NamedTuple):
    """Samples to look at in a stage's clusters, tables with the columns of `describe`."""

    typical: list[pandas.DataFrame]  # of each cluster: spread over it
    borderline: list[pandas.DataFrame]  # of each: the smallest lead over a second cluster first
    outlying: pandas.DataFrame  # of all, the least likely first


def representatives_of(run: FinishedRun, stage: FinishedStage) -> Representatives:
    """Choose samples of a stage that labels, by its latents; CheckpointError for damaged files."""
    borderline, outlying = _extremes(stage)
    probability = stage.table["probability"].to_numpy(dtype=np.float64)
    chosen, k = [], stage.n_clusters
    for label in range(k):
        members = np.flatnonzero(stage.labels == label)
        members = members[subsample(len(members), CANDIDATES, run.settings.run.seed)]
        if len(members):
            members = members[probability[members] >= np.median(probability[members])]
        latents = stage.latents[members].astype(np.float64)
        chosen.append(members[typical_members(latents, TYPICAL)])
    chosen += [*borderline, outlying]
    ends = np.cumsum([len(index) for index in chosen])[:-1]
    every = describe(stage, np.concatenate(chosen).astype(np.int64))
    parts = [every.iloc[rows] for rows in np.split(np.arange(len(every)), ends)]
    return Representatives(parts[:k], parts[k : 2 * k], parts[-1])


def typical_members(latents: np.ndarray, n: int) -> np.ndarray:
    """Positions of at most `n` of the members (c, D) of a cluster that are spread over it.

    The nearest ones to centres by k-means, those of the largest groups first.
    """
    if not len(latents):
        return np.empty(0, np.int64)
    kmeans = fit_kmeans(latents, min(n, len(latents)), 1, 0)
    sizes = np.bincount(kmeans.labels_, minlength=len(kmeans.cluster_centers_))
    nearest = pairwise_distances_argmin(kmeans.cluster_centers_, latents)
    return pandas.unique(nearest[np.argsort(-sizes, kind="stable")])


def _extremes(stage: FinishedStage) -> tuple[list[np.ndarray], np.ndarray]:
    """Indices of the most borderline samples of each cluster, and of the least likely of all.

    A single cluster has no borderline samples.
    """
    labels, k = stage.labels, stage.n_clusters
    lead, likelihood = np.full((2, len(labels)), np.nan)  # over the second cluster; logarithm
    usable = np.flatnonzero(labels >= 0)
    for start in range(0, len(usable), io.BLOCK_ROWS):
        index = usable[start : start + io.BLOCK_ROWS]
        largest = np.sort(stage.soft(index), axis=1)[:, -2:]
        lead[index] = largest[:, -1] - largest[:, 0]
        likelihood[index] = stage.mixture.log_likelihood(stage.latents[index])

    def smallest(keys: np.ndarray, among: np.ndarray, n: int) -> np.ndarray:
        index = np.flatnonzero(among)
        return index[np.argsort(keys[index], kind="stable")[:n]]

    near = [smallest(lead, (labels == label) & (k > 1), BORDERLINE) for label in range(k)]
    return near, smallest(likelihood, labels >= 0, OUTLYING)


def describe(stage: FinishedStage, index: np.ndarray) -> pandas.DataFrame:
    """Samples (n,) with label, probability, the second cluster (-1 for none) and likelihood.

    less_likely is the share of the training samples that are less likely.
    """
    latents, labels = stage.latents[index], stage.labels[index].astype(np.int64)
    rows, each = stage.soft(index).reshape(len(index), stage.n_clusters), np.arange(len(index))
    own = rows[each, labels]
    rows[each, labels] = -1
    likelihood = stage.mixture.log_likelihood(latents)
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
