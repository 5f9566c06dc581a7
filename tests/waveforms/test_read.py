from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.read import Stretch, of_few_rates, read_traces, scan, with_copies
from tests.waveforms.waves import MIDNIGHT, SECOND, noise, write

obspy = reading.import_obspy()
ID, OTHER = "XX.AAA..HHZ", "XX.BBB.00.HHZ"


def test_headers_sorted_with_exact_times(tmp_path, monkeypatch):
    b = write(tmp_path / "b.mseed", (OTHER, MIDNIGHT + 123_456_000, 100.0, noise(10, 100)))
    late = (ID, MIDNIGHT + 60 * SECOND, 50.0, noise(10, 50))
    a = write(tmp_path / "z.mseed", late, (ID, MIDNIGHT, 50.0, noise(20, 50)))
    stretches, notes = scan([b, a], 1)
    assert stretches == [
        Stretch(ID, MIDNIGHT, a, 1000, 50.0),
        Stretch(ID, MIDNIGHT + 60 * SECOND, a, 500, 50.0),
        Stretch(OTHER, MIDNIGHT + 123_456_000, b, 1000, 100.0),
    ]
    assert (stretches[0].end, notes) == (MIDNIGHT + 20 * SECOND, [])
    monkeypatch.setattr(reading, "MIN_PARALLEL_FILES", 2)
    assert scan([b, a], 2)[0] == stretches


def test_files_that_are_no_waveforms_are_left_out(here):
    good = write(Path("good.mseed"), (ID, MIDNIGHT, 100.0, noise(60, 100)))
    Path("text.dat").write_text("no waveform\n")
    Path("tiny.mseed").write_bytes(good.read_bytes()[:100])
    # A list of this text and what os.mkdir("sprung") returns; obspy would read it.
    Path("pickle.dat").write_bytes(b"(lVobspy.core.stream\nacos\nmkdir\n(Vsprung\ntRa.")
    (item,), notes = scan(sorted(Path().iterdir()), 1)
    assert item.path == good
    assert [place for place, _ in notes] == ["pickle.dat", "text.dat", "tiny.mseed"]
    assert all(text.startswith("can't be read as waveforms (") for _, text in notes)
    assert not Path("sprung").exists()


def test_a_slice_of_one_trace(tmp_path):
    data = noise(60, 100)
    data[1500] = -(2**31)  # marks a gap
    pieces = (ID, MIDNIGHT, 100.0, data), (OTHER, MIDNIGHT, 100.0, noise(60, 100))
    path = write(tmp_path / "with [brackets]*.mseed", *pieces, encoding="INT32")
    span = MIDNIGHT + 10 * SECOND, MIDNIGHT + 20 * SECOND
    assert list(read_traces(path, *span)) == [ID, OTHER]
    ((_, (trace,)),) = read_traces(path, *span, ID).items()
    assert trace.stats.starttime.ns == MIDNIGHT + 10 * SECOND
    assert np.flatnonzero(np.isnan(trace.data)).tolist() == [500]
    np.testing.assert_array_equal(trace.data[501:], data[1501:2001])
    assert read_traces(path, MIDNIGHT - 9 * SECOND, MIDNIGHT - 8 * SECOND) == {}


@pytest.mark.parametrize(("name", "trace_id", "sizes"), [
    # Headers that touch are lost where they are read alone: obspy merges traces without data.
    ("reftek/tests/data/225051000_00008656", ".KW1..EH0", [3165, 892, 2743]),
    ("gse2/tests/data/acc.gse", ".GRB1..BZ", [6000]),  # codes are filled up with blanks
    ("ascii/tests/data/slist.ascii", "XX.TEST..BHZ", [635]),  # without length of records
])  # fmt: skip
def test_test_files_of_obspy(name, trace_id, sizes):
    path = Path(obspy.__file__).parent / "io" / name
    if not path.exists():
        pytest.skip("no test data of obspy")
    stretches, notes = scan([path], 1)
    assert notes == []
    first = [item for item in stretches if item.trace_id == trace_id]
    assert [item.n_samples for item in first] == sizes
    (traces,) = read_traces(path, first[0].start, first[0].end, trace_id).values()
    assert len(traces[0]) == sizes[0]


def test_rates_that_differ_by_rounding_are_one():
    rates = [99.999992, 100.0, 100.000008, 50.0, 99.99]
    found = of_few_rates([Stretch(ID, 0, Path("a"), 1, rate) for rate in rates])
    assert [item.sampling_rate for item in found] == [100.0, 100.0, 100.0, 50.0, 99.99]


@pytest.mark.parametrize(
    ("station", "rate", "year"),
    [("B", 0, 2000), ("B", np.nan, 2000), ("B", 1e9, 2000), ("B", 1, 1677), ("", 1, 2000)],
)  # files of shots, as SEG-Y, have no ids
def test_headers_that_no_station_has(monkeypatch, station, rate, year):
    good, odd = (obspy.Trace(np.arange(10), {"channel": "HHZ"}) for _ in range(2))
    good.stats.station, odd.stats.station = "A", station
    odd.stats.starttime = obspy.UTCDateTime((year - 1970 + 0.5) * 365.2425 * 86400)
    odd.stats.__dict__["sampling_rate"] = float(rate)
    monkeypatch.setattr(reading, "_read", lambda *_, **__: obspy.Stream([odd, good, odd]))
    (stretch,), ((_, text),) = scan([Path("x.dat")], 1)
    assert stretch.trace_id == ".A..HHZ"
    start = f"2 traces left out, such as '.{station}..HHZ': 10 samples at {rate:g} Hz in {year}"
    assert text.startswith(f"{start}; allowed: ids with station and channel codes, as in miniSEED")


def test_files_of_archives_are_copied_once(tmp_path, logged, monkeypatch):
    store = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("AAA.HHZ", "BBB.HHZ", "readme.txt"):
        store.pipe(f"/bucket/2016/001/{name}", name.encode())
    found = with_copies(["memory://bucket/2016/", "x.mseed"], tmp_path)
    assert [path.rpartition("/")[2] for path in found] == ["AAA.HHZ", "BBB.HHZ", "x.mseed"]
    Path(found[0]).unlink()
    assert with_copies(["memory://bucket/2016/001/*HHZ*"], tmp_path) == found[:2]
    assert logged("2 files, 1 to copy into")
    assert [Path(path).read_text() for path in found[:2]] == ["AAA.HHZ", "BBB.HHZ"]
    with pytest.raises(DataError, match=".*: has no files; give a folder, a file or a pattern"):
        with_copies(["memory://bucket/2016/001/*HHN*"], tmp_path)
    monkeypatch.setattr(type(store), "get_file", lambda *_: 1 / 0)
    with pytest.raises(DataError, match="bucket: can't be fetched: ZeroDivision.*; check"):
        with_copies(["memory://bucket"], tmp_path / "new")
    assert not [*tmp_path.rglob("new/**/*HHZ*")]


def test_lists_of_web_servers_have_addresses_and_folders(tmp_path, monkeypatch):
    listed = dict.fromkeys((f"http://host/a/{name}" for name in ("b/", "../c.HHZ", "d.HHZ")), {})
    web = SimpleNamespace(find=lambda *_, **__: listed)
    web.get_file = lambda name, path: Path(path).write_text(name)
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (web, url))
    (path,) = with_copies(["http://host/a/"], tmp_path)
    assert (path, Path(path).read_text()) == (f"{tmp_path}/host/a/d.HHZ", "http://host/a/d.HHZ")
