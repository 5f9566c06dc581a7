"""Soft assignment q, target distribution p, their divergence, and the label change.

Letters: N samples, D latent features, K clusters.
"""

import numpy as np
import torch


def soft_assignment(z: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Student's t with one degree of freedom around each centroid (Xie et al. 2016, eq. 1).

    Latents `z` (N, D) and centroids (K, D) give q (N, K), whose rows sum to one.
    """
    distance = (z.unsqueeze(1) - centroids.unsqueeze(0)).square().sum(2)
    closeness = 1.0 / (1.0 + distance)
    return closeness / closeness.sum(1, keepdim=True)


def target_distribution(q: torch.Tensor) -> torch.Tensor:
    """Target p (N, K) of the soft assignment q (N, K) of a whole set (Xie et al. 2016, eq. 3).

    The soft cluster sizes are summed in double precision.
    """
    sizes = q.sum(0, dtype=torch.float64).to(q.dtype)
    weight = q.square() / sizes
    return weight / weight.sum(1, keepdim=True)


def kl_divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of (N, K) each, summed over samples and clusters (Xie et al. 2016, eq. 2)."""
    return (torch.xlogy(p, p) - p * q.log()).sum()


def label_change(before: np.ndarray, now: np.ndarray) -> float:
    """Fraction of samples whose label differs, of labels (N,) each."""
    return float(np.mean(before != now))
