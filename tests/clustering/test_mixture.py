import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from RISCluster.clustering.mixture import Mixture, fit_kmeans, fit_mixture


def three_clouds(n=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [9, 0], [0, 9.0]])
    classes = np.arange(n) % 3
    return centres[classes] + rng.standard_normal((n, 2)) * [1.0, 0.3], classes


def test_densities_bic_and_fit_without_shrinkage_are_scikit_learns():
    latents, _ = three_clouds()
    mixture = fit_mixture(latents, fit_kmeans(latents, 3, 5, 0).labels_, 3, 0)
    theirs = GaussianMixture(3, means_init=mixture.means, random_state=0, tol=1e-6).fit(latents)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=0.02)
    np.testing.assert_allclose(mixture.covariances, theirs.covariances_, atol=0.02)
    own = Mixture(theirs.weights_, theirs.means_, theirs.covariances_)
    np.testing.assert_allclose(own.posterior(latents), theirs.predict_proba(latents), atol=1e-9)
    likelihood = theirs.score_samples(latents)
    np.testing.assert_allclose(own.log_likelihood(latents), likelihood, rtol=1e-9)
    assert own.bic(latents) == pytest.approx(theirs.bic(latents))


EQUAL, DUPLICATES = np.zeros((20, 3)), np.repeat(np.eye(3), 5, axis=0)
DEAD_FEATURE = np.column_stack([np.arange(30.0), np.zeros(30)])


@pytest.mark.parametrize("latents", [EQUAL, DUPLICATES, DEAD_FEATURE])
def test_singular_latents_still_give_labels(latents):
    mixture = fit_mixture(latents, fit_kmeans(latents, 4, 5, 0).labels_, 4)
    np.testing.assert_allclose(mixture.posterior(latents).sum(1), 1)


def test_latents_without_a_label_and_a_cluster_without_members():
    latents, classes = three_clouds()
    labels = np.where(np.arange(len(latents)) < 60, classes, -1)
    mixture = fit_mixture(latents, labels, 4)
    assert (mixture.posterior(latents).argmax(1) == classes).mean() > 0.98
    assert mixture.weights[3] < 1e-3


def test_shrinkage_and_number_of_parameters_by_hand():
    latents = np.array([[0.0], [2.0], [100.0], [104.0], [108.0]])
    mixture = fit_mixture(latents, np.array([0, 0, 1, 1, 1]), 2, shrinkage=3)
    pooled = (2 + 32) / 5
    expected = [(2 + 3 * pooled) / (2 + 3), (32 + 3 * pooled) / (3 + 3)]
    np.testing.assert_allclose(mixture.covariances[:, 0, 0], expected, rtol=1e-3)
    np.testing.assert_allclose(mixture.weights, [0.4, 0.6])
    mixture = Mixture(np.array([0.25, 0.75]), np.zeros((2, 3)), np.stack([np.eye(3)] * 2))
    means_and_weights = 1 + 2 * 3
    assert mixture.n_parameters(40) == means_and_weights + 2 * 6
    # 10 and 30 members against 2 pseudo-samples a feature, 6: shares of 5/8 and 5/6.
    shares = 10 / 16 + 30 / 36
    expected = means_and_weights + 6 * (shares + 1 - shares / 2)
    assert mixture.n_parameters(40, 2) == pytest.approx(expected)
