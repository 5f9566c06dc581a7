"""A finished run of the three stages, and what tests of the stages read from a run."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from RISCluster.errors import RISClusterError
from RISCluster.plots import figures
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import quick_settings, write_small_file

STAGES = (run_aec, run_gmm, run_dec)
FAST = ("gmm.init=kmeans", "gmm.n_resamples=none")
RESULTS = (
    "AEC/model.pt", "AEC/split.npz", "GMM/model.npz", "GMM/selection.csv", "GMM/labels.csv",
    "DEC/model.pt", "DEC/labels.csv", "DEC/latent.npy", "DEC/soft_assignments.npy",
    "DEC/cluster_performance.csv", "GMM/metrics.json", "DEC/metrics.json",
)  # fmt: skip


def run_all(settings) -> Path:
    for stage in STAGES:
        stage(settings)
    return settings.run_folder


def table(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(path: Path, name: str) -> list[str]:
    return [row[name] for row in table(path)]


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of every result without times."""
    return {name: (folder / name).read_bytes() for name in RESULTS}


def refused(work, *arguments) -> str:
    """Message of the error for users that `work` raises."""
    with pytest.raises(RISClusterError) as caught:
        work(*arguments)
    assert ("\n" not in str(caught.value), caught.value.exit_code) == (True, 2)
    return str(caught.value)


def three_quick_stages(folder: Path) -> None:
    path = write_small_file(folder / "small.h5")
    run_all(quick_settings(folder, f"data.file={path}"))


@pytest.fixture
def finished(made_once, small_file, make_settings):
    """A function of words that gives the settings of a finished run, of which this is a copy."""
    folder = make_settings().run_folder
    shutil.copytree(made_once(three_quick_stages) / "Outputs/test", folder)
    return lambda *words: make_settings(f"data.file={small_file}", *words)


@pytest.fixture
def empty_figures(monkeypatch):
    """Figures of stages, maps of cubes apart, are made in full but drawn empty."""
    for module in (figures.scores, figures.samples, figures.latent):
        for name, item in list(vars(module).items()):
            if getattr(item, "__module__", "") == module.__name__:
                monkeypatch.setattr(module, name, lambda *_: Figure((1, 1)))
