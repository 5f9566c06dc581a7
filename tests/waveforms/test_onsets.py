import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.build import build
from RISCluster.waveforms.onsets import clean, onsets_at
from RISCluster.waveforms.read import import_obspy
from tests.waveforms.waves import (
    MIDNIGHT,
    NOON,
    SECOND,
    contents,
    equal,
    noise,
    rows,
    settings,
    with_events,
    write,
)

RATE = 50.0
IDS = ["XX.AAA.00.HHZ", "XX.AAA.00.HHN", "XX.BBB..HHZ"]
OTHER = "XX.BBB.01.HHZ"
TIME = "2016-01-01T12:{:02.0f}:{:06.3f}Z"


def at(seconds):
    return TIME.format(*divmod(seconds, 60))


@pytest.fixture
def source(tmp_path):
    """A file of three traces of two minutes with three events each."""
    data = [with_events(noise(120, RATE, seed), RATE, (30, 60, 90)) for seed in range(3)]
    pieces = [(name, NOON, RATE, own) for name, own in zip(IDS, data, strict=True)]
    return write(tmp_path / "in.mseed", *pieces)


def picks(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def made(source, catalogue, *words, **options):
    """Catalogue of what is built about the onsets of a file, and the numbers."""
    target = catalogue.with_name("set.h5")
    words = settings(f"build.catalogue={catalogue}", *words)
    counts = build([str(source)], target, words, overwrite=True, **options)
    return rows(target.with_suffix(".csv")), counts


def events(*onsets):
    """QuakeML: an event with an origin at the first time, and picks (seconds, id, phase)."""
    event = import_obspy().core.event
    made = event.Event()
    time = import_obspy().UTCDateTime(ns=NOON)
    made.origins = [event.Origin(time=time + 20, latitude=0, longitude=0, depth=0)]
    for seconds, own, phase in onsets:
        own = event.WaveformStreamID(seed_string=own)
        made.picks.append(event.Pick(time=time + seconds, phase_hint=phase, waveform_id=own))
    own = event.WaveformStreamID("YY", "CCC")  # another station
    other = event.Event(picks=[event.Pick(time=time - 3600, waveform_id=own)])
    return event.Catalog([made, other])


def test_the_catalogue_of_a_data_set_gives_the_same_set(source, tmp_path):
    build([str(source)], tmp_path / "first.h5", settings("build.traces=yes"))
    found, counts = made(source, tmp_path / "first.csv", "build.traces=yes")
    assert counts["samples"] == 9
    assert found == rows(tmp_path / "first.csv")
    equal(tmp_path / "first.h5", tmp_path / "set.h5")


def test_windows_begin_before_the_onset(source, tmp_path):
    table = picks(tmp_path / "p.csv", "time,trace_id", f"{at(90)},{IDS[2]}", f"{at(59.5)},{IDS[0]}")
    found, _ = made(source, table)
    assert [(row["trace_id"], row["onset"][14:22]) for row in found] == [
        (IDS[0], "00:59.50"), (IDS[2], "01:30.00"),
    ]  # fmt: skip
    assert [row["starttime"][14:22] for row in found] == ["00:58.50", "01:29.00"]  # a quarter
    assert (found[0]["peak_time"][14:22], found[0]["end"]) == ("01:00.00", "")
    assert made(source, table, "build.before=0.5")[0][0]["starttime"][14:22] == "00:59.00"
    (tmp_path / "p.csv").write_text(f"time\n{at(30)}\n{at(31)}\n{at(119)}\n{at(500)}\n")
    _, counts = made(source, table)
    assert (counts["samples"], counts["edge"]) == (6, 6)


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("station_id,phase_time,phase_type", "XX.AAA.00.HH,{},P", IDS[:2]),  # PhaseNet
        ("network,station,p_arrival_time", "XX,BBB ,{}", [IDS[2], OTHER]),  # EQTransformer
        ("trace_id,start_time,peak_time,phase", "XX.AAA.,{0},{0},P", IDS[:2]),  # SeisBench
        ("network,station,channel,dt_on", "XX,AAA,HHN,{}", IDS[1:2]),  # RISProcess
        ("station;time", "BBB;{}", [IDS[2], OTHER]),
        ("trace_id,time", "XX.BBB..HHZ,{}", IDS[2:]),  # not XX.BBB.01.HHZ
        ("time", "{}", [*IDS, OTHER]),
    ],
)
def test_tables_of_pickers(tmp_path, header, cells, expected):
    table = picks(tmp_path / "p.csv", header, cells.format(at(60)))
    found = onsets_at([*IDS, OTHER], settings(f"build.catalogue={table}").build, None)
    assert sorted(found) == sorted((name, MIDNIGHT) for name in expected)
    assert {own[0][0] for own in found.values()} == {NOON + 60 * SECOND}


