import numpy as np
import pytest
import torch

from RISCluster.clustering.mixture import Mixture
from RISCluster.data.loading import SampleSet
from RISCluster.evaluation import samples
from RISCluster.models.autoencoder import AEC, NetworkShape, initialise
from RISCluster.runs.labels import Labelling
from RISCluster.runs.run import open_run

ONE = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])


def test_quantiles_and_outliers_by_hand(tmp_path):
    known = samples.TrainingDistribution(ONE, np.arange(1000.0), np.arange(-1000.0, 0))
    known.save(tmp_path / "n.npz")
    known = samples.TrainingDistribution.load(tmp_path / "n.npz")
    np.testing.assert_allclose(known.error_quantile(np.array([-1, 500, 2000])), [0, 0.5, 1])
    np.testing.assert_allclose(known.likelihood_quantile(np.array([-2000, -500])), [0, 0.5])
    errors, likelihoods = np.array([10.0, 998.0, 10.0, 10.0]), np.array([-9, -9, -999.0, -1e6])
    assert known.is_outlier(errors, likelihoods).tolist() == [False, True, True, True]
    np.testing.assert_array_equal(known.mixture.covariances, ONE.covariances)


def test_a_part_of_a_large_set_is_scored():
    n, model = samples.SCORED + 900, AEC(NetworkShape(4, 4, 2, "linear"))
    initialise(model, 0)
    x = torch.rand(n, 1, 4, 4)
    training = SampleSet(np.arange(n), x, torch.arange(n), torch.device("cpu"))
    known = samples.training_distribution(model, ONE, training)
    assert samples.SCORED - 256 <= len(known.errors) <= samples.SCORED
    assert (np.diff(known.errors) >= 0).all()
    with torch.no_grad():
        expected = (model(x[:5])[0] - x[:5]).square().mean((1, 2, 3))
    np.testing.assert_allclose(samples.latents_and_errors(model, x[:5])[1], expected, rtol=1e-5)


def test_mixture_of_clusters_against_numpy():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3, -1], [500, 300, 2, 5]).astype(np.int16)
    latents = rng.standard_normal((807, 2)) @ np.array([[2, 1], [0, 0.5]]) + 100 * labels[:, None]
    latents[labels < 0] = np.nan
    labelling = Labelling(labels, np.array([500, 300, 0, 2]), np.ones(4))
    mixture = samples.mixture_of_clusters(latents.astype("f4"), labelling)
    np.testing.assert_allclose(mixture.weights, np.array([500, 300, 2]) / 802)
    np.testing.assert_allclose(mixture.means[1], latents[labels == 1].mean(0), rtol=1e-5)
    expected = np.cov(latents[labels == 0].T, ddof=0)
    np.testing.assert_allclose(mixture.covariances[0], expected, rtol=0.02, atol=0.01)
    assert np.isfinite(mixture.log_likelihood(latents[labels == 3])).all(), "two samples are enough"


def test_typical_members_are_spread_over_a_cluster():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.1, (50, 2)) for centre in ((0, 0), (4, 0), (0, 4))]
    chosen = samples.typical_members(np.concatenate([*groups, groups[1], [[30.0, 30.0]]]), 4)
    assert chosen[0] // 50 in (1, 3)  # of the largest group
    assert sorted(chosen[:3] // 50 % 2 + chosen[:3] // 100) in ([0, 1, 1], [0, 1, 2])
    assert chosen[3] == 200  # far from all
    for n in (3, 1, 0):
        assert sorted(samples.typical_members(np.arange(5.0)[:n, None], 9)) == list(range(n))
    assert len(samples.typical_members(np.ones((5, 2)), 3)) == 1  # equal ones


@pytest.mark.parametrize("final", ["DEC", "GMM"])
def test_of_a_run(made_run, final):
    with open_run(made_run) as run:
        stage = run.stages[final]
        found, soft = samples.representatives_of(run, stage), stage.soft(np.arange(96))
        for label in range(stage.n_clusters):
            typical, borderline = found.typical[label], found.borderline[label]
            assert 0 < len(typical) <= 12
            assert (stage.labels[typical["sample"]] == label).all()
            lead = np.sort(soft[stage.labels == label], axis=1)
            lead = np.sort(lead[:, -1] - lead[:, -2])[: len(borderline)]
            mine = borderline["probability"] - borderline["second_probability"]
            np.testing.assert_allclose(mine, lead, atol=1e-6)
        far, latents = found.outlying, np.delete(stage.latents, 5, 0)  # 5 is unusable
        likelihood = np.sort(stage.mixture.log_likelihood(latents))
        np.testing.assert_allclose(far["log_likelihood"], likelihood[:24])
        assert far["less_likely"].iloc[0] < 0.05
        probability = stage.table["probability"][far["sample"]]
        np.testing.assert_allclose(far["probability"], probability, atol=1e-5)


def test_too_few_latents_for_a_map():
    assert samples.mapped(np.eye(4), "tsne", 0).shape == (0, 2)
