import json

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
SLIDE = ("build.method=slide", "build.step=0.5")  # 223 windows of a trace


@pytest.fixture
def folder(tmp_path):
    """Two traces with three events each, in files of their own."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/b.mseed", (OTHER, NOON, RATE, eventful(seed=1, events=(20, 50, 100))))
    write(tmp_path / "in/a.mseed", (ID, NOON, RATE, eventful()))
    return tmp_path / "in"


def peaks(target):
    """Station and time of each peak."""
    found = rows(target.with_suffix(".csv"))
    return [f"{row['trace_id'].split('.')[1]} {row['peak_time'][14:19]}" for row in found]


def similar(one, two):
    """Whether spectrograms differ by less than 1e-4 of their maximum."""
    peak = two["spectrogram"].max(axis=(1, 2), keepdims=True)
    assert (np.abs(one["spectrogram"] - two["spectrogram"]) < 1e-4 * peak).all()


def by_hand(data, *starts):
    """Spectrograms of windows of a trace, step by step."""
    grid = windows.make_grid(waves.settings().build, RATE)
    wave = process(Wave(NOON, RATE, data.astype(float)), grid.settings)
    return windows.spectrograms(grid, wave.data, np.array(starts))


def test_a_data_set_and_its_catalogue(folder, tmp_path):
    target = tmp_path / "set.h5"
    counts = run(folder, target, "build.traces=yes")
    assert (counts["samples"], counts["traces"]) == (6, 2)
    found = rows(tmp_path / "set.csv")
    times = ["AAA 00:30", "AAA 01:00", "AAA 01:30", "BBB 00:20", "BBB 00:50", "BBB 01:40"]
    assert peaks(target) == times
    assert [*found[0]] == ["index", "trace_id", "starttime", *DETECTION[:4], "unit", *MEASURES]
    assert found[0]["starttime"] == "2016-01-01T12:00:28.000000Z"
    assert [row["index"] for row in found] == list("012345")
    with open_spectrograms(target) as file:
        assert (file.layout, file.shape) == ("samples", (87, 100))
        assert file.column("trace_id") == [ID] * 3 + [OTHER] * 3
        np.testing.assert_array_equal(file.read(0, 3), by_hand(eventful(), 1400, 2900, 4400))
    with h5py.File(target) as file:
        assert (file.attrs["build.on"], file.attrs["build.bandpass"]) == ("6", "3-20")
        assert file.attrs["left_out.edge"] == 0
        assert file["trace"].attrs["sampling_rate"] == RATE
        assert (file["rms"].attrs["units"], file["duration"].attrs["units"]) == ("counts", "s")
        assert (file["trace"].shape, np.abs(file["trace"][0]).argmax()) == ((6, 200), 100)


def test_processed_waveforms_give_the_same_windows(folder, tmp_path):
    write(folder / "night.mseed", (ID, MIDNIGHT - 60 * SECOND, RATE, eventful()))
    saved, one, two = folder / "saved", tmp_path / "set.h5", tmp_path / "again.h5"
    words = (f"build.save_waveforms={saved}", "build.detrend=2")
    for _ in range(2):  # what it writes is no input
        assert run(folder, one, *words, overwrite=True)["samples"] == 9
    starts = sorted(path.name.removeprefix(f"{ID}__") for path in saved.glob("XX/AAA/*"))
    assert starts == [f"{x}00Z.mseed" for x in ("20151231T2359", "20160101T0000", "20160101T1200")]
    assert [*saved.glob("XX/BBB/*")] == [saved / f"XX/BBB/{OTHER}__20160101T120000Z.mseed"]
    words = ("build.detrend=none", "build.taper=0", "build.bandpass=none")
    run(saved, two, *words, f"build.catalogue={tmp_path / 'set.csv'}")
    one, two = contents(one), contents(two)
    for name in windows.TIMES:
        np.testing.assert_array_equal(one[name], two[name])
    similar(one, two)


def test_sliding_windows_in_small_blocks(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "MAX_TRACES", 2 * 223 * 200 * 4 - 1)  # so that none are stored
    run(folder, tmp_path / "set.h5", *SLIDE)
    found = rows(tmp_path / "set.csv")
    assert not {"trace", "onset", "end"} & {*contents(tmp_path / "set.h5")}
    assert len(found) == 2 * 223
    assert found[0]["onset"] == found[0]["end"] == ""  # nothing was detected
    assert found[52]["peak_time"] == "2016-01-01T12:00:30.000000Z"
    monkeypatch.setattr(windows, "BLOCK_BYTES", 3 * 4 * (87 * 100 + 200 + 30))
    run(folder, tmp_path / "two.h5", *SLIDE)
    equal(tmp_path / "set.h5", tmp_path / "two.h5")
    with h5py.File(tmp_path / "two.h5") as file:
        assert file["spectrogram"].chunks == (3, 87, 100)


def test_midnight_leaves_no_seam(tmp_path):
    """Two pieces that meet at midnight give what one stretch over noon would give."""
    data, start = eventful(480, (60, 150, 233.5, 240, 300, 400)), MIDNIGHT + DAY
    shift, early = np.timedelta64(start - 240 * SECOND - NOON, "ns"), data[: 240 * 50]
    pieces = (ID, start - 240 * SECOND, RATE, early), (ID, start, RATE, data[240 * 50 :])
    write(tmp_path / "seams.mseed", *pieces)
    write(tmp_path / "whole.mseed", (ID, NOON, RATE, data))

    def times(name):
        found = [[row[key][:-1] for key in windows.TIMES] for row in rows(tmp_path / f"{name}.csv")]
        return np.array(found, "M8[ns]")

    for words in (("build.lta=20",), ("build.method=slide", "build.step=4")):
        for name in ("seams", "whole"):
            run(tmp_path / f"{name}.mseed", tmp_path / f"{name}.h5", *words, overwrite=True)
        np.testing.assert_array_equal(times("seams"), times("whole") + shift)
        similar(contents(tmp_path / "seams.h5"), contents(tmp_path / "whole.h5"))
    assert len(times("whole")) > 100


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
    data = {"DED": np.full(5000, 7, np.int32), "SHO": eventful(6, ()), "CCC": eventful(seed=2)}
    for name, fill in (("ZERO", 0), ("WINS", -(2**31)), ("SAC", -12345)):  # gaps
        data[name] = 5000 + eventful(300, (), seed=3)
        data[name][5000:6500] = fill
    for name, values in data.items():
        write(folder / f"{name}.mseed", (f"XX.{name}..HHZ", NOON, RATE, values), encoding="INT32")
    content = (folder / "a.mseed").read_bytes()  # whose headers stay
    (folder / "a.mseed").write_bytes(content[:100] + b"\xff" * 3900 + content[4000:])

    def fails(wave, *words):
        return 1 / 0 if wave.data[0] == eventful(seed=2)[0] else process(wave, *words)

    monkeypatch.setattr(windows, "process", fails)
    counts = run(folder, tmp_path / "set.h5")
    found = {name: counts[name] for name in windows.REASONS if counts[name]}
    assert found == {"stretch_constant": 1, "stretch_too_short": 1, "station_day_failed": 1}
    assert peaks(tmp_path / "set.h5") == ["BBB 00:20", "BBB 00:50", "BBB 01:40"]
    assert logged(", 30 s: samples that are constant count as a gap; see build.constant_gap (and")
    assert logged(", 30 s: samples that are not finite or marked as missing count as a gap")
    assert logged("XX.DED..HHZ 2016-01-01: left out: all samples of a stretch have one value")
    assert logged("XX.CCC..HHZ 2016-01-01: left out: division by zero")
    assert logged(f"{ID} 2016-01-01, {folder / 'a.mseed'}: can't be read as waveforms")


def test_sampling_rates(folder, tmp_path):
    write(folder / "c.mseed", ("XX.CCC..HHZ", NOON, 100.0, eventful(rate=100.0)))
    with pytest.raises(DataError, match="different sampling rates: 50 Hz .*100 Hz .*c.mseed.; set"):
        run(folder, tmp_path / "set.h5")
    run(folder, tmp_path / "set.h5", "build.sampling_rate=50")
    assert peaks(tmp_path / "set.h5")[6:] == ["CCC 00:30", "CCC 01:00", "CCC 01:30"]


def test_settings_that_do_not_fit_the_data(folder, tmp_path):
    for word, text in (
        ("bandpass=3-25", f"build.bandpass = 3-25 Hz .* 25 Hz, the Nyq.* such as {OTHER} at 50 Hz"),
        ("on=1000", "no window in 2 station-days: 0 found; .*build.on = 1000"),
        ("length=300", "2 stretches too short; to change that: make build.length, [^=]*$"),
        ("trace_ids=*.HHN", f"no waveforms in 2 files, whose traces are {ID}, {OTHER}; give"),
        ("components=ZNE", f"none of 2 station-days, such as {ID} 2016-01-01, has them all"),
    ):
        with pytest.raises((DataError, SettingsError), match=text):
            run(folder, tmp_path / "set.h5", f"build.{word}")
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_workers_interruption_and_repetition_change_nothing(folder, tmp_path, logged, monkeypatch):
    target, parts = tmp_path / "two.h5", tmp_path / "two.h5.parts"
    words = (*SLIDE, "build.traces=yes")
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
    assert len([*parts.glob("*.json")]) == 1
    run(folder, target, *words, workers=2)
    equal(tmp_path / "one.h5", target)
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert not parts.exists()
    parts.mkdir()  # of a process that was killed at the end
    assert run(folder, target, *words) is None
    assert not parts.exists()
    assert logged(f"{target}: done already, from the same files with the same settings")
    with pytest.raises(DataError, match="two.h5: exists, made from other files or settings"):
        run(folder, target, *SLIDE)


@pytest.fixture
def array(tmp_path):
    """AA, whose E has a gap about the second event and begins 4 s later; BB with 1 and 2 in place
    of N and E; CC without E."""
    e, late = eventful(seed=2, size=3000), NOON + 4 * SECOND
    data = [
        ("AA..HHZ", NOON, eventful()), ("AA..HHN", NOON, eventful(seed=1, size=0)),
        ("AA..HHE", late, e[200:2800]), ("AA..HHE", late + 62 * SECOND, e[3300:]),
        *((f"BB..HH{name}", NOON, eventful(seed=3 + k)) for k, name in enumerate("Z12")),
        *((f"CC..HH{name}", NOON, eventful(seed=9)) for name in "ZN"),
    ]  # fmt: skip
    pieces = [(f"XX.{name}", start, RATE, values) for name, start, values in data]
    return write(tmp_path / "array.mseed", *pieces)


def test_windows_of_all_components(array, tmp_path, logged):
    counts = run(array, tmp_path / "set.h5", "build.components=ZNE")
    assert (counts["component"], counts["traces"]) == (1, 2)
    assert logged("XX.CC..HHN 2016-01-01: left out: no component E")
    assert logged("5 windows of 3 components of 87 x 100 from 2 traces")
    times = ["AA 00:30", "AA 01:30", "BB 00:30", "BB 01:00", "BB 01:30"]
    assert peaks(tmp_path / "set.h5") == times
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.shape) == (("Z", "N", "E"), (3, 87, 100))
        images, frequency = file.read(0, 5), file.frequency
        traces, rate, _ = file.traces(range(5))
        ids = json.loads(file.attributes["component_ids"])
    assert ids["XX.BB..HHZ"] == ["XX.BB..HHZ", "XX.BB..HH1", "XX.BB..HH2"]
    assert (traces.shape, rate) == ((5, 3, 200), RATE)
    first, found = traces[:, 0], rows(tmp_path / "set.csv")  # measures are of the first component
    measured = measure_spectrograms(images[:, 0], frequency) | measure_waveforms(first, RATE)
    measured["peak_amplitude"] = np.abs(first).max(axis=1)
    for name, values in measured.items():
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=1e-4)
    np.testing.assert_array_equal(images[1:2, 0], by_hand(eventful(), 4400))
    np.testing.assert_array_equal(images[1:2, 2], by_hand(eventful(seed=2, size=3000)[3300:], 1100))


def test_stations_of_an_array(array, tmp_path):
    run(array, tmp_path / "set.h5", "build.components=BB, AA, CC", "build.trace_ids=*Z")
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.n_samples) == (("BB", "AA", "CC"), 3)
        assert set(file.column("trace_id")) == {"XX.BB..HHZ"}
        images = file.read(0, 3)[:, 1]
    np.testing.assert_array_equal(images, by_hand(eventful(), 1400, 2900, 4400))
