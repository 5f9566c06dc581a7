import numpy as np
import pytest
import torch

from RISCluster.models import assignment


def test_values_by_hand():
    z, centroids = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    # Squared distances: 0, 4 and 25, 13; closeness: 1, 1/5 and 1/26, 1/14.
    expected = [[1 / 1.2, 0.2 / 1.2], [(1 / 26) / (1 / 26 + 1 / 14), (1 / 14) / (1 / 26 + 1 / 14)]]
    np.testing.assert_allclose(assignment.soft_assignment(z, centroids), expected, rtol=1e-6)
    # Soft sizes 1.2 and 0.8; q^2/f: 0.64/1.2, 0.04/0.8 and 0.16/1.2, 0.36/0.8.
    rows = np.array([[0.64 / 1.2, 0.04 / 0.8], [0.16 / 1.2, 0.36 / 0.8]])
    target = assignment.target_distribution(torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    np.testing.assert_allclose(target, rows / rows.sum(1, keepdims=True), rtol=1e-6)
    p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    divergence = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75) + np.log(2)
    assert float(assignment.kl_divergence(p, q)) == pytest.approx(divergence, rel=1e-6)
    assert float(assignment.kl_divergence(q, q)) == pytest.approx(0, abs=1e-6)
    assert assignment.label_change(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.25


def test_kl_gradient_is_that_of_the_paper():
    # Xie et al. 2016, eq. 4, for alpha = 1: dL/dz = 2 sum_j (p - q)(z - mu) / (1 + d^2).
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    centroids = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    q = assignment.soft_assignment(z, centroids)
    p = assignment.target_distribution(q).detach()
    assignment.kl_divergence(p, q).backward()
    difference = z.detach()[:, None] - centroids
    closeness = 1 / (1 + difference.square().sum(2))
    expected = 2 * ((p - q.detach()) * closeness)[:, :, None] * difference
    np.testing.assert_allclose(z.grad, expected.sum(1), rtol=1e-9, atol=1e-12)


def test_q_of_far_latents_is_finite():
    far = assignment.soft_assignment(torch.full((1, 9), 1e12), torch.zeros(3, 9))
    assert torch.isfinite(assignment.kl_divergence(assignment.target_distribution(far), far))
