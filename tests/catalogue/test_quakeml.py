import warnings
from dataclasses import replace

import numpy as np
import pytest

from RISCluster.catalogue import quakeml as module
from RISCluster.catalogue.export import Choice, export_of
from RISCluster.catalogue.quakeml import write_quakeml
from RISCluster.errors import DataError, SettingsError
from RISCluster.runs.run import open_run

obspy = pytest.importorskip("obspy")


@pytest.fixture
def run(run_folder):
    with open_run(run_folder) as opened:
        yield opened


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return obspy.read_events(str(path), format="QUAKEML")


def valid(path):
    from obspy.io.quakeml.core import _validate

    return _validate(str(path), verbose=True)


def test_events_and_picks(run, tmp_path):
    export = replace(export_of(run), names={1: "stick <slip> & more"})
    assert write_quakeml(export, tmp_path / "x.xml") == 95
    assert valid(tmp_path / "x.xml")
    events, table = read(tmp_path / "x.xml"), run.final.table
    usable = np.flatnonzero(table.labels >= 0)
    assert len(events) == 95
    for event, index in zip(events, usable.tolist(), strict=True):
        label, start = int(table.labels[index]), obspy.UTCDateTime(str(table.starttime[index]))
        assert event.resource_id.id == f"smi:local/RISCluster/run/DEC/{index}"
        assert event.event_type == ("other event" if label == 1 else "not reported")
        called = f"cluster {label}" + (" (stick <slip> & more)" if label == 1 else "")
        assert event.event_descriptions[0].text == called
        trace_id = table.trace_ids[table.trace[index]]
        assert event.comments[0].text == (
            f"{called}, probability {table.probability[index]:.6f}, sample {index} of run run, "
            f"stage DEC, window from {start} of trace {trace_id}"
        )
        if index >= 93:
            assert event.picks == event.amplitudes == []
            continue
        (pick,), (amplitude,) = event.picks, event.amplitudes
        assert pick.time == start + 0.25
        assert pick.waveform_id.get_seed_string() == trace_id
        assert pick.method_id.id == "smi:local/RISCluster/detector/recursive"
        assert amplitude.generic_amplitude == pytest.approx(index / 1000)
        assert (amplitude.unit, amplitude.pick_id) == ("m/s", pick.resource_id)
        window = amplitude.time_window
        assert (window.reference, window.begin, window.end) == (start + 0.5, 0.25, 0.25)


def test_without_detections_there_are_no_picks(run, tmp_path, caplog):
    caplog.set_level("INFO", logger="RISCluster")
    table = replace(run.final.table, onset=None)
    run.final.__dict__["table"] = table
    export = replace(export_of(run), file=None)
    assert write_quakeml(export, tmp_path / "x.xml") == 95
    assert valid(tmp_path / "x.xml")
    assert all(event.picks == [] for event in read(tmp_path / "x.xml"))


def test_an_onset_of_another_clock_is_no_pick(run, tmp_path):
    table = run.final.table
    onset = table.starttime.copy()
    onset[table.labels >= 0] += np.timedelta64(1, "s")
    first = np.flatnonzero(table.labels >= 0)[0]
    onset[first] = np.datetime64("1970-01-01")
    run.final.__dict__["table"] = replace(table, onset=onset)
    write_quakeml(replace(export_of(run), file=None), tmp_path / "x.xml")
    picks = [len(event.picks) for event in read(tmp_path / "x.xml")]
    assert picks == [0] + [1] * 94


def test_names_that_the_schema_does_not_allow(run, tmp_path):
    names = ["channel 0", "channel 123456", "a fibre\x01 of fourteen", "NETWORK12.STA..HHZ", ""]
    table = run.final.table
    table = replace(table, trace_ids=names, trace=np.arange(96) % 5)
    run.final.__dict__["table"] = table
    few = replace(
        export_of(run), run_name="Lauf 1: K\u00e4lte & Eis", names={0: "slip\x00\x1f\ud800"}
    )
    write_quakeml(few, tmp_path / "x.xml")
    assert valid(tmp_path / "x.xml")
    events = read(tmp_path / "x.xml")
    other = replace(few, run_name="Lauf 1: K\u00f6lte & Eis")
    write_quakeml(other, tmp_path / "y.xml")
    first = [read(tmp_path / name)[0].resource_id.id for name in ("x.xml", "y.xml")]
    assert first[0] != first[1]
    codes = {
        event.comments[0].text.rpartition("trace ")[2]: event.picks[0].waveform_id.station_code
        for event in events
        if event.picks
    }
    assert codes["channel 0"] == "0"
    assert codes["channel 123456"] == "123456"
    assert codes["NETWORK12.STA..HHZ"] == "T3"
    assert len(set(codes.values())) == 5
    assert "slip" in "".join(event.event_descriptions[0].text for event in events)


def test_the_same_twice(run, tmp_path):
    for name in ("x.xml", "y.xml"):
        write_quakeml(export_of(run), tmp_path / name)
    assert (tmp_path / "x.xml").read_bytes() == (tmp_path / "y.xml").read_bytes()


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
