"""What float32 costs: assignment, target, losses and gradients against float64.

The reference is NumPy in float64, written from the equations of Xie et al. (2016), 1 to 5, and
given the numbers that the float32 code is given, so that only the arithmetic differs.

Bounds: float32 rounds by 6e-8, and a result is off by the roundings of sums over features, clusters
and samples. Over the sets below that is at most 8e-7 relative for q and p, 1.4e-6 for the
divergence and 1e-7 for the reconstruction loss; allowed is 5e-6. Gradients cancel: p against q, and
the pulls of clusters or samples against one another. They may be zero, so a bound relative to them
does not exist; it is relative to the sum of the terms' sizes, with p + q for p - q, of which at
most 4e-7 was measured. Of p and q alike, as of latents and centroids that are nearly equal, the
divergence is zero but for 4e-7 a sample; allowed is 1e-6.
"""

import numpy as np
import pytest
import torch

from RISCluster.models.clustering import kl_divergence, soft_assignment, target_distribution
from RISCluster.training.common import summed_error

N, D = 200, 9
BOUND = 5e-6  # relative
OF_ZERO = 1e-6  # of a divergence of zero, a sample


# ---- the equations ----


def exact_q(z: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Equation 1, with one degree of freedom."""
    squares = ((z[:, None] - centroids) ** 2).sum(2)
    kernel = 1 / (1 + squares)
    return kernel / kernel.sum(1, keepdims=True)


def exact_p(q: np.ndarray) -> np.ndarray:
    """Equation 3."""
    weight = q**2 / q.sum(0)
    return weight / weight.sum(1, keepdims=True)


def exact_kl(p: np.ndarray, q: np.ndarray) -> float:
    """Equation 2; a term of p = 0 is 0."""
    ratio = np.log(np.where(p > 0, p, 1) / q)
    return float((p * ratio).sum())


def exact_terms(p: np.ndarray, q: np.ndarray, z: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Terms (N, K, D) that equations 4 and 5 sum: over K for latents, over N for centroids."""
    difference = z[:, None] - centroids
    kernel = 1 / (1 + (difference**2).sum(2))
    return 2 * (kernel * (p - q))[:, :, None] * difference


# ---- latents ----


def latents(kind: str, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (N, D) and centroids (K, D), float32."""
    rng = np.random.default_rng(n_clusters)
    centroids = rng.normal(size=(n_clusters, D))
    z = centroids[np.arange(N) % n_clusters] + 0.3 * rng.normal(size=(N, D))
    if kind == "far":  # clusters 1e4 apart
        z, centroids = 1e4 * z, 1e4 * centroids
    elif kind == "outlying":  # of one cluster, and samples 1e4 away from all
        z[::5] += 1e4
    elif kind == "coincident":
        z = centroids[np.arange(N) % n_clusters]
    elif kind == "nearly equal":  # and centroids too: their distances are all rounding
        z, centroids = 1 + 1e-6 * z, 1 + 1e-6 * centroids
    return z.astype(np.float32), centroids.astype(np.float32)


SETS = pytest.mark.parametrize("n_clusters", [2, 3, 8, 50])
KINDS = pytest.mark.parametrize(
    "kind", ["ordinary", "far", "outlying", "coincident", "nearly equal"]
)


@SETS
@KINDS
def test_assignment_target_and_divergence(kind, n_clusters):
    z, centroids = latents(kind, n_clusters)
    q = soft_assignment(torch.from_numpy(z), torch.from_numpy(centroids))
    expected = exact_q(z.astype(float), centroids.astype(float))
    assert q.dtype == torch.float32
    np.testing.assert_allclose(q, expected, rtol=BOUND)
    p = target_distribution(q)
    np.testing.assert_allclose(p, exact_p(expected), rtol=BOUND)
    exact = exact_kl(exact_p(expected), expected)
    assert float(kl_divergence(p, q)) == pytest.approx(exact, rel=BOUND, abs=N * OF_ZERO)


@SETS
@KINDS
def test_gradients_of_latents_and_centroids(kind, n_clusters):
    z, centroids = latents(kind, n_clusters)
    p = exact_p(exact_q(z.astype(float), centroids.astype(float)))
    p = p.astype(np.float32)  # given, as in training: no gradient goes through it
    given = [torch.from_numpy(values).requires_grad_() for values in (z, centroids)]
    kl_divergence(torch.from_numpy(p), soft_assignment(*given)).backward()
    wide = z.astype(float), centroids.astype(float)
    terms = exact_terms(p.astype(float), exact_q(*wide), *wide)
    # Where p and q are alike their difference is of a rounding: a share of p + q counts instead.
    size = np.abs(exact_terms(p.astype(float), -exact_q(*wide), *wide))
    for found, axis, sign in ((given[0].grad, 1, 1), (given[1].grad, 0, -1)):
        bound = BOUND * size.sum(axis)
        error = np.abs(found.numpy() - sign * terms.sum(axis))
        assert (error <= bound + np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e4, 1e15])
@pytest.mark.parametrize("shape", [(1, 4, 4), (64, 87, 100)])
def test_reconstruction_loss(shape, scale):
    rng = np.random.default_rng(0)
    x, found = (scale * rng.normal(size=(shape[0], 1, *shape[1:])) for _ in range(2))
    x, found = x.astype(np.float32), found.astype(np.float32)
    exact = ((x.astype(float) - found.astype(float)) ** 2).mean((1, 2, 3)).sum()
    loss = float(summed_error(torch.from_numpy(found), torch.from_numpy(x)))
    assert loss == pytest.approx(exact, rel=BOUND)
