"""The scripts under torchrun: three and four processes, one that dies, another number after a stop.

Everything is measured by one run of a single process with the same batches, made once.
"""

import contextlib
import csv
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from RISCluster.io import load_checkpoint
from tests.conftest import N_CLASSES, ROOT, blobs, write_samples

SCRIPTS = {"AEC": "AEC_train.py", "GMM": "GMM_centroids.py", "DEC": "DEC_train.py"}
FIGURES = {
    "AEC": ("train_mse", "validation_mse"),
    "DEC": ("mse", "kl", "loss", "label_change"),
}
N, UNUSABLE = 98, 10  # AEC has 77 samples and DEC 97: their last batches are one, for rank 0
STEPS = {"AEC": 5, "DEC": 7}  # an epoch
SETTINGS = (
    "data.file=s.h5", "run.name=r", "run.figures=no", "run.device=cpu", "aec.n_features=3",
    "aec.n_epochs=12", "aec.batch_size=19", "aec.lr=0.002", "gmm.n_clusters=3", "gmm.n_init=3",
    "dec.n_epochs=5", "dec.batch_size=16", "dec.tol=0", "dec.n_clusters=3",
)  # fmt: skip
CLOSE = {"rtol": 2e-4, "atol": 1e-6}

# Runs several scripts in the processes of one torchrun, each in a folder of its own.
IN_TURN = """
import runpy, sys
import RISCluster.cli
leave, RISCluster.cli.leave = RISCluster.cli.leave, lambda code: code
root, words, modes = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
for mode in modes:
    for script in ("AEC_train.py", "GMM_centroids.py", "DEC_train.py"):
        main = runpy.run_path(f"{root}/{script}")["main"]
        code = main([*words, f"data.loadmode={mode}", f"run.folder={mode}"])
        if code:
            leave(code)
leave(0)
"""

# A script in which something happens to rank 1 alone, at its so-manieth block or step.
FAULTY = """
import os, runpy, signal, sys, time
from RISCluster.data.loading import Reader
from RISCluster.distributed import Ranks
from RISCluster.errors import DataError
from RISCluster.runtime import StopRequest
from RISCluster.training import common

script, fault, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv[:4] = [script]
open(f"process{os.environ['RANK']}", "w").write(str(os.getpid()))
common.SYNC_EVERY = 3  # steps between talks about stopping: fewer than an epoch has
read, add, take = Reader.blocks, Ranks.sum_gradients, StopRequest._take
count, taken = 0, []

def is_time():
    global count
    count += 1
    return os.environ["RANK"] == "1" and count == at

def blocks(self, index):
    for block in read(self, index):
        if fault == "unreadable" and is_time():
            raise DataError("s.h5: block can't be read")
        yield block

def sum_gradients(self, parameters):
    if fault == "killed" and is_time():
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "stopped" and is_time():
        os.kill(os.getppid(), signal.SIGTERM)  # torchrun, which hands it on
        while not taken:
            time.sleep(0.01)
    add(self, parameters)

def note(self, number, frame):
    taken.append(number)
    take(self, number, frame)

Reader.blocks, Ranks.sum_gradients, StopRequest._take = blocks, sum_gradients, note
runpy.run_path(script, run_name="__main__")
"""


def command(processes: int, *words: str) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launch, *words]


