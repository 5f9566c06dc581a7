import pytest

from RISCluster.errors import RunError
from RISCluster.evaluation.several import compare, names_of
from tests import made

ONE, TWO = [0, 0, 0, 1, 1, 1, -1], [1, 1, 0, 0, 2, 2, 0]


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


def test_same_data():
    found = compare(runs())
    assert found.names == ["one", "two"]
    assert found.same_data
    # Not of another stage than their own, and not what changes no result.
    settings = dict(found.settings)
    assert settings["aec.lr"] == [0.001, 0.0003]
    assert settings["run.seed"] == [2009, 7]
    assert not {"dec.gamma", "run.device", "gmm.n_clusters", "data.file", "run.name"} & set(
        settings
    )
    metrics = dict(found.metrics)
    assert metrics["AEC validation_mse"] == [0.25, 0.125]
    assert metrics["GMM nmi"] == [0.5, None]
    assert metrics["DEC nmi"] == [None, 0.75]
    # Counts [[1, 2, 0], [1, 0, 2]]: 2 pairs in cells, 6 and 3 in rows and columns, 15 in all.
    assert found.pair.counts.tolist() == [[1, 2, 0], [1, 0, 2]]
    assert found.ari[0, 1] == found.ari[1, 0] == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    assert found.ari[0, 0] == 1


@pytest.mark.parametrize(
    ("data", "labels"), [(("a", "b"), (ONE, TWO)), (("a", "a"), (ONE, TWO[:-1]))]
)
def test_other_data(data, labels):
    found = compare(runs(data, labels))
    assert not found.same_data
    assert found.ari is None
    assert found.pair is None
    assert dict(found.settings)["data.file"] == ["Data/demo.h5", "Data/demo.h5"]


def test_three_runs():
    third = made.run(
        made.stage("GMM", ONE, words=["gmm.n_clusters=2, 3, 5"]),
        made.stage("DEC", ONE, words=["dec.gamma=0.5"]),
        folder="Outputs/three",
    )
    found = compare([*runs(), third])
    assert dict(found.settings)["dec.gamma"] == [None, 2.0, 0.5]
    assert found.pair is None
    assert found.ari.shape == (3, 3)
    assert found.ari[0, 2] == 1
    assert found.ari[1, 2] == pytest.approx(found.ari[0, 1])


def test_names():
    alike = [made.run(made.stage("GMM", ONE), folder=f"{place}/run") for place in ("x", "y")]
    assert names_of(alike) == ["x/run", "y/run"]


def test_errors():
    with pytest.raises(RunError, match="1 run given"):
        compare(runs()[:1])
    bare = made.run(made.stage("AEC", [0]), folder="Outputs/bare")
    with pytest.raises(RunError, match="Outputs/bare: has no complete stage that labels"):
        compare([*runs(), bare])
