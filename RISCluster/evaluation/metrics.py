"""Metrics of a clustering: agreement with known classes, silhouettes, means by cluster.

Letters: N samples, n of them drawn, m of them measured, D features or bins, K clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples

from ..data.layouts import READ_ROWS
from ..data.loading import SampleSet
from ..runs.labels import Labelling, usable_sample
from .overlap import overlap

MEASURED = 5000  # samples drawn at random that are measured; where there are no more, all are


def agreement(labels: np.ndarray, truth: np.ndarray | None) -> dict[str, float]:
    """Accuracy, NMI and ARI against known classes, over samples that have a label of both.

    Empty where there are none. The numbers of the classes can be any.
    """
    both = np.zeros(len(labels), bool) if truth is None else (labels >= 0) & (truth >= 0)
    if not both.any():
        return {}
    _, classes = np.unique(truth[both], return_inverse=True)
    table = overlap(labels[both], classes)
    return {"accuracy": table.accuracy, "nmi": table.nmi, "ari": table.ari}


def silhouettes(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Silhouette of every sample (Rousseeuw 1987): (n, D) and (n,) to (n,).

    0 for the only member of a cluster; NaN where there is one cluster only, or as many as samples.
    """
    if not 1 < len(np.unique(labels)) < len(x):
        return np.full(len(x), np.nan)
    return silhouette_samples(x, labels)


def sampled_silhouettes(
    latents: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of at most `MEASURED` samples with a label, at random, and their silhouettes.

    Parameters
    ----------
    latents : np.ndarray, (N, D)
    labels : ndarray, (N,)
        -1 for unusable samples.
    seed : int
    """
    index = usable_sample(labels, MEASURED, seed)
    return index, silhouettes(latents[index], labels[index])


def clustering_summary(labelling: Labelling, silhouette: np.ndarray) -> dict[str, Any]:
    """Metrics of every stage that labels: sizes, and the mean of some samples' silhouettes."""
    return {
        "n_samples": len(labelling.labels),
        "n_unusable": len(labelling.labels) - labelling.n_usable,
        "n_clusters": labelling.n_clusters,
        "cluster_sizes": labelling.sizes.tolist(),
        "mean_probability": labelling.overall_probability,
        "silhouette_latent": float(np.mean(silhouette)) if len(silhouette) else float("nan"),
    }


@dataclass(frozen=True)
class Measure:
    """Mean of a quantity over the members of each cluster, and last over all samples."""

    values: np.ndarray  # (K + 1,); NaN where no member was measured
    errors: np.ndarray  # (K + 1,), standard errors: 0 if all were measured, NaN if too few
    n: int  # samples that were measured


def measure(values: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> Measure:
    """Means of a random sample by cluster, with their standard errors.

    Parameters
    ----------
    values : ndarray, (m,)
        NaN for samples that are left out.
    labels : ndarray, (m,)
        Below 0 for samples that are left out.
    sizes : ndarray, (K,)
        Members of each cluster in the whole set. The error is sd / sqrt(n) with the correction
        for a finite set, sqrt(1 - n / size): 0 where all were measured (Cochran 1977, eq. 2.20).
    """
    known = ~np.isnan(values) & (labels >= 0)
    values, labels = values[known], labels[known]
    parts = [*(values[labels == label] for label in range(len(sizes))), values]
    means = [part.mean() if len(part) else np.nan for part in parts]
    errors = [_error(*pair) for pair in zip(parts, [*sizes, sizes.sum()], strict=True)]
    return Measure(np.array(means), np.array(errors), len(values))


def _error(values: np.ndarray, size: int) -> float:
    n = len(values)
    if n and n >= size:
        return 0.0
    if n < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(n) * np.sqrt(1 - n / size))


def calinski_harabasz(samples: SampleSet, labels: np.ndarray, n_clusters: int) -> float:
    """Variance between clusters over variance within, each per degree of freedom.

    In data space, at constant memory. Standardisation does not change it.

    Parameters
    ----------
    samples : SampleSet
    labels : ndarray, (N,)
        Of every sample of the file; 0 or more for those of the set.
    n_clusters : int

    Returns
    -------
    float
        NaN for fewer than two clusters, or no variance within them.
    """
    totals, counts, within = 0.0, np.zeros(n_clusters), 0.0
    for member, x in _members(samples, labels):
        one_hot = np.eye(n_clusters)[member]
        totals = totals + one_hot.T @ x
        counts += one_hot.sum(0)
    means = totals / np.maximum(counts, 1)[:, None]
    for member, x in _members(samples, labels):
        within += float(np.square(x - means[member]).sum())
    n, k = counts.sum(), np.count_nonzero(counts)
    if k < 2 or n <= k or within == 0:
        return float("nan")
    between = float((counts * np.square(means - totals.sum(0) / n).sum(1)).sum())
    return between / (k - 1) / (within / (n - k))


def _members(samples: SampleSet, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels (n,) and values (n, D) of some samples at a time, in double precision."""
    for positions, x in samples.in_order(0, len(samples), READ_ROWS):
        yield labels[samples.index[positions.cpu().numpy()]], x.flatten(1).double().cpu().numpy()
