import re

import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import blobs, write_samples


@pytest.fixture
def refused(capsys):
    """``refused(words, text)``: the command ends with code 2 and one line that has the text."""

    def check(words, text):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        message = capsys.readouterr().err
        assert re.search(text, message) or text in message, message
        assert message.count("\n") == 1

    return check


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test's folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = (
    "run.name=test", "run.figures=no", "run.device=cpu", "aec.n_features=3", "aec.n_epochs=12",
    "aec.batch_size=16", "gmm.n_clusters=3", "gmm.n_init=3", "dec.n_epochs=3", "dec.batch_size=16",
    "dec.tol=0",
)  # fmt: skip


def three_stages(folder):
    spectrogram, classes = blobs(240)
    times = [f"2016-01-01T00:{i // 60:02d}:{i % 60:02d}Z".encode() for i in range(240)]
    onsets = [time.replace(b"Z", b".5Z") for time in times]
    data = write_samples(
        folder / "train.h5", spectrogram, labels=classes, starttime=times, onset=onsets,
        peak_amplitude=np.arange(240.0),
    )  # fmt: skip
    settings = load_settings(None, (*QUICK, f"data.file={data}", f"run.folder={folder / 'Out'}"))
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)


@pytest.fixture(scope="session")
def trained(made_once):
    """A finished run, and the file that it was trained on; not to be changed."""
    folder = made_once(three_stages)
    return folder / "Out/test", folder / "train.h5"
