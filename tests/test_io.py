"""Files: atomic writes, locks between processes, damage, hostile content, missing packages."""

import contextlib
import errno
import hashlib
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest
import torch

from RISCluster import io as files
from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import CheckpointError, MissingPackage, RISClusterError, RunError
from RISCluster.io import EXTRAS, locked, need, new_file
from RISCluster.parallel import Job, Parts
from RISCluster.report.figures import read_history
from RISCluster.run_folder import StageFolder
from RISCluster.runs.labels import read_labels
from RISCluster.runtime import count
from tests.conftest import ROOT

LATENTS = np.random.default_rng(0).random((60, 4)).astype(np.float32)


# ---- writing ------------------------------------------------------------------------------------


def test_checkpoint_is_read_back_and_equal_contents_are_equal_bytes(tmp_path):
    content = {"state": {"w": torch.eye(3)}, "n": [1, 2.5, None]}
    for name in ("a.pt", "b.pt"):
        files.save_checkpoint(tmp_path / name, "AEC model", content)
    found = files.load_checkpoint(tmp_path / "a.pt", "AEC model")
    assert torch.equal(found["state"]["w"], torch.eye(3))
    assert found["n"] == [1, 2.5, None]
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoint_of_another_kind_or_format(tmp_path):
    path = tmp_path / "a.pt"
    files.save_checkpoint(path, "AEC model", {})
    with pytest.raises(CheckpointError, match="holds AEC model, not DEC model"):
        files.load_checkpoint(path, "DEC model")
    torch.save({"format": 99, "kind": "x"}, path)
    with pytest.raises(CheckpointError, match="format 99"):
        files.load_checkpoint(path, "x")


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(RunError, match=r"a.txt: can't be written: No space left"):
            files.write_text(path, "new")
    with pytest.raises(ZeroDivisionError), files.new_rows(tmp_path / "a.npy", (9, 9)):
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_would_not_fit_is_refused(tmp_path):
    with pytest.raises(RunError, match="make room"), files.new_rows(tmp_path / "a.npy", (2**40, 9)):
        pass


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "m.json"
    files.write_json(path, {"a": float("nan"), "b": [np.float32(1.5), np.int64(2)]})
    assert files.read_json(path) == {"a": None, "b": [1.5, 2]}
    assert "NaN" not in path.read_text()


def test_rows_are_written_in_any_order_and_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_ROWS", 7)
    path = tmp_path / "a.npy"
    with files.new_rows(path, LATENTS.shape) as out:
        out[20:] = LATENTS[20:]
        out[:20] = LATENTS[:20]
        assert not path.exists()
    stored = files.open_rows(path)
    np.testing.assert_array_equal(stored, LATENTS)
    blocks = list(files.row_blocks(stored))
    assert [start for start, _ in blocks] == list(range(0, 60, 7))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), LATENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


