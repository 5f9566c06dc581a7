from dataclasses import replace

import numpy as np
import pytest

from RISCluster.clustering.mixture import Mixture, fit_mixture
from RISCluster.clustering.stability import HIGHEST, labellings, resamples, temperature

TWO = Mixture(np.full(2, 0.5), np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.25))


def drawn_at(truth, n=20_000, turns=4):
    """Points on a line, and labels dealt out as TWO has them at a temperature."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (n, 1))
    second = replace(TWO, temperature=truth).posterior(points)[:, 1]
    return points, (rng.random((turns, n)) < second).astype(int)


@pytest.mark.parametrize("truth", [1.5, 4.0, 20.0])
def test_temperature_with_which_labels_were_dealt_out(truth):
    points, labels = drawn_at(truth)
    assert temperature(TWO, points, labels) == pytest.approx(truth, rel=0.05)
    labels[1::2] = 1 - labels[1::2]  # the names of clusters mean nothing
    assert temperature(TWO, points, labels) == pytest.approx(truth, rel=0.05)


def test_halves_of_a_cluster_are_that_cluster():
    """Of three clusters, one rare: half-samples cut a common one and do not have the rare one."""
    means = np.array([[-10.0], [10.0], [13.0]])
    mixture = Mixture(np.array([0.5, 0.48, 0.02]), means, np.ones((3, 1, 1)))
    rng = np.random.default_rng(0)
    own = rng.choice(3, 5000, p=mixture.weights)
    points = means[own] + rng.standard_normal((5000, 1))
    cut = np.where(own == 0, np.where(points[:, 0] < -10, 0, 2), 1)
    assert temperature(mixture, points, np.stack([cut] * 4)) < 3
    mixed = np.where(own == 2, 2, rng.integers(0, 2, (4, 5000)))  # while this says much
    assert temperature(mixture, points, mixed) > 10


def test_never_below_one_nor_beyond_the_highest():
    points, labels = drawn_at(0.3)
    assert temperature(TWO, points, labels) == 1
    rng = np.random.default_rng(1)
    assert temperature(TWO, points, rng.integers(0, 2, labels.shape)) > 0.3 * HIGHEST


def test_its_own_temperature_has_no_say():
    points, labels = drawn_at(4.0, 2000)
    found = temperature(TWO, points, labels)
    assert temperature(replace(TWO, temperature=7.0), points, labels) == found


def test_stray_labels_do_not_decide():
    points, labels = drawn_at(2.0)
    clear = np.flatnonzero(points[:, 0] < -1.8)[:20]
    labels[0, clear] = 1
    assert temperature(TWO, points, labels) < 2.3


def test_a_component_of_no_weight():
    empty = Mixture(np.array([0.5, 0.5, 0.0]), np.array([[-1.0], [1.0], [0.0]]), np.ones((3, 1, 1)))
    points, labels = drawn_at(2.0, 2000)
    assert np.isfinite(temperature(empty, points, labels))


def two_clouds(noise):
    """Two clusters three apart, the mixture of them, and that mixture at its temperature."""
    classes = np.random.default_rng(2).integers(0, 2, 4000)
    latents = noise(np.random.default_rng(3), (4000, 4))
    latents[:, 0] += 3.0 * classes
    mixture = fit_mixture(latents, classes, 2)
    labels = labellings(resamples(latents, 4, 0, mapped=False), 2, 5, 0, 2.0)
    return latents, classes, mixture, temperature(mixture, latents, labels)


def test_clusters_that_are_not_gaussian_are_doubted():
    latents, classes, mixture, found = two_clouds(lambda rng, size: rng.gamma(1.0, size=size))
    tempered = replace(mixture, temperature=found)
    too_sure = []
    for fitted in (mixture, tempered):
        posterior = fitted.posterior(latents)
        right = (posterior.argmax(1) == classes).mean()
        too_sure.append(posterior.max(1).mean() - max(right, 1 - right))
    assert too_sure[0] > 0.1
    assert abs(too_sure[1]) < 0.6 * too_sure[0]
    labels = [fitted.posterior(latents).argmax(1) for fitted in (mixture, tempered)]
    np.testing.assert_array_equal(*labels)
    density = [fitted.log_likelihood(latents) for fitted in (mixture, tempered)]
    np.testing.assert_array_equal(*density)


def test_clusters_that_are_gaussian_are_believed():
    assert two_clouds(lambda rng, size: rng.standard_normal(size))[-1] < 1.05
