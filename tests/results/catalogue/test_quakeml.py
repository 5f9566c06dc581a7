import warnings
from dataclasses import replace

import numpy as np
import pytest

from RISCluster import extras
from RISCluster.errors import DataError, MissingPackage, SettingsError
from RISCluster.results.catalogue import quakeml as module
from RISCluster.results.catalogue.export import Choice, export_of
from RISCluster.results.catalogue.quakeml import write_quakeml
from RISCluster.results.finished.run import open_run

obspy = pytest.importorskip("obspy")


@pytest.fixture
def run(run_folder):
    with open_run(run_folder) as opened:
        yield opened


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return obspy.read_events(str(path), format="QUAKEML")


@pytest.mark.parametrize("part", [10, 1000])
def test_events_and_picks(run, tmp_path, monkeypatch, part):
    monkeypatch.setattr(module, "PART", part)
    export = replace(export_of(run), names={1: "stick <slip> & more"})
    assert write_quakeml(export, tmp_path / "x.xml") == 95
    events, table = read(tmp_path / "x.xml"), run.final.table
    usable = np.flatnonzero(table.labels >= 0)
    assert len(events) == 95
    for event, index in zip(events, usable.tolist(), strict=True):
        pick, label = event.picks[0], int(table.labels[index])
        assert str(pick.time) == f"{table.starttime[index]}Z"
        assert pick.waveform_id.get_seed_string() == table.trace_ids[table.trace[index]]
        assert event.resource_id.id == f"smi:local/RISCluster/run/DEC/{index}"
        assert event.event_type == ("other event" if label == 1 else "not reported")
        called = f"cluster {label}" + (" (stick <slip> & more)" if label == 1 else "")
        assert event.event_descriptions[0].text == called
        assert event.comments[0].text.startswith(
            f"{called}, probability {table.probability[index]:.6f}, sample {index} of run"
        )


def test_the_same_whatever_the_parts(run, tmp_path, monkeypatch):
    texts = []
    for part in (1000, 7):
        monkeypatch.setattr(module, "PART", part)
        write_quakeml(export_of(run), tmp_path / "x.xml")
        texts.append((tmp_path / "x.xml").read_bytes())
    assert texts[0] == texts[1]


def test_choice_and_none(run, tmp_path):
    few = export_of(run, choice=Choice((2,)))
    sizes = run.final.sizes
    assert write_quakeml(few, tmp_path / "x.xml") == sizes[2] == len(read(tmp_path / "x.xml"))
    few.catalogue.table.probability[:] = 0.1
    none = replace(few, choice=Choice((2,), 0.9))
    assert write_quakeml(none, tmp_path / "x.xml") == 0
    assert len(read(tmp_path / "x.xml")) == 0


def test_too_many(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_EVENTS", 94)
    with pytest.raises(SettingsError, match="95 events .* choose with --clusters 1,3"):
        write_quakeml(export_of(run), tmp_path / "x.xml")
    assert not (tmp_path / "x.xml").exists()


def test_times_and_traces_are_needed(run, tmp_path):
    table = run.final.table
    table.starttime[7] = np.datetime64("NaT")
    assert write_quakeml(export_of(run), tmp_path / "x.xml") == 94
    run.final.__dict__["table"] = replace(table, starttime=None)
    with pytest.raises(DataError, match="have no start times; allowed: csv, hdf5"):
        write_quakeml(export_of(run), tmp_path / "x.xml")
    run.final.__dict__["table"] = replace(table, trace=None, trace_ids=[])
    with pytest.raises(DataError, match="have no trace ids"):
        write_quakeml(export_of(run), tmp_path / "x.xml")


def test_ids_of_another_kind(run, tmp_path):
    run.final.__dict__["table"] = replace(
        run.final.table, trace_ids=["channel 1", "A", "XH.B.10.HHZ", ".C..HHZ"]
    )
    write_quakeml(export_of(run), tmp_path / "x.xml")
    found = {event.picks[0].waveform_id.station_code for event in read(tmp_path / "x.xml")}
    assert found == {"channel 1", "A", "B", "C"}


def test_without_obspy(run, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError("none here")

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingPackage, match="pip install obspy"):
        write_quakeml(export_of(run), tmp_path / "x.xml")
