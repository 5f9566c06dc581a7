import numpy as np
import pytest

from RISCluster import arrays
from RISCluster.arrays import RowsArray, new_rows
from RISCluster.errors import CheckpointError


def test_written_in_any_order_and_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 7)
    values = np.random.default_rng(0).random((30, 3)).astype(np.float32)
    with new_rows(tmp_path / "a.npy", values.shape) as out:
        out.write(20, values[20:])
        out.write(0, values[:20])
        assert not (tmp_path / "a.npy").exists()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), values)
    stored = RowsArray(tmp_path / "a.npy")
    assert (len(stored), stored.shape) == (30, (30, 3))
    np.testing.assert_array_equal(stored.read(5, 9), values[5:9])
    np.testing.assert_array_equal(stored.read(28, 40), values[28:])
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in stored.blocks()]), values)
    index = np.array([0, 3, 6, 7, 20, 29])
    np.testing.assert_array_equal(stored.take(index), values[index])
    assert stored.take(index[:0]).shape == (0, 3)


def test_an_error_leaves_the_old_one(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    with pytest.raises(ZeroDivisionError), new_rows(tmp_path / "a.npy", (9, 9)):
        raise ZeroDivisionError
    assert RowsArray(tmp_path / "a.npy").shape == (2, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(CheckpointError, match="no such file"):
        RowsArray(path)
    np.save(path, np.ones((5, 2), np.float32))
    whole = path.read_bytes()
    for keep in (0, 5, 60, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match="damaged"):
            RowsArray(path)
    np.save(path, np.ones(5))
    with pytest.raises(CheckpointError, match="not an array of rows"):
        RowsArray(path)
