"""Gaussian mixtures in the latent space: k-means with restarts, then full covariances.

Letters: N latents, D features, K clusters.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

MIN_VARIANCE = 0.02  # of the mean variance within clusters, added in every direction
SHRINKAGE = 2.0  # of covariances towards the pooled one, in pseudo-samples per feature
RIDGE = 1e-6  # added to variances, relative to their mean, for latents that are duplicates
MAX_ITERATIONS = 200
BLOCK = 256  # latents: small enough for the cache
TOLERANCE = 1e-3  # change of the mean log-likelihood that ends the iterations


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances."""

    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D); in units of the latents
    covariances: np.ndarray  # (K, D, D)
    # Of the posterior, see `clustering.fit`; they change no label.
    temperature: float = 1.0  # divides log densities
    smoothing: float = 0.0  # share that is divided equally among the clusters

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], suffix: str = "") -> "Mixture":
        """Inverse of `arrays`."""
        *main, temperature = (arrays[name + suffix] for name in [*cls.__annotations__][:4])
        smoothing = arrays.get(f"smoothing{suffix}", 0.0)  # earlier versions had none
        return cls(*main, float(temperature), float(smoothing))

    def arrays(self, suffix: str = "") -> dict[str, np.ndarray]:
        """Arrays by name, for files."""
        return {name + suffix: np.asarray(value) for name, value in vars(self).items()}

    def n_parameters(self, n: int, shrinkage: float = 0.0) -> float:
        """Free parameters of a fit to `n` latents: weights, means, covariances.

        Of a shrunk covariance only the fraction that its own members determine is free.
        """
        k, d = self.means.shape
        members, pseudo = n * self.weights, shrinkage * d
        free = members / (members + pseudo) if pseudo else np.ones(k)
        n_covariances = free.sum() + 1 - free.mean()
        return float(k - 1 + k * d + n_covariances * d * (d + 1) / 2)

    def whitening(self) -> np.ndarray:
        """Matrix (D, D) that gives the clusters the same variance in all directions.

        The mean square distance from the centroid becomes 1, the scale of the Student's t.
        """
        within = np.einsum("k,kij->ij", self.weights, self.covariances)
        d = len(within)
        floor = MIN_VARIANCE * np.trace(within) / d or 1.0
        variances, axes = np.linalg.eigh(within + floor * np.eye(d))
        return (axes / np.sqrt(d * variances)) @ axes.T

    def log_densities(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of weight times density: (N, D) to (N, K), in double precision."""
        k, d = self.means.shape
        triangles = np.linalg.cholesky(self.covariances)
        centre, whitening = self.weights @ self.means, np.linalg.inv(triangles)
        offsets = np.einsum("kij,kj->ki", whitening, self.means - centre)
        stacked, squares = whitening.reshape(k * d, d).T, np.empty((len(latents), k))
        buffer = np.empty((BLOCK, k * d))
        for start in range(0, len(latents), BLOCK):
            rows = latents[start : start + BLOCK] - centre
            white = np.matmul(rows, stacked, out=buffer[: len(rows)]).reshape(-1, k, d)
            white -= offsets
            np.einsum("nkd,nkd->nk", white, white, out=squares[start : start + BLOCK])
        log_determinants = 2 * np.log(np.diagonal(triangles, axis1=1, axis2=2)).sum(1)
        squares += d * np.log(2 * np.pi) + log_determinants
        with np.errstate(divide="ignore"):  # weights can be 0
            return np.log(self.weights) - 0.5 * squares

    def posterior(self, latents: np.ndarray) -> np.ndarray:
        """Probability of each cluster: (N, D) to (N, K), rows sum to one."""
        log_densities = self.log_densities(np.asarray(latents, dtype=np.float64))
        tempered = log_densities / self.temperature
        posterior = np.exp(tempered - logsumexp(tempered, axis=1, keepdims=True))
        return (1 - self.smoothing) * posterior + self.smoothing / len(self.weights)

    def log_likelihood(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of the mixture's density: (N, D) to (N,)."""
        return logsumexp(self.log_densities(np.asarray(latents, dtype=np.float64)), axis=1)

    def bic(self, latents: np.ndarray, shrinkage: float = 0.0) -> float:
        """Bayesian information criterion; lower is better."""
        likelihood = self.log_likelihood(latents).sum()
        n = len(latents)
        return float(self.n_parameters(n, shrinkage) * np.log(n) - 2 * likelihood)


def fit_kmeans(latents: np.ndarray, n_clusters: int, n_init: int, seed: int) -> KMeans:
    """Best of `n_init` k-means fits."""
    with warnings.catch_warnings():
        # Fewer distinct latents than clusters: the mixture's ridge handles it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters, n_init=n_init, random_state=seed).fit(latents)


def fit_mixture(
    latents: np.ndarray, labels: np.ndarray, n_clusters: int, shrinkage: float = SHRINKAGE,
    max_steps: int = MAX_ITERATIONS,
) -> Mixture:  # fmt: skip
    """Mixture of latents (N, D), by expectation maximisation from labels (N,), -1 for none.

    Each covariance is shrunk towards the pooled one, as by an inverse Wishart prior (Fraley and
    Raftery 2007), so that clusters of few members do not fit their noise; `shrinkage` is in
    pseudo-samples per feature. The first step computes a Gaussian of each initial cluster.
    """
    responsibilities = np.eye(n_clusters)[labels] * (labels >= 0)[:, None]
    before = -np.inf
    for step in range(1, max_steps + 1):
        mixture = _maximisation(latents, responsibilities, shrinkage)
        if step == max_steps:
            break
        log_densities = mixture.log_densities(latents)
        likelihood = logsumexp(log_densities, axis=1)
        responsibilities = np.exp(log_densities - likelihood[:, None])
        if abs(likelihood.mean() - before) < TOLERANCE:
            break
        before = likelihood.mean()
    return mixture


def _maximisation(latents: np.ndarray, responsibilities: np.ndarray, shrinkage: float) -> Mixture:
    """Weights, means and covariances of soft clusters (N, K)."""
    d = latents.shape[1]
    tiny = 10 * np.finfo(float).eps  # an empty cluster gets the overall mean
    sizes = responsibilities.sum(0) + tiny
    means = (responsibilities.T @ latents + tiny * latents.mean(0)) / sizes[:, None]
    centre, scatter, buffer = latents.mean(0), 0.0, np.empty((BLOCK, len(sizes), d))
    for start in range(0, len(latents), BLOCK):
        rows = latents[start : start + BLOCK] - centre
        parts = responsibilities[start : start + BLOCK, :, None]
        weighted = np.multiply(parts, rows[:, None], out=buffer[: len(rows)])
        scatter = scatter + weighted.reshape(len(rows), -1).T @ rows
    offsets = means - centre
    scatter = scatter.reshape(-1, d, d) - np.einsum("k,ki,kj->kij", sizes, offsets, offsets)
    ridge = RIDGE * max(float(latents.var(axis=0).mean()), 1e-12) * np.eye(d)
    pooled, pseudo = scatter.sum(0) / sizes.sum(), shrinkage * d
    covariances = (scatter + pseudo * pooled) / (sizes + pseudo)[:, None, None] + ridge
    return Mixture(sizes / sizes.sum(), means, covariances)
