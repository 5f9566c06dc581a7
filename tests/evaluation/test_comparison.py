import numpy as np
import pytest

from RISCluster.evaluation.comparison import Certainty, certainty, refinement, side_by_side
from tests import made

MIXTURE = [0, 0, 0, 0, 1, 1, 2, -1]


def test_by_label():
    gmm = made.stage("GMM", MIXTURE, [0.4, 0.6, 0.9, 1, 1, 1, 0.95, 0])
    dec = made.stage("DEC", [0, 0, 1, 2, 1, 1, 0, -1], n_clusters=3)
    found = refinement(made.run(gmm, dec))
    assert found.by_label
    assert found.table.counts.tolist() == [[2, 1, 1], [0, 2, 0], [1, 0, 0]]
    assert found.moved.tolist() == [0.5, 0, 1]
    assert found.share_moved == pytest.approx(3 / 7)
    assert found.destinations(0) == [(1, 1), (2, 1)]
    assert found.destinations(1) == []
    assert found.before.confident == pytest.approx(5 / 7)
    assert found.before.doubtful == pytest.approx(1 / 7)
    assert found.before.quantiles[2] == pytest.approx(0.95)
    assert found.after == Certainty(pytest.approx(np.ones(5)), 1.0, 0.0)


def test_other_number_of_clusters_is_matched():
    gmm = made.stage("GMM", [0, 0, 0, 1, 1, 2])
    dec = made.stage("DEC", [1, 1, 1, 0, 0, 0])
    found = refinement(made.run(gmm, dec))
    assert not found.by_label
    assert found.match.tolist() == [1, 0, -1]
    assert found.moved.tolist() == [0, 0, 1]
    assert found.share_moved == pytest.approx(1 / 6)
    assert found.destinations(2) == [(0, 1)]


def test_empty_cluster_and_no_labels():
    gmm = made.stage("GMM", [0, 0, 2])
    found = refinement(made.run(gmm, made.stage("DEC", [0, 0, 2])))
    assert np.isnan(found.moved[1])
    assert found.share_moved == 0
    nothing = made.stage("GMM", [-1, -1], n_clusters=2)
    assert np.isnan(certainty(nothing).quantiles).all()
    found = refinement(made.run(nothing, made.stage("DEC", [-1, -1], n_clusters=2)))
    assert np.isnan(found.share_moved)


def test_a_stage_is_missing():
    assert refinement(made.run(made.stage("GMM", MIXTURE))) is None


def test_metrics_side_by_side():
    gmm = made.stage("GMM", MIXTURE, silhouette_latent=0.2, nmi=None)
    dec = made.stage(
        "DEC", MIXTURE, silhouette_latent=0.6, refined=True,
        neighbour_agreement=0.8, neighbour_agreement_of_gmm=0.9,
    )  # fmt: skip
    assert side_by_side(made.run(gmm, dec)) == [
        ("clusters", 3, 3),
        ("silhouette in latent space", 0.2, 0.6),
        ("neighbour agreement", 0.9, 0.8),
        ("refinement kept", None, True),
    ]
