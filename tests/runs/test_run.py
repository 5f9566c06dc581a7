"""A run folder read back: stages, labels, data, names and corrections."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.runs.labels import cluster_title, new_labels, read_labels
from RISCluster.runs.run import known_classes, open_run, write_names


def test_large_tables_are_parquet_too(small_file, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    for rows in (96, 97):
        monkeypatch.setattr("RISCluster.runs.labels.PARQUET_ROWS", rows)
        path = tmp_path / f"{rows}.csv"
        with open_spectrograms(small_file) as file, new_labels(path, file) as write:
            for start in (0, 48):
                write(start, np.arange(start, start + 48) % 3 - 1, np.full(48, 0.25))
        columns = read_labels(path)
    assert not (tmp_path / "97.parquet").exists()
    table = pandas.read_parquet(tmp_path / "96.parquet")
    assert list(table) == ["index", *columns]
    for name in columns:
        assert (table[name] == columns[name]).all(), name


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


def names_csv(run_folder, *names):
    sizes = json.loads((run_folder / "DEC/metrics.json").read_text())["cluster_sizes"]
    rows = [f"DEC,{k},{sizes[k]},{name}\n" for k, name in enumerate(names)]
    return "".join(["stage,label,size,name\n", *rows])


def test_names_are_written_once_and_read(run_folder):
    path = run_folder / "names.csv"
    for cells, names in (
        (("", "", ""), {}),
        (("icequake", "", '"<script>$x$, 1"'), {0: "icequake", 2: "<script>$x$, 1"}),
    ):
        after = names_csv(run_folder, *cells)
        if names:
            path.write_text(after)
        with open_run(run_folder) as run:
            write_names(run)
            assert path.read_text() == after
            assert (run.names, run.notes) == (names, [])
    assert [cluster_title(label, names) for label in (0, 1)] == ["0 icequake", "1"]


@pytest.mark.parametrize(("old", "new", "note"), [
    *(("DEC,1,", new, rf"line 3, '{new}.*,b', is of no .* DEC stage.* its size: 0 \(\d+\), 1")
      for new in ("GMM,1,", "DEC,0,", "DEC,1,9", "DEC,x,")),
    ("c\n", "c\nDEC\n", "line 5 has 1 cell, and the header 4"),
    ("stage,label", "one,two", "no column stage and no column label"),
])  # fmt: skip
def test_a_table_of_other_clusters_is_not_used(run_folder, old, new, note):
    (run_folder / "names.csv").write_text(names_csv(run_folder, *"abc").replace(old, new))
    with open_run(run_folder) as run:
        assert run.names == {}
        assert re.search(f"no names are used: {note}", run.notes[0])


def test_corrections(run_folder):
    path, head = run_folder / "corrections.csv", "index,label,mark"
    with open_run(run_folder) as run:
        before, sizes = run.final.labels.copy(), run.final.sizes.tolist()
    (run_folder / "names.csv").write_text(names_csv(run_folder, "icequake", "wind"))
    path.write_text(f"{head}\n3,2,\n4,wind,sharp\n6,,odd\n3,1,again\n")
    with open_run(run_folder) as corrected:
        labels, stage = corrected.final.labels, corrected.final
        assert labels[[3, 4]].tolist() == [1, 1]
        assert np.delete(labels, [3, 4]).tolist() == np.delete(before, [3, 4]).tolist()
        assert stage.table["probability"][[3, 4]].tolist() == [1, 1]
        assert stage.corrections["mark"].to_dict() == {4: "sharp", 6: "odd", 3: "again"}
        assert stage.sizes.tolist() == np.bincount(labels[labels >= 0]).tolist()
        assert stage.cluster_sizes.tolist() == sizes
        assert corrected.names == {0: "icequake", 1: "wind"}
    for content, note in (
        (f"{head}\n3,2,\n999,1,\n", "line 3: it needs the index of a sample"),
        (f"{head}\n7,none,\n", "line 2: it needs the index of a sample"),
        ("a,b\n1,2\n", "no column index"),
    ):
        path.write_text(content)
        with open_run(run_folder) as other:
            assert f"no corrections are used: {note}" in other.notes[0]
            assert other.final.labels.tolist() == before.tolist()
