"""Probabilities of clusters that mean what they say.

The posterior of a mixture takes its Gaussians for the truth. Clusters of real latents have longer
tails and crooked edges, and where they touch the posterior is far surer than it should be. Log
densities divided by a temperature (Guo et al. 2017) are less sure and change no label. No classes
are needed to find it: mixtures of half-samples of the latents say how often a latent's label would
have been another one, and the temperature is that at which the posterior foretells them best.

A cluster of a half-sample counts as the one that most of its members are of. Half-samples have too
few of a rare kind to give it a cluster, and cut a common one in two instead: that says nothing
against the common one.

Letters: N latents, D features, K clusters, H half-samples, m latents that are labelled.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from .mixture import Mixture

HIGHEST = 100.0  # temperature; all clusters are about as probable long before
LEAST = 1e-6  # added to the probability of a label, so that stray ones do not decide


def temperature(mixture: Mixture, latents: np.ndarray, labels: np.ndarray) -> float:
    """Temperature at which the posterior foretells the labels that half-samples gave.

    The logarithm of the probability of those labels is largest there. Half-samples know less than
    the mixture, so that nothing is ever made surer.

    Parameters
    ----------
    mixture : Mixture
        Its own temperature has no say.
    latents : ndarray, (m, D)
    labels : ndarray, (H, m)
        In any numbering, each its own; as many clusters as the mixture has, K.

    Returns
    -------
    float
        From 1 to `HIGHEST`.
    """
    log_densities = mixture.log_densities(latents)
    own = log_densities.argmax(1)
    votes = np.stack([_matched(one, own, len(mixture.weights)) for one in labels], axis=1)

    def loss(log_temperature: float) -> float:
        tempered = log_densities / np.exp(log_temperature)
        chosen = np.take_along_axis(tempered, votes, axis=1)
        probability = np.exp(chosen - logsumexp(tempered, axis=1, keepdims=True))
        return -float(np.log(probability + LEAST).mean())

    bounds = (0.0, float(np.log(HIGHEST)))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(min((*bounds, best.x), key=loss)))


def _matched(labels: np.ndarray, own: np.ndarray, n_clusters: int) -> np.ndarray:
    """For labels (m,), the label in `own` that most latents of the same label have."""
    both = np.bincount(labels * n_clusters + own, minlength=n_clusters**2)
    return both.reshape(n_clusters, n_clusters).argmax(1)[labels]
