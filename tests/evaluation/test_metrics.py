import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score

from RISCluster.data.loading import HeldSet
from RISCluster.evaluation.metrics import agreement, calinski_harabasz, silhouettes
from RISCluster.runs.labels import assign


def test_agreement_leaves_unlabelled_samples_out():
    labels, truth = np.array([0, 0, 1, -1]), np.array([1, 1, 0, 0])
    assert agreement(labels, truth) == {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
    assert agreement(labels, None) == {}
    assert agreement(np.array([-1]), np.array([0])) == {}
    # whatever the numbers of the classes
    found = agreement(np.array([1, 1, 0, 0, 2]), np.array([7, 7, 10**12, 10**12, 10**12]))
    assert found["accuracy"] == 0.8
    assert found["ari"] == pytest.approx(adjusted_rand_score([1, 1, 0, 0, 2], [0, 0, 1, 1, 1]))


def test_silhouette_by_hand():
    scores = silhouettes(np.array([[0.0], [1.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))
    assert scores[0] == pytest.approx((11 - 1) / 11)
    assert scores[3] == pytest.approx((11.5 - 2) / 11.5)
    alone = silhouettes(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 3]))
    assert alone[2] == 0


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.arange(4), np.zeros(0, int)])
def test_silhouette_without_meaning_is_nan(labels):
    assert np.isnan(silhouettes(np.eye(len(labels)), labels)).all()


def test_assign_marks_unusable():
    labels, probability = assign(np.array([[0.2, 0.8], [np.nan, np.nan], [0.5, 0.5]]))
    assert labels.tolist() == [1, -1, 0]
    assert probability.tolist() == [0.8, 0, 0.5]


def test_calinski_harabasz():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4, 5)).astype(np.float32)
    index = np.arange(50) * 2
    labels = np.full(100, -1)
    labels[index] = rng.integers(0, 3, 50)
    device = torch.device("cpu")
    samples = HeldSet(index, torch.from_numpy(x)[:, None], torch.arange(50), device)
    expected = calinski_harabasz_score(x.reshape(50, -1), labels[index])
    assert calinski_harabasz(samples, labels, 4) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(calinski_harabasz(samples, np.zeros(100, int), 4))
