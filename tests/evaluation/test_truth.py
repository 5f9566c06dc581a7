import numpy as np
import pytest

from RISCluster.evaluation.truth import against_truth, class_scores, reliability
from tests import made

LABELS = [0, 0, 0, 1, 1, 2, -1, 1]
TRUTH = [0, 0, 1, 1, 1, 0, 0, -2]


def test_scores_by_hand():
    run = made.run(made.stage("GMM", LABELS), truth=TRUTH, class_names=["quake", "noise", "none"])
    table = against_truth(run, run.final)
    assert table.counts.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert table.n_left_out == 2
    assert table.accuracy == pytest.approx(4 / 6)
    assert table.purity == pytest.approx(5 / 6)
    quake, noise, none = class_scores(table, run.class_names)
    assert (quake.name, quake.size, quake.cluster) == ("quake", 3, 0)
    assert quake.recall == pytest.approx(2 / 3)
    assert quake.precision == pytest.approx(2 / 3)
    assert (noise.size, noise.cluster) == (3, 1)
    assert noise.recall == pytest.approx(2 / 3)
    assert noise.precision == 1
    assert none.cluster == -1
    assert np.isnan([none.recall, none.precision]).all()


def test_class_without_a_cluster():
    run = made.run(made.stage("GMM", [0] * 4), truth=[0, 0, 0, 1], class_names=["ice", "sea"])
    found = class_scores(against_truth(run, run.final), run.class_names)
    assert (found[1].cluster, found[1].recall) == (-1, 0)
    assert np.isnan(found[1].precision)


def test_reliability_by_hand():
    labels = np.array([0, 0, 0, 1, 1, -1, 0])
    truth = np.array([0, 0, 1, 1, 1, 0, -1])
    probability = np.array([1.0, 0.9, 0.6, 0.55, 0.5, 1.0, 1.0], dtype=np.float32)
    run = made.run(made.stage("GMM", labels, probability), truth=truth, class_names="ab")
    found = reliability(labels, probability, truth, against_truth(run, run.final), n_bins=2)
    # All are above 0.5; the third is the only one not of its cluster's most frequent class.
    assert found.counts.tolist() == [0, 5]
    assert np.isnan(found.right[0])
    assert found.right[1] == pytest.approx(4 / 5)
    assert found.probability[1] == pytest.approx(3.55 / 5)
    assert found.error == pytest.approx(0.09)
    assert found.overconfidence == pytest.approx(-0.09)
    ten = reliability(labels, probability, truth, against_truth(run, run.final))
    assert ten.counts.tolist() == [0, 0, 0, 0, 0, 2, 1, 0, 0, 2]
    # Bins of 0.525, 0.6 and 0.95, of which all, none and all are right.
    assert ten.error == pytest.approx((2 * 0.475 + 0.6 + 2 * 0.05) / 5, abs=1e-6)


def test_nothing_known():
    stage = made.stage("GMM", LABELS)
    assert against_truth(made.run(stage), stage) is None
    assert against_truth(made.run(stage, truth=np.full(8, -1)), stage) is None
    run = made.run(made.stage("GMM", [0, -1]), truth=[0, 1], class_names="ab")
    table = against_truth(run, run.final)
    found = reliability(np.array([-1]), np.zeros(1), np.zeros(1, int), table)
    assert np.isnan(found.error)
    assert np.isnan(found.overconfidence)
