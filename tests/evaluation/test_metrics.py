import numpy as np
import pytest

from RISCluster.evaluation import metrics
from tests import made


def test_scores_by_hand():
    rows, columns = [0, 0, 0, 1, 1, 1, -1, 2], [0, 0, 1, 1, 2, 2, 0, -1]
    found = metrics.overlap(np.array(rows), np.array(columns), 2)
    assert (found.n, found.n_left_out) == (6, 2)
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert found.matching.tolist() == [0, 2]
    assert found.accuracy == found.purity == pytest.approx(4 / 6)
    # Pairs: 2 in cells, 6 in rows, 3 in columns, 15 in all; 6 * 3 / 15 = 1.2 by chance.
    assert found.ari == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    # Entropies ln 2 and ln 3; mutual information of 2 ln 2 + ... = ln 2 * 2 / 3.
    assert found.nmi == pytest.approx(np.log(2) * 2 / 3 / ((np.log(2) + np.log(3)) / 2))


def test_tables_of_many_labels_and_of_several_blocks():
    rows = np.arange(100_000) % 400
    found = metrics.overlap(rows.astype(np.int16), (rows + 1).astype(np.int16))
    assert (found.counts[399, 400], found.accuracy, found.n) == (250, 1, 100_000)


def test_order_makes_the_table_diagonal_and_no_samples():
    counts = np.array([[0, 0], [1, 9], [8, 1], [3, 0], [0, 4]])
    # Matched: row 1 with column 1, row 2 with column 0; the others by their largest column.
    assert metrics.Overlap(counts, 0).order().tolist() == [2, 3, 1, 4, 0]
    none = metrics.overlap(np.full(4, -1), np.zeros(4, int), 2, 2)
    assert none.counts.tolist() == [[0, 0], [0, 0]]
    assert np.isnan([none.ari, none.nmi, none.accuracy, none.purity]).all()


def test_known_classes_of_any_number():
    labels, truth = np.array([0, 0, 1, -1]), np.array([1, 1, 0, 0])
    assert metrics.agreement(labels, truth) == pytest.approx({"accuracy": 1, "nmi": 1, "ari": 1})
    assert metrics.agreement(labels, None) == metrics.agreement(np.array([-1]), np.array([0])) == {}
    found = metrics.agreement(np.array([1, 1, 0, 0, 2]), np.array([7, 7, 10**12, 10**12, 10**12]))
    assert found["accuracy"] == 0.8
    stage, truth = made.stage("GMM", [0, 0, 0, 1, 1, 2, -1, 1]), [0, 0, 1, 1, 1, 0, 0, -2]
    run = made.run(stage, truth=truth, class_names=["quake", "noise", "none"])
    table = metrics.against_truth(run, stage)
    assert table.counts.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert (table.n_left_out, table.purity) == (2, pytest.approx(5 / 6))
    assert metrics.against_truth(made.run(stage), stage) is None


def test_no_silhouettes_of_one_cluster_or_as_many_as_samples():
    for labels in (np.zeros(4, int), np.arange(4), np.zeros(0, int)):
        assert np.isnan(metrics.silhouettes(np.eye(len(labels)), labels)).all()


def test_reliability_by_hand():
    rows, columns = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    right = metrics.overlap(rows, columns).is_right(rows, columns)
    probability = np.array([1.0, 0.9, 0.6, 0.55, 0.5], dtype=np.float32)
    found = metrics.reliability(right, probability, n_bins=2)
    # All are above 0.5; the third is the only one not of its cluster's most frequent class.
    assert found.counts.tolist() == [0, 5]
    assert np.isnan(found.right[0])
    assert (found.right[1], found.probability[1]) == pytest.approx((4 / 5, 3.55 / 5))
    assert (found.error, found.overconfidence) == pytest.approx((0.09, -0.09))
    # Bins of 0.525, 0.6 and 0.95, of which all, none and all are right.
    error = metrics.reliability(right, probability).error
    assert error == pytest.approx((2 * 0.475 + 0.6 + 2 * 0.05) / 5, abs=1e-6)
    none = metrics.reliability(np.zeros(0, bool), np.zeros(0))
    assert np.isnan([none.error, none.overconfidence]).all()


def test_agreement_within_events():
    # Event 0: three stations, two of them alike; event 1: two alike; 2: one station; 3: unusable.
    # The last sample repeats a station of event 0, of which the first counts.
    labels = np.array([0, 0, 1, 2, 2, 0, 1, -1, 2, 1])
    events = np.array([0, 0, 0, 1, 1, 2, 3, 3, -1, 0])
    found = metrics.event_agreement(labels, events, np.array(list("ABCABABACA")))
    assert (found["n_events"], found["event_agreement"]) == (2, 4 / 5)
    assert metrics.event_agreement(labels, np.full(10, -1), labels) == {}
    rng = np.random.default_rng(0)
    events, stations = np.repeat(np.arange(500), 6), np.tile(np.arange(6), 500)
    one_each, alike = stations % 2, np.repeat(rng.integers(0, 4, 500), 6)
    for own, low, high in ((one_each, 0, 0), (alike, 0.4, 1)):
        assert (
            low <= metrics.event_agreement(own, events, stations)["event_agreement_excess"] <= high
        )