def test_picks_and_origins_of_quakeml(source, tmp_path):
    path = tmp_path / "e.xml"
    onsets = [(30, "XX.AAA.00.HHZ", "P"), (60, "XX.AAA.00.HHZ", "S"), (61, "XX.BBB..HHZ", "P")]
    events(*onsets).write(str(path), format="QUAKEML")
    found, counts = made(source, path, "build.phases=P*")
    assert [row["onset"][14:19] for row in found] == ["00:30", "01:01"]
    assert ({row["event_id"] for row in found}, counts["events"]) == ({"0"}, 1)
    assert contents(tmp_path / "set.h5")["event_id"].tolist() == [0, 0]
    # The stations are one and two degrees away, of 111.195 km, 18.53 s at 6 km/s.
    table = picks(
        tmp_path / "s.csv", "network,station,latitude,longitude", "XX,AAA,1,0", "XX,BBB,2,0"
    )
    stations = read_stations(table)
    found, _ = made(source, path, "build.velocity=6", stations=stations)
    assert [row["onset"][14:22] for row in found] == ["00:38.54", "00:38.54", "00:57.06"]
    with pytest.raises(DataError, match=r"velocity = 6: no coordinates of XX.AAA, XX.BBB; set ev"):
        made(source, path, "build.velocity=6")


@pytest.mark.parametrize(
    ("text", "word", "error"),
    [
        ("time,trace_id\n2016-01-01,YY.C..HHZ", "", "none of its 1 rows .* traces: YY.C..HHZ;"),
        (
            "time\n2017-01-01",
            "",
            "none of 3 station-days, as XX.* has all components and an onset;",
        ),
        ("name\na", "", "can't be read as a catalogue: no column of times"),
        ("time\n2016-01-01", "velocity=6", "none of its 0 rows for"),
        ("time\n2016-01-01", "method=slide", "off at most on, and no catalogue with slide"),
    ],
)
def test_catalogues_that_do_not_fit(source, tmp_path, text, word, error):
    with pytest.raises((DataError, SettingsError), match=error):
        made(source, picks(tmp_path / "p.csv", text), *([f"build.{word}"] if word else []))


def test_cleaning(tmp_path):
    given = (50, "A", 5), (10, "A", 1), (10, "B", 3), (10.5, "A", 9), (11.2, "A", 4), (10, "A", 1)
    lines = [f"{at(s)},{name},{size}" for s, name, size in given]
    one = picks(tmp_path / "a.csv", "onset,trace_id,peak_amplitude", *lines)
    two = picks(tmp_path / "b.csv", "onset,trace_id,peak_amplitude,label", f"{at(20)},A,7,ice")
    everything = (-(2**63), 2**63 - 1, 0.0, np.inf)
    line = clean([one, two], tmp_path / "c.csv", *everything, 0.0)
    assert line.endswith("6 rows of 7; left out: 0 by time or amplitude, 1 repeated")
    found = rows(tmp_path / "c.csv")
    assert [row["onset"] for row in found] == [at(s) for s in (10, 10, 10.5, 11.2, 20, 50)]
    assert [row["label"] for row in found] == ["", "", "", "", "ice", ""]
    clean([one, two], tmp_path / "c.csv", *everything, 1.0)
    assert len(rows(tmp_path / "c.csv")) == 5  # 10.5 s is left out, 11.2 s not
    limits = NOON + 10 * SECOND, NOON + 20 * SECOND, 2.0, 8.0
    line = clean([one, two], tmp_path / "c.csv", *limits, 0)
    assert "left out: 5 by time or amplitude, 0 rep" in line
    with pytest.raises(DataError, match="none of 1 row is left; allowed: .* a column peak_amp"):
        clean([picks(two, "time", at(11))], tmp_path / "c.csv", *limits[:2], 1.0, 2.0, 0)
