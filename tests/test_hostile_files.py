"""Files that are cut, changed by a bit, or made to harm: refused by name, never half read.

Each kind of file is cut at every 64th of its length and has single bits flipped; the reader must
give what was written or refuse.
"""

import hashlib
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from RISCluster import io as files
from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import CheckpointError, RISClusterError
from RISCluster.parallel import Job, Parts
from RISCluster.report.figures import read_history
from RISCluster.run_folder import StageFolder
from RISCluster.runs.labels import read_labels
from tests.conftest import ROOT

SEED = 20210610
FLIPS = 250  # of every kind of file
LATENTS = np.random.default_rng(0).random((60, 4)).astype(np.float32)
ROW = "{},0.123,0.456,0.001,12.5,800\n"
HEADER = ("epoch", "train_mse", "validation_mse", "learning_rate", "seconds", "samples_per_second")


def write_model(path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    state = {"w": torch.rand(40, 9, generator=rng), "b": torch.arange(9.0)}
    files.save_checkpoint(path, "AEC model", {"network": {"n_features": 9}, "state": state})


def read_model(path: Path) -> object:
    content = files.load_checkpoint(path, "AEC model")
    return content["network"], {name: x.tolist() for name, x in content["state"].items()}


def write_npz(path: Path) -> None:
    files.write_npz(path, means=LATENTS[:3].astype(np.float64))


def read_npz(path: Path) -> object:
    return {name: (x.dtype.str, x.tolist()) for name, x in files.read_npz(path).items()}


def write_part(inputs: int, path: Path) -> dict:
    path.write_bytes(LATENTS.tobytes())
    return {"n": inputs}


def write_parts(path: Path) -> None:
    parts = Parts(path.with_name("out"))
    parts.run([Job("part", 1, "a")], write_part, 1, "", "")
    os.replace(parts.folder / "part", path)


def read_part(path: Path) -> object:
    """The part, if it is taken as done; else it is made again."""
    parts = Parts(path.with_name("out"))
    (parts.folder / "part").write_bytes(path.read_bytes())
    if parts._state(Job("part", 1, "a")) != "done":
        raise CheckpointError(f"{path}: made again")
    return (parts.folder / "part").read_bytes()


def write_stage(path: Path) -> None:
    stage = StageFolder(path.parent, "AEC")
    stage.begin({"data": "0123456789abcdef", "aec.lr": 0.001}, "")
    (stage.path / "model.pt").write_text("weights")
    stage.complete(["model.pt"], {"fingerprint": "fedcba"})
    path.write_bytes((stage.path / "provenance.json").read_bytes())


def read_stage(path: Path) -> object:
    stage = StageFolder(path.parent, "AEC")
    (stage.path / "provenance.json").write_bytes(path.read_bytes())
    provenance = stage.require_complete()
    return [provenance.get(name) for name in ("inputs", "results", "fingerprint")]


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "model.pt": (write_model, read_model),
    "fits.npz": (write_npz, read_npz),
    "part": (write_parts, read_part),
    "provenance.json": (write_stage, read_stage),
}


def outcomes(path: Path, read: Callable[[Path], object], variants) -> tuple[int, int]:
    """How many variants were read as if whole, and how many were refused by name."""
    before = read(path)
    whole, messages = 0, []
    for number, content in enumerate(variants):
        path.write_bytes(content)
        os.utime(path, ns=(number, number))  # however coarse the clock of the disk is
        try:
            assert read(path) == before, "read otherwise than it was written"
            whole += 1
        except RISClusterError as error:
            messages.append(str(error))
    # Of a stage, the file that does not fit its checksum is named.
    assert all(path.name in text or "AEC" in text for text in messages)
    return whole, len(messages)


