"""Gaussian mixtures in the latent space: k-means with restarts, then full covariances.

Letters: N latents, D features, K clusters.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..errors import DataError
from ..progress import log

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)  # added to variances, relative to the mean one; first that works


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances.

    Attributes
    ----------
    weights : ndarray, (K,)
    means : ndarray, (K, D)
        In units of the latents.
    covariances : ndarray, (K, D, D)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def n_parameters(self) -> int:
        """Free parameters: weights that sum to one, means, symmetric covariances."""
        k, d = self.means.shape
        return k - 1 + k * d + k * d * (d + 1) // 2

    def log_densities(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of weight times density: (N, D) to (N, K), in double precision."""
        n_features = self.means.shape[1]
        log_densities = np.empty((len(latents), len(self.weights)))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            triangle = np.linalg.cholesky(covariance)
            white = np.linalg.solve(triangle, (latents - mean).T)
            log_determinant = 2 * np.log(np.diagonal(triangle)).sum()
            log_densities[:, k] = -0.5 * (
                n_features * np.log(2 * np.pi) + log_determinant + np.square(white).sum(0)
            )
        with np.errstate(divide="ignore"):  # a weight of 0 is a density of 0
            return log_densities + np.log(self.weights)

    def posterior(self, latents: np.ndarray) -> np.ndarray:
        """Probability of each component: (N, D) to (N, K), rows sum to one."""
        log_densities = self.log_densities(np.asarray(latents, dtype=np.float64))
        return np.exp(log_densities - logsumexp(log_densities, axis=1, keepdims=True))

    def log_likelihood(self, latents: np.ndarray) -> np.ndarray:
        """Logarithm of the mixture's density: (N, D) to (N,)."""
        return logsumexp(self.log_densities(np.asarray(latents, dtype=np.float64)), axis=1)

    def bic(self, latents: np.ndarray) -> float:
        """Bayesian information criterion; lower is better."""
        likelihood = self.log_likelihood(latents).sum()
        return float(self.n_parameters * np.log(len(latents)) - 2 * likelihood)

    def aic(self, latents: np.ndarray) -> float:
        """Akaike information criterion; lower is better."""
        return float(2 * self.n_parameters - 2 * self.log_likelihood(latents).sum())


def fit_kmeans(latents: np.ndarray, n_clusters: int, n_init: int, seed: int) -> KMeans:
    """Best of `n_init` k-means fits.

    Raises
    ------
    DataError
        There are fewer latents than clusters.
    """
    if len(latents) < n_clusters:
        raise DataError(
            f"{n_clusters} clusters asked for and only {len(latents)} usable samples; lower "
            "gmm.n_clusters"
        )
    with warnings.catch_warnings():
        # Fewer distinct latents than clusters: the mixture's ridge takes care of it, said below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters, n_init=n_init, random_state=seed).fit(latents)


def fit_mixture(latents: np.ndarray, kmeans: KMeans) -> Mixture:
    """Mixture with full covariances, started from the clusters of a k-means fit.

    Where covariances are singular (duplicates, fewer samples than features), a ridge is added and
    said.

    Parameters
    ----------
    latents : ndarray, (N, D), float64
    kmeans : KMeans
        Fitted to the same latents.

    Returns
    -------
    Mixture
    """
    spread = max(float(latents.var(axis=0).mean()), 1e-12)
    for ridge in RIDGES:
        mixture = GaussianMixture(
            kmeans.n_clusters,
            covariance_type="full",
            reg_covar=ridge * spread,
            init_params="random_from_data",  # cheap, and replaced by what follows
            random_state=0,
            max_iter=200,
        )
        try:
            start = _start_of_mixture(latents, kmeans, max(ridge, RIDGES[1]) * spread)
            mixture.weights_init, mixture.means_init, mixture.precisions_init = start
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(latents)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if ridge != RIDGES[0]:
            log.warning(
                f"K = {kmeans.n_clusters}: covariances were singular (few or equal samples in a "
                f"cluster); {ridge:g} of the mean variance was added to their diagonals"
            )
        return Mixture(mixture.weights_, mixture.means_, mixture.covariances_)
    raise DataError(
        f"no mixture of {kmeans.n_clusters} components fits the {len(latents)} latents, not even "
        "with a large ridge; look at the autoencoder's figures: its latents may all be equal"
    )


def _start_of_mixture(
    latents: np.ndarray, kmeans: KMeans, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and precisions of the clusters of k-means, with a ridge on the variances."""
    d = latents.shape[1]
    counts = np.bincount(kmeans.labels_, minlength=kmeans.n_clusters)
    precisions = np.empty((kmeans.n_clusters, d, d))
    for k, centre in enumerate(kmeans.cluster_centers_):
        difference = latents[kmeans.labels_ == k] - centre
        covariance = difference.T @ difference / max(1, len(difference))
        precisions[k] = np.linalg.inv(covariance + ridge * np.eye(d))
    precisions = (precisions + precisions.transpose(0, 2, 1)) / 2
    return np.maximum(counts, 1) / np.maximum(counts, 1).sum(), kmeans.cluster_centers_, precisions
