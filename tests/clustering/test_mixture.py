import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from RISCluster.clustering.mixture import Mixture, fit_kmeans, fit_mixture
from RISCluster.errors import DataError


def fitted(latents, n_clusters, n_init=5, seed=0, prior=2.0):
    labels = fit_kmeans(latents, n_clusters, n_init, seed).labels_
    return fit_mixture(latents, labels, n_clusters, prior)


def three_clouds(n=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [9, 0], [0, 9.0]])
    classes = np.arange(n) % 3
    return centres[classes] + rng.standard_normal((n, 2)) * [1.0, 0.3], classes


def test_finds_three_clouds():
    latents, classes = three_clouds()
    mixture = fitted(latents, 3, 5, 0)
    labels = mixture.posterior(latents).argmax(1)
    assert len({(a, b) for a, b in zip(labels, classes, strict=True)}) == 3
    np.testing.assert_allclose(mixture.weights, 1 / 3, atol=0.01)
    np.testing.assert_allclose(mixture.posterior(latents).sum(1), 1, rtol=1e-12)


def test_densities_and_criteria_are_scikit_learns():
    latents, _ = three_clouds()
    mixture = fitted(latents, 3, 5, 0)
    theirs = GaussianMixture(3, means_init=mixture.means, random_state=0).fit(latents)
    own = Mixture(theirs.weights_, theirs.means_, theirs.covariances_)
    np.testing.assert_allclose(own.posterior(latents), theirs.predict_proba(latents), atol=1e-9)
    np.testing.assert_allclose(
        own.log_likelihood(latents), theirs.score_samples(latents), rtol=1e-9
    )
    assert own.bic(latents) == pytest.approx(theirs.bic(latents))
    assert own.aic(latents) == pytest.approx(theirs.aic(latents))


def test_seed_decides():
    latents, _ = three_clouds()
    fits = [fitted(latents, 4, 2, seed).means for seed in (1, 1)]
    assert np.array_equal(*fits)


@pytest.mark.parametrize(
    "latents",
    [
        np.zeros((20, 3)),
        np.repeat(np.eye(3), 5, axis=0),
        np.column_stack([np.arange(30.0), np.zeros(30)]),
    ],
    ids=["all equal", "duplicates only", "a dead feature"],
)
def test_singular_latents_still_give_labels(latents):
    mixture = fitted(latents, 4, 2, 0)
    posterior = mixture.posterior(latents)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(1), 1)


def test_fewer_samples_than_clusters():
    with pytest.raises(DataError, match="5 clusters asked for and only 3 usable samples"):
        fit_kmeans(np.eye(3), 5, 1, 0)


def test_without_a_prior_the_mixture_is_scikit_learns():
    latents, classes = three_clouds()
    mixture = fitted(latents, 3, prior=0)
    theirs = GaussianMixture(3, means_init=mixture.means, random_state=0, tol=1e-6).fit(latents)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=0.02)
    np.testing.assert_allclose(mixture.covariances, theirs.covariances_, atol=0.02)


def test_the_prior_by_hand():
    """One member more or less of another cluster counts nothing here: they are far apart."""
    latents = np.array([[0.0], [2.0], [100.0], [104.0], [108.0]])
    mixture = fit_mixture(latents, np.array([0, 0, 1, 1, 1]), 2, shrinkage=3)
    pooled = (2 + 32) / 5
    expected = [(2 + 3 * pooled) / (2 + 3), (32 + 3 * pooled) / (3 + 3)]
    np.testing.assert_allclose(mixture.covariances[:, 0, 0], expected, rtol=1e-3)
    np.testing.assert_allclose(mixture.weights, [0.4, 0.6])


def test_latents_without_a_label_have_no_say_in_the_start():
    latents, classes = three_clouds()
    labels = np.where(np.arange(len(latents)) < 60, classes, -1)
    mixture = fit_mixture(latents, labels, 3)
    assert (mixture.posterior(latents).argmax(1) == classes).mean() > 0.98


def test_a_cluster_without_members_harms_nothing():
    latents, classes = three_clouds()
    mixture = fit_mixture(latents, classes, 4)
    assert mixture.weights[3] < 1e-3
    assert np.isfinite(mixture.posterior(latents)).all()


def test_covariances_that_are_drawn_together_count_less():
    mixture = Mixture(np.array([0.25, 0.75]), np.zeros((2, 3)), np.stack([np.eye(3)] * 2))
    means_and_weights = 1 + 2 * 3
    assert mixture.n_parameters(40) == means_and_weights + 2 * 6
    # 10 and 30 members against 2 samples a feature, 6: shares of 5/8 and 5/6.
    shares = 10 / 16 + 30 / 36
    expected = means_and_weights + 6 * (shares + 1 - shares / 2)
    assert mixture.n_parameters(40, 2) == pytest.approx(expected)
    # Drawn together for good, they are one.
    assert mixture.n_parameters(40, 1e12) == pytest.approx(means_and_weights + 6)
    latents = np.random.default_rng(0).standard_normal((40, 3))
    saved = mixture.n_parameters(40) - mixture.n_parameters(40, 2)
    assert mixture.bic(latents) - mixture.bic(latents, 2) == pytest.approx(saved * np.log(40))
    assert mixture.aic(latents) - mixture.aic(latents, 2) == pytest.approx(saved * 2)
