import pickle

import numpy as np
import pytest

from RISCluster.data.waveforms import sources
from RISCluster.data.waveforms.sources import Stretch, matching, read_traces, scan
from RISCluster.errors import DataError, MissingPackage

from .waves import MIDNIGHT, SECOND, noise, write

ID, OTHER = "XX.AAA..HHZ", "XX.BBB.00.HHZ"


def test_headers_sorted_with_exact_times(tmp_path):
    b = write(tmp_path / "b.mseed", (OTHER, MIDNIGHT + 123_456_000, 100.0, noise(10, 100)))
    late = (ID, MIDNIGHT + 60 * SECOND, 50.0, noise(10, 50))
    a = write(tmp_path / "z.mseed", late, (ID, MIDNIGHT, 50.0, noise(20, 50)))
    stretches, lines = scan([b, a], 1)
    assert stretches == [
        Stretch(a, ID, MIDNIGHT, 1000, 50.0, ID),
        Stretch(a, ID, MIDNIGHT + 60 * SECOND, 500, 50.0, ID),
        Stretch(b, OTHER, MIDNIGHT + 123_456_000, 1000, 100.0, OTHER),
    ]
    assert stretches[0].end == MIDNIGHT + 20 * SECOND
    assert lines == []


def test_files_that_are_no_waveforms_cost_themselves_and_a_line(tmp_path):
    good = write(tmp_path / "good.mseed", (ID, MIDNIGHT, 100.0, noise(60, 100)))
    cut = tmp_path / "cut.mseed"
    cut.write_bytes(good.read_bytes()[: 4096 + 100])
    (tmp_path / "text.dat").write_text("no waveform\n")
    (tmp_path / "empty.mseed").write_bytes(b"")
    (tmp_path / "tiny.mseed").write_bytes(good.read_bytes()[:100])
    stretches, lines = scan(sorted(tmp_path.iterdir()), 1)
    assert [stretch.path.name for stretch in stretches] == ["cut.mseed", "good.mseed"]
    assert stretches[0].n_samples < stretches[1].n_samples == 6000
    assert len(lines) == 4
    assert lines[0].startswith(f"{cut}: ")
    assert lines[0].endswith("; what can be read of it is used")
    assert lines[1] == f"{tmp_path / 'empty.mseed'}: left out: of no format that obspy reads"
    assert lines[2] == f"{tmp_path / 'text.dat'}: left out: of no format that obspy reads"
    assert lines[3].startswith(f"{tmp_path / 'tiny.mseed'}: left out: can't be read as waveforms")


@pytest.mark.parametrize("rest", [40, 100, 200, 2000])
def test_every_cut_is_said(tmp_path, rest):
    data = noise(60, 100)
    data[2000] = 2**20  # obspy says nothing of a file cut near this
    path = write(tmp_path / "a.mseed", (ID, MIDNIGHT, 100.0, data))
    path.write_bytes(path.read_bytes()[: 4096 + rest])
    stretches, lines = scan([path], 1)
    assert (len(stretches), len(lines)) == (1, 1)
    assert lines[0].endswith("; what can be read of it is used")


def test_a_last_record_that_is_cut_without_a_warning(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mseed", (ID, MIDNIGHT, 100.0, noise(60, 100)))
    path.write_bytes(path.read_bytes()[: 4096 + 2000])
    read = sources._read
    monkeypatch.setattr(sources, "_read", lambda *a, **b: (read(*a, **b)[0], []))
    line = f"{path}: its last record is cut short; what can be read of it is used"
    assert scan([path], 1)[1] == [line]


def test_empty_traces_are_left_out(tmp_path, monkeypatch):
    obspy = sources.obspy_for_reading()
    empty = obspy.Trace(np.array([], dtype=np.int32), {"station": "AAA"})
    monkeypatch.setattr(sources, "_read", lambda *_, **__: (obspy.Stream([empty]), []))
    stretches, lines = scan([tmp_path / "x"], 1)
    assert stretches == []
    assert lines == [f"{tmp_path / 'x'}: a trace of .AAA.. left out: 0 samples at 1 Hz"]


def test_many_files_in_processes(tmp_path, monkeypatch):
    paths = [
        write(tmp_path / f"{k}.mseed", (ID, MIDNIGHT + k * SECOND, 50.0, noise(1, 50, k)))
        for k in range(4)
    ]
    alone = scan(paths, 1)
    monkeypatch.setattr(sources, "MANY", 2)
    assert scan(paths, 2) == alone


def test_a_slice_of_one_trace(tmp_path):
    data = noise(60, 100)
    pieces = (ID, MIDNIGHT, 100.0, data), (OTHER, MIDNIGHT, 100.0, data)
    path = write(tmp_path / "with [brackets]*.mseed", *pieces)
    span = MIDNIGHT + 10 * SECOND, MIDNIGHT + 20 * SECOND
    assert list(read_traces(path, *span)) == [ID, OTHER]
    found = read_traces(path, *span, OTHER)
    assert list(found) == [OTHER]
    stream = found[OTHER]
    assert len(stream) == 1
    assert stream[0].stats.starttime.ns == MIDNIGHT + 10 * SECOND
    np.testing.assert_array_equal(stream[0].data, data[1000:2001])
    assert read_traces(path, MIDNIGHT - 9 * SECOND, MIDNIGHT - 8 * SECOND) == {}
    with pytest.raises(DataError, match=r"none.mseed: can't be read as waveforms"):
        read_traces(tmp_path / "none.mseed", 0, 1)


class Trap:
    """What a pickle could do to whoever reads it."""

    def __reduce__(self):
        return (open, (str(Trap.path), "w"))


def test_a_pickle_is_not_executed(tmp_path):
    Trap.path = tmp_path / "sprung"
    path = tmp_path / "stream.dat"
    path.write_bytes(pickle.dumps(["obspy.core.stream", Trap()], protocol=0))
    stretches, lines = scan([path], 1)
    assert stretches == []
    assert lines == [f"{path}: left out: of no format that obspy reads"]
    assert not Trap.path.exists()


def test_traces_by_pattern():
    stretches = [Stretch("a", ID, 0, 1, 1.0, ID), Stretch("b", OTHER, 0, 1, 1.0, OTHER)]
    assert matching(stretches, "*") == stretches
    assert matching(stretches, "*.BBB.*, XX.C??..HHZ") == stretches[1:]
    with pytest.raises(DataError, match=r"build.trace_ids = \*.HHN fits no trace; there are XX.A"):
        matching(stretches, "*.HHN")


def test_without_obspy(monkeypatch):
    def missing(name):
        raise MissingPackage(f"no {name}")

    monkeypatch.setattr(sources, "need", missing)
    with pytest.raises(MissingPackage, match="no obspy"):
        scan([], 1)
