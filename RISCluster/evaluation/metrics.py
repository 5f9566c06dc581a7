"""Figures of merit: agreement with known classes, silhouette, means over drawn samples.

Letters: N samples, n of them drawn, m of them measured, D features or bins, K clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples

from ..data.loading import SampleSet
from ..data.spectrograms import READ_ROWS
from ..runs.labels import Labelling, usable_sample
from .overlap import overlap

MEASURED = 5000  # samples drawn at random that are measured; where there are no more, all are


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
    _, classes = np.unique(truth[both], return_inverse=True)  # whatever their numbers are
    table = overlap(labels[both], classes)
    return {"accuracy": table.accuracy, "nmi": table.nmi, "ari": table.ari}


def silhouettes(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Silhouette of every sample (Rousseeuw 1987).

    Parameters
    ----------
    x : ndarray, (n, D)
    labels : ndarray, (n,)

    Returns
    -------
    ndarray, (n,)
        0 for the only member of a cluster; NaN where there is one cluster only, or as many as
        samples.
    """
    if not 1 < len(np.unique(labels)) < len(x):
        return np.full(len(x), np.nan)
    return silhouette_samples(x, labels)


def sampled_silhouettes(
    latents: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of usable samples, of at most `MEASURED` of them at random.

    Parameters
    ----------
    latents : np.ndarray, (N, D)
    labels : ndarray, (N,)
        -1 for unusable samples.
    seed : int

    Returns
    -------
    ndarray, ndarray
        Indices of the samples, and their silhouettes; NaN where they have no meaning.
    """
    index = usable_sample(labels, MEASURED, seed)
    return index, silhouettes(latents[index], labels[index])


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
        "mean_probability": labelling.overall_probability,
        "silhouette_latent": float(np.mean(silhouette)) if len(silhouette) else float("nan"),
    }


@dataclass(frozen=True)
class Measure:
    """Mean of a quantity over the members of each cluster, and last over all samples.

    Attributes
    ----------
    values : ndarray, (K + 1,)
        NaN where nothing is known.
    errors : ndarray, (K + 1,)
        Standard errors: 0 where all members were measured, NaN where too few were.
    n : int
        Samples that were measured.
    """

    values: np.ndarray
    errors: np.ndarray
    n: int


def measure(values: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> Measure:
    """Means of a random sample by cluster, with their standard errors.

    Parameters
    ----------
    values : ndarray, (m,)
        NaN for samples that are left out.
    labels : ndarray, (m,)
        0 or more.
    sizes : ndarray, (K,)
        Members of each cluster in the whole set. The error is sd / sqrt(n) with the correction
        for a finite set, sqrt(1 - n / size): 0 where all were measured (Cochran 1977, eq. 2.20).
    """
    known = ~np.isnan(values)
    values, labels = values[known], labels[known]
    parts = [*(values[labels == label] for label in range(len(sizes))), values]
    wholes = [*sizes.tolist(), int(sizes.sum())]
    means = [part.mean() if len(part) else np.nan for part in parts]
    errors = [_error(part, size) for part, size in zip(parts, wholes, strict=True)]
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

    In data space, in two passes over the samples at constant memory. Standardisation, which takes
    the same mean from every sample and divides by one number, does not change it.

    Parameters
    ----------
    samples : SampleSet
    labels : ndarray, (N,)
        Label of every sample of the file; 0 or more for those of the set.
    n_clusters : int

    Returns
    -------
    float
        NaN where it has no meaning: fewer than two clusters, or no variance within them.
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
