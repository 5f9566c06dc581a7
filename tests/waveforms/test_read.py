import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.read import Stretch, matching, read_traces, scan
from tests.waveforms.waves import MIDNIGHT, SECOND, noise, write

ID, OTHER = "XX.AAA..HHZ", "XX.BBB.00.HHZ"


def test_headers_sorted_with_exact_times(tmp_path, monkeypatch):
    b = write(tmp_path / "b.mseed", (OTHER, MIDNIGHT + 123_456_000, 100.0, noise(10, 100)))
    late = (ID, MIDNIGHT + 60 * SECOND, 50.0, noise(10, 50))
    a = write(tmp_path / "z.mseed", late, (ID, MIDNIGHT, 50.0, noise(20, 50)))
    stretches, lines = scan([b, a], 1)
    assert stretches == [
        Stretch(a, ID, MIDNIGHT, 1000, 50.0, ID, 1),
        Stretch(a, ID, MIDNIGHT + 60 * SECOND, 500, 50.0, ID),
        Stretch(b, OTHER, MIDNIGHT + 123_456_000, 1000, 100.0, OTHER),
    ]
    assert stretches[0].end == MIDNIGHT + 20 * SECOND
    assert lines == []
    monkeypatch.setattr(reading, "MIN_PARALLEL_FILES", 2)
    assert scan([b, a], 2)[0] == stretches


def test_files_that_are_no_waveforms_are_left_out(tmp_path):
    good = write(tmp_path / "good.mseed", (ID, MIDNIGHT, 100.0, noise(60, 100)))
    cut = tmp_path / "cut.mseed"
    cut.write_bytes(good.read_bytes()[: 4096 + 100])
    (tmp_path / "text.dat").write_text("no waveform\n")
    (tmp_path / "tiny.mseed").write_bytes(good.read_bytes()[:100])
    stretches, lines = scan(sorted(tmp_path.iterdir()), 1)
    assert [stretch.path.name for stretch in stretches] == ["cut.mseed", "good.mseed"]
    assert stretches[0].n_samples < stretches[1].n_samples == 6000
    assert lines[0].startswith(f"{cut}: ")
    assert lines[0].endswith("; what can be read of it is used")
    reason = "can't be read as waveforms (of no format that obspy reads): left out"
    assert lines[1] == f"{tmp_path / 'text.dat'}: {reason}"
    assert lines[2].startswith(f"{tmp_path / 'tiny.mseed'}: can't be read as waveforms")
    assert len(lines) == 3
    for n, line in ((1, "ends with 4,095 bytes of a record of 4,096"), (0, "")):
        cut.write_bytes(good.read_bytes()[: -n or None])
        _, lines = scan([cut], 1)
        assert lines == ([f"{cut}: {line}; what can be read of it is used"] if line else [])


def test_a_slice_of_one_trace(tmp_path):
    data = noise(60, 100)
    pieces = (ID, MIDNIGHT, 100.0, data), (OTHER, MIDNIGHT, 100.0, data)
    path = write(tmp_path / "with [brackets]*.mseed", *pieces)
    span = MIDNIGHT + 10 * SECOND, MIDNIGHT + 20 * SECOND
    assert list(read_traces(path, *span)) == [ID, OTHER]
    found = read_traces(path, *span, OTHER)
    assert list(found) == [OTHER]
    (trace,) = found[OTHER]
    assert trace.stats.starttime.ns == MIDNIGHT + 10 * SECOND
    np.testing.assert_array_equal(trace.data, data[1000:2001])
    assert read_traces(path, MIDNIGHT - 9 * SECOND, MIDNIGHT - 8 * SECOND) == {}
    with pytest.raises(DataError, match=r"none.mseed: can't be read as waveforms"):
        read_traces(tmp_path / "none.mseed", 0, 1)


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


def scan_of(monkeypatch, *traces):
    stream = reading.import_obspy().Stream(list(traces))
    monkeypatch.setattr(reading, "_read", lambda *_, **__: (stream, []))
    return scan([Path("x.dat")], 1)


