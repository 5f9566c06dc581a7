"""Stability of a number of clusters, and calibrated probabilities, from half-samples.

A mixture is fitted to each of several half-samples, from trees of that half-sample alone, and
labels the same latents. The mean adjusted Rand index (Hubert and Arabie 1985) between these
labellings is the stability (Ben-Hur et al. 2002; Lange et al. 2004).

The posterior of a mixture is overconfident, because clusters of real latents are not Gaussian. Log
densities are divided by the temperature (Guo et al. 2017) at which the posterior predicts the
labels of the half-samples best; this changes no label. Each cluster of a half-sample is matched to
the one that has most of its members, as half-samples can split a common cluster.

Letters: N latents, D features, K clusters, n latents of a half-sample, m latents that are labelled,
H half-samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

from .initialisation import Trees, fit_from_trees, grow_trees
from .mixture import Mixture, fit_kmeans, fit_mixture

MAX_RESAMPLE_SIZE = 1000  # latents of a half-sample: the time goes into its trees
MAX_LABELLED = 5000  # latents that all mixtures label
MIN_CLUSTER_SIZE = 10  # latents of a cluster in a half-sample
MAX_N_INIT = 10  # restarts of k-means
MAX_TEMPERATURE = 100.0  # all clusters are about equally probable
MIN_PROBABILITY = 1e-6  # added to the probability of a label, against single outliers


@dataclass(frozen=True)
class Resamples:
    """Half-samples of latents, and the latents that are labelled."""

    # Latents (n, D) and trees of each; no trees where mixtures start from k-means.
    parts: list[tuple[np.ndarray, Trees | None]]
    index: np.ndarray  # (m,), ascending; of the labelled latents
    labelled: np.ndarray  # (m, D)


def resamples(
    latents: np.ndarray, blocks: Sequence[int] | None, number: int, seed: int
) -> Resamples:
    """Draw half-samples of latents (N, D) at random and grow trees of each, without maps.

    For `blocks` see `grow_trees`; without them no trees are grown.
    """
    rng = np.random.default_rng([seed, number])
    size = min(len(latents) // 2, MAX_RESAMPLE_SIZE)
    parts = [latents[np.sort(rng.choice(len(latents), size, replace=False))] for _ in range(number)]
    trees = [grow_trees(part, blocks, seed, with_maps=False) if blocks else None for part in parts]
    index = np.sort(rng.choice(len(latents), min(len(latents), MAX_LABELLED), replace=False))
    return Resamples(list(zip(parts, trees, strict=True)), index, latents[index])


def labellings(
    drawn: Resamples, n_clusters: int, n_init: int, seed: int, shrinkage: float
) -> np.ndarray | None:
    """Labels (H, m) of the same latents by a mixture of each half-sample.

    None for one cluster, or more than a half-sample has latents.
    """
    if n_clusters < 2 or any(len(latents) < n_clusters for latents, _ in drawn.parts):
        return None
    found = []
    for latents, trees in drawn.parts:
        mixture = None
        if trees is not None:
            mixture = fit_from_trees(latents, trees, n_clusters, seed, shrinkage)
        if mixture is None:
            labels = fit_kmeans(latents, n_clusters, min(n_init, MAX_N_INIT), seed).labels_
            mixture = fit_mixture(latents, labels, n_clusters, shrinkage)
        found.append(mixture.posterior(drawn.labelled).argmax(1))
    return np.stack(found)


def stability(labels: np.ndarray) -> tuple[float, float]:
    """Mean adjusted Rand index of all pairs of `labellings` (H, m), and standard deviation."""
    scores = [adjusted_rand_score(one, other) for one, other in combinations(labels, 2)]
    return float(np.mean(scores)), float(np.std(scores))


def temperature(mixture: Mixture, latents: np.ndarray, labels: np.ndarray) -> float:
    """Temperature, 1 to `MAX_TEMPERATURE`, at which the posterior of latents (m, D) predicts the
    `labellings` (H, m) best.
    """
    log_densities = mixture.log_densities(latents)
    own = log_densities.argmax(1)
    votes = np.stack([_matched(each, own, len(mixture.weights)) for each in labels], axis=1)

    def loss(log_temperature: float) -> float:
        tempered = log_densities / np.exp(log_temperature)
        chosen = np.take_along_axis(tempered, votes, axis=1)
        probability = np.exp(chosen - logsumexp(tempered, axis=1, keepdims=True))
        return -float(np.log(probability + MIN_PROBABILITY).mean())

    bounds = (0.0, float(np.log(MAX_TEMPERATURE)))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(min((*bounds, best.x), key=loss)))


def _matched(labels: np.ndarray, own: np.ndarray, n_clusters: int) -> np.ndarray:
    """For labels (m,), the label in `own` that most latents of the same label have."""
    both = np.bincount(labels * n_clusters + own, minlength=n_clusters**2)
    return both.reshape(n_clusters, n_clusters).argmax(1)[labels]
