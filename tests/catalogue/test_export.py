import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest

from RISCluster.catalogue import export as module
from RISCluster.catalogue.export import Choice, Export, export_of, write_csv, write_hdf5
from RISCluster.data.layouts import DETECTION
from RISCluster.errors import RunError, SettingsError
from RISCluster.runs.names import write_names
from RISCluster.runs.run import open_run

SEASONS = "report.seasons=11-2,3-4"


@pytest.fixture
def run(run_folder):
    """A run whose cluster 1 is called Vibración, with commas."""
    with open_run(run_folder) as opened:
        write_names(opened)
    path = run_folder / "names.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2] + '"Vibraci\u00f3n, 5 Hz"', *lines[3:]]) + "\n")
    with open_run(run_folder, [SEASONS]) as opened:
        yield opened


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_is_labels_csv_with_more(run, tmp_path):
    assert write_csv(export_of(run), tmp_path / "new/out.csv") == 96
    rows, known = rows_of(tmp_path / "new/out.csv"), rows_of(run.final.path / "labels.csv")
    for name in known[0]:
        assert [row[name] for row in rows] == [row[name] for row in known]
    assert rows[0]["station"] == "XH.DR00"
    assert [row["season"] for row in rows[:5]] == [
        "Nov-Feb", "Nov-Feb", "Mar-Apr", "Mar-Apr", "",
    ]  # fmt: skip
    named = {row["label"]: row["name"] for row in rows}
    assert named == {"-1": "", "0": "", "1": "Vibraci\u00f3n, 5 Hz", "2": ""}


def test_choice(run, tmp_path):
    table = run.final.table
    some = Choice((0, 2), float(table.probability[table.labels == 2].max()))
    wanted = (table.probability >= np.float32(some.min_probability)) & np.isin(table.labels, (0, 2))
    assert write_csv(export_of(run, choice=some), tmp_path / "x.csv") == wanted.sum() > 0
    written = [int(row["index"]) for row in rows_of(tmp_path / "x.csv")]
    assert written == np.flatnonzero(wanted).tolist()
    certain = Choice(min_probability=0.01)
    assert export_of(run, choice=certain).chosen.sum() == 95  # not the unusable one


def test_hdf5_is_the_same_in_blocks(run, tmp_path, monkeypatch):
    export = export_of(run)
    monkeypatch.setattr(Export.frames, "__defaults__", (7,))
    assert write_hdf5(export, tmp_path / "x.h5") == 96
    write_csv(export, tmp_path / "x.csv")
    rows = rows_of(tmp_path / "x.csv")
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == sorted(module.FIELDS)
        assert file["peak_amplitude"][5] == np.float32(0.005)
        for name in set(module.FIELDS) - {"index", "label", "probability", "peak_amplitude"}:
            assert file[name].asstr()[:].tolist() == [row[name] for row in rows]
        assert file["label"][:].tolist() == run.final.table.labels.tolist()
        assert file["index"][:].tolist() == list(range(96))
        assert np.array_equal(file["probability"][:], run.final.table.probability)
        assert file["label"].chunks == (96,)
        assert "UTC" in file["starttime"].attrs["what"]
        assert file.attrs["stage"] == "DEC"
        assert file.attrs["n_clusters"] == 3


def test_detections(run, tmp_path):
    write_csv(export_of(run), tmp_path / "x.csv")
    row, last = rows_of(tmp_path / "x.csv")[7], rows_of(tmp_path / "x.csv")[95]
    shown = {name: row[name] for name in (*DETECTION, "unit")}
    assert shown == {
        "onset": "2016-08-01T07:00:07.250000Z", "end": "2016-08-01T07:00:07.750000Z",
        "peak_time": "2016-08-01T07:00:07.500000Z", "peak_amplitude": "0.007", "unit": "m/s",
    }  # fmt: skip
    assert last["onset"] == last["end"] == ""
    write_csv(replace(export_of(run), file=None), tmp_path / "x.csv")  # the data are gone
    gone = rows_of(tmp_path / "x.csv")[7]
    assert gone["onset"] == row["onset"]
    assert gone["peak_time"] == gone["unit"] == ""


def test_nothing_chosen(run, tmp_path):
    none = replace(export_of(run), choice=Choice((0,), 1.0))
    none.catalogue.table.probability[:] = 0.5
    assert write_csv(none, tmp_path / "x.csv") == 0
    assert (tmp_path / "x.csv").read_text().splitlines() == [",".join(module.FIELDS)]
    assert write_hdf5(none, tmp_path / "x.h5") == 0
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["season"].shape == (0,)


def test_without_times_and_traces(run, tmp_path):
    table = replace(run.final.table, starttime=None, trace=None, trace_ids=[])
    run.final.__dict__["table"] = table
    write_csv(export_of(run), tmp_path / "x.csv")
    row = rows_of(tmp_path / "x.csv")[0]
    assert [row[name] for name in module.FIELDS[4:8]] == [""] * 4
    write_hdf5(export_of(run), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["starttime"].asstr()[0] == ""


def test_stages(run, tmp_path):
    mixture = export_of(run, "GMM")
    assert mixture.stage_name == "GMM"
    assert mixture.names == {}  # they are those of the refined clusters
    with pytest.raises(SettingsError, match="--clusters 7: .* has clusters 0 to"):
        export_of(run, choice=Choice((0, 7)))
    other = replace(run, stages={"AEC": run.stages["AEC"]})
    with pytest.raises(RunError, match="no complete DEC stage; complete are: AEC"):
        export_of(other, "DEC")
    with pytest.raises(RunError, match="no complete GMM or DEC stage"):
        export_of(other)