@pytest.mark.parametrize("name", KINDS)
def test_cut_anywhere(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    ends = sorted({len(content) * part // 64 for part in range(64)} | {len(content) - 1})
    whole, refused = outcomes(tmp_path / name, read, [content[:end] for end in ends])
    # The line's end is not a part of the JSON.
    assert (whole, refused) == ((1, 64) if name == "provenance.json" else (0, 65))


@pytest.mark.parametrize("name", KINDS)
def test_any_bit_flipped(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(SEED)
    variants = []
    for at in rng.choice(8 * len(content), min(FLIPS, 8 * len(content)), replace=False).tolist():
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        variants.append(bytes(changed))
    whole, refused = outcomes(tmp_path / name, read, variants)
    if name == "provenance.json":  # what is there for people alone decides nothing
        assert refused > 50
    else:  # dates and attributes of members in an archive decide nothing either
        assert refused > FLIPS / 2


def test_history_of_an_unfinished_stage(tmp_path):
    path = tmp_path / "history.csv"
    content = ",".join(HEADER) + "\n" + "".join(ROW.format(epoch) for epoch in range(1, 9))

    def kept(text: str) -> str:
        path.write_text(text)
        files.HistoryFile(path, HEADER, 8)
        return path.read_text()

    assert kept(content) == content
    assert kept(content + "9,0.1") == content  # cut in the epoch after the last that was saved
    for text, reason in (
        ("", "damaged"),
        (content[:200], "is no row of it"),
        (content.replace(ROW.format(4), ""), "epoch 5 comes after 3"),
        (content.replace("train", "tra\0n"), "its header is not epoch,"),
        (content.replace("0.456", "0.4S6", 1), "'1,0.123,0.4S6,0.001,12.5,800' is no row"),
        (content[: -len(ROW.format(8))], "it ends before epoch 8"),
    ):
        with pytest.raises(CheckpointError, match=reason) as caught:
            kept(text)
        assert "the table begins anew after epoch 8" in str(caught.value)
    path.unlink()
    history = files.HistoryFile(path, HEADER, 8)
    history.append([9, 1, 1, 1, 1, 1])
    history = files.HistoryFile(path, HEADER, 9)
    assert path.read_text().splitlines()[1:] == ["9,1,1,1,1,1"]


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


# ---- older files --------------------------------------------------------------------------------


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


def test_provenance_of_an_older_version_is_still_read(tmp_path):
    write_stage(tmp_path / "provenance.json")
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    del provenance["checksum"]
    (tmp_path / "provenance.json").write_text(json.dumps(provenance))
    assert read_stage(tmp_path / "provenance.json")[2] == "fedcba"


@pytest.mark.parametrize("text", ["[]", "{}", '{"inputs": 1}', "[" * 100_000, "\xff", "{"])
def test_provenance_that_is_none(tmp_path, text):
    write_stage(tmp_path / "provenance.json")
    (tmp_path / "AEC/provenance.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match="provenance.json: "):
        StageFolder(tmp_path, "AEC").begin({}, "")


# ---- made to harm -------------------------------------------------------------------------------


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def hostile_files(folder: Path, harm: Path) -> list[Path]:
    """Pickles that would make `harm`, in every wrapping that a reader might open."""
    torch.save({"format": 1, "kind": "x", "w": Payload(harm)}, folder / "zip.pt")
    (folder / "sealed.pt").write_bytes(sealed((folder / "zip.pt").read_bytes()))
    torch.save(Payload(harm), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "plain.pt").write_bytes(pickle.dumps(Payload(harm)))
    objects = np.array([Payload(harm)], dtype=object)
    np.save(folder / "a.npy", objects, allow_pickle=True)
    np.savez(folder / "a.npz", a=objects)
    (folder / "pickle.npy").write_bytes(pickle.dumps(Payload(harm)))
    (folder / "pickle.npz").write_bytes(pickle.dumps(Payload(harm)))
    return sorted(folder.glob("*.*"))


def test_nothing_is_executed(tmp_path):
    harm = tmp_path / "harm"
    (tmp_path / "in").mkdir()
    readers = {".pt": files.read_torch, ".npy": files.open_rows, ".npz": files.read_npz}
    for path in hostile_files(tmp_path / "in", harm):
        with pytest.raises(CheckpointError, match=path.name):
            readers[path.suffix](path)
    assert not harm.exists()
    pickle.loads(pickle.dumps(Payload(harm))).close()
    assert harm.exists()  # it would have worked


def npy(shape: str, payload: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def npz(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a.npy", content)
    return buffer.getvalue()


LIES = (
    "(1000000000000, 4)",
    "(4, 4)",
    "(-8, -1)",
    "(8, 1, 10**9)",
    "(1e3, 2)",
    "((8,1),)",
)
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


def test_headers_that_lie_take_no_memory(tmp_path):
    """In a process that may not have more than some GB."""
    for number, shape in enumerate(LIES):
        (tmp_path / f"{number}.npy").write_bytes(npy(shape))
        (tmp_path / f"{number}.npz").write_bytes(npz(npy(shape)))
        (tmp_path / f"{number}s.npz").write_bytes(sealed(npz(npy(shape))))
    bomb = npy("(12500000,)", b"\0" * 100_000_000)
    (tmp_path / "bomb.npz").write_bytes(npz(bomb, zipfile.ZIP_DEFLATED))
    (tmp_path / "bomb.pt").write_bytes(sealed(npz(bomb, zipfile.ZIP_DEFLATED)))
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
