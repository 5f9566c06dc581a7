import numpy as np
import pytest
import torch

from RISCluster import io as files
from RISCluster.errors import CheckpointError, RunError


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


def test_checkpoint_comes_back(tmp_path):
    path = tmp_path / "a.pt"
    files.save_checkpoint(path, "AEC model", {"state": {"w": torch.eye(3)}, "n": [1, 2.5, None]})
    content = files.load_checkpoint(path, "AEC model")
    assert torch.equal(content["state"]["w"], torch.eye(3))
    assert content["n"] == [1, 2.5, None]
    assert list(tmp_path.iterdir()) == [path]


def test_same_content_gives_same_bytes(tmp_path):
    for name in ("a.pt", "other.pt"):
        files.save_checkpoint(tmp_path / name, "x", {"w": torch.arange(5.0)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


@pytest.mark.parametrize("keep", [0, 1, 100, 500, -1])
def test_damaged_checkpoint_is_named(tmp_path, keep):
    path = tmp_path / "a.pt"
    files.save_checkpoint(path, "x", {"w": torch.arange(500.0)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="a.pt: damaged"):
        files.load_checkpoint(path, "x")


def test_hostile_pickle_is_not_executed(tmp_path, capsys):
    path = tmp_path / "a.pt"
    torch.save({"format": 1, "kind": "x", "w": Hostile()}, path)
    with pytest.raises(CheckpointError):
        files.load_checkpoint(path, "x")
    assert "executed" not in capsys.readouterr().out


def test_checkpoint_of_another_kind_or_format(tmp_path):
    path = tmp_path / "a.pt"
    files.save_checkpoint(path, "AEC model", {})
    with pytest.raises(CheckpointError, match="holds AEC model, not DEC model"):
        files.load_checkpoint(path, "DEC model")
    torch.save({"format": 99, "kind": "x"}, path)
    with pytest.raises(CheckpointError, match="format 99"):
        files.load_checkpoint(path, "x")
    with pytest.raises(CheckpointError, match="no such file"):
        files.load_checkpoint(tmp_path / "none.pt", "x")


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "m.json"
    files.write_json(path, {"a": float("nan"), "b": [np.float32(1.5), np.int64(2)]})
    assert files.read_json(path) == {"a": None, "b": [1.5, 2]}
    assert "NaN" not in path.read_text()


def test_history_grows_and_is_cut_back(tmp_path):
    path = tmp_path / "history.csv"
    history = files.HistoryFile(path, ("epoch", "mse"), 0)
    for epoch in (1, 2, 3):
        history.append((epoch, 0.5))
    path.write_text(path.read_text() + "4,0.")  # cut while writing
    files.HistoryFile(path, ("epoch", "mse"), 2)
    assert path.read_text() == "epoch,mse\n1,0.5\n2,0.5\n"


def test_npz_roundtrip_and_damage(tmp_path):
    path = tmp_path / "a.npz"
    files.write_npz(path, x=np.arange(3))
    assert files.read_npz(path)["x"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match="damaged"):
        files.read_npz(path)
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError):
        files.read_npz(path)


def test_rows_are_written_in_any_order_and_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_ROWS", 7)
    path, values = tmp_path / "a.npy", np.random.default_rng(0).random((30, 3)).astype(np.float32)
    with files.new_rows(path, values.shape) as out:
        out[20:] = values[20:]
        out[:20] = values[:20]
        assert not path.exists()
    np.testing.assert_array_equal(np.load(path), values)
    stored = files.open_rows(path)
    np.testing.assert_array_equal(stored, values)
    blocks = list(files.row_blocks(stored))
    assert [start for start, _ in blocks] == [0, 7, 14, 21, 28]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), values)
    with pytest.raises(ZeroDivisionError), files.new_rows(path, (9, 9)):
        raise ZeroDivisionError
    assert files.open_rows(path).shape == (30, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_damaged_rows_are_named(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(CheckpointError, match="no such file"):
        files.open_rows(path)
    np.save(path, np.ones((5, 2), np.float32))
    whole = path.read_bytes()
    for keep in (0, 5, 60, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match="damaged"):
            files.open_rows(path)
    np.save(path, np.ones(5))
    with pytest.raises(CheckpointError, match="not an array of rows"):
        files.open_rows(path)
