"""Real spectrograms through all three stages; skipped where the files are not at hand."""

import csv
import json

import pytest

from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import shared_data


def run_all(settings):
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    return settings.run_folder


def short(name: str) -> tuple[str, ...]:
    path = shared_data(f"{name}.h5")
    return (f"data.file={path}", "aec.n_features=9", "aec.batch_size=64", "dec.batch_size=64")


def test_icequakes_run_to_the_end(make_settings):
    words = (*short("rutford_icequakes"), "aec.n_epochs=2", "dec.n_epochs=1", "gmm.n_clusters=3")
    folder = run_all(make_settings(*words, "run.figures=yes", "data.train_samples=600"))
    with (folder / "DEC/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2500
    assert rows[0]["starttime"] == "2020-01-01T01:00:41.522000Z"
    assert rows[0]["trace_id"] == "A000"
    assert "accuracy" not in json.loads((folder / "DEC/metrics.json").read_text())
    figures = [path.name for path in (folder / "figures").glob("*.png")]
    assert sum(not name.startswith("report_") for name in figures) == 8
    assert sum(name.startswith("report_") for name in figures) > 8
    assert (folder / "report.html").is_file()


def test_earthquakes_explosions_and_noise(make_settings):
    words = (*short("pnw"), "aec.n_epochs=25", "dec.n_epochs=4", "gmm.n_clusters=3")
    folder = run_all(make_settings(*words))
    # k-means with the true K on 50 principal components: accuracy 0.61, NMI 0.36.
    assert json.loads((folder / "GMM/metrics.json").read_text())["nmi"] > 0.36
    assert json.loads((folder / "DEC/metrics.json").read_text())["nmi"] > 0.36


@pytest.mark.parametrize("name", ["esc10", "fsdd"])
def test_sounds_run_to_the_end(make_settings, name):
    words = (*short(name), "aec.n_epochs=1", "dec.n_epochs=1", "data.train_samples=300")
    run_all(make_settings(*words, "gmm.init=kmeans"))  # maps take a minute, and know no axes


def test_images_of_bytes_without_axes(make_settings):
    words = (*short("mnist"), "data.dataset=images", "data.amplitude=linear")
    run_aec(make_settings(*words, "aec.n_epochs=1", "data.train_samples=500"))
