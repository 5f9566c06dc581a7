import numpy as np
import pytest
import torch

from RISCluster.data.loading import HeldSet
from RISCluster.results import metrics
from RISCluster.results.labels import assign
from RISCluster.results.metrics import DataSpace, accuracy, agreement, silhouettes


def test_accuracy_is_of_the_best_matching():
    assert accuracy(np.array([1, 1, 0, 0, 2]), np.array([0, 0, 1, 1, 1])) == 0.8
    assert accuracy(np.array([5, 5, 7]), np.array([1, 1, 0])) == 1


def test_agreement_leaves_unlabelled_samples_out():
    labels, truth = np.array([0, 0, 1, -1]), np.array([1, 1, 0, 0])
    assert agreement(labels, truth) == {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
    assert agreement(labels, None) == {}
    assert agreement(np.array([-1]), np.array([0])) == {}


def test_silhouette_by_hand_and_sampled(monkeypatch):
    latents, labels = np.array([[0.0], [1.0], [10.0], [12.0]]), np.array([0, 0, 1, 1])
    chosen, scores = silhouettes(latents, labels, 0)
    assert chosen.tolist() == [0, 1, 2, 3]
    assert scores[0] == pytest.approx((11 - 1) / 11)
    assert scores[3] == pytest.approx((11.5 - 2) / 11.5)
    monkeypatch.setattr(metrics, "SILHOUETTE_SAMPLES", 3)
    assert len(silhouettes(latents, labels, 0)[0]) == 3


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.arange(4)])
def test_silhouette_without_meaning_is_nan(labels):
    assert np.isnan(silhouettes(np.eye(4), labels, 0)[1]).all()


def test_assign_marks_unusable():
    labels, probability = assign(np.array([[0.2, 0.8], [np.nan, np.nan], [0.5, 0.5]]))
    assert labels.tolist() == [1, -1, 0]
    assert probability.tolist() == [0.8, 0, 0.5]


def test_data_space_against_plain_numpy():
    from sklearn.metrics import calinski_harabasz_score

    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4, 5)).astype(np.float32)
    index = np.arange(50) * 2
    labels = np.full(100, -1)
    labels[index] = rng.integers(0, 3, 50)
    device = torch.device("cpu")
    samples = HeldSet(index, torch.from_numpy(x)[:, None], torch.arange(50), device)
    space = DataSpace(samples, labels, 4)
    for k in range(3):
        mine = x[labels[index] == k].astype(float)
        mean = mine.mean(0)
        np.testing.assert_allclose(space.means[k], mean, atol=1e-12)
        assert space.mse[k] == pytest.approx(((mine - mean) ** 2).mean())
        cosine = (
            (mine * mean).sum((1, 2)) / np.linalg.norm(mine, axis=(1, 2)) / np.linalg.norm(mean)
        )
        assert space.inner_product[k] == pytest.approx(cosine.mean())
    assert np.isnan(space.mse[3])
    expected = calinski_harabasz_score(x.reshape(50, -1), labels[index])
    assert space.calinski_harabasz == pytest.approx(expected, rel=1e-5)
