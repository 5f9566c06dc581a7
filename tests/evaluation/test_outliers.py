import numpy as np
import torch

from RISCluster.clustering.mixture import Mixture
from RISCluster.data.loading import SampleSet
from RISCluster.evaluation.samples import (
    SCORED,
    TrainingDistribution,
    latents_and_errors,
    mixture_of_clusters,
    training_distribution,
)
from RISCluster.models.autoencoder import AEC, NetworkShape, initialise
from RISCluster.runs.labels import Labelling

ONE = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])


def test_quantiles_and_outliers_by_hand(tmp_path):
    TrainingDistribution(ONE, np.arange(1000.0), np.arange(-1000.0, 0)).save(tmp_path / "n.npz")
    known = TrainingDistribution.load(tmp_path / "n.npz")
    np.testing.assert_allclose(known.error_quantile(np.array([-1, 500, 2000])), [0, 0.5, 1])
    np.testing.assert_allclose(known.likelihood_quantile(np.array([-2000, -500])), [0, 0.5])
    errors, likelihoods = np.array([10.0, 998.0, 10.0, 10.0]), np.array([-9, -9, -999.0, -1e6])
    assert known.is_outlier(errors, likelihoods).tolist() == [False, True, True, True]
    np.testing.assert_array_equal(known.mixture.covariances, ONE.covariances)


def test_a_part_of_a_large_set_is_scored():
    n, model = SCORED + 900, AEC(NetworkShape(4, 4, 2, "linear"))
    initialise(model, 0)
    x = torch.rand(n, 1, 4, 4)
    samples = SampleSet(np.arange(n), x, torch.arange(n), torch.device("cpu"))
    known = training_distribution(model, ONE, samples)
    assert SCORED - 256 <= len(known.errors) <= SCORED
    assert (np.diff(known.errors) >= 0).all()
    with torch.no_grad():
        expected = (model(x[:5])[0] - x[:5]).square().mean((1, 2, 3))
    np.testing.assert_allclose(latents_and_errors(model, x[:5])[1], expected, rtol=1e-5)


def test_mixture_of_clusters_against_numpy():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3, -1], [500, 300, 2, 5]).astype(np.int16)
    latents = rng.standard_normal((807, 2)) @ np.array([[2, 1], [0, 0.5]]) + 100 * labels[:, None]
    latents[labels < 0] = np.nan
    labelling = Labelling(labels, np.array([500, 300, 0, 2]), np.ones(4))
    mixture = mixture_of_clusters(latents.astype("f4"), labelling)
    np.testing.assert_allclose(mixture.weights, np.array([500, 300, 2]) / 802)
    np.testing.assert_allclose(mixture.means[1], latents[labels == 1].mean(0), rtol=1e-5)
    expected = np.cov(latents[labels == 0].T, ddof=0)
    np.testing.assert_allclose(mixture.covariances[0], expected, rtol=0.02, atol=0.01)
    assert np.isfinite(mixture.log_likelihood(latents[labels == 3])).all(), "two samples are enough"
