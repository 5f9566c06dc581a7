import shutil

import numpy as np
import pytest

from RISCluster.report.about_training import (
    autoencoder_rows,
    draw_reconstructions,
    refinement_rows,
    section,
)
from RISCluster.report.blocks import Note, Picture, Table
from RISCluster.runs.run import open_run
from tests.report.test_about_run import change_metrics

HISTORY = {
    "epoch": np.array([1.0, 2.0, 3.0]),
    "train_mse": np.array([0.9, 0.5, 0.4]),
    "validation_mse": np.array([0.8, 0.45, 0.5]),
    "mse": np.array([0.5, 0.4, 0.3]),
    "kl": np.array([0.1, 0.2, 0.25]),
    "loss": np.array([0.6, 0.6, 0.55]),
    "label_change": np.array([0.1, 0.02, 0.001]),
    "seconds": np.array([2.0, 1.0, 1.5]),
    "samples_per_second": np.array([100.0, 300.0, 200.0]),
}


def test_rows_of_the_autoencoder():
    rows = dict(autoencoder_rows(HISTORY, {"validation_mse": 0.45, "dead_features": [2]}))
    assert rows["Epochs"] == 3
    assert rows["Best epoch"] == 2
    assert rows["Validation loss, of the weights kept"] == 0.45
    assert rows["Training loss, of the weights kept"] is None
    assert rows["Dead features"] == 1
    assert rows["Seconds of training"] == 4.5
    assert rows["Samples a second, median"] == 200


def test_rows_of_refinement():
    rows = dict(refinement_rows(HISTORY, {"label_change_from_gmm": 0.125}))
    assert rows["Epochs"] == 3
    assert rows["Last sum of both"] == 0.55
    assert rows["Last clustering loss"] == 0.25
    assert rows["Last label change"] == 0.001
    assert rows["Labels that differ from the mixture's, share"] == 0.125


def test_no_epochs():
    empty = {name: np.empty(0) for name in HISTORY}
    assert autoencoder_rows(empty, {})[0] == ("Epochs", 0)
    assert refinement_rows(empty, {})[0] == ("Epochs", 0)


def pictures(found):
    return {block.name: block for block in found.blocks if isinstance(block, Picture)}


def test_section(run_folder):
    with open_run(run_folder) as run:
        found = section(run)
        assert list(pictures(found)) == [
            "report_aec_history",
            "report_reconstructions",
            "report_dec_history",
        ]
        for picture in pictures(found).values():
            assert picture.draw().axes


def test_reconstructions_are_those_of_the_stage(run_folder):
    """What is drawn on the left is the samples themselves, prepared."""
    with open_run(run_folder) as run:
        figure = draw_reconstructions(run, run.stages["AEC"])
        split = np.load(run_folder / "AEC/split.npz")["validation"]
        left = [axes for axes in figure.axes if axes.get_ylabel().startswith("sample")]
        assert len(left) == 6
        first = int(left[0].get_ylabel().split("\n")[0].removeprefix("sample "))
        assert first == split[0]
        image = left[0].collections[0].get_array().reshape(16, 20)
        root = np.sqrt(run.file.read(first, first + 1)[0])
        np.testing.assert_allclose(image, root / np.linalg.norm(root), atol=1e-5)


def test_dead_features_and_refinement_that_was_not_kept_are_said(run_folder):
    change_metrics(run_folder, "AEC", dead_features=[0, 2])
    change_metrics(run_folder, "DEC", refined=False)
    with open_run(run_folder) as run:
        notes = [block.text for block in section(run).blocks if isinstance(block, Note)]
        assert "2 latent features are dead, the same for every sample: 0, 2" in notes[0]
        assert "was not kept" in notes[1]


def test_a_sweep_is_shown(run_folder):
    text = "combination,validation_mse\nlr=0.001,0.25\nlr=0.01,0.5\n"
    (run_folder / "AEC/sweep.csv").write_text(text)
    change_metrics(run_folder, "AEC", sweep_best="lr=0.001")
    with open_run(run_folder) as run:
        tables = [block for block in section(run).blocks if isinstance(block, Table)]
        rows = next(table.rows for table in tables if table.title == "Sweep of AEC")
        assert rows == [("lr=0.001", 0.25, "taken"), ("lr=0.01", 0.5, "")]


@pytest.mark.parametrize("data", [True, False])
def test_autoencoder_alone(run_folder, data):
    for stage in ("GMM", "DEC"):
        shutil.rmtree(run_folder / stage)
    with open_run(run_folder, [] if data else ["data.file=nowhere.h5"]) as run:
        expected = ["report_aec_history", *["report_reconstructions"] * data]
        assert list(pictures(section(run))) == expected
