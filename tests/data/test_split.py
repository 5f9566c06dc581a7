import numpy as np
import pytest

from RISCluster.data.loading import Split, draw_split
from RISCluster.errors import DataError


def test_sizes_and_disjoint():
    split = draw_split(1000, 100, 0.2, seed=3)
    assert (len(split.train), len(split.validation)) == (80, 20)
    assert len(np.intersect1d(split.train, split.validation)) == 0
    assert (np.diff(split.both) > 0).all()
    assert draw_split(10, 0, 0.2, 0).both.tolist() == list(range(10))
    assert len(draw_split(10, 50000, 0.2, 0).both) == 10


def test_seed_decides():
    first, again, other = (draw_split(500, 100, 0.2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize(("n", "fraction"), [(2, 0.01), (2, 0.99), (3, 0.5)])
def test_neither_part_is_empty(n, fraction):
    split = draw_split(n, 0, fraction, 0)
    assert len(split.train)
    assert len(split.validation)


@pytest.mark.parametrize(("n", "wanted"), [(1, 0), (100, 1)])
def test_one_sample_is_too_few(n, wanted):
    with pytest.raises(DataError, match="two samples at least"):
        draw_split(n, wanted, 0.2, 0)


def test_without_unusable_and_saved(tmp_path):
    split = draw_split(50, 0, 0.2, 0).without(np.array([3, 4]))
    assert not np.isin([3, 4], split.both).any()
    assert split.unusable.tolist() == [3, 4]
    split.save(tmp_path / "s.npz")
    again = Split.load(tmp_path / "s.npz")
    assert np.array_equal(again.train, split.train)
    assert np.array_equal(again.unusable, split.unusable)
