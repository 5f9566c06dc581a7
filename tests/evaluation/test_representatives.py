import shutil

import numpy as np
import pytest

from RISCluster.clustering import initialisation
from RISCluster.clustering.initialisation import MAX_TREE_SIZE
from RISCluster.evaluation import mapping
from RISCluster.evaluation.representatives import (
    drawn_members,
    medoids,
    representatives_of,
)
from RISCluster.runs.run import open_run


def test_medoids_are_central_then_spread():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.1, (50, 2)) for centre in ((0, 0), (4, 0), (0, 4))]
    latents = np.concatenate([*groups, [[30.0, 30.0]]])
    chosen = medoids(latents, np.ones(151), 3)
    assert sorted(chosen // 50) == [0, 1, 2]
    assert 150 not in medoids(latents, np.ones(151), 6)  # far from all: not typical
    latents = np.arange(5.0)[:, None]
    assert medoids(latents, np.ones(5), 1).tolist() == [2]
    certain = np.array([1, 1, 1e-3, 1e-3, 1e-3])
    assert medoids(latents, certain, 1)[0] < 2  # doubtful members count less
    for n in (5, 1, 0):
        assert sorted(medoids(latents[:n], np.ones(n), 9)) == list(range(n))


def test_drawn_members():
    labels = np.random.default_rng(0).integers(-1, 3, 600_000).astype(np.int16)
    drawn = drawn_members(labels, 4, np.array([1000, 5, 0, 1]), 0)
    assert [len(part) for part in drawn] == [1000, 5, 0, 0]
    assert (labels[drawn[0]] == 0).all()
    assert (np.diff(drawn[0]) > 0).all()
    assert abs(drawn[0].mean() - 300_000) < 30_000  # from everywhere
    assert drawn_members(labels, 4, 1000, 0)[0].tolist() == drawn[0].tolist()


def test_of_a_run(made_run):
    with open_run(made_run) as run:
        stage = run.final
        found = representatives_of(run, stage)
        soft = np.load(made_run / "DEC/soft_assignments.npy")
        for label in range(3):
            typical, borderline = found.typical[label], found.borderline[label]
            assert len(typical) == min(12, stage.sizes[label])
            assert (stage.labels[typical["sample"]] == label).all()
            assert (typical["label"] == label).all()
            lead = np.sort(soft[stage.labels == label], axis=1)
            lead = np.sort(lead[:, -1] - lead[:, -2])[: len(borderline)]
            mine = borderline["probability"] - borderline["second_probability"]
            np.testing.assert_allclose(mine, lead, atol=1e-6)
            assert (borderline["second"] != label).all()
        far = found.outlying
        likelihood = stage.mixture.log_likelihood(np.delete(stage.latents, 5, 0))
        np.testing.assert_allclose(far["log_likelihood"], np.sort(likelihood)[:24])
        assert far["less_likely"].iloc[0] < 0.05
        assert 5 not in far["sample"].tolist()
        probability = stage.table["probability"][far["sample"]]
        np.testing.assert_allclose(far["probability"], probability, atol=1e-5)


def test_of_the_mixture_and_duplicates(run_folder):
    shutil.rmtree(run_folder / "DEC")
    path = run_folder / "GMM/latent.npy"
    rows = np.load(path)
    with open_run(run_folder) as run:
        far = representatives_of(run, run.final).outlying
        probability = run.final.table["probability"][far["sample"]]
        np.testing.assert_allclose(far["probability"], probability, atol=1e-5)
        label = int(run.final.sizes.argmax())
        mine = np.flatnonzero(run.final.labels == label)
        rows[mine[:4]], rows[mine[4:8]] = rows[mine[0]], 50
        run.final.__dict__["latents"] = rows
        found = representatives_of(run, run.final)
        assert found.typical[label]["sample"].isin(mine[:4]).sum() <= 1
        assert found.outlying["sample"].isin(mine[4:8]).sum() == 1
        assert found.outlying["sample"].iloc[0] == mine[4]


@pytest.mark.parametrize("n", [40, MAX_TREE_SIZE + 100])
def test_a_row_of_the_map_is_the_latent_of_that_row(n, monkeypatch):
    monkeypatch.setattr(initialisation, "MAP_STEPS", 250)
    group = np.random.default_rng(0).integers(0, 2, n)
    latents = np.random.default_rng(1).standard_normal((n, 3)) + 30 * group[:, None]
    points = mapping.mapped(latents, "tsne", 0)
    middles = np.stack([points[group == one].mean(0) for one in (0, 1)])
    nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.98
    assert mapping.mapped(latents[:4], "tsne", 0).shape == (0, 2)
