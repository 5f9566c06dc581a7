from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from RISCluster.evaluation.overlap import Overlap, overlap


def test_by_hand():
    found = overlap(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert found.matching.tolist() == [0, 2]
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.purity == pytest.approx(4 / 6)
    # Pairs: 2 in cells, 6 in rows, 3 in columns, 15 in all; 6 * 3 / 15 = 1.2 by chance.
    assert found.ari == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    # Entropies ln 2 and ln 3; mutual information of 2 ln 2 + ... = ln 2 * 2 / 3.
    assert found.nmi == pytest.approx(np.log(2) * 2 / 3 / ((np.log(2) + np.log(3)) / 2))


def test_as_scikit_learn():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(-1, 5, 300), rng.integers(-1, 7, 300)
    columns[:150] = rows[:150]
    both = (rows >= 0) & (columns >= 0)
    found = overlap(rows.astype(np.int16), columns)
    assert found.n == both.sum()
    assert found.n_left_out == 300 - both.sum()
    rows, columns = rows[both], columns[both]
    assert found.ari == pytest.approx(adjusted_rand_score(rows, columns))
    assert found.nmi == pytest.approx(normalized_mutual_info_score(rows, columns))
    matchings = permutations(range(7), 5)
    best = max(
        sum(found.counts[row, column] for row, column in enumerate(one)) for one in matchings
    )
    assert found.accuracy == pytest.approx(best / len(rows))


def test_one_group_and_no_samples():
    found = Overlap(np.array([[5, 0], [3, 0], [0, 0]]))
    assert found.matching.tolist() == [0, -1, -1]
    assert found.accuracy == 5 / 8
    one = overlap(np.zeros(4, int), np.zeros(4, int))
    assert (one.ari, one.nmi, one.accuracy) == (1, 1, 1)
    none = overlap(np.full(4, -1), np.zeros(4, int), 2, 2)
    assert none.counts.tolist() == [[0, 0], [0, 0]]
    assert np.isnan([none.ari, none.nmi, none.accuracy, none.purity]).all()
    with pytest.raises(ValueError, match="3 and 4 labels"):
        overlap(np.zeros(3, int), np.zeros(4, int))


def test_millions_do_not_overflow():
    found = Overlap(np.array([[6_000_000, 0], [0, 6_000_000]], dtype=np.int64))
    assert found.ari == pytest.approx(1)
    chance = Overlap(np.full((2, 2), 3_000_000, dtype=np.int64))
    assert chance.ari == pytest.approx(0, abs=1e-6)


def test_order_makes_it_diagonal():
    counts = np.array([[0, 0], [1, 9], [8, 1], [3, 0], [0, 4]])
    # Matched: row 1 with column 1, row 2 with column 0; the others by their largest column.
    assert Overlap(counts).order().tolist() == [2, 3, 1, 4, 0]
