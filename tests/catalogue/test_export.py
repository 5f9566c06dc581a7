import warnings
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pandas
import pytest

from RISCluster.catalogue import export as exports
from RISCluster.catalogue.export import FIELDS, export_of, write_csv
from RISCluster.data.measures import MEASURES
from RISCluster.errors import DataError, RunError, SettingsError
from RISCluster.runs.run import open_run
from RISCluster.waveforms.read import import_obspy
from tests.stages.conftest import table

obspy = import_obspy()
EVENTS = np.where(np.arange(96) < 8, np.arange(96) // 4, -1)


@pytest.fixture
def run(run_folder):
    """A run whose cluster 1 has a name that needs quotes in CSV."""
    with open_run(run_folder, ["report.seasons=11-2,3-4"]) as opened:
        yield replace(opened, names={1: "Vibraci\u00f3n, 5 Hz"})


def with_table(export, **columns):
    """Other columns in the table of labels; without those that are None."""
    table = export.catalogue.table.assign(**columns).dropna(axis="columns", how="all")
    stage = SimpleNamespace(table=table, n_clusters=export.catalogue.n_clusters)
    return replace(export, catalogue=exports.Catalogue(stage), file=None)


def test_csv_is_labels_csv_with_more(run, tmp_path):
    export = replace(export_of(run), marks=pandas.Series({7: "odd, new", 9: ""}))
    assert write_csv(export, tmp_path / "new/out.csv") == 96
    rows, known = table(tmp_path / "new/out.csv"), table(run.final.path / "labels.csv")
    for name in known[0]:
        assert [row[name] for row in rows] == [row[name] for row in known]
    seasons = [row["season"] for row in rows[:5]]
    assert seasons == ["Nov-Feb", "Nov-Feb", "Mar-Apr", "Mar-Apr", ""]
    named = {row["label"]: row["name"] for row in rows}
    assert named == {"-1": "", "0": "", "1": "Vibraci\u00f3n, 5 Hz", "2": ""}
    assert {name: rows[7][name] for name in [*FIELDS][5:]} == {
        "trace_id": "XH.DR03..HHZ", "station": "XH.DR03", "event_id": "", "season": "",
        "onset": "2016-08-01T07:00:07.250000Z", "end": "2016-08-01T07:00:07.750000Z",
        "peak_time": "2016-08-01T07:00:07.500000Z", "peak_amplitude": "0.007", "unit": "m/s",
        **dict.fromkeys(MEASURES, ""), "duration": "0.7", "mark": "odd, new",
    }  # fmt: skip
    write_csv(replace(export, file=None), tmp_path / "x.csv")  # the data are missing
    row = table(tmp_path / "x.csv")[7]
    assert (row["onset"], row["peak_time"], row["unit"]) == (rows[7]["onset"], "", "")
    write_csv(with_table(export, starttime=None, trace_id=None), tmp_path / "x.csv")
    assert [table(tmp_path / "x.csv")[0][name] for name in [*FIELDS][4:9]] == [""] * 5


def test_choice(run, tmp_path):
    labels, probability = run.final.labels, run.final.table["probability"].to_numpy()
    least = float(probability[labels == 2].max())
    wanted = (probability >= np.float32(least)) & np.isin(labels, (0, 2))
    write_csv(export_of(run, clusters=(0, 2), min_probability=least), tmp_path / "x.csv")
    written = [int(row["index"]) for row in table(tmp_path / "x.csv")]
    assert written == np.flatnonzero(wanted).tolist() != []
    mixture = export_of(run, "GMM")  # names are those of the refined clusters
    assert (mixture.stage_name, mixture.names) == ("GMM", {})
    with pytest.raises(RunError, match="no complete GMM or DEC stage; complete are: AEC"):
        export_of(replace(run, stages={"AEC": run.stages["AEC"]}))


def test_hdf5_is_the_same_in_blocks(run, tmp_path, monkeypatch):
    export = replace(with_table(export_of(run), event_id=EVENTS), file=run.file)
    export = replace(export, marks=pandas.Series({7: "\u00e4 mark"}))
    monkeypatch.setattr(exports.Export.frames, "__defaults__", (7,))
    assert exports.write_hdf5(export, tmp_path / "x.h5") == 96
    write_csv(export, tmp_path / "x.csv")
    rows = table(tmp_path / "x.csv")
    assert [row["event_id"] for row in rows[6:9]] == ["1", "1", ""]
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == sorted(FIELDS)
        assert file["peak_amplitude"][5] == np.float32(0.005)
        for name in [name for name, kind in FIELDS.items() if not kind]:
            assert file[name].asstr()[:].tolist() == [row[name] for row in rows]
        assert file["label"][:].tolist() == run.final.labels.tolist()
        assert file["event_id"][:].tolist() == EVENTS.tolist()
    none = replace(export, chosen=np.zeros(96, bool))
    assert write_csv(none, tmp_path / "x.csv") == exports.write_hdf5(none, tmp_path / "x.h5") == 0
    assert (tmp_path / "x.csv").read_text().splitlines() == [",".join(FIELDS)]


def test_picks_as_seisbench_writes_them(run, tmp_path):
    onset = run.final.table["onset"].copy()
    onset[0] = np.datetime64("1970-01-01")  # of another clock
    export = with_table(export_of(run), event_id=EVENTS, onset=onset)
    export = replace(export, names={1: "Pn", 2: "tremor"}, file=run.file)
    assert exports.write_picks(export, tmp_path / "x.csv") == 91  # of 93 onsets
    rows = table(tmp_path / "x.csv")
    assert " ".join([*rows[0]][:6]) == "station time start_time end_time probability phase"
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    (row,) = (row for row in rows if row["index"] == "7")
    assert (row["station"], row["trace_id"], row["event_id"]) == ("XH.DR03.", "XH.DR03..HHZ", "1")
    assert (row["start_time"], row["time"]) == ("2016-08-01T07:00:07.250000Z",) * 2
    assert row["end_time"] == "2016-08-01T07:00:07.750000Z"
    assert {row["label"]: row["phase"] for row in rows} == {"0": "", "1": "Pn", "2": ""}
    assert exports.write_picks(replace(export, chosen=np.zeros(96, bool)), tmp_path / "x.csv") == 0
    with pytest.raises(DataError, match="picks: .* have no onset; allowed: csv, hdf5"):
        exports.write_picks(with_table(export, onset=None), tmp_path / "y.csv")


def events_of(export, path):
    """Write QuakeML, validate and read it."""
    from obspy.io.quakeml.core import _validate

    written = exports.write_quakeml(export, path)
    assert _validate(str(path), verbose=True)
    with warnings.catch_warnings(action="ignore"):
        events = obspy.read_events(str(path), format="QUAKEML")
    assert len(events) == written
    return events


def test_events_and_picks(run, tmp_path):
    export = replace(export_of(run), names={1: "stick <slip> & more"})
    events, usable = events_of(export, tmp_path / "x.xml"), run.final.table.query("label >= 0")
    assert len(events) == 95
    for event, (index, row) in zip(events, usable.iterrows(), strict=True):
        start, trace_id = obspy.UTCDateTime(row["starttime"].isoformat()), row["trace_id"]
        called = f"cluster {row['label']}" + (" (stick <slip> & more)" if row["label"] == 1 else "")
        assert event.resource_id.id == f"smi:local/RISCluster/run/DEC/{index}"
        assert event.event_type == ("other event" if row["label"] == 1 else "not reported")
        assert event.event_descriptions[0].text == called
        assert event.comments[0].text == (
            f"{called}, probability {row['probability']:.6f}, sample {index} of run run, stage DEC,"
            f" window from {start} of trace {trace_id}"
        )
        picks = [(pick.time, pick.waveform_id.get_seed_string()) for pick in event.picks]
        assert picks == ([(start + 0.25, trace_id)] if index < 93 else [])


def test_samples_of_one_event(run, tmp_path):
    export = replace(with_table(export_of(run), event_id=EVENTS), names={0: "S", 1: "Sea"})
    events = events_of(export, tmp_path / "x.xml")
    assert {pick.phase_hint for event in events for pick in event.picks} == {"S", None}
    assert len(events) == 2 + (run.final.labels >= 0)[8:].sum()
    first, second = events[:2]
    assert first.resource_id.id == "smi:local/RISCluster/run/DEC/event/0"
    assert (len(first.picks), len(second.picks)) == (4, 3)  # sample 5 is unusable
    stations = [pick.waveform_id.station_code for pick in first.picks]
    assert stations == ["DR00", "DR01", "DR02", "DR03"]
    label = np.bincount(run.final.labels[:4]).argmax()
    assert first.event_descriptions[0].text.startswith(f"cluster {label}")


def test_names_that_the_schema_does_not_allow(run, tmp_path):
    export, onset = export_of(run), run.final.table["starttime"] + np.timedelta64(1, "s")
    onset[0] = np.datetime64("1970-01-01")  # of another clock
    ids = ["channel 0", "channel 123456", "a fibre\x01 of fourteen", "NETWORK12.STA..HHZ", ""]
    traces = pandas.Categorical.from_codes(np.arange(96) % 5, ids)
    few = with_table(export, onset=onset, trace_id=traces)
    few = replace(few, run_name="Lauf 1: K\u00e4lte & Eis", names={0: "slip\x00\x1f"})
    events = events_of(few, tmp_path / "x.xml")
    assert [len(event.picks) for event in events] == [0] + [1] * 94
    found = [event.picks[0].waveform_id.station_code for event in events[1:]]
    assert {"0", "123456", "T3"} < set(found)
    assert len(set(found)) == 5
    assert "slip" in "".join(event.event_descriptions[0].text for event in events)


def test_chosen_events(run, tmp_path, monkeypatch):
    path, export, times = tmp_path / "x.xml", export_of(run), run.final.table["starttime"].copy()
    assert len(events_of(replace(export, chosen=np.zeros(96, bool)), path)) == 0
    times[7] = np.datetime64("NaT")
    assert len(events_of(with_table(export, starttime=times), path)) == 94
    monkeypatch.setattr(exports, "MOST_SAMPLES", 94)
    with pytest.raises(SettingsError, match="95 samples .* choose with --clusters 1,3"):
        exports.write_quakeml(export, path)
    with pytest.raises(DataError, match="quakeml: .* have no trace_id; allowed: csv, hdf5"):
        exports.write_quakeml(with_table(export, trace_id=None), path)