def test_ascii_waveforms_have_no_record_length(tmp_path):
    trace = header(mseed={"dataquality": "D"}, sampling_rate=100)
    for form in ("SLIST", "TSPAIR"):
        trace.write(str(tmp_path / form), format=form)
    stretches, lines = scan(sorted(tmp_path.iterdir()), 1)
    assert [item.n_samples for item in stretches] == [10, 10]
    assert lines == []


def test_text_in_mini_seed_is_left_out(tmp_path):
    text = reading.import_obspy().Trace(np.frombuffer(b"clock is locked" * 20, dtype="|S1"))
    text.id, text.stats.sampling_rate = "XX.AAA..LOG", 1
    path, other = tmp_path / "a.mseed", tmp_path / "b.mseed"
    text.write(str(path), format="MSEED")
    write(other, (".AAA..HHZ", MIDNIGHT, 100.0, noise(10, 100)))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    stretches, lines = scan([path], 1)
    assert [item.trace_id for item in stretches] == [".AAA..HHZ"]
    assert lines == [f"{path}: a trace of XX.AAA..LOG left out: text, no samples"]
    assert list(read_traces(path, 0, MIDNIGHT * 2)) == [".AAA..HHZ"]


@pytest.mark.parametrize("rate", [0, -5, float("nan"), float("inf"), 1e9, 1e-9])
def test_rates_that_no_instrument_has(monkeypatch, rate):
    odd = header(station="BAD")
    odd.stats.__dict__["sampling_rate"] = float(rate)
    stretches, lines = scan_of(monkeypatch, odd, header(), odd)
    assert [item.trace_id for item in stretches] == [".AAA..HHZ"]
    assert lines[0].startswith(f"x.dat: a trace of .BAD..HHZ left out: 10 samples at {rate:g} Hz")
    assert lines[0].endswith("(2 traces)")


@pytest.mark.parametrize(
    ("year", "is_used"), [(1600, 0), (1677, 0), (1900, 1), (2261, 1), (2262, 0), (51976, 0)]
)
def test_times_beyond_nanoseconds_of_64_bits(monkeypatch, year, is_used):
    far = header(station="BAD", start=round((year - 1970 + 0.5) * 365.2425 * 86400) * SECOND)
    stretches, lines = scan_of(monkeypatch, far, header())
    assert len(stretches) == 1 + is_used
    assert is_used or f"from the year {year}; times from 1678 to 2261 can be stored" in lines[0]


def test_a_header_without_a_time_beside_others(tmp_path):
    for name, station in (("b.sac", "AAA"), ("a.sac", "BBB")):
        trace = header(sampling_rate=10.0, station=station)
        trace.data = trace.data.astype(np.float32)
        trace.write(str(tmp_path / name), format="SAC")
    raw = bytearray((tmp_path / "a.sac").read_bytes())
    raw[70 * 4 : 76 * 4] = np.full(6, -12345, np.int32).tobytes()  # year to millisecond
    (tmp_path / "a.sac").write_bytes(raw)
    stretches, lines = scan(sorted(tmp_path.iterdir()), 1)
    assert [item.trace_id for item in stretches] == [".AAA..HHZ"]
    assert lines[0].startswith(f"{tmp_path / 'a.sac'}: starts 1970-01-01T00:00:00.000000Z, ")
    assert lines[0].endswith("other files have times: left out")
    stretches, lines = scan([tmp_path / "a.sac"], 1)
    assert [item.trace_id for item in stretches] == [".BBB..HHZ"]
    assert lines[0].endswith("times of its windows count from there")


def gather(path, start=MIDNIGHT, n=12, seed=0, form="SEGY"):
    obspy = reading.import_obspy()
    rng = np.random.default_rng(seed)
    traces = [header(station="", channel="", sampling_rate=500, start=start) for _ in range(n)]
    for trace in traces:
        trace.data = rng.standard_normal(1000).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it makes headers
        options = {"data_encoding": 5} if form == "SEGY" else {}
        obspy.Stream(traces).write(str(path), format=form, **options)
    return np.array([trace.data for trace in traces])


