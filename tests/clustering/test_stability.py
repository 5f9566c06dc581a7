from dataclasses import replace

import numpy as np
import pytest

from RISCluster.clustering.fit import labellings, resamples, stability, temperature
from RISCluster.clustering.mixture import Mixture, fit_mixture
from tests.clustering.test_mixture import three_clouds


@pytest.mark.parametrize("blocks", [(1, 1), None])
def test_three_clouds_are_stable_as_three(blocks):
    latents = three_clouds(240)[0]
    drawn = resamples(latents, blocks, 4, 0)
    assert [part.shape for part, _ in drawn.parts] == [(120, 2)] * 4
    np.testing.assert_array_equal(drawn.labelled, latents[drawn.index])
    assert all((half is not None) == (blocks is not None) for _, half in drawn.parts)
    found = {k: labellings(drawn, k, 5, 0, 2.0) for k in (1, 3, 6, 121)}
    assert found[1] is found[121] is None
    mean, spread = stability(found[3])
    assert (mean > 0.99, spread < 0.02, stability(found[6])[0] < 0.95) == (True, True, True)


def test_mean_over_all_pairs():
    # Three fits of two clusters that put 4 latents as aabb, aabb and abab. The adjusted Rand
    # index of the first two is 1, and of the third with either (0 - 2/3) / (2 - 2/3) = -0.5.
    mean, spread = stability(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]))
    assert (mean, spread) == pytest.approx((0, np.sqrt((1 + 0.25 + 0.25) / 3)), abs=1e-12)


def test_temperature_from_which_labels_were_drawn():
    """Points on a line, and labels drawn from the posterior of two clusters at a temperature."""
    two = Mixture(np.full(2, 0.5), np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.25))
    points = np.random.default_rng(0).uniform(-2, 2, (20_000, 1))
    for truth in (0.3, 1.5, 20.0):
        second = replace(two, temperature=truth).posterior(points)[:, 1]
        labels = (np.random.default_rng(1).random((4, 20_000)) < second).astype(int)
        labels[1::2] = 1 - labels[1::2]  # the numbers of clusters mean nothing
        found = temperature(replace(two, temperature=7.0), points, labels)  # its own is ignored
        assert found == pytest.approx(max(1, truth), rel=0.05)


def test_only_clusters_that_are_not_gaussian_are_doubted():
    for noise, low, high in (("standard_exponential", 1.2, 9), ("standard_normal", 1, 1.05)):
        classes = np.random.default_rng(2).integers(0, 2, 4000)
        latents = getattr(np.random.default_rng(3), noise)((4000, 4))
        latents[:, 0] += 3.0 * classes
        labels = labellings(resamples(latents, None, 4, 0), 2, 5, 0, 2.0)
        assert low <= temperature(fit_mixture(latents, classes, 2), latents, labels) < high
