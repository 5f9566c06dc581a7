import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from RISCluster.errors import DataError
from RISCluster.training.gmm import Mixture, fit_kmeans, fit_mixture


def three_clouds(n=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [9, 0], [0, 9.0]])
    classes = np.arange(n) % 3
    return centres[classes] + rng.standard_normal((n, 2)) * [1.0, 0.3], classes


def test_finds_three_clouds():
    latents, classes = three_clouds()
    mixture = fit_mixture(latents, fit_kmeans(latents, 3, 5, 0))
    labels = mixture.posterior(latents).argmax(1)
    assert len({(a, b) for a, b in zip(labels, classes, strict=True)}) == 3
    np.testing.assert_allclose(mixture.weights, 1 / 3, atol=0.01)
    np.testing.assert_allclose(mixture.posterior(latents).sum(1), 1, rtol=1e-12)


def test_densities_and_criteria_are_scikit_learns():
    latents, _ = three_clouds()
    mixture = fit_mixture(latents, fit_kmeans(latents, 3, 5, 0))
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
    fits = [fit_mixture(latents, fit_kmeans(latents, 4, 2, seed)).means for seed in (1, 1)]
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
    mixture = fit_mixture(latents, fit_kmeans(latents, 4, 2, 0))
    posterior = mixture.posterior(latents)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(1), 1)


def test_fewer_samples_than_clusters():
    with pytest.raises(DataError, match="5 clusters asked for and only 3 usable samples"):
        fit_kmeans(np.eye(3), 5, 1, 0)
