import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.onsets import clean, onsets_at
from RISCluster.waveforms.read import SECOND, import_obspy
from tests.waveforms.waves import MIDNIGHT, NOON, RATE, eventful, rows, run, settings, write

IDS = ["XX.AAA.00.HHZ", "XX.AAA.00.HHN", "XX.BBB..HHZ"]
OTHER = "XX.BBB.01.HHZ"


def at(seconds):
    return "2016-01-01T12:{:02.0f}:{:06.3f}Z".format(*divmod(seconds, 60))


@pytest.fixture
def source(tmp_path):
    """A file of three traces of two minutes with three events each."""
    pieces = [(name, NOON, RATE, eventful(seed=seed)) for seed, name in enumerate(IDS)]
    return write(tmp_path / "in.mseed", *pieces)


def picks(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def made(source, catalogue, *words, **options):
    """Catalogue of what is built about the onsets of a file, and the numbers."""
    words, target = (f"build.catalogue={catalogue}", *words), catalogue.with_name("set.h5")
    counts = run(source, target, *words, overwrite=True, **options)
    return rows(target.with_suffix(".csv")), counts


def times(found, name="onset"):
    return [row[name][14:22] for row in found]


def test_windows_begin_before_the_onset(source, tmp_path):
    table = picks(tmp_path / "p.csv", "time,trace_id", f"{at(90)},{IDS[2]}", f"{at(59.5)},{IDS[0]}")
    found, _ = made(source, table)
    assert [row["trace_id"] for row in found] == [IDS[0], IDS[2]]
    assert times(found) == ["00:59.50", "01:30.00"]
    assert times(found, "starttime") == ["00:58.50", "01:29.00"]  # a quarter
    assert (times(found, "peak_time")[0], found[0]["end"]) == ("01:00.00", "")
    assert times(made(source, table, "build.before=0.5")[0], "starttime")[0] == "00:59.00"
    _, counts = made(source, picks(table, "time", *map(at, (30, 31, 119, 500))))
    assert (counts["samples"], counts["edge"]) == (6, 6)


def test_windows_that_overlap_or_begin_late(source, tmp_path, logged):
    moments = (30, 30), (32, 32), (34, 34), (60, 63)
    lines = [f"{at(onset)},{at(peak)},{IDS[0]}" for onset, peak in moments]
    made(source, picks(tmp_path / "p.csv", "onset,peak_time,trace_id", *lines))
    assert logged("2 of 4 windows overlap the one before on the same trace: set build.length sh")
    assert logged("1 of 4 windows begin after their onset: set build.length, or build.before of a")


@pytest.mark.parametrize(("header", "cells", "expected"), [
    ("station_id,phase_time,phase_type", "XX.AAA.00.HH,{},P", IDS[:2]),  # PhaseNet
    ("network,station,p_arrival_time", "XX,BBB ,{}", [IDS[2], OTHER]),  # EQTransformer
    ("trace_id,start_time,peak_time,phase", "XX.AAA.,{0},{0},P", IDS[:2]),  # SeisBench
    ("network,station,channel,dt_on", "XX,AAA,HHN,{}", IDS[1:2]),  # RISProcess
    ("station;time", "BBB;{}", [IDS[2], OTHER]),
    ("trace_id,time", "XX.BBB..HHZ,{}", IDS[2:]),  # not XX.BBB.01.HHZ
    ("time", "{}", [*IDS, OTHER]),
])  # fmt: skip
def test_tables_of_pickers(tmp_path, header, cells, expected):
    table = picks(tmp_path / "p.csv", header, cells.format(at(60)))
    found = onsets_at([*IDS, OTHER], settings(f"build.catalogue={table}").build, None)
    assert sorted(found) == sorted((name, MIDNIGHT) for name in expected)
    assert {own[0][0] for own in found.values()} == {NOON + 60 * SECOND}


def test_picks_and_origins_of_quakeml(source, tmp_path, logged):
    event, time = import_obspy().core.event, import_obspy().UTCDateTime(ns=NOON)
    onsets = [(30, "XX.AAA.00.HHZ", "P"), (60, "XX.AAA.00.HHZ", "S"), (61, "XX.BBB..HHZ", "P")]
    near, far = event.Event(), event.Event()
    near.origins = [event.Origin(time=time + 20, latitude=0, longitude=0, depth=0)]
    for seconds, own, phase in (*onsets, (-3600, "YY.CCC..", None)):
        own = event.WaveformStreamID(seed_string=own)
        pick = event.Pick(time=time + seconds, phase_hint=phase, waveform_id=own)
        (near if phase else far).picks.append(pick)
    path = tmp_path / "e.xml"
    event.Catalog([near, far]).write(str(path), format="QUAKEML")
    found, counts = made(source, path, "build.phases=P*")
    assert times(found) == ["00:30.00", "01:01.00"]
    assert ({row["event_id"] for row in found}, counts["events"]) == ({"0"}, 1)
    assert logged("5 rows: 1 of other phases than build.phases, 1 at traces that the waveforms la")
    # The stations are one and two degrees away, of 111.195 km, 18.53 s at 6 km/s.
    lines = "network,station,latitude,longitude", "XX,AAA,1,0", "XX,BBB,2,0"
    stations = read_stations(picks(tmp_path / "s.csv", *lines))
    found, _ = made(source, path, "build.velocity=6", stations=stations)
    assert logged("of 5 rows: 1 that build.velocity does not use (picks, or origins without a pl")
    assert times(found) == ["00:38.54", "00:38.54", "00:57.06"]
    with pytest.raises(DataError, match=r"velocity = 6: no coordinates of XX.AAA, XX.BBB; set ev"):
        made(source, path, "build.velocity=6")


@pytest.mark.parametrize(("text", "word", "error"), [
    ("time,trace_id\n2016-01-01,YY.C..HHZ", "on=6", "1 row .*1 at traces .* traces: YY.C..HHZ;"),
    ("time\n2017-01-01", "on=6", "none of 3 station-days, such as XX.*, has an onset; give"),
    ("name\na", "on=6", "can't be read as a catalogue: no column of times"),
    ("time\n2016-01-01", "velocity=6", "1 that build.velocity.*; give .*velocity to none"),
    ("time,phase\n2016-01-01,S", "phases=P*", "1 of other phases .*; its phases: S; its traces: n"),
    ("time\n2016-01-01", "method=slide", "off at most on, and no catalogue with slide"),
])  # fmt: skip
def test_catalogues_that_do_not_fit(source, tmp_path, text, word, error):
    with pytest.raises((DataError, SettingsError), match=error):
        made(source, picks(tmp_path / "p.csv", text), f"build.{word}")


def test_cleaning(tmp_path):
    given = (50, "A", 5), (10, "A", 1), (10, "B", 3), (10.5, "A", 9), (11.2, "A", 4), (10, "A", 1)
    lines = [f"{at(s)},{name},{size}" for s, name, size in given]
    one = picks(tmp_path / "a.csv", "onset,trace_id,peak_amplitude", *lines)
    two = picks(tmp_path / "b.csv", "onset,trace_id,peak_amplitude,label", f"{at(20)},A,7,ice")
    target, everything = tmp_path / "c.csv", (-(2**63), 2**63 - 1, 0.0, np.inf)
    line = clean([one, two], target, *everything, 0.0)
    assert line.endswith("6 rows of 7; left out: 0 by time or amplitude, 1 repeated")
    found = rows(target)
    assert [row["onset"] for row in found] == [at(s) for s in (10, 10, 10.5, 11.2, 20, 50)]
    assert [row["label"] for row in found] == ["", "", "", "", "ice", ""]
    clean([one, two], target, *everything, 1.0)
    assert len(rows(target)) == 5  # 10.5 s is left out, 11.2 s not
    assert "left out: 3 by time or amp" in clean([one, two], target, *everything[:2], 3.0, 7.0, 0)
    three = picks(tmp_path / "d.csv", "onset,Event ID", f"{at(40)},{2**60}", f"{at(41)},")
    clean([picks(two, "onset,event", f"{at(30)},0", f"{at(31)},2"), three], target, *everything, 0)
    assert [row["event_id"] for row in rows(target)] == ["0", "1", "2", ""]
    with pytest.raises(DataError, match="none of 1 row is left; allowed: .* a column peak_amp"):
        clean([picks(two, "time", at(11))], target, *everything[:2], 1.0, 2.0, 0)
