import shutil
from pathlib import Path

import pytest

from RISCluster.config import load_settings
from RISCluster.stages.aec import run_aec
from RISCluster.stages.dec import run_dec
from RISCluster.stages.gmm import run_gmm
from tests.conftest import blobs, write_samples

QUICK = (
    "run.name=test",
    "run.figures=no",
    "run.device=cpu",
    "aec.n_features=3",
    "aec.n_epochs=6",
    "aec.batch_size=16",
    "gmm.n_clusters=2-4",
    "gmm.n_init=3",
    "dec.n_clusters=3",
    "dec.n_epochs=2",
    "dec.batch_size=16",
)


@pytest.fixture(scope="session")
def made_run(tmp_path_factory) -> Path:
    """Folder of a run of three stages on 96 samples of three classes; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    spectrogram, classes = blobs(96)
    spectrogram[5] = 0  # unusable
    times = [f"2016-{1 + i % 12:02d}-01T{i % 24:02d}:00:{i % 60:02d}.000000Z" for i in range(96)]
    ids = [f"XH.DR{i % 4:02d}..HHZ" for i in range(96)]
    path = write_samples(
        folder / "small.h5",
        spectrogram,
        labels=classes,
        starttime=[time.encode() for time in times],
        trace_id=[name.encode() for name in ids],
    )
    (folder / "config.ini").write_text("[run]\n")
    words = (*QUICK, f"run.folder={folder / 'Outputs'}", f"data.file={path}")
    settings = load_settings(folder / "config.ini", words)
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    return folder / "Outputs" / "test"


@pytest.fixture
def run_folder(made_run, tmp_path) -> Path:
    """A copy of it to work on; the data file stays where it is."""
    return Path(shutil.copytree(made_run, tmp_path / "run"))
