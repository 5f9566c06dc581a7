import shutil

import numpy as np
import pytest

from RISCluster.evaluation import representatives
from RISCluster.evaluation.representatives import (
    drawn_members,
    extremes,
    medoids,
    representatives_of,
    soft_of,
)
from RISCluster.io import open_rows
from RISCluster.runs.run import open_run


class Stage:
    """A stage with made-up latents; its mixture has one standard normal component a cluster."""

    def __init__(self, folder, latents, labels, soft):
        from types import SimpleNamespace

        from RISCluster.clustering.mixture import Mixture

        np.save(folder / "latent.npy", latents.astype(np.float32))
        np.save(folder / "soft_assignments.npy", soft.astype(np.float32))
        self.path, self.latents = folder, open_rows(folder / "latent.npy")
        self.table = SimpleNamespace(labels=labels.astype(np.int16))
        k, d = soft.shape[1], latents.shape[1]
        self.n_clusters, self.sizes = k, np.bincount(labels[labels >= 0], minlength=k)
        self.mixture = Mixture(np.full(k, 1 / k), np.zeros((k, d)), np.stack([np.eye(d)] * k))


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
    assert sorted(medoids(latents, np.ones(5), 9)) == [0, 1, 2, 3, 4]
    assert medoids(latents[:1], np.ones(1), 3).tolist() == [0]
    assert medoids(latents[:0], np.ones(0), 3).tolist() == []


def test_drawn_members():
    labels = np.random.default_rng(0).integers(-1, 3, 600_000).astype(np.int16)
    labels[labels == 1] = 0
    labels[7] = 3
    drawn = drawn_members(labels, 5, 1000, 0)
    assert [len(part) for part in drawn] == [1000, 0, 1000, 1, 0]
    assert (labels[drawn[0]] == 0).all()
    assert (np.diff(drawn[0]) > 0).all()
    assert abs(drawn[0].mean() - 300_000) < 30_000  # from everywhere
    again = drawn_members(labels, 5, 1000, 0)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


@pytest.mark.parametrize("rows", [3, 100])
def test_extremes_by_hand(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("RISCluster.io.BLOCK_ROWS", rows)
    monkeypatch.setattr(representatives, "SPARE", 1)
    monkeypatch.setattr(representatives, "BORDERLINE", 2)
    monkeypatch.setattr(representatives, "OUTLYING", 3)
    latents = np.array([0, 1, 2, np.nan, 9, -5, 3, 0.5])[:, None]
    labels = np.array([0, 0, 0, -1, 1, 1, 0, 1])
    first = np.array([0.9, 0.51, 0.6, np.nan, 0.1, 0.45, 0.55, 0.0])
    stage = Stage(tmp_path, latents, labels, np.stack([first, 1 - first], 1))
    borderline, outlying = extremes(stage, soft_of(stage))
    assert [part.tolist() for part in borderline] == [[1, 6], [5, 4]]
    assert outlying.tolist() == [4, 5, 6]
    one = Stage(tmp_path, np.arange(4.0)[:, None], np.zeros(4, int), np.ones((4, 1)))
    borderline, outlying = extremes(one, soft_of(one))
    assert [len(part) for part in borderline] == [0]
    assert outlying[0] == 3


def test_of_a_run(made_run):
    with open_run(made_run) as run:
        stage = run.final
        found = representatives_of(run, stage)
        table, soft = stage.table, np.load(made_run / "DEC/soft_assignments.npy")
        for label in range(3):
            typical, borderline = found.typical[label], found.borderline[label]
            assert len(typical) == min(12, stage.sizes[label])
            assert (table.labels[typical.index] == label).all()
            assert (typical.label == label).all()
            lead = np.sort(soft[table.labels == label], axis=1)
            lead = lead[:, -1] - lead[:, -2]
            mine = borderline.probability - borderline.second_probability
            np.testing.assert_allclose(mine, np.sort(lead)[: len(borderline)], atol=1e-6)
            assert (borderline.second != label).all()
        latents = np.delete(np.load(stage.path / "latent.npy"), 5, 0)
        likelihood = stage.mixture.log_likelihood(latents)
        np.testing.assert_allclose(found.outlying.log_likelihood, np.sort(likelihood)[:24])
        assert found.outlying.less_likely[0] < 0.05
        assert 5 not in found.outlying.index
        np.testing.assert_allclose(
            found.outlying.probability, table.probability[found.outlying.index], atol=1e-5
        )


def test_of_the_mixture(run_folder):
    shutil.rmtree(run_folder / "DEC")
    with open_run(run_folder) as run:
        found = representatives_of(run, run.final)
        index = found.outlying.index
        np.testing.assert_allclose(
            found.outlying.probability, run.final.table.probability[index], atol=1e-5
        )


def test_duplicates_are_shown_once(run_folder):
    path = run_folder / "DEC/latent.npy"
    rows = np.load(path)
    with open_run(run_folder) as run:
        mine = np.flatnonzero(run.final.table.labels == 1)
        rows[mine[:4]] = rows[mine[0]]
        rows[mine[4:8]] = 50
        np.save(path, rows)
        found = representatives_of(run, run.final)
        assert len(set(found.typical[1].index) & set(mine[:4])) <= 1
        assert sum(index in mine[4:8] for index in found.outlying.index) == 1
        assert found.outlying.index[0] == mine[4]
