from dataclasses import replace

import numpy as np
import pytest

from RISCluster.clustering import stability as module
from RISCluster.clustering.mixture import Mixture, fit_mixture
from RISCluster.clustering.stability import (
    MAX_TEMPERATURE,
    Resamples,
    labellings,
    resamples,
    stability,
    temperature,
)
from tests.clustering.test_mixture import three_clouds


def stable(drawn, k):
    return stability(labellings(drawn, k, 5, 0, 2.0))


@pytest.fixture(scope="module")
def drawn():
    return resamples(three_clouds(240)[0], 4, 0, mapped=True)


def test_three_clouds_are_stable_as_three(drawn):
    mean, spread = stable(drawn, 3)
    assert mean > 0.99
    assert spread < 0.02
    for k in (2, 6):
        assert stable(drawn, k)[0] < 0.95


def test_noise_is_not():
    noise = np.random.default_rng(0).standard_normal((240, 4))
    assert stable(resamples(noise, 4, 0, mapped=True), 5)[0] < 0.6


def test_half_samples_and_their_own_maps(drawn, monkeypatch):
    latents = three_clouds(240)[0]
    assert [part.shape for part, _ in drawn.parts] == [(120, 2)] * 4
    np.testing.assert_array_equal(drawn.labelled, latents[drawn.index])
    assert len(set(drawn.index)) == 240
    assert all(len(mapped.points) == 120 for _, mapped in drawn.parts)
    assert not np.array_equal(drawn.parts[0][0], drawn.parts[1][0])
    again = resamples(latents, 4, 0, mapped=True)
    np.testing.assert_array_equal(again.parts[2][0], drawn.parts[2][0])
    np.testing.assert_array_equal(again.parts[2][1].points, drawn.parts[2][1].points)
    monkeypatch.setattr(module, "MAX_RESAMPLE_SIZE", 20)
    monkeypatch.setattr(module, "MAX_LABELLED", 50)
    small = resamples(latents, 2, 0, mapped=False)
    assert [part.shape for part, _ in small.parts] == [(20, 2)] * 2
    assert small.labelled.shape == (50, 2)


def test_each_half_sample_labels_all(monkeypatch):
    labels = iter([[0, 1, 1], [1, 0, 0]])

    class Fit:
        def __init__(self):
            self.labels = next(labels)

        def posterior(self, latents):
            return np.eye(2)[self.labels]

    monkeypatch.setattr(module, "fit_mixture", lambda *_: Fit())
    drawn = Resamples([(np.zeros((4, 1)), None)] * 2, np.arange(3), np.zeros((3, 1)))
    np.testing.assert_array_equal(labellings(drawn, 2, 1, 0, 2.0), [[0, 1, 1], [1, 0, 0]])


def test_mean_over_all_pairs():
    # Three fits of two clusters that put 4 latents as aabb, aabb and abab. The adjusted Rand
    # index of the first two is 1, and of the third with either (0 - 2/3) / (2 - 2/3) = -0.5.
    mean, spread = stability(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]))
    assert mean == pytest.approx(0)
    assert spread == pytest.approx(np.sqrt((1 + 0.25 + 0.25) / 3))


def test_started_from_kmeans():
    drawn = resamples(three_clouds(240)[0], 3, 0, mapped=False)
    assert drawn.parts[0][1] is None
    assert stable(drawn, 3)[0] > 0.99


@pytest.mark.parametrize("mapped", [True, False])
def test_without_a_value(mapped):
    drawn = resamples(three_clouds(12)[0], 2, 0, mapped)
    assert labellings(drawn, 1, 5, 0, 2.0) is None
    assert labellings(drawn, 7, 5, 0, 2.0) is None
    assert np.isfinite(stable(drawn, 2)).all()
    same = resamples(np.zeros((20, 3)), 2, 0, mapped)
    assert stable(same, 2) == (1.0, 0.0)


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
    assert temperature(TWO, points, rng.integers(0, 2, labels.shape)) > 0.3 * MAX_TEMPERATURE


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
