from dataclasses import replace

import numpy as np
import pytest

from RISCluster.clustering.mixture import Mixture, fit_mixture
from RISCluster.clustering.stability import (
    MAX_TEMPERATURE,
    labellings,
    resamples,
    stability,
    temperature,
)
from tests.clustering.test_mixture import three_clouds

TWO = Mixture(np.full(2, 0.5), np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.25))


@pytest.mark.parametrize("blocks", [(1, 1), None])
def test_three_clouds_are_stable_as_three(blocks):
    latents = three_clouds(240)[0]
    drawn = resamples(latents, blocks, 4, 0)
    assert [part.shape for part, _ in drawn.parts] == [(120, 2)] * 4
    np.testing.assert_array_equal(drawn.labelled, latents[drawn.index])
    assert not np.array_equal(drawn.parts[0][0], drawn.parts[1][0])
    assert all((half is not None) == (blocks is not None) for _, half in drawn.parts)
    found = {k: labellings(drawn, k, 5, 0, 2.0) for k in (1, 3, 6, 121)}
    assert found[1] is found[121] is None
    mean, spread = stability(found[3])
    assert (mean > 0.99, spread < 0.02, stability(found[6])[0] < 0.95) == (True, True, True)


def test_mean_over_all_pairs():
    # Three fits of two clusters that put 4 latents as aabb, aabb and abab. The adjusted Rand
    # index of the first two is 1, and of the third with either (0 - 2/3) / (2 - 2/3) = -0.5.
    mean, spread = stability(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]))
    assert mean == pytest.approx(0)
    assert spread == pytest.approx(np.sqrt((1 + 0.25 + 0.25) / 3))


def labelled_at(truth, n=20_000, turns=4):
    """Points on a line, and labels drawn from the posterior of TWO at a temperature."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (n, 1))
    second = replace(TWO, temperature=truth).posterior(points)[:, 1]
    return points, (rng.random((turns, n)) < second).astype(int)


@pytest.mark.parametrize("truth", [1.5, 4.0, 20.0])
def test_temperature_from_which_labels_were_drawn(truth):
    points, labels = labelled_at(truth)
    labels[1::2] = 1 - labels[1::2]  # the numbers of clusters mean nothing
    assert temperature(TWO, points, labels) == pytest.approx(truth, rel=0.05)
    hot = replace(TWO, temperature=7.0)  # its own temperature is ignored
    assert temperature(hot, points, labels) == temperature(TWO, points, labels)


def test_temperature_is_from_one_to_the_highest():
    points, labels = labelled_at(0.3)
    assert temperature(TWO, points, labels) == 1
    rng = np.random.default_rng(1)
    assert temperature(TWO, points, rng.integers(0, 2, labels.shape)) > 0.3 * MAX_TEMPERATURE
    empty = Mixture(np.array([0.5, 0.5, 0.0]), np.array([[-1.0], [1.0], [0.0]]), np.ones((3, 1, 1)))
    assert np.isfinite(temperature(empty, points, labels))


@pytest.mark.parametrize("noise", ["standard_exponential", "standard_normal"])
def test_only_clusters_that_are_not_gaussian_are_doubted(noise):
    classes = np.random.default_rng(2).integers(0, 2, 4000)
    latents = getattr(np.random.default_rng(3), noise)((4000, 4))
    latents[:, 0] += 3.0 * classes
    mixture = fit_mixture(latents, classes, 2)
    labels = labellings(resamples(latents, None, 4, 0), 2, 5, 0, 2.0)
    found = temperature(mixture, latents, labels)
    assert found < 1.05 if noise == "standard_normal" else found > 1.2