# ---- locks --------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from RISCluster.io import locked
with locked(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Start a process that holds a lock; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(path, place) -> subprocess.Popen:
            command = [sys.executable, "-c", HOLD, str(path), str(place)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout.readline() == "held\n"
            return process

        yield start


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_is_refused_until_the_first_has_ended(tmp_path, hold, killed):
    process = hold(tmp_path / ".lock", tmp_path)
    with pytest.raises(RunError, match=f"^{tmp_path}: in use by another process; wait"):
        locked(tmp_path / ".lock", tmp_path).__enter__()
    if killed:
        process.kill()
        process.wait()
        assert (tmp_path / ".lock").exists()
    else:
        process.communicate()
    with (
        locked(tmp_path / ".lock", tmp_path),
        pytest.raises(RunError, match="in use"),
        locked(tmp_path / ".lock", tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_gives_the_ordinary_error(tmp_path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.FileLock, "acquire", read_only)
    refused = pytest.raises(RunError, match="the run folder can't be made or read: Read-only")
    with refused, StageFolder(tmp_path, "AEC").lock():
        pass
    refused = pytest.raises(RunError, match=r"a.txt: can't be written: Read-only")
    with refused, new_file(tmp_path / "a.txt"):
        pass
    with pytest.raises(RunError, match=r"out.h5.parts: can't be made: Read-only"):
        Parts(tmp_path / "out.h5").run([], None, 1, "", "")


def test_a_file_that_another_process_writes_is_left_alone(tmp_path, hold):
    partial = tmp_path / "labels.csv.partial"
    partial.write_text("half of it")
    hold(tmp_path / ".labels.csv.lock", tmp_path / "labels.csv")
    refused = pytest.raises(RunError, match=r"labels.csv: in use by another process")
    with refused, new_file(tmp_path / "labels.csv"):
        pass
    assert partial.read_text() == "half of it"


# ---- damage: what was written is read, or refused by name ---------------------------------------


def write_model(path):
    state = {"w": torch.rand(40, 9), "b": torch.arange(9.0)}
    files.save_checkpoint(path, "AEC model", {"network": {"n_features": 9}, "state": state})


def read_model(path):
    content = files.load_checkpoint(path, "AEC model")
    return content["network"], {name: x.tolist() for name, x in content["state"].items()}


def read_npz(path):
    return {name: (x.dtype.str, x.tolist()) for name, x in files.read_npz(path).items()}


def write_part(_, path):
    path.write_bytes(LATENTS.tobytes())
    return {"n": 1}


def write_parts(path):
    parts = Parts(path.with_name("out"))
    parts.run([Job("part", 1, "a")], write_part, 1, "", "")
    os.replace(parts.folder / "part", path)


def read_part(path):
    """The part, if it counts as done; otherwise it is made again."""
    parts = Parts(path.with_name("out"))
    (parts.folder / "part").write_bytes(path.read_bytes())
    if not parts.is_done(Job("part", 1, "a")):
        raise CheckpointError(f"{path}: made again")
    return (parts.folder / "part").read_bytes()


def write_stage(path):
    stage = StageFolder(path.parent, "AEC")
    stage.begin({"data": "0123456789abcdef", "aec.lr": 0.001}, "")
    (stage.path / "model.pt").write_text("weights")
    stage.complete(["model.pt"], {"fingerprint": "fedcba"})
    path.write_bytes((stage.path / "provenance.json").read_bytes())


def read_stage(path):
    stage = StageFolder(path.parent, "AEC")
    (stage.path / "provenance.json").write_bytes(path.read_bytes())
    provenance = stage.require_complete()
    return [provenance.get(name) for name in ("inputs", "results", "fingerprint")]


KINDS = {
    "model.pt": (write_model, read_model),
    "fits.npz": (lambda path: files.write_npz(path, means=LATENTS[:3]), read_npz),
    "part": (write_parts, read_part),
    "provenance.json": (write_stage, read_stage),
}


@pytest.mark.parametrize("name", KINDS)
def test_cut_and_changed_files_are_refused(tmp_path, name):
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    content, before = path.read_bytes(), read(path)
    rng = np.random.default_rng(20210610)

    def flipped(bit: int) -> bytes:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    ends = sorted({len(content) * part // 32 for part in range(32)})
    bits = rng.choice(8 * len(content), 100, replace=False).tolist()
    refused = []
    for changed in [*(content[:end] for end in ends), *map(flipped, bits)]:
        path.write_bytes(changed)
        try:
            assert read(path) == before, "read otherwise than it was written"
        except RISClusterError as error:
            refused.append(str(error))
    assert all(path.name in text or "AEC" in text for text in refused)
    # Keys of provenance.json for information, and dates in archives, have no checksum.
    assert len(refused) > len(ends) + len(bits) * (0.2 if name == "provenance.json" else 0.5)


@pytest.mark.parametrize(
    "text",
    ["", "epoch,a\n1\n", "epoch,a\n1,x\n", "\xff", "a" * 140_000, f"#{'a' * 140_000}\n1,2\n",
     f"label,probability\n{'9' * 30},1\n"],
)  # fmt: skip
def test_tables_that_are_none(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    for read in (read_history, read_labels, read_stations):
        with pytest.raises(RISClusterError, match=r"t\.csv"):
            read(tmp_path / "t.csv")


@pytest.mark.parametrize("read", [files.read_torch, files.open_rows, files.read_npz])
def test_missing_file_and_array_of_other_dimensions(tmp_path, read):
    with pytest.raises(CheckpointError, match="x: no such file"):
        read(tmp_path / "x")
    np.save(tmp_path / "x.npy", np.ones(5))
    with pytest.raises(CheckpointError, match="damaged"):
        read(tmp_path / "x.npy")


def sealed(content: bytes, mark: bytes = b"\nRISCluster sha256 ") -> bytes:
    """A zip archive with a checksum as its comment, or an array with one at its end."""
    if content.startswith(b"PK"):
        content = content[:-2] + (len(mark) + 65).to_bytes(2, "little")
    return content + mark + hashlib.sha256(content).hexdigest().encode() + b"\n"


@pytest.mark.parametrize("change", [bytes, sealed])
def test_files_of_earlier_versions_are_still_read(tmp_path, change):
    torch.save({"format": 1, "kind": "AEC model", "w": torch.ones(3)}, tmp_path / "old.pt")
    np.savez(tmp_path / "old.npz", a=np.arange(3))
    np.save(tmp_path / "old.npy", LATENTS)
    for path in tmp_path.iterdir():
        path.write_bytes(change(path.read_bytes()))
    assert files.load_checkpoint(tmp_path / "old.pt", "AEC model")["w"].tolist() == [1, 1, 1]
    assert files.read_npz(tmp_path / "old.npz")["a"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(files.open_rows(tmp_path / "old.npy"), LATENTS)


# ---- hostile content ----------------------------------------------------------------------------


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
    (folder / "sealed.pt").write_bytes(sealed((folder / "zip.pt").read_bytes()))
    torch.save(harm, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    objects = np.array([harm], dtype=object)
    np.save(folder / "a.npy", objects, allow_pickle=True)
    np.savez(folder / "a.npz", a=objects)
    for suffix in ("pt", "npy", "npz"):
        (folder / f"pickle.{suffix}").write_bytes(pickle.dumps(harm))
    readers = {".pt": files.read_torch, ".npy": files.open_rows, ".npz": files.read_npz}
    for path in folder.iterdir():
        with pytest.raises(CheckpointError, match=path.name):
            readers[path.suffix](path)
    assert not harm.path.exists()
    pickle.loads(pickle.dumps(harm)).close()
    assert harm.path.exists()  # it would have worked


def npy(shape: str, payload: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def npz(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a.npy", content)
    return buffer.getvalue()


SHAPES = ("(10**12, 4)", "(1000000000000, 4)", "(4, 4)", "(-8, -1)", "(1e3, 2)", "((8,1),)")
READ_LITTLE = """
import resource, sys
from pathlib import Path
from RISCluster.errors import CheckpointError
from RISCluster.io import open_rows, read_npz, read_torch
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
refused = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    read = {".pt": read_torch, ".npy": open_rows, ".npz": read_npz}[path.suffix]
    try:
        read(path)
    except CheckpointError:
        refused += 1
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(refused, grown // 1024)
"""


def test_headers_of_a_wrong_size_allocate_no_memory(tmp_path):
    """In a process that may not have more than some GB."""
    for number, shape in enumerate(SHAPES):
        (tmp_path / f"{number}.npy").write_bytes(npy(shape))
        (tmp_path / f"{number}.npz").write_bytes(npz(npy(shape)))
    bomb = npz(npy("(12500000,)", b"\0" * 100_000_000), zipfile.ZIP_DEFLATED)
    (tmp_path / "bomb.npz").write_bytes(bomb)
    (tmp_path / "bomb.pt").write_bytes(sealed(bomb))
    done = subprocess.run(
        [sys.executable, "-c", READ_LITTLE, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30)),
    )
    assert done.returncode == 0, done.stderr
    refused, grown = map(int, done.stdout.split())
    assert refused == len(list(tmp_path.iterdir()))
    assert grown < 50  # MB


# ---- optional packages, words -------------------------------------------------------------------


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_named_as_it_is_installed(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra, name, _ = EXTRAS[package]
    with pytest.raises(MissingPackage, match=f"pip install {name}, .* the extra '{extra}'"):
        need(package)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = declared["optional-dependencies"][extra]
    assert any(package.startswith(f"{name}>=") for package in packages)


def test_numbers_with_their_noun():
    assert [count(n, "trace") for n in (0, 1, 1200)] == ["0 traces", "1 trace", "1,200 traces"]
    assert count(2, "window at a gap", "windows at gaps") == "2 windows at gaps"
