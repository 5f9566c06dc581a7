"""Soft assignment q, target distribution p, their divergence, and the share of changed labels.

Letters: N samples, D latent features, K clusters.
"""

import numpy as np
import torch


def soft_assignment(z: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Student's t with one degree of freedom about each centroid (Xie et al. 2016, eq. 1).

    Parameters
    ----------
    z : Tensor, (N, D)
        Latents.
    centroids : Tensor, (K, D)

    Returns
    -------
    Tensor, (N, K)
        Rows sum to one.
    """
    distance = (z.unsqueeze(1) - centroids.unsqueeze(0)).square().sum(2)
    closeness = 1.0 / (1.0 + distance)
    return closeness / closeness.sum(1, keepdim=True)


def target_distribution(q: torch.Tensor) -> torch.Tensor:
    """Sharpened assignment, divided by the clusters' soft sizes (Xie et al. 2016, eq. 3).

    Parameters
    ----------
    q : Tensor, (N, K)
        Of the whole training set: the soft sizes are sums over it, taken in double precision.

    Returns
    -------
    Tensor, (N, K)
        Rows sum to one.
    """
    sizes = q.sum(0, dtype=torch.float64).to(q.dtype)
    weight = q.square() / sizes
    return weight / weight.sum(1, keepdim=True)


def kl_divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q), summed over samples and clusters (Xie et al. 2016, eq. 2).

    Parameters
    ----------
    p, q : Tensor, (N, K)

    Returns
    -------
    Tensor, scalar
    """
    return (torch.xlogy(p, p) - p * q.log()).sum()


def label_change(before: np.ndarray, now: np.ndarray) -> float:
    """Share of samples whose label differs: (N,) and (N,) to a number from 0 to 1."""
    return float(np.mean(before != now))
