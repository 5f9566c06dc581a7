import functools
import pickle
import re
import threading
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.read import Stretch, of_few_rates, read_traces, scan, with_copies
from tests.waveforms.waves import MIDNIGHT, SECOND, noise, write

ID, OTHER = "XX.AAA..HHZ", "XX.BBB.00.HHZ"


def test_headers_sorted_with_exact_times(tmp_path, monkeypatch):
    b = write(tmp_path / "b.mseed", (OTHER, MIDNIGHT + 123_456_000, 100.0, noise(10, 100)))
    late = (ID, MIDNIGHT + 60 * SECOND, 50.0, noise(10, 50))
    a = write(tmp_path / "z.mseed", late, (ID, MIDNIGHT, 50.0, noise(20, 50)))
    stretches, lines = scan([b, a], 1)
    assert stretches == [
        Stretch(ID, MIDNIGHT, a, 1000, 50.0),
        Stretch(ID, MIDNIGHT + 60 * SECOND, a, 500, 50.0),
        Stretch(OTHER, MIDNIGHT + 123_456_000, b, 1000, 100.0),
    ]
    assert stretches[0].end == MIDNIGHT + 20 * SECOND
    assert lines == []
    monkeypatch.setattr(reading, "MIN_PARALLEL_FILES", 2)
    assert scan([b, a], 2)[0] == stretches


def test_files_that_are_no_waveforms_are_left_out(tmp_path):
    good = write(tmp_path / "good.mseed", (ID, MIDNIGHT, 100.0, noise(60, 100)))
    (tmp_path / "text.dat").write_text("no waveform\n")
    (tmp_path / "tiny.mseed").write_bytes(good.read_bytes()[:100])
    stretches, notes = scan(sorted(tmp_path.iterdir()), 1)
    assert [stretch.path.name for stretch in stretches] == ["good.mseed"]
    assert [Path(place).name for place, _ in notes] == ["text.dat", "tiny.mseed"]
    assert all(text.startswith("can't be read as waveforms (") for _, text in notes)


def test_a_slice_of_one_trace(tmp_path):
    data = noise(60, 100)
    pieces = (ID, MIDNIGHT, 100.0, data), (OTHER, MIDNIGHT, 100.0, data)
    path = write(tmp_path / "with [brackets]*.mseed", *pieces)
    span = MIDNIGHT + 10 * SECOND, MIDNIGHT + 20 * SECOND
    assert list(read_traces(path, *span)) == [ID, OTHER]
    ((_, (trace,)),) = read_traces(path, *span, OTHER).items()
    assert trace.stats.starttime.ns == MIDNIGHT + 10 * SECOND
    np.testing.assert_array_equal(trace.data, data[1000:2001])
    assert read_traces(path, MIDNIGHT - 9 * SECOND, MIDNIGHT - 8 * SECOND) == {}


def obspys(name):
    """A test file of obspy."""
    path = Path(reading.import_obspy().__file__).parent / "io" / name
    return path if path.exists() else pytest.skip("no test data of obspy")


def test_headers_of_reftek_that_touch():
    """Read alone they are lost, as obspy merges the traces without data."""
    stretches, _ = scan([obspys("reftek/tests/data/225051000_00008656")], 1)
    assert [item.n_samples for item in stretches] == [3165, 892, 2743, 3107, 768, 2925, 3405, 3395]


def test_codes_that_are_filled_up_with_blanks():
    path = obspys("gse2/tests/data/acc.gse")
    (item,), _ = scan([path], 1)
    assert item.trace_id == ".GRB1..BZ"
    assert list(read_traces(path, item.start, item.end, ".GRB1..BZ")) == [".GRB1..BZ"]


def test_rates_that_differ_by_rounding_are_one():
    rates = [99.999992, 100.0, 100.000008, 50.0, 99.99]
    found = of_few_rates([Stretch(ID, 0, Path("a"), 1, rate) for rate in rates])
    assert [item.sampling_rate for item in found] == [100.0, 100.0, 100.0, 50.0, 99.99]


def test_marks_of_missing_samples(tmp_path):
    data = np.array([1, -(2**31), 3], np.int32)
    path = write(tmp_path / "a.mseed", (ID, MIDNIGHT, 1.0, data), encoding="INT32")
    ((trace,),) = read_traces(path, MIDNIGHT, MIDNIGHT + 5 * SECOND).values()
    np.testing.assert_array_equal(trace.data, [1, np.nan, 3])


class Trap:
    """What a pickle could do to whoever reads it."""

    def __reduce__(self):
        return (open, (str(Trap.path), "w"))