@pytest.mark.parametrize("form", ["SEGY", "SU"])
def test_channels_of_a_gather_are_numbered(tmp_path, form):
    path = tmp_path / "g.dat"
    data = gather(path, form=form)
    stretches, lines = scan([path], 1)
    assert [item.trace_id for item in stretches] == [f".{k:05d}.." for k in range(1, 13)]
    assert [item.within for item in stretches] == list(range(12))
    assert "12 traces at the same time have the id ...: named by their position" in lines[0]
    found = read_traces(path, MIDNIGHT + SECOND, MIDNIGHT + 2 * SECOND, numbered=True)
    for place in range(12):
        np.testing.assert_array_equal(found[place][0].data, data[place, 500:])


def test_files_without_ids_at_the_same_time_are_named_by_file(tmp_path):
    gather(tmp_path / "north.1.sgy", n=2)
    gather(tmp_path / "south.sgy", n=2, seed=1)
    (tmp_path / "copy.sgy").write_bytes((tmp_path / "south.sgy").read_bytes())
    for name, value in (("p.sac", 1.0), ("q.sac", 2.0)):
        trace = header(station="", channel="", sampling_rate=500)
        trace.data = np.full(1000, value, np.float32)
        trace.write(str(tmp_path / name), format="SAC")
    stretches, lines = scan(sorted(tmp_path.iterdir()), 1)
    assert [item.trace_id for item in stretches] == [
        ".copy-00001..", ".copy-00002..", ".north_1-00001..", ".north_1-00002..", ".p..", ".q..",
    ]  # fmt: skip
    assert lines[-3] == f"{tmp_path / 'south.sgy'}: left out: the same as {tmp_path / 'copy.sgy'}"
    assert "3 other files have the id ... at the same time: named by their files" in lines[-2]


def test_an_id_that_is_set_stays_one_trace(tmp_path):
    """Also where pieces repeat and overlap."""
    data = noise(20, 100)
    pieces = [(ID, MIDNIGHT, 100.0, data), (ID, MIDNIGHT + 10 * SECOND, 100.0, data[1000:])]
    path = write(tmp_path / "a.mseed", *pieces)
    path.write_bytes(path.read_bytes() * 2)
    stretches, lines = scan([path], 1)
    assert {(item.trace_id, item.within) for item in stretches} == {(ID, ID)}
    assert lines == []


def test_codes_that_the_reader_changes_are_still_found(tmp_path):
    path = write(tmp_path / "a.mseed", (".mart.10.cp", MIDNIGHT, 100.0, noise(10, 100)))
    raw = bytearray(path.read_bytes())
    raw[13:15] = b"\xe4A"  # location
    path.write_bytes(raw)
    (stretch,), _ = scan([path], 1)
    assert len(read_traces(path, 0, MIDNIGHT * 2, stretch.within)[stretch.within]) == 1


def test_traces_by_pattern():
    stretches = [Stretch("a", ID, 0, 1, 1.0, ID), Stretch("b", OTHER, 0, 1, 1.0, OTHER)]
    assert matching(stretches, "*") == stretches
    assert matching(stretches, "*.BBB.*, XX.C??..HHZ") == stretches[1:]
    with pytest.raises(DataError, match=r"build.trace_ids = \*.HHN fits no trace; there are XX.A"):
        matching(stretches, "*.HHN")


def test_headers_of_reftek_that_overlap():
    """Read alone they are lost, as obspy merges the traces without data."""
    import obspy.io.reftek as reftek

    path = Path(reftek.__file__).parent / "tests/data/225051000_00008656"
    if not path.exists():
        pytest.skip("no test data of obspy")
    stretches, _ = scan([path], 1)
    assert [item.n_samples for item in stretches] == [3165, 892, 2743, 3107, 768, 2925, 3405, 3395]
