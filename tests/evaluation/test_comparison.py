import numpy as np
import pytest

from RISCluster.errors import RunError
from RISCluster.evaluation.comparison import compare, refinement, side_by_side
from tests import made

MIXTURE = [0, 0, 0, 0, 1, 1, 2, -1]
ONE, TWO = [0, 0, 0, 1, 1, 1, -1], [1, 1, 0, 0, 2, 2, 0]


def test_refinement():
    gmm = made.stage("GMM", MIXTURE, [0.4, 0.6, 0.9, 1, 1, 1, 0.95, 0])
    dec = made.stage("DEC", [0, 0, 1, 2, 1, 1, 0, -1], n_clusters=3)
    found = refinement(made.run(gmm, dec))
    assert found.table.counts.tolist() == [[2, 1, 1], [0, 2, 0], [1, 0, 0]]
    assert (found.moved.tolist(), found.share_moved) == ([0.5, 0, 1], pytest.approx(3 / 7))
    assert found.before == pytest.approx({"confident": 5 / 7, "doubtful": 1 / 7})
    assert found.after == {"confident": 1, "doubtful": 0}
    assert refinement(made.run(gmm, made.stage("DEC", MIXTURE, n_clusters=4))) is None
    assert refinement(made.run(gmm)) is None
    for labels in ([0, 0, 2], [-1, -1]):  # cluster 1 is empty, or all are
        found = refinement(made.run(*(made.stage(x, labels, n_clusters=3) for x in ("GMM", "DEC"))))
        assert np.isnan(found.moved[1])
    assert np.isnan([found.share_moved, *found.before.values()]).all()


def test_metrics_side_by_side():
    gmm = made.stage("GMM", MIXTURE, silhouette_latent=0.2, nmi=None)
    agreement = {"neighbour_agreement": 0.8, "neighbour_agreement_of_gmm": 0.9}
    dec = made.stage("DEC", MIXTURE, silhouette_latent=0.6, refined=True, **agreement)
    assert side_by_side(made.run(gmm, dec)) == [
        ("clusters", 3, 3),
        ("silhouette in latent space", 0.2, 0.6),
        ("neighbour agreement", 0.9, 0.8),
        ("refinement accepted", None, True),
    ]


def runs(data=("a", "a"), labels=(ONE, TWO)):
    first = made.run(
        made.stage("AEC", [0], words=["aec.lr=1e-3", "dec.gamma=5"], validation_mse=0.25),
        made.stage("GMM", labels[0], words=["gmm.n_clusters=2-4"], data=data[0], nmi=0.5),
        folder="Outputs/one",
    )
    second = made.run(
        made.stage("AEC", [0], words=["aec.lr=3e-4", "run.device=cpu"], validation_mse=0.125),
        made.stage("GMM", labels[1], words=["gmm.n_clusters=2-4"], data=data[1]),
        made.stage("DEC", labels[1], words=["dec.gamma=2", "run.seed=7"], data=data[1], nmi=0.75),
        folder="Outputs/two",
    )
    return [first, second]


def test_runs_on_the_same_and_on_other_data():
    found = compare(runs())
    assert (found.names, found.same_data) == (["one", "two"], True)
    # Not of another stage than their own, and not what changes no result.
    settings, metrics = dict(found.settings), dict(found.metrics)
    assert (settings["aec.lr"], settings["run.seed"]) == ([0.001, 0.0003], [2009, 7])
    others = {"dec.gamma", "run.device", "gmm.n_clusters", "data.file", "run.name"}
    assert not others & set(settings)
    assert metrics["AEC validation_mse"] == [0.25, 0.125]
    assert (metrics["GMM nmi"], metrics["DEC nmi"]) == ([0.5, None], [None, 0.75])
    assert found.pair.counts.tolist() == [[1, 2, 0], [1, 0, 2]]
    assert found.ari == pytest.approx(np.array([[1, 0.8 / 3.3], [0.8 / 3.3, 1]]))
    for data, labels in ((("a", "b"), (ONE, TWO)), (("a", "a"), (ONE, TWO[:-1]))):
        found = compare(runs(data, labels))
        assert (found.same_data, found.ari, found.pair) == (False, None, None)
        assert dict(found.settings)["data.file"] == ["Data/demo.h5", "Data/demo.h5"]


def test_which_metrics_can_be_compared():
    values = {"silhouette_latent": 0.5, "accuracy": 0.5, "nmi": 0.5, "n_unusable": 0}
    first = made.run(made.stage("GMM", ONE, **values))
    second = made.run(made.stage("GMM", TWO, words=["data.amplitude=linear"], **values))
    found = compare((first, second))
    assert dict(zip((name for name, _ in found.metrics), found.differences, strict=True)) == {
        "GMM n_unusable": "", "GMM n_clusters": "", "GMM nmi": "", "GMM accuracy": "n_clusters",
        "GMM silhouette_latent": "data.amplitude, n_clusters",
    }  # fmt: skip
    assert set(compare((first, first)).differences) == {""}


def test_names_and_a_run_without_labels():
    alike = [made.run(made.stage("GMM", ONE), folder=f"{place}/run") for place in ("x", "y")]
    assert compare(alike).names == ["x/run", "y/run"]
    bare = made.run(made.stage("AEC", [0]), folder="Outputs/bare")
    with pytest.raises(RunError, match="Outputs/bare: has no complete stage that labels"):
        compare([*runs(), bare])
