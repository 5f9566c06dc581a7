"""Files: atomic writes, locks between processes, damage, hostile content."""

import pickle
import sys
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from RISCluster import io as files
from RISCluster.errors import CheckpointError, MissingPackage, RunError
from RISCluster.io import locked, new_file
from RISCluster.runtime import count

LATENTS = np.random.default_rng(0).random((60, 4)).astype(np.float32)


def test_a_checkpoint_is_read_back_and_equal_contents_are_equal_bytes(tmp_path):
    content = {"state": {"w": torch.eye(3)}, "n": [1, 2.5, None], "text": "AEC model"}
    for name, text in (("a.pt", "AEC model"), ("b.pt", "".join(["AEC", " model"]))):
        files.save_checkpoint(tmp_path / name, text, content)
    found = files.load_checkpoint(tmp_path / "a.pt", "AEC model")
    assert torch.equal(found["state"]["w"], torch.eye(3))
    assert found["n"] == [1, 2.5, None]
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    with pytest.raises(CheckpointError, match="holds AEC model, not DEC model of this version"):
        files.load_checkpoint(tmp_path / "a.pt", "DEC model")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(files.os, name, full)
            with pytest.raises(RunError, match=r"a.txt: can't be written: No space left.*make ro"):
                files.write_text(path, "new")
    with pytest.raises(ZeroDivisionError), files.new_rows(tmp_path / "a.npy", (9, 9)):
        raise ZeroDivisionError
    with pytest.raises(RunError, match="make room"), files.new_rows(tmp_path / "a.npy", (2**40, 9)):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan_and_rows_are_written_in_any_order(tmp_path, monkeypatch):
    files.write_json(tmp_path / "m", {"a": float("nan"), "b": [np.float32(1.5), np.int64(2)]})
    assert files.read_json(tmp_path / "m") == {"a": None, "b": [1.5, 2]}
    monkeypatch.setattr(files, "BLOCK_ROWS", 7)
    with files.new_rows(tmp_path / "a.npy", LATENTS.shape) as out:
        out[20:] = LATENTS[20:]
        out[:20] = LATENTS[:20]
    blocks = list(files.row_blocks(files.open_rows(tmp_path / "a.npy")))
    assert [start for start, _ in blocks] == list(range(0, 60, 7))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), LATENTS)


def write_half(path, written, proceed):
    with new_file(path) as partial:
        partial.write_text("half of it")
        written.set()
        proceed.wait()


@pytest.mark.parametrize("killed", [False, True])
def test_a_file_that_another_process_writes_is_refused_until_it_has_ended(tmp_path, killed):
    path, start = tmp_path / "a.csv", get_context("spawn")
    written, proceed = start.Event(), start.Event()
    process = start.Process(target=write_half, args=(path, written, proceed))
    process.start()
    assert written.wait(60)
    refused = pytest.raises(RunError, match=f"^{path}: in use by another process; wait")
    with refused, new_file(path):
        pass
    assert (tmp_path / "a.csv.partial").read_text() == "half of it"
    (process.kill if killed else proceed.set)()
    process.join()
    assert path.exists() != killed
    with locked(path), pytest.raises(RunError, match="in use"), locked(path):
        pass
    files.write_text(path, "new")
    assert list(tmp_path.iterdir()) == [path]


READERS = {".pt": files.read_torch, ".npy": files.open_rows, ".npz": files.read_npz}


def test_cut_and_changed_files_are_refused(tmp_path):
    model = {"w": torch.rand(40, 9), "b": torch.arange(9.0)}
    files.save_checkpoint(tmp_path / "a.pt", "AEC model", model)
    files.write_npz(tmp_path / "a.npz", means=LATENTS[:3])
    for path in list(tmp_path.iterdir()):
        content, before = path.read_bytes(), str(READERS[path.suffix](path))
        changes = [content[: len(content) * part // 8] for part in range(8)]
        bits = np.random.default_rng(20210610).choice(8 * len(content), 30, replace=False)
        for place, bit in zip(*np.divmod(bits.tolist(), 8), strict=True):
            changes.append(bytearray(content))
            changes[-1][place] ^= 1 << bit
        n_refused = 0
        for changed in changes:
            path.write_bytes(changed)
            try:
                assert str(READERS[path.suffix](path)) == before, "read differently than written"
            except CheckpointError:
                n_refused += 1
        assert n_refused > 8 + 15  # dates in archives have no checksum


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_executed(tmp_path):
    harm, folder = Payload(tmp_path / "harm"), tmp_path / "in"
    folder.mkdir()
    torch.save({"format": 1, "kind": "x", "w": harm}, folder / "zip.pt")
    torch.save(harm, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    objects = np.array([harm], dtype=object)
    np.save(folder / "a.npy", objects, allow_pickle=True)
    np.savez(folder / "a.npz", a=objects)
    np.save(folder / "vector.npy", np.ones(5))
    for suffix in READERS:
        (folder / f"pickle{suffix}").write_bytes(pickle.dumps(harm))
    for path in [*folder.iterdir(), *(folder / f"none{suffix}" for suffix in READERS)]:
        with pytest.raises(CheckpointError, match=f"{path.name}: missing or damaged") as error:
            READERS[path.suffix](path)
        assert "weights_only" not in str(error.value)
    assert not harm.path.exists()
    pickle.loads(pickle.dumps(harm)).close()
    assert harm.path.exists()  # it would have worked


def test_numbers_with_their_noun():
    assert [count(n, "trace") for n in (0, 1, 1200)] == ["0 traces", "1 trace", "1,200 traces"]


def test_a_missing_package_is_named_as_pip_knows_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingPackage, match="pip install umap-learn$"):
        files.need("umap")


def test_s3_without_keys_is_read_as_public(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    urls = files.as_path("s3://a/b.zarr"), "https://a/b"
    assert [files.store_options(url) for url in urls] == [{"anon": True}, {}]
    monkeypatch.setenv("AWS_PROFILE", "me")
    assert [files.store_options(url) for url in urls] == [{}, {}]
