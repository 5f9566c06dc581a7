import numpy as np
import pytest

from RISCluster.evaluation.samples import mapped, representatives_of, typical_members
from RISCluster.runs.run import open_run


def test_typical_members_are_spread_over_a_cluster():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.1, (50, 2)) for centre in ((0, 0), (4, 0), (0, 4))]
    chosen = typical_members(np.concatenate([*groups, groups[1], [[30.0, 30.0]]]), 4)
    assert chosen[0] // 50 in (1, 3)  # of the largest group
    assert sorted(chosen[:3] // 50 % 2 + chosen[:3] // 100) in ([0, 1, 1], [0, 1, 2])
    assert chosen[3] == 200  # far from all
    for n in (3, 1, 0):
        assert sorted(typical_members(np.arange(5.0)[:n, None], 9)) == list(range(n))
    assert len(typical_members(np.ones((5, 2)), 3)) == 1  # equal ones


@pytest.mark.parametrize("final", ["DEC", "GMM"])
def test_of_a_run(made_run, final):
    with open_run(made_run) as run:
        stage = run.stages[final]
        found, soft = representatives_of(run, stage), stage.soft(np.arange(96))
        for label in range(stage.n_clusters):
            typical, borderline = found.typical[label], found.borderline[label]
            assert 0 < len(typical) <= 12
            assert (stage.labels[typical["sample"]] == label).all()
            lead = np.sort(soft[stage.labels == label], axis=1)
            lead = np.sort(lead[:, -1] - lead[:, -2])[: len(borderline)]
            mine = borderline["probability"] - borderline["second_probability"]
            np.testing.assert_allclose(mine, lead, atol=1e-6)
            assert (borderline["second"] != label).all()
        far, latents = found.outlying, np.delete(stage.latents, 5, 0)  # 5 is unusable
        likelihood = np.sort(stage.mixture.log_likelihood(latents))
        np.testing.assert_allclose(far["log_likelihood"], likelihood[:24])
        assert far["less_likely"].iloc[0] < 0.05
        probability = stage.table["probability"][far["sample"]]
        np.testing.assert_allclose(far["probability"], probability, atol=1e-5)


def test_a_row_of_the_map_is_the_latent_of_that_row():
    group = np.random.default_rng(0).integers(0, 2, 40)
    latents = np.random.default_rng(1).standard_normal((40, 3)) + 30 * group[:, None]
    points = mapped(latents, "tsne", 0)
    middles = np.stack([points[group == one].mean(0) for one in (0, 1)])
    nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(1)
    assert (nearest == group).all()
    assert mapped(latents[:4], "tsne", 0).shape == (0, 2)