def start(folder: Path, processes: int, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(processes, *words),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
    """Exit code, standard output and errors; a process that hangs is ended."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun kills its processes then, if need be
        out, err = process.communicate(timeout=60)
        pytest.fail(f"still running after {seconds} s\n{out}{err}")
    return process.returncode, out, err


def finish(process: subprocess.Popen) -> str:
    code, out, err = end(process)
    assert code == 0, out + err
    return out


def history(stage: Path, *names: str) -> np.ndarray:
    with (stage / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    return np.array([[float(row[name]) for name in names] for row in rows])


def labels(stage: Path) -> list[int]:
    with (stage / "labels.csv").open() as file:
        return [int(row["label"]) for row in csv.DictReader(file)]


def new_folder(path: Path, reference: Path | None = None, *stages: str) -> Path:
    """A working folder with the samples and finished stages of the reference."""
    path.mkdir()
    (path / "config.ini").write_text("[run]\n")
    (path / "faulty.py").write_text(FAULTY)
    spectrogram, _ = blobs(N)
    spectrogram[UNUSABLE] = 0
    write_samples(path / "s.h5", spectrogram)
    for stage in stages:
        shutil.copytree(reference / stage, path / "Outputs/r" / stage)
    return path


def one_process(folder: Path, *stages: str) -> None:
    with contextlib.chdir(folder):
        for stage in stages:
            assert runpy.run_path(str(ROOT / SCRIPTS[stage]))["main"](SETTINGS) == 0


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """Run folder of one process, never interrupted."""
    folder = new_folder(tmp_path_factory.mktemp("processes") / "one")
    one_process(folder, *SCRIPTS)
    return folder / "Outputs/r"


def assert_same(run: Path, reference: Path, *stages: str) -> None:
    """What stages found is what the reference has, to rounding."""
    for stage in stages:
        if stage in FIGURES:
            figures = [history(top / stage, *FIGURES[stage]) for top in (run, reference)]
            np.testing.assert_allclose(*figures, **CLOSE)
        if stage != "AEC":
            assert labels(run / stage) == labels(reference / stage)
    if "DEC" in stages:
        assert_same_refinement(*(
            load_checkpoint(top / "DEC/last.pt", "DEC state")["result"] for top in (run, reference)
        ))  # fmt: skip


def assert_same_refinement(state: dict, expected: dict) -> None:
    assert state["target"].shape == (N - 1, N_CLASSES)
    assert len(state["changes"]) == 2 * 5 - 1
    assert state["changes"] == expected["changes"]  # shares of all samples, not of a rank's
    assert torch.equal(state["labels"], expected["labels"])
    torch.testing.assert_close(state["target"], expected["target"], rtol=0, atol=1e-3)
    torch.testing.assert_close(
        state["target"].sum(0, dtype=torch.float64),
        expected["target"].sum(0, dtype=torch.float64),
        rtol=1e-4,
        atol=0,
    )


def test_the_reference_finds_the_classes(reference):
    """Or equal labels would mean little."""
    classes = np.arange(N) % N_CLASSES
    for stage in ("GMM", "DEC"):
        found = np.array(labels(reference / stage))
        assert found[UNUSABLE] == -1
        usable = found >= 0
        assert usable.sum() == N - 1
        pairs = set(zip(found[usable].tolist(), classes[usable].tolist(), strict=True))
        assert len(pairs) == N_CLASSES
    assert len(history(reference / "AEC", "train_mse")) == 12


def test_three_processes_equal_one_from_memory_and_from_disk(tmp_path, reference):
    folder = new_folder(tmp_path / "three")
    (folder / "in_turn.py").write_text(IN_TURN)
    out = finish(start(folder, 3, "in_turn.py", str(ROOT), " ".join(SETTINGS), "ram disk"))
    assert out.count("computing on cpu, 3 processes") == 6
    assert [out.count(f"load mode {mode}: ") for mode in ("ram", "disk")] == [2, 2]
    for mode in ("ram", "disk"):
        assert_same(folder / mode / "r", reference, *SCRIPTS)


def stop_in_the_middle(folder: Path, stage: str, processes: int) -> None:
    """SIGTERM to torchrun in the second batch of the third epoch; taken after the next."""
    step = 2 * STEPS[stage] + 2
    words = ("faulty.py", str(ROOT / SCRIPTS[stage]), "stopped", str(step))
    code, out, err = end(start(folder, processes, *words, *SETTINGS))
    assert code != 0
    said = f"Stopped: {stage} stage: in epoch 3 after batch 3 of {STEPS[stage]}, saved in"
    assert err.count(said) == 1, out + err
    assert "PeerLost" not in err
    assert not (folder / "Outputs/r" / stage / "metrics.json").exists()


GOING_ON = "resuming after epoch 2, batch 3 of "


def test_two_stopped_and_four_go_on(tmp_path, reference):
    folder = new_folder(tmp_path / "four")
    stop_in_the_middle(folder, "AEC", 2)
    out = finish(start(folder, 4, str(ROOT / SCRIPTS["AEC"]), *SETTINGS))
    assert "computing on cpu, 4 processes" in out
    assert GOING_ON in out
    assert_same(folder / "Outputs/r", reference, "AEC")


def test_two_stopped_and_one_or_three_go_on(tmp_path, reference, capsys):
    folder = new_folder(tmp_path / "first", reference, "AEC", "GMM")
    stop_in_the_middle(folder, "DEC", 2)
    other = tmp_path / "second"
    shutil.copytree(folder, other)
    one_process(folder, "DEC")
    assert GOING_ON in capsys.readouterr().out
    assert GOING_ON in finish(start(other, 3, str(ROOT / SCRIPTS["DEC"]), *SETTINGS))
    for top in (folder, other):
        assert_same(top / "Outputs/r", reference, "DEC")


def test_a_process_that_is_killed_ends_the_others(tmp_path, reference):
    folder = new_folder(tmp_path / "killed")
    script = str(ROOT / SCRIPTS["AEC"])
    code, out, err = end(start(folder, 3, "faulty.py", script, "killed", "18", *SETTINGS), 40)
    assert code != 0
    assert "Signal 9 (SIGKILL)" in err
    assert err.count("PeerLost: torchrun: another process of this run has ended") == 1, out + err
    for rank in range(3):
        assert not Path("/proc", (folder / f"process{rank}").read_text()).exists()
    state = folder / "Outputs/r/AEC/last.pt"
    assert load_checkpoint(state, "AEC state")["epoch"] == 3
    assert len(history(state.parent, "train_mse")) == 3
    out = finish(start(folder, 3, script, *SETTINGS))
    assert "resuming after epoch 3, batch 0 of 5" in out
    assert_same(folder / "Outputs/r", reference, "AEC")


@pytest.mark.parametrize(
    ("stage", "block"),
    [
        ("GMM", 1),  # while encoding
        ("AEC", 6),  # from disk: one while loading, one for the mean, then two an epoch
    ],
)
def test_an_error_of_one_process_alone_is_one_line(tmp_path, reference, stage, block):
    folder = new_folder(tmp_path / "error", reference, *(["AEC"] if stage == "GMM" else []))
    words = ("faulty.py", str(ROOT / SCRIPTS[stage]), "unreadable", str(block), *SETTINGS)
    mode = [] if stage == "GMM" else ["data.loadmode=disk"]
    code, out, err = end(start(folder, 2, *words, *mode), 40)
    assert code != 0
    assert err.count("DataError: s.h5: block can't be read\n") == 1, out + err
    assert "PeerLost" not in err
    assert "RuntimeError" not in err
    if stage == "AEC":
        assert load_checkpoint(folder / "Outputs/r/AEC/last.pt", "AEC state")["epoch"] == 1
