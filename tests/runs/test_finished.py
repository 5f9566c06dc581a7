import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from RISCluster.errors import RunError, SettingsError
from RISCluster.evaluation.truth import against_truth
from RISCluster.runs.run import FinishedRun, open_run
from tests.made import stage


def test_classes_can_have_any_numbers():
    numbers = np.where(np.arange(96) % 3 == 1, 10**12, np.arange(96) % 3 - 1)
    names = ["ice", "sea", "none"]
    file = SimpleNamespace(labels=lambda: numbers, class_names=lambda: names)
    gmm = stage("GMM", np.arange(96) % 3)
    run = FinishedRun(Path("nowhere"), gmm.settings, {"GMM": gmm}, file)
    assert run.class_names == [*names, "class 1000000000000"]
    assert run.truth[:6].tolist() == [-1, 3, 1, -1, 3, 1]
    assert against_truth(run, gmm).counts.tolist() == [[0] * 4, [0, 0, 0, 32], [0, 32, 0, 0]]


def test_all_that_there_is(run_folder):
    with open_run(run_folder) as run:
        assert list(run.stages) == ["AEC", "GMM", "DEC"]
        assert run.notes == []
        assert run.final.name == "DEC"
        assert run.final.n_clusters == 3
        table = run.final.table
        assert len(table.labels) == 96
        assert table.labels[5] == -1
        assert table.starttime[1] == np.datetime64("2016-02-01T01:00:01")
        assert [table.trace_ids[i] for i in table.trace[:5]] == [
            *(f"XH.DR{i:02d}..HHZ" for i in range(4)),
            "XH.DR00..HHZ",
        ]
        assert np.bincount(table.labels[table.labels >= 0], minlength=3).tolist() == list(
            run.final.sizes
        )
        assert run.final.latents.shape == (96, 3 + 10 + 10)
        assert len(run.feature_names) == 23
        assert run.feature_names[2:4] == ["feature 2", "smoothed 0"]
        assert run.feature_names[12:14] == ["smoothed 9", "modulation 0"]
        assert run.truth.tolist() == (np.arange(96) % 3).tolist()


def test_some_stages_only(run_folder):
    provenance = run_folder / "DEC/provenance.json"
    unfinished = json.loads(provenance.read_text()) | {"status": "unfinished"}
    provenance.write_text(json.dumps(unfinished))
    with open_run(run_folder) as run:
        assert list(run.stages) == ["AEC", "GMM"]
        assert run.final.name == "GMM"
        assert "DEC stage is unfinished" in run.notes[0]


def test_stages_of_one_another(run_folder):
    other = (run_folder / "GMM/model.npz").read_bytes() + b" "
    (run_folder / "GMM/model.npz").write_bytes(other)
    with open_run(run_folder) as run:
        assert list(run.stages) == ["AEC"]
        assert "model.npz: has changed since it was written" in run.notes[0]
        assert "made from another GMM/model.npz" in run.notes[1]


def test_data_gone_or_other(run_folder, small_file):
    for path, reason in (("nowhere.h5", "no such file"), (small_file, "is not the data")):
        with open_run(run_folder, [f"data.file={path}"]) as run:
            assert run.file is None
            assert run.truth is None
            assert reason in run.notes[0]
            assert len(run.final.table.labels) == 96


def test_no_run(tmp_path, run_folder):
    with pytest.raises(RunError, match="no such run folder"), open_run(tmp_path / "nothing"):
        pass
    with pytest.raises(RunError, match="holds no complete stage"), open_run(tmp_path):
        pass
    wrong = ["report.station=x"]
    with pytest.raises(SettingsError, match="no key 'station'"), open_run(run_folder, wrong):
        pass
