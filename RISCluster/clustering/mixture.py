"""Gaussian mixtures in the latent space: k-means with restarts, then full covariances.

Letters: N latents, D features, K clusters.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ..errors import DataError

PRIOR = 2.0  # samples a feature by which each covariance is drawn to the pooled one
RIDGE = 1e-6  # added to variances, relative to the mean one: latents may be duplicates
MAX_ITERATIONS = 200
TOLERANCE = 1e-3  # of the mean log-likelihood, at which iterations end


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances.

    Attributes
    ----------
    weights : ndarray, (K,)
    means : ndarray, (K, D)
        In units of the latents.
    covariances : ndarray, (K, D, D)
    temperature : float
        By which log densities are divided before they become probabilities of clusters; see
        `training.calibration`. Changes no label, and no density.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    temperature: float = 1.0

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], suffix: str = "") -> "Mixture":
        """Read what `arrays` gave; runs made before there were temperatures have none."""
        temperature = float(arrays.get(f"temperature{suffix}", 1.0))
        names = ("weights", "means", "covariances")
        return cls(*(arrays[name + suffix] for name in names), temperature)

    def arrays(self, suffix: str = "") -> dict[str, np.ndarray]:
        """What it is made of, by name, for files."""
        return {name + suffix: np.asarray(value) for name, value in vars(self).items()}

    def n_parameters(self, n: int, prior: float = 0.0) -> float:
        """Free parameters: weights that sum to one, means, symmetric covariances.

        Of a covariance that is drawn to the pooled one only that share is free which its own
        members decide; the rest is one covariance of all clusters.

        Parameters
        ----------
        n : int
            Latents that the mixture was fitted to.
        prior : float
            With which it was; see `fit_mixture`.
        """
        k, d = self.means.shape
        members, seen = n * self.weights, prior * d
        own = members / (members + seen) if seen else np.ones(k)
        n_covariances = own.sum() + 1 - own.mean()
        return float(k - 1 + k * d + n_covariances * d * (d + 1) / 2)

    def log_densities(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of weight times density: (N, D) to (N, K), in double precision."""
        n_features = self.means.shape[1]
        log_densities = np.empty((len(latents), len(self.weights)))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            triangle = np.linalg.cholesky(covariance)
            whitening = solve_triangular(triangle, np.eye(n_features), lower=True)
            white = (latents - mean) @ whitening.T
            log_determinant = 2 * np.log(np.diagonal(triangle)).sum()
            log_densities[:, k] = -0.5 * (
                n_features * np.log(2 * np.pi) + log_determinant + np.square(white).sum(1)
            )
        with np.errstate(divide="ignore"):  # a weight of 0 is a density of 0
            return log_densities + np.log(self.weights)

    def posterior(self, latents: np.ndarray) -> np.ndarray:
        """Probability of each component: (N, D) to (N, K), rows sum to one."""
        log_densities = self.log_densities(np.asarray(latents, dtype=np.float64))
        tempered = log_densities / self.temperature
        return np.exp(tempered - logsumexp(tempered, axis=1, keepdims=True))

    def log_likelihood(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of the mixture's density: (N, D) to (N,)."""
        return logsumexp(self.log_densities(np.asarray(latents, dtype=np.float64)), axis=1)

    def bic(self, latents: np.ndarray, prior: float = 0.0) -> float:
        """Bayesian information criterion; lower is better. For `prior` see `n_parameters`."""
        likelihood = self.log_likelihood(latents).sum()
        n = len(latents)
        return float(self.n_parameters(n, prior) * np.log(n) - 2 * likelihood)

    def aic(self, latents: np.ndarray, prior: float = 0.0) -> float:
        """Akaike information criterion; lower is better. For `prior` see `n_parameters`."""
        likelihood = self.log_likelihood(latents).sum()
        return float(2 * self.n_parameters(len(latents), prior) - 2 * likelihood)


def fit_kmeans(latents: np.ndarray, n_clusters: int, n_init: int, seed: int) -> KMeans:
    """Best of `n_init` k-means fits.

    Raises
    ------
    DataError
        There are fewer latents than clusters.
    """
    if len(latents) < n_clusters:
        raise DataError(
            f"[gmm] n_clusters: {n_clusters} clusters asked for and only {len(latents)} usable "
            "samples; lower it"
        )
    with warnings.catch_warnings():
        # Fewer distinct latents than clusters: the mixture's ridge takes care of it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters, n_init=n_init, random_state=seed).fit(latents)


def fit_mixture(
    latents: np.ndarray,
    labels: np.ndarray,
    n_clusters: int,
    prior: float = PRIOR,
    most_steps: int = MAX_ITERATIONS,
) -> Mixture:
    """Mixture with full covariances, started from given clusters.

    Expectation and maximisation, where each covariance is drawn towards the pooled one within
    clusters as if `prior` samples a feature had been seen of it, as an inverse Wishart prior does
    (Fraley and Raftery 2007). Where a cluster has thousands of members nothing is felt of it;
    without it, a cluster of few members fits its covariance to their noise.

    Parameters
    ----------
    latents : ndarray, (N, D), float64
    labels : ndarray, (N,)
        Clusters to start from; -1 for latents that have no say in the start.
    n_clusters : int
    prior : float
        0 for the most likely mixture.
    most_steps : int
        Steps of expectation and maximisation at most, the first of which describes the clusters
        given by a Gaussian each.

    Returns
    -------
    Mixture

    Raises
    ------
    DataError
        The latents are not finite.
    """
    if not np.isfinite(latents).all():
        raise DataError(
            "encoder: its latents are not finite: the autoencoder's weights have diverged; lower "
            "aec.lr and train again"
        )
    responsibilities = np.eye(n_clusters)[labels] * (labels >= 0)[:, None]
    before = -np.inf
    for step in range(1, most_steps + 1):
        mixture = _most_probable(latents, responsibilities, prior)
        if step == most_steps:
            break
        log_densities = mixture.log_densities(latents)
        likelihood = logsumexp(log_densities, axis=1)
        responsibilities = np.exp(log_densities - likelihood[:, None])
        if abs(likelihood.mean() - before) < TOLERANCE:
            break
        before = likelihood.mean()
    return mixture


def _most_probable(latents: np.ndarray, responsibilities: np.ndarray, prior: float) -> Mixture:
    """Weights, means and covariances of soft clusters (N, K)."""
    d = latents.shape[1]
    tiny = 10 * np.finfo(float).eps  # members of a cluster that has none: it lies in the middle
    sizes = responsibilities.sum(0) + tiny
    means = (responsibilities.T @ latents + tiny * latents.mean(0)) / sizes[:, None]
    scatter = np.empty((len(sizes), d, d))
    for k, mean in enumerate(means):
        away = latents - mean
        scatter[k] = (away * responsibilities[:, [k]]).T @ away
    ridge = RIDGE * max(float(latents.var(axis=0).mean()), 1e-12) * np.eye(d)
    pooled, seen = scatter.sum(0) / sizes.sum(), prior * d
    covariances = (scatter + seen * pooled) / (sizes + seen)[:, None, None] + ridge
    return Mixture(sizes / sizes.sum(), means, covariances)
