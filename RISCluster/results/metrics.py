"""Figures of merit: agreement with known classes, silhouette, clusters in data space.

Letters: N samples, D latent features, K clusters, F x T bins.
"""

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

from ..arrays import RowsArray
from ..data.loading import SampleSet
from ..data.spectrograms import READ_ROWS
from .labels import Labelling, usable_sample

SILHOUETTE_SAMPLES = 5000  # beyond, silhouettes are those of a random sample of this size


def accuracy(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of samples that agree with the truth under the best one-to-one matching.

    Parameters
    ----------
    labels, truth : ndarray, (N,)
        Whole numbers; the two need not use the same ones.
    """
    _, row = np.unique(labels, return_inverse=True)
    _, column = np.unique(truth, return_inverse=True)
    table = np.zeros((row.max() + 1, column.max() + 1), dtype=np.int64)
    np.add.at(table, (row, column), 1)
    best = linear_sum_assignment(table, maximize=True)
    return float(table[best].sum() / len(labels))


def agreement(labels: np.ndarray, truth: np.ndarray | None) -> dict[str, float]:
    """Accuracy, NMI and ARI against known classes, over samples that have a label of both.

    Returns
    -------
    dict
        Empty where there is no truth.
    """
    if truth is None:
        return {}
    both = (labels >= 0) & (truth >= 0)
    if not both.any():
        return {}
    labels, truth = labels[both], truth[both]
    return {
        "accuracy": accuracy(labels, truth),
        "nmi": float(normalized_mutual_info_score(truth, labels)),
        "ari": float(adjusted_rand_score(truth, labels)),
    }


def silhouettes(
    latents: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Silhouette of every sample, or of a random sample of `SILHOUETTE_SAMPLES`.

    Parameters
    ----------
    latents : ndarray, (N, D)
    labels : ndarray, (N,)
    seed : int

    Returns
    -------
    ndarray, ndarray
        Positions that were scored, and their silhouettes; NaN where there is one cluster only, or
        as many as samples.
    """
    chosen = np.arange(len(latents))
    if len(chosen) > SILHOUETTE_SAMPLES:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(latents), SILHOUETTE_SAMPLES, replace=False))
    if not 1 < len(np.unique(labels[chosen])) < len(chosen):
        return chosen, np.full(len(chosen), np.nan)
    return chosen, silhouette_samples(latents[chosen], labels[chosen])


def sampled_silhouettes(
    latents: RowsArray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of usable samples, of at most `SILHOUETTE_SAMPLES` of them at random.

    Parameters
    ----------
    latents : RowsArray, (N, D)
    labels : ndarray, (N,)
        -1 for unusable samples.
    seed : int

    Returns
    -------
    ndarray, ndarray
        Indices of the samples, and their silhouettes; NaN where they have no meaning.
    """
    index = usable_sample(labels, SILHOUETTE_SAMPLES, seed)
    return index, silhouettes(latents.take(index), labels[index], seed)[1]


def clustering_summary(labelling: Labelling, silhouette: np.ndarray) -> dict[str, Any]:
    """What every stage that labels writes to metrics.json: sizes and silhouette.

    Parameters
    ----------
    labelling : Labelling
    silhouette : ndarray
        Of a sample of the members.
    """
    return {
        "n_samples": len(labelling.labels),
        "n_unusable": len(labelling.labels) - labelling.n_usable,
        "n_clusters": labelling.n_clusters,
        "cluster_sizes": labelling.sizes.tolist(),
        "silhouette_latent": float(np.mean(silhouette)) if len(silhouette) else float("nan"),
    }


class DataSpace:
    """Clusters in data space, over prepared samples: means, and how far members are from them.

    Two passes over the samples at constant memory.

    Parameters
    ----------
    samples : SampleSet
    labels : ndarray, (N,)
        Label of every sample of the file.
    n_clusters : int

    Attributes
    ----------
    means : ndarray, (K, F, T)
        Mean of each cluster's samples; NaN for an empty one.
    mse : ndarray, (K,)
        Mean squared difference of members from their cluster's mean, over samples and bins.
    inner_product : ndarray, (K,)
        Mean inner product of members with their cluster's mean, both scaled to unit norm.
    calinski_harabasz : float
        Variance between clusters over variance within, each per degree of freedom.
    """

    def __init__(self, samples: SampleSet, labels: np.ndarray, n_clusters: int):
        self.n_clusters = n_clusters
        totals, counts = 0.0, np.zeros(n_clusters)
        for member, x in self._batches(samples, labels):
            one_hot = np.eye(n_clusters)[member]
            totals = totals + one_hot.T @ x
            counts += one_hot.sum(0)
        with np.errstate(invalid="ignore"):
            flat = totals / counts[:, None]
        squares, products, n_bins = np.zeros(n_clusters), np.zeros(n_clusters), flat.shape[1]
        unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-300)
        for member, x in self._batches(samples, labels):
            np.add.at(squares, member, np.square(x - flat[member]).sum(1))
            norm = np.maximum(np.linalg.norm(x, axis=1), 1e-300)
            np.add.at(products, member, (x * unit[member]).sum(1) / norm)
        with np.errstate(invalid="ignore"):
            self.mse, self.inner_product = squares / counts / n_bins, products / counts
        self.means, self.counts = flat.reshape(n_clusters, *self._shape), counts
        self.calinski_harabasz = self._ratio(totals, counts, squares.sum())

    def _batches(self, samples: SampleSet, labels: np.ndarray):
        for positions, x in samples.in_order(0, len(samples), READ_ROWS):
            self._shape = tuple(x.shape[2:])
            member = labels[samples.index[positions.cpu().numpy()]]
            yield member, x.flatten(1).double().cpu().numpy()

    def _ratio(self, totals: np.ndarray, counts: np.ndarray, within: float) -> float:
        there = counts > 0
        n, k = counts.sum(), int(there.sum())
        grand = totals.sum(0) / n
        difference = totals[there] / counts[there, None] - grand
        between = float((counts[there] * np.square(difference).sum(1)).sum())
        if k < 2 or n <= k or within == 0:
            return float("nan")
        return between / (k - 1) / (within / (n - k))
