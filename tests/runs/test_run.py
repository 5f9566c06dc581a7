import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RunError, SettingsError
from RISCluster.evaluation.metrics import event_metrics
from RISCluster.runs.labels import new_labels, read_labels
from RISCluster.runs.run import known_classes, open_run


def test_event_ids_of_the_file_are_in_the_table_and_scored(small_file, tmp_path):
    labels, events = np.arange(96) // 4 % 3, np.arange(96) // 4
    with open_spectrograms(small_file) as file:
        assert event_metrics(file, labels, 0) == {}
    with h5py.File(small_file, "a") as file:
        file["event_id"] = np.where(events > 0, events, -1)
    with open_spectrograms(small_file) as file, new_labels(tmp_path / "x.csv", file) as write:
        for start in (0, 50):  # two blocks
            write(start, labels[start : start + 50], np.ones(min(50, 96 - start)))
        found = event_metrics(file, labels, 0)
    assert read_labels(tmp_path / "x.csv")["event_id"].tolist() == [-1] * 4 + events[4:].tolist()
    assert (found["n_events"], found["event_agreement"]) == (23, 1)


def test_classes_can_have_any_numbers():
    numbers = np.where(np.arange(96) % 3 == 1, 10**12, np.arange(96) % 3 - 1)
    names = ["ice", "sea", "none"]
    truth, found = known_classes(SimpleNamespace(labels=lambda: numbers, class_names=lambda: names))
    assert found == [*names, "class 1000000000000"]
    assert truth[:6].tolist() == [-1, 3, 1, -1, 3, 1]


def test_complete_run(made_run):
    with open_run(made_run) as run:
        assert list(run.stages) == ["AEC", "GMM", "DEC"]
        assert (run.notes, run.final.name, run.final.n_clusters) == ([], "DEC", 3)
        table, labels = run.final.table, run.final.labels
        assert labels[5] == -1
        assert table["starttime"][1] == np.datetime64("2016-02-01T01:00:01")
        assert table["trace_id"].tolist() == [f"XH.DR{i % 4:02d}..HHZ" for i in range(96)]
        assert np.bincount(labels[labels >= 0]).tolist() == run.final.sizes.tolist()
        assert run.final.latents.shape == (96, 3 + 10 + 10)
        assert run.truth.tolist() == (np.arange(96) % 3).tolist()


def test_stages_that_are_unfinished_or_of_other_models(run_folder):
    provenance = run_folder / "DEC/provenance.json"
    complete = provenance.read_text()
    provenance.write_text(json.dumps(json.loads(complete) | {"status": "unfinished"}))
    with open_run(run_folder) as run:
        assert (list(run.stages), run.final.name) == (["AEC", "GMM"], "GMM")
        assert "DEC stage is unfinished" in run.notes[0]
    provenance.write_text(complete)
    with (run_folder / "GMM/model.npz").open("ab") as file:
        file.write(b" ")
    with open_run(run_folder) as run:
        assert list(run.stages) == ["AEC"]
        assert "model.npz: has changed since it was written" in run.notes[0]
        assert "made from another GMM/model.npz" in run.notes[1]


def test_data_missing_or_other(made_run, small_file):
    for path, reason in (("nowhere.h5", "no such file"), (small_file, "is not the data")):
        with open_run(made_run, [f"data.file={path}"]) as run:
            assert run.file is run.truth is None
            assert reason in run.notes[0]
            assert len(run.final.labels) == 96


@pytest.mark.parametrize(
    ("folder", "words", "error", "text"),
    [
        ("nothing", [], RunError, "no such run folder"),
        (".", [], RunError, "holds no complete stage"),
        (".", ["report.station=x"], SettingsError, "no setting 'report.station'"),
    ],
)
def test_no_run(tmp_path, folder, words, error, text):
    with pytest.raises(error, match=text), open_run(tmp_path / folder, words):
        pass
