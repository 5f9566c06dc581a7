import numpy as np
import pytest

from RISCluster.clustering import stability as module
from RISCluster.clustering.stability import Resamples, labellings, resamples, stability
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