def test_a_pickle_is_not_executed(tmp_path):
    Trap.path, path = tmp_path / "sprung", tmp_path / "stream.dat"
    path.write_bytes(pickle.dumps(["obspy.core.stream", Trap()], protocol=0))
    assert scan([path], 1)[0] == []
    assert not Trap.path.exists()


def header(**fields):
    """A trace of ten samples as a reader gives it."""
    obspy = reading.import_obspy()
    start = {"starttime": obspy.UTCDateTime(ns=fields.pop("start", MIDNIGHT))}
    return obspy.Trace(np.arange(10), {"station": "AAA", "channel": "HHZ"} | start | fields)


def test_ascii_waveforms_have_no_record_length(tmp_path):
    trace = header(mseed={"dataquality": "D"}, sampling_rate=100)
    trace.write(str(tmp_path / "a"), format="SLIST")
    (item,), lines = scan([tmp_path / "a"], 1)
    assert (item.n_samples, lines) == (10, [])


@pytest.mark.parametrize(("rate", "year"), [(0, 2000), (np.nan, 2000), (1e9, 2000), (1, 1677)])
def test_headers_that_no_instrument_has(monkeypatch, rate, year):
    odd = header(station="BAD", start=round((year - 1970 + 0.5) * 365.2425 * 86400) * SECOND)
    odd.stats.__dict__["sampling_rate"] = float(rate)
    stream = reading.import_obspy().Stream([odd, header(), odd])
    monkeypatch.setattr(reading, "_read", lambda *_, **__: stream)
    (stretch,), ((_, text),) = scan([Path("x.dat")], 1)
    assert stretch.trace_id == ".AAA..HHZ"
    assert text.startswith(f"2 traces left out, as '.BAD..HHZ': 10 samples at {rate:g} Hz in ")


@pytest.mark.parametrize("form", ["SEGY", "SU", "SAC"])
def test_channels_without_an_id_are_left_out(tmp_path, form):
    obspy, rng = reading.import_obspy(), np.random.default_rng(0)
    traces = [header(station="", channel="", sampling_rate=500) for _ in range(12)]
    for trace in traces:
        trace.data = rng.standard_normal(1000).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it makes headers
        obspy.Stream(traces).write(str(tmp_path / "g.dat"), format=form)
    write(tmp_path / "good.mseed", (ID, MIDNIGHT, 100.0, noise(60, 100)))
    stretches, notes = scan(sorted(tmp_path.iterdir()), 1)
    assert [item.trace_id for item in stretches] == [ID]
    assert re.match("1?[12] traces? left out, as '...': .*; allowed: ids with", notes[0][1])


# ---- archives -----------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    """A folder of day files as in a public archive."""
    (tmp_path / "data/2016/001").mkdir(parents=True)
    for station in ("AAA", "BBB"):
        path = tmp_path / f"data/2016/001/{station}.HHZ.2016.001"
        write(path, (f"XX.{station}..HHZ", MIDNIGHT, 50.0, noise(120, 50)))
    (tmp_path / "data/2016/001/readme.txt").write_text("x")
    return tmp_path / "data"


@pytest.fixture(params=["memory", "web"])
def url(request, archive, monkeypatch):
    """Address of the archive in an object store, or on a web server."""
    if request.param == "memory":
        store = pytest.importorskip("fsspec").filesystem("memory")
        store.put(str(archive), "/bucket", recursive=True)
        yield "memory://bucket/2016/"
        store.rm("/bucket", recursive=True)
        return
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(archive))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/2016/"
        server.shutdown()


def test_files_of_archives_are_copied_once(url, tmp_path, logged):
    target, names = tmp_path / "copies", ["AAA.HHZ.2016.001", "BBB.HHZ.2016.001"]
    found = with_copies([url, "x.mseed"], target)
    assert [path.rpartition("/")[2] for path in found] == [*names, "x.mseed"]
    assert len(scan([Path(path) for path in found[:2]], 1)[0]) == 2
    Path(found[0]).unlink()
    assert with_copies([f"{url}001/*HHZ*"], target) == found[:2]
    assert logged("2 files, 1 to copy into")


def test_archives_that_can_not_be_read(tmp_path, monkeypatch):
    store = pytest.importorskip("fsspec").filesystem("memory")
    with pytest.raises(DataError, match="memory://nowhere: .*give a folder, a file or a pat"):
        with_copies(["memory://nowhere"], tmp_path)
    store.pipe("/bucket/a.mseed", b"x")
    monkeypatch.setattr(type(store), "get_file", lambda *_: 1 / 0)
    with pytest.raises(DataError, match="bucket: can't be fetched: ZeroDivision.*; check"):
        with_copies(["memory://bucket"], tmp_path)
    assert not [*tmp_path.rglob("*.mseed")]
