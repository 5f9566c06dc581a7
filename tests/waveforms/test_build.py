from pathlib import Path

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import DETECTION, open_spectrograms
from RISCluster.data.measures import MEASURES, measure_spectrograms, measure_waveforms
from RISCluster.data.times import DAY, SECOND
from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms import build as building
from RISCluster.waveforms import read, windows
from RISCluster.waveforms.process import Wave, process
from tests.waveforms import waves
from tests.waveforms.waves import MIDNIGHT, NOON, RATE, contents, equal, eventful, rows, run, write

ID, OTHER = "XX.AAA..HHZ", "XX.BBB..HHZ"
MANY = ("build.method=slide", "build.step=0.5")


@pytest.fixture
def folder(tmp_path):
    """Two traces with three events each, in files of their own."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/b.mseed", (OTHER, NOON, RATE, eventful(seed=1, events=(20, 50, 100))))
    write(tmp_path / "in/a.mseed", (ID, NOON, RATE, eventful()))
    return tmp_path / "in"


def peaks(target):
    return [(row["trace_id"], row["peak_time"][14:19]) for row in rows(target.with_suffix(".csv"))]


def left_out(counts):
    return {name: n for name, n in counts.items() if n and name in windows.REASONS}


def similar(one, two):
    """Whether spectrograms differ by less than 1e-4 of their maximum."""
    peak = two["spectrogram"].max(axis=(1, 2), keepdims=True)
    assert (np.abs(one["spectrogram"] - two["spectrogram"]) < 1e-4 * peak).all()


def by_hand(data, *starts):
    """Spectrograms of windows of a trace, step by step."""
    grid = windows.make_grid(waves.settings().build, RATE)
    wave = process(Wave(NOON, RATE, data.astype(float)), grid.settings)
    return windows.spectrograms(grid, wave.data, np.array(starts))


def test_a_data_set_and_its_catalogue(folder, tmp_path, logged):
    target = tmp_path / "set.h5"
    counts = run(folder, target, "build.traces=yes")
    assert (counts["samples"], counts["traces"], left_out(counts)) == (6, 2, {})
    assert logged("6 windows of 87 x 100 from 2 traces")
    found = rows(tmp_path / "set.csv")
    times = ["00:30", "01:00", "01:30", "00:20", "00:50", "01:40"]
    assert [time for _, time in peaks(target)] == times
    names = ["index", "trace_id", "starttime", *DETECTION[:4], "unit", *MEASURES]
    assert list(found[0]) == names
    assert found[0]["starttime"] == "2016-01-01T12:00:28.000000Z"
    assert [row["index"] for row in found] == list("012345")
    with open_spectrograms(target) as file:
        assert (file.layout, file.shape) == ("samples", (87, 100))
        assert file.column("trace_id") == [ID] * 3 + [OTHER] * 3
        images, frequency = file.read(0, 6), file.frequency
    np.testing.assert_array_equal(images[:3], by_hand(eventful(), 1400, 2900, 4400))
    with h5py.File(target) as file:
        assert (file.attrs["build.on"], file.attrs["build.bandpass"]) == ("6", "3-20")
        assert file.attrs["left_out.edge"] == 0
        assert file["trace"].attrs["sampling_rate"] == RATE
        assert (file["rms"].attrs["units"], file["duration"].attrs["units"]) == ("counts", "s")
        waveforms = file["trace"][:]
    assert (waveforms.shape, np.abs(waveforms[0]).argmax()) == ((6, 200), 100)
    measured = measure_spectrograms(images, frequency) | measure_waveforms(waveforms, RATE)
    measured["peak_amplitude"] = np.abs(waveforms).max(axis=1)
    for name, values in measured.items():
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=1e-4)


def test_what_exists_is_done_or_refused(folder, tmp_path, logged):
    target, parts = tmp_path / "set.h5", tmp_path / "set.h5.parts"
    run(folder, target)
    assert not parts.exists()
    parts.mkdir()  # of a process that was killed at the end
    assert run(folder, target) is None
    assert not parts.exists()
    assert logged(f"{target}: done already, from the same files with the same settings")
    with pytest.raises(DataError, match="set.h5: exists, made from other files or settings"):
        run(folder, target, "build.traces=no")


def test_processed_waveforms_give_the_same_windows(folder, tmp_path):
    write(folder / "night.mseed", (ID, MIDNIGHT - 60 * SECOND, RATE, eventful()))
    saved = folder / "saved"  # what it writes is no input
    words = [f"build.save_waveforms={saved}", "build.detrend=2"]
    run(folder, tmp_path / "set.h5", *words)
    assert run(folder, tmp_path / "set.h5", *words, overwrite=True)["samples"] == 9
    paths = sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*.mseed"))
    assert paths == [
        "XX/AAA/XX.AAA..HHZ__20151231T235900Z.mseed",
        "XX/AAA/XX.AAA..HHZ__20160101T000000Z.mseed",
        "XX/AAA/XX.AAA..HHZ__20160101T120000Z.mseed",
        "XX/BBB/XX.BBB..HHZ__20160101T120000Z.mseed",
    ]
    words = ("build.detrend=none", "build.taper=0", "build.bandpass=none")
    run(saved, tmp_path / "again.h5", *words, f"build.catalogue={tmp_path / 'set.csv'}")
    one, two = (contents(tmp_path / f"{name}.h5") for name in ("set", "again"))
    np.testing.assert_array_equal(one["starttime"], two["starttime"])
    similar(one, two)


def test_windows_that_overlap_or_begin_late(tmp_path, logged):
    place = write(tmp_path / "a.mseed", (ID, NOON, RATE, eventful(events=(30, 32, 60))))
    words = ["build.dead_time=0.2", "build.sta=0.1", "build.trigger=z", "build.on=3"]
    run(place, tmp_path / "a.h5", *words)
    assert logged("windows overlap the one before on the same trace: set build.length shorter")
    data = eventful(events=(30, 32, 60, 90)) + eventful(events=(32.5,), size=90_000)
    run(write(place, (ID, NOON, RATE, data)), tmp_path / "b.h5", "build.off=0.1")
    assert logged("1 of 3 windows begin after their onset")


def test_sliding_windows_in_small_blocks(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "MAX_TRACES", 2 * 223 * 200 * 4 - 1)  # so that none are stored
    assert run(folder, tmp_path / "set.h5", *MANY)["samples"] == 2 * 223
    found, sets = rows(tmp_path / "set.csv"), contents(tmp_path / "set.h5")
    assert not {"trace", "onset", "end"} & {*sets}
    # 2 s of taper and 9 samples at each end; the last start is 120 - 2 - 4 - 0.18 s.
    assert found[0]["starttime"] == "2016-01-01T12:00:02.500000Z"
    assert found[222]["starttime"] == "2016-01-01T12:01:53.500000Z"
    assert found[0]["onset"] == found[0]["end"] == ""  # nothing was detected
    assert found[52]["peak_time"] == "2016-01-01T12:00:30.000000Z"
    monkeypatch.setattr(windows, "BLOCK_BYTES", 3 * 4 * (87 * 100 + 200 + 30))
    run(folder, tmp_path / "two.h5", *MANY)
    equal(tmp_path / "set.h5", tmp_path / "two.h5")
    with h5py.File(tmp_path / "two.h5") as file:
        assert file["spectrogram"].chunks == (3, 87, 100)


def test_midnight_leaves_no_seam(tmp_path):
    """Two pieces that meet at midnight give what one stretch over noon would give."""
    data, start = eventful(480, (60, 150, 239.5, 240.5 + 6, 300, 400)), MIDNIGHT + DAY
    shift, early = np.timedelta64(start - 240 * SECOND - NOON, "ns"), data[: 240 * 50]
    pieces = (ID, start - 240 * SECOND, RATE, early), (ID, start, RATE, data[240 * 50 :])
    write(tmp_path / "seams.mseed", *pieces)
    write(tmp_path / "whole.mseed", (ID, NOON, RATE, data))
    for words in (("build.lta=20",), ("build.method=slide", "build.step=4")):
        for name in ("seams", "whole"):
            run(tmp_path / f"{name}.mseed", tmp_path / f"{name}.h5", *words, overwrite=True)
        found, expected = rows(tmp_path / "seams.csv"), rows(tmp_path / "whole.csv")
        for name in ("starttime", "onset", "end", "peak_time"):
            times = np.array([row[name][:-1] for row in found], "M8[ns]")
            moved = np.array([row[name][:-1] for row in expected], "M8[ns]") + shift
            np.testing.assert_array_equal(times, moved)
        similar(contents(tmp_path / "seams.h5"), contents(tmp_path / "whole.h5"))
    assert len(found) > 100


def test_gaps_that_were_filled_make_no_events(tmp_path, logged):
    pieces = []
    for name, fill in (("CLEAN", None), ("ZERO", 0), ("WINS", -(2**31)), ("SAC", -12345)):
        data = 5000 + eventful(300, (), 100.0, seed=3)
        if fill is not None:
            data[10_000:13_000] = fill
        pieces.append((f"XX.{name}..HHZ", NOON, 100.0, data))
    place = write(tmp_path / "in.mseed", *pieces, encoding="INT32")
    with pytest.raises(DataError, match="no window in 4 station-days: 0 found"):
        run(place, tmp_path / "set.h5")
    assert logged(", 30 s: samples that are constant count as a gap; see build.constant_gap (and")
    assert logged(", 30 s: samples that are not finite or marked as missing count as a gap")
    assert run(place, tmp_path / "set.h5", "build.constant_gap=none")["traces"] == 2


def test_a_file_with_many_traces_is_read_once_a_day(tmp_path, monkeypatch):
    spans, read_traces = [], read.read_traces
    monkeypatch.setattr(windows, "read_traces", lambda *x: spans.append(x[1]) or read_traces(*x))
    start = MIDNIGHT + DAY - 30 * SECOND
    pieces = [(f"XX.S{k:02d}..HHZ", start, RATE, eventful(60, (), seed=k)) for k in range(12)]
    one, words = write(tmp_path / "all.mseed", *pieces), ("build.method=slide", "build.step=4")
    run(one, tmp_path / "one.h5", *words)
    assert len(spans) == 2  # days
    monkeypatch.setattr(building, "READ_BYTES", 11 * 60 * 50 * 8)  # not all together
    run(one, tmp_path / "few.h5", *words)
    assert len(spans) == 2 + 2 * 2
    equal(tmp_path / "few.h5", tmp_path / "one.h5")


def test_data_that_can_not_be_used_leave_the_others(folder, tmp_path, logged, monkeypatch):
    write(folder / "dead.mseed", ("XX.DED..HHZ", NOON, RATE, np.full(5000, 7, np.int32)))
    write(folder / "short.mseed", ("XX.SHO..HHZ", NOON, RATE, eventful(6, ())))
    write(folder / "fails.mseed", ("XX.CCC..HHZ", NOON, RATE, eventful(seed=2)))
    content = bytearray((folder / "a.mseed").read_bytes())
    content[100:4000] = b"\xff" * 3900  # the headers stay
    (folder / "a.mseed").write_bytes(content)

    def fails(wave, *words):
        return 1 / 0 if wave.data[0] == eventful(seed=2)[0] else process(wave, *words)

    monkeypatch.setattr(windows, "process", fails)
    found = left_out(run(folder, tmp_path / "set.h5"))
    assert found == {"stretch_constant": 1, "stretch_too_short": 1, "station_day_failed": 1}
    assert peaks(tmp_path / "set.h5") == [(OTHER, time) for time in ("00:20", "00:50", "01:40")]
    assert logged("XX.DED..HHZ 2016-01-01: left out: all samples of a stretch have one value")
    assert logged("XX.CCC..HHZ 2016-01-01: left out: division by zero")
    assert logged(f"{ID} 2016-01-01, {folder / 'a.mseed'}: can't be read as waveforms")


def test_sampling_rates(folder, tmp_path):
    write(folder / "c.mseed", ("XX.CCC..HHZ", NOON, 100.0, eventful(rate=100.0)))
    with pytest.raises(DataError, match="different sampling rates: 50 Hz .*100 Hz .*c.mseed.; set"):
        run(folder, tmp_path / "set.h5")
    assert run(folder, tmp_path / "set.h5", "build.sampling_rate=50")["samples"] == 9
    assert [time for _, time in peaks(tmp_path / "set.h5")][-3:] == ["00:30", "01:00", "01:30"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("bandpass=3-25", f"build.bandpass = 3-25 Hz .* 25 Hz, the Nyq.*, as {OTHER} at 50 Hz"),
        ("on=1000", "no window in 2 station-days: 0 found; .*build.on = 1000"),
        ("length=300", "left out: 2 stretches too short; .*shorter"),
        ("trace_ids=*.HHN", f"no waveforms in 2 files, whose traces are {ID}, {OTHER}; give"),
        ("components=ZNE", f"none of 2 station-days, as {ID} 2016-01-01, has all components"),
    ],
)
def test_settings_that_do_not_fit_the_data(folder, tmp_path, word, text):
    with pytest.raises((DataError, SettingsError), match=text):
        run(folder, tmp_path / "set.h5", f"build.{word}")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_workers_and_interruption_change_nothing(folder, tmp_path, monkeypatch):
    words, target = (*MANY, "build.traces=yes"), tmp_path / "two.h5"
    run(folder, tmp_path / "one.h5", *words)
    calls, records = [], windows._records

    def interrupted(*arguments):
        calls.append(1)
        yield from records(*arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(windows, "_records", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, target, *words)
    monkeypatch.undo()
    assert len([*Path(f"{target}.parts").glob("*.json")]) == 1
    run(folder, target, *words, workers=2)
    equal(tmp_path / "one.h5", target)
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


@pytest.fixture
def array(tmp_path):
    """AA, whose E has a gap about the second event and begins 4 s later; BB with 1 and 2 in place
    of N and E; CC without E."""
    e = eventful(seed=2, size=3000)
    pieces = [
        ("XX.AA..HHZ", NOON, RATE, eventful()),
        ("XX.AA..HHN", NOON, RATE, eventful(seed=1, size=0)),
        ("XX.AA..HHE", NOON + 4 * SECOND, RATE, e[200:2800]),
        ("XX.AA..HHE", NOON + 66 * SECOND, RATE, e[3300:]),
        *((f"XX.BB..HH{name}", NOON, RATE, eventful(seed=3 + k)) for k, name in enumerate("Z12")),
        *((f"XX.CC..HH{name}", NOON, RATE, eventful(seed=9)) for name in "ZN"),
    ]  # fmt: skip
    return write(tmp_path / "array.mseed", *pieces)


def test_windows_of_all_components(array, tmp_path, logged):
    counts = run(array, tmp_path / "set.h5", "build.components=ZNE")
    assert (counts["samples"], counts["component"], counts["traces"]) == (5, 1, 2)
    assert logged("XX.CC..HHN 2016-01-01: left out: no component E")
    assert logged("5 windows of 3 components of 87 x 100 from 2 traces")
    found = rows(tmp_path / "set.csv")
    assert [row["trace_id"] for row in found] == ["XX.AA..HHZ"] * 2 + ["XX.BB..HHZ"] * 3
    assert [row["peak_time"][14:19] for row in found[:2]] == ["00:30", "01:30"]
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.shape) == (("Z", "N", "E"), (3, 87, 100))
        images, (traces, rate, _) = file.read(0, 5), file.traces(range(5))
    assert (traces.shape, rate) == ((5, 3, 200), RATE)
    for name, values in measure_waveforms(traces[:, 0], RATE).items():  # of the first component
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=1e-4)
    np.testing.assert_array_equal(images[1:2, 0], by_hand(eventful(), 4400))
    np.testing.assert_array_equal(images[1:2, 2], by_hand(eventful(seed=2, size=3000)[3300:], 1100))


def test_stations_of_an_array(array, tmp_path):
    run(array, tmp_path / "set.h5", "build.components=BB, AA, CC", "build.trace_ids=*Z")
    run(array, tmp_path / "a.h5", "build.trace_ids=*AA..HHZ")
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.n_samples) == (("BB", "AA", "CC"), 3)
        assert set(file.column("trace_id")) == {"XX.BB..HHZ"}
        images = file.read(0, 3)
    np.testing.assert_array_equal(images[:, 1], contents(tmp_path / "a.h5")["spectrogram"])
