"""The scripts as torchrun starts them: several processes, one that dies, another number later.

Each is compared with one run of a single process with the same batches, made once.
"""

import contextlib
import itertools
import os
import runpy
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from RISCluster import errors
from RISCluster.data.loading import Reader
from RISCluster.distributed import Ranks
from RISCluster.errors import DataError
from RISCluster.io import load_checkpoint
from RISCluster.runtime import StopRequest
from RISCluster.training import common
from tests.conftest import N_CLASSES, QUICK, ROOT, blobs, write_samples
from tests.processes import run_processes

SCRIPTS = {"AEC": "AEC_train.py", "GMM": "GMM_centroids.py", "DEC": "DEC_train.py"}
COLUMNS = {"AEC": ["train_mse", "validation_mse"], "DEC": ["mse", "kl", "loss", "label_change"]}
N, UNUSABLE = 50, 10  # AEC has 39 samples and DEC 49: their last batches are one, for rank 0
STEPS = {"AEC": 3, "DEC": 4}  # an epoch
SETTINGS = (
    *QUICK, "data.file=s.h5", "run.name=r", "aec.n_epochs=8", "aec.batch_size=19", "aec.lr=0.003",
    "gmm.n_clusters=3", "gmm.init=kmeans", "gmm.n_resamples=none", "dec.n_epochs=4",
)  # fmt: skip


def scripts(stages: str, words: Sequence[str] = (), fault: str = "", at: int = 0) -> None:
    """Run stages, as ``AEC GMM``, with a fault of rank 1 at a block or step; end the process."""
    common.SYNC_EVERY = 2  # steps between stop checks of ranks: fewer than an epoch has
    common.SAVE_INTERVAL = 10**6 * int(os.environ["RANK"])  # after every epoch, as rank 0 says
    read, add, take = Reader.blocks, Ranks.sum_gradients, StopRequest._take
    steps, taken = itertools.count(1), []

    def is_time(wanted):
        return fault == wanted and os.environ["RANK"] == "1" and next(steps) == at

    def blocks(self, index):
        for block in read(self, index):
            if is_time("unreadable"):
                raise DataError("s.h5: block can't be read")
            yield block

    def sum_gradients(self, parameters):
        if is_time("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if is_time("stopped"):
            os.kill(os.getpid(), signal.SIGTERM)
            while not taken:
                time.sleep(0.01)
        add(self, parameters)

    def note(self, number, frame):
        taken.append(number)
        take(self, number, frame)

    Reader.blocks, Ranks.sum_gradients, StopRequest._take = blocks, sum_gradients, note
    end, errors.all_processes = errors.all_processes, errors.guarded
    for stage in stages.split():
        code = runpy.run_path(str(ROOT / SCRIPTS[stage]))["main"]([*SETTINGS, *words])
        if code:
            errors.guarded = lambda _, code=code: code
            break
    end(lambda: None)


def new_folder(path: Path, reference: Path | None = None, *stages: str) -> Path:
    """A working folder with the samples and finished stages of the reference."""
    path.mkdir()
    (path / "config.ini").write_text("[run]\n")
    spectrogram, _ = blobs(N)
    spectrogram[UNUSABLE] = 0
    write_samples(path / "s.h5", spectrogram)
    for stage in stages:
        shutil.copytree(reference / stage, path / "Outputs/r" / stage)
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """Run folder of one process, never interrupted."""
    folder = new_folder(tmp_path_factory.mktemp("processes") / "one")
    with contextlib.chdir(folder):
        for script in SCRIPTS.values():
            assert runpy.run_path(str(ROOT / script))["main"](SETTINGS) == 0
    return folder / "Outputs/r"


def assert_same(run: Path, reference: Path, *stages: str) -> None:
    """Results of stages are those of the reference, to rounding."""
    for stage in stages:
        if stage in COLUMNS:
            paths = (top / stage / "history.csv" for top in (run, reference))
            columns = (pandas.read_csv(path)[COLUMNS[stage]] for path in paths)
            np.testing.assert_allclose(*columns, rtol=2e-4, atol=1e-6)
        if stage != "AEC":
            found = [pandas.read_csv(top / stage / "labels.csv").label for top in (run, reference)]
            assert found[0].tolist() == found[1].tolist()
            assert found[0].nunique() == N_CLASSES + 1  # and -1: equal labels mean something
    if "DEC" in stages:
        states = [load_checkpoint(top / "DEC/last.pt", "DEC state") for top in (run, reference)]
        found, expected = (state["result"] for state in states)
        assert found["target"].shape == (N - 1, N_CLASSES)
        assert found["changes"] == expected["changes"]  # of all samples, not of a rank's
        assert torch.equal(found["labels"], expected["labels"])
        torch.testing.assert_close(found["target"], expected["target"], rtol=0, atol=1e-3)


def test_three_processes_that_read_from_disk_equal_one(tmp_path, reference):
    folder = new_folder(tmp_path / "three")
    codes, _, out, err = run_processes(folder, 3, scripts, "AEC GMM DEC", ("data.loadmode=disk",))
    assert codes == [0, 0, 0], out + err
    assert out.count("computing on cpu, 3 processes") == 3
    assert_same(folder / "Outputs/r", reference, *SCRIPTS)


@pytest.mark.parametrize(("stage", "n_resumed"), [("AEC", 3), ("DEC", 1)])
def test_two_are_stopped_and_another_number_resumes(tmp_path, reference, stage, n_resumed):
    """SIGTERM to one process in the first batch of epoch 3; all stop after the next."""
    folder = new_folder(tmp_path / stage, reference, *(["AEC", "GMM"] if stage == "DEC" else []))
    fault = stage, (), "stopped", 2 * STEPS[stage] + 1
    codes, _, _, err = run_processes(folder, 2, scripts, *fault)
    text = f"Stopped: {stage} stage: in epoch 3 after batch 2 of {STEPS[stage]}, saved in"
    assert (codes, err.count(text)) == ([143, 143], 1), err
    assert not (folder / "Outputs/r" / stage / "metrics.json").exists()
    codes, _, out, err = run_processes(folder, n_resumed, scripts, stage)
    assert codes == [0] * n_resumed, out + err
    assert "resuming after epoch 2, batch 2 of " in out
    assert_same(folder / "Outputs/r", reference, stage)


@pytest.mark.parametrize(("fault", "at", "epoch", "cause"), [
    ("killed", 3 * STEPS["AEC"] + 2, 3, "PeerLost: torchrun: another process of this run has"),
    # A block while loading from disk, one for the mean, then two an epoch.
    ("unreadable", 6, 1, "DataError: s.h5: block can't be read\n"),
])  # fmt: skip
def test_an_end_of_one_process_ends_the_others(tmp_path, fault, at, epoch, cause):
    folder = new_folder(tmp_path / fault)
    arguments = "AEC", ("data.loadmode=disk",), fault, at
    codes, _, _, err = run_processes(folder, 2, scripts, *arguments)
    assert all(codes), err
    assert err.count(cause) == err.count("Error: ") + err.count("PeerLost: ") == 1, err
    state = load_checkpoint(folder / "Outputs/r/AEC/last.pt", "AEC state")
    assert state["epoch"] == epoch
