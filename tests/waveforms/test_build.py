import json
import logging
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError, MissingPackage, RunError, SettingsError
from RISCluster.waveforms import build as building
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.build import build
from RISCluster.waveforms.process import Wave, process
from RISCluster.waveforms.read import import_obspy
from RISCluster.waveforms.windows import make_grid, spectrograms
from tests.conftest import ROOT, blobs, shared_data, write_samples
from tests.waveforms.waves import (
    DAY,
    MIDNIGHT,
    SECOND,
    contents,
    noise,
    rows,
    settings,
    with_events,
    write,
)

ID, OTHER = "XX.AAA..HHZ", "XX.BBB..HHZ"
RATE = 50.0
NOON = MIDNIGHT + DAY // 2
SLIDE = ("build.method=slide", "build.step=4")


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="RISCluster")
    logging.getLogger("RISCluster").propagate = True
    return lambda: [record.getMessage() for record in caplog.records]


def eventful(seconds=120, events=(30, 60, 90), rate=RATE, seed=0):
    return with_events(noise(seconds, rate, seed), rate, events)


@pytest.fixture
def folder(tmp_path):
    """Two traces with three events each, in files of their own."""
    place = tmp_path / "in"
    place.mkdir()
    write(place / "b.mseed", (OTHER, NOON, RATE, eventful(seed=1, events=(20, 50, 100))))
    write(place / "a.mseed", (ID, NOON, RATE, eventful()))
    return place


def run(place, target, *words, **options):
    return build([str(place)], target, settings(*words), **options)


def peaks(target):
    return [(row["trace_id"], row["peak_time"]) for row in rows(target.with_suffix(".csv"))]


def minutes(target):
    return [time[14:19] for _, time in peaks(target)]


def left_out(counts):
    return {name: n for name, n in counts.items() if name in building.REASONS}


def test_a_data_set_and_its_catalogue(folder, tmp_path, said):
    target = tmp_path / "set.h5"
    counts = run(folder, target, "build.traces=yes")
    assert (counts["samples"], counts["traces"], left_out(counts)) == (6, 2, {})
    found = rows(tmp_path / "set.csv")
    assert minutes(target) == ["00:30", "01:00", "01:30", "00:20", "00:50", "01:40"]
    assert ",".join(found[0]) == "index,trace_id,starttime,onset,end,peak_time,peak_amplitude,unit"
    assert found[0]["starttime"] == "2016-01-01T12:00:28.000000Z"
    assert [row["index"] for row in found] == list("012345")
    with open_spectrograms(target) as file:
        assert (file.layout, file.n_samples) == ("samples", 6)
        assert (file.n_frequencies, file.n_times) == (87, 100)
        assert file.trace_ids() == [ID] * 3 + [OTHER] * 3
        images = file.read(0, 6)
    with h5py.File(target) as file:
        assert file.attrs["build.on"] == "6"
        assert file.attrs["build.bandpass"] == "3-20"
        assert file.attrs["left_out.gap"] == 0
        assert file["spectrogram"].chunks == (6, 87, 100)
        assert file["trace"].shape == (6, 200)
        assert file["trace"].attrs["sampling_rate"] == RATE
        trace = file["trace"][0]
    assert np.abs(trace).argmax() == 100
    assert float(found[0]["peak_amplitude"]) == pytest.approx(np.abs(trace).max(), rel=1e-6)
    row, column = np.unravel_index(images[0].argmax(), (87, 100))  # 10 Hz, in the middle
    assert (row, column) == (pytest.approx(35, abs=2), pytest.approx(50, abs=3))
    assert not (tmp_path / "set.h5.parts").exists()
    assert "6 windows of 87 x 100 from 2 traces" in said()[-2]
    # The values are those of the steps by hand.
    words = settings().build
    wave = process(Wave(NOON, RATE, eventful().astype(float)), words, None)
    expected = spectrograms(make_grid(words, RATE), wave.data, np.array([1400, 2900, 4400]))
    np.testing.assert_array_equal(images[:3], expected)


def test_layout_ris(folder, tmp_path):
    run(folder, tmp_path / "set.h5")
    run(folder, tmp_path / "old.h5", "build.traces=yes", layout="ris")
    with (
        open_spectrograms(tmp_path / "set.h5") as new,
        open_spectrograms(tmp_path / "old.h5") as old,
    ):
        assert (old.layout, old.dataset) == ("ris", "4.0/Spectrogram")
        np.testing.assert_array_equal(old.read(0, 6), new.read(0, 6))
        np.testing.assert_allclose(old.frequency, new.frequency, rtol=1e-6)
        np.testing.assert_allclose(old.time, new.time, rtol=1e-6)
        found = rows(tmp_path / "set.csv")
        for file in (old, new):
            assert file.starttimes() == [row["starttime"] for row in found]
            assert file.trace_ids() == [row["trace_id"] for row in found]
            assert (file.amplitude_unit, file.waveform_unit) == ("counts^2/Hz", "counts")
            for name in ("onset", "end", "peak_time"):
                assert file.detection(name) == [row[name] for row in found]
            numbers = [float(value) for value in file.detection("peak_amplitude")]
            expected = [float(row["peak_amplitude"]) for row in found]
            np.testing.assert_allclose(numbers, expected, rtol=1e-6)
    with h5py.File(tmp_path / "old.h5") as file:
        assert file["4.0/Spectrogram"].attrs["TimeUnits"] == "s"
        assert file["4.0/Trace"].shape == (6, 200)
        entry = json.loads(file["4.0/Catalogue"][0])
    row = rows(tmp_path / "old.csv")[0]
    assert [entry[key] for key in ("dt_on", "dt_off", "dt_peak", "starttime")] == [
        row[key] for key in ("onset", "end", "peak_time", "starttime")
    ]
    assert (entry["fs"], entry["delta"], entry["npts"], entry["unit"]) == (50, 0.02, 200, "counts")
    assert (entry["network"], entry["station"], entry["location"]) == ("XX", "AAA", "")


def test_an_onset_is_a_part_of_what_the_file_is(tmp_path):
    marks = set()
    for rest in ("", "5", "6"):
        onset = {"onset": [f"2016-01-01T00:00:0{rest}Z".encode()] * 12} if rest else {}
        path = write_samples(tmp_path / f"{rest}.h5", blobs(12)[0], **onset)
        with open_spectrograms(path) as file:
            marks.add(file.columns_fingerprint())
    assert len(marks) == 3


def test_windows_that_overlap_or_begin_late(tmp_path, said):
    data = with_events(noise(120, RATE), RATE, (30, 32, 60))
    write(tmp_path / "a.mseed", (ID, NOON, RATE, data))
    words = ["build.dead_time=0.2", "build.sta=0.1", "build.trigger=z", "build.on=3"]
    counts = run(tmp_path / "a.mseed", tmp_path / "set.h5", *words)
    times = np.array([row["starttime"][:-1] for row in rows(tmp_path / "set.csv")], "M8[us]")
    overlapping = (np.diff(times) < np.timedelta64(4, "s")).sum()
    assert overlapping
    line = f"{overlapping} of {counts['samples']} windows overlap the one before on the same trace"
    assert line in said()[-2]
    data = with_events(with_events(data, RATE, (32.5,), 90_000), RATE, (90,))
    write(tmp_path / "b.mseed", (ID, NOON, RATE, data))
    run(tmp_path / "b.mseed", tmp_path / "b.h5", "build.off=0.1")
    assert said()[-2].startswith("1 of 3 windows begin after the onset of their detection")


def test_slide_in_small_blocks(folder, tmp_path, monkeypatch):
    words = ("build.method=slide", "build.step=0.5")
    counts = run(folder, tmp_path / "set.h5", *words)
    found = rows(tmp_path / "set.csv")
    # 2 s of taper and 9 samples at each end; the last start is 120 - 2 - 4 - 0.18 s.
    assert counts["samples"] == 2 * 223
    assert found[0]["starttime"] == "2016-01-01T12:00:02.500000Z"
    assert found[222]["starttime"] == "2016-01-01T12:01:53.500000Z"
    assert found[0]["onset"] == found[0]["end"] == ""  # nothing was detected
    assert found[52]["peak_time"] == "2016-01-01T12:00:30.000000Z"
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert file.detection("onset") is file.detection("end") is None
        assert len(file.detection("peak_time")) == file.n_samples
    monkeypatch.setattr(building, "BLOCK_BYTES", 3 * 4 * 87 * 100)
    run(folder, tmp_path / "two.h5", *words)
    one, two = contents(tmp_path / "set.h5"), contents(tmp_path / "two.h5")
    np.testing.assert_array_equal(one["spectrogram"], two["spectrogram"])
    with h5py.File(tmp_path / "two.h5") as file:
        assert file["spectrogram"].chunks == (3, 87, 100)


def test_midnight_leaves_no_seam(tmp_path):
    """Two files that meet at midnight give what one stretch over noon would give."""
    events = (60, 150, 239.5, 240.5 + 6, 300, 400)  # midnight is at 240 s
    data = with_events(noise(480, RATE), RATE, events)
    seams, whole = tmp_path / "seams", tmp_path / "whole"
    seams.mkdir()
    whole.mkdir()
    start = MIDNIGHT + DAY - 240 * SECOND
    write(seams / "1.mseed", (ID, start, RATE, data[: 240 * 50]))
    write(seams / "2.mseed", (ID, start + 240 * SECOND, RATE, data[240 * 50 :]))
    write(whole / "1.mseed", (ID, NOON, RATE, data))
    for words in (("build.lta=20",), SLIDE):
        run(seams, tmp_path / "seams.h5", *words, overwrite=True)
        run(whole, tmp_path / "whole.h5", *words, overwrite=True)
        found, expected = rows(tmp_path / "seams.csv"), rows(tmp_path / "whole.csv")
        shift = np.timedelta64(start - NOON, "ns")
        for name in ("starttime", "onset", "end", "peak_time"):
            times = np.array([row[name][:-1] for row in found], "M8[ns]")
            moved = np.array([row[name][:-1] for row in expected], "M8[ns]") + shift
            np.testing.assert_array_equal(times, moved)
        one, other = contents(tmp_path / "seams.h5"), contents(tmp_path / "whole.h5")
        peak = other["spectrogram"].max(axis=(1, 2), keepdims=True)
        assert (np.abs(one["spectrogram"] - other["spectrogram"]) < 1e-4 * peak).all()
    assert len(found) > 100


@pytest.mark.parametrize("rate", ["auto", "100", "50"])
def test_rates_that_differ_by_rounding_are_one(tmp_path, said, rate):
    data, place = noise(180, 100), tmp_path / "in"
    place.mkdir()
    for k, own in enumerate((99.999992, 100.0, 100.000008)):
        part = data[6000 * k : 6000 * (k + 1)]
        write(place / f"{k}.mseed", (ID, NOON + 60 * k * SECOND, own, part))
    write(place / "next.mseed", (ID, NOON + DAY, 99.999992, data))
    words = ("build.method=slide", "build.taper=0", f"build.sampling_rate={rate}")
    assert run(place, tmp_path / "set.h5", *words)["samples"] == 2 * 175
    assert not [line for line in said() if "Hz left out" in line]
    assert rows(tmp_path / "set.csv")[100]["starttime"] == "2016-01-01T12:01:41.000000Z"


def test_gaps_that_were_filled_make_no_events(tmp_path, said):
    rate, place = 100.0, tmp_path / "in"
    place.mkdir()
    for name, fill in (("CLEAN", None), ("ZERO", 0), ("WINS", -(2**31)), ("SAC", -12345)):
        data = 5000 + noise(300, rate, seed=3)
        if fill is not None:
            data[10_000:13_000] = fill
        trace = import_obspy().Trace(data, {"sampling_rate": rate, "starttime": NOON / SECOND})
        trace.id = f"XX.{name}..HHZ"
        trace.write(str(place / f"{name}.mseed"), format="MSEED", encoding="INT32")
    with pytest.raises(DataError, match="no window in 4 station-days: 0 found"):
        run(place, tmp_path / "set.h5")
    lines = [line.split(": ")[1] for line in said() if "count as a gap" in line]
    assert lines == [
        "30 s of samples that are all -12345 count as a gap; see build.constant_gap",
        "30 s of samples that are not finite or marked as missing count as a gap",
        "30 s of samples that are all 0 count as a gap; see build.constant_gap",
    ]
    assert run(place, tmp_path / "set.h5", "build.constant_gap=none")["traces"] == 2


def test_odd_files_leave_the_others_as_they_are(folder, tmp_path, said):
    """Files without record length, without a time, and of the year 2399."""
    obspy = import_obspy()
    run(folder, tmp_path / "good.h5")
    trace = obspy.Trace(eventful(seed=2), {"sampling_rate": RATE, "starttime": NOON / SECOND})
    trace.id, trace.stats.mseed = "XX.CCC..HHZ", {"dataquality": "D"}
    trace.write(str(folder / "c.slist"), format="SLIST")
    for name, time in (("later", "2399-01-01"), ("never", "1970-01-01")):
        trace.stats.station, trace.stats.starttime = name.upper(), obspy.UTCDateTime(time)
        trace.write(str(folder / f"{name}.slist"), format="SLIST")
    assert run(folder, tmp_path / "set.h5")["traces"] == 3
    images = contents(tmp_path / "set.h5")["spectrogram"]
    np.testing.assert_array_equal(images[:6], contents(tmp_path / "good.h5")["spectrogram"])
    assert [line for line in said() if "later.slist" in line and "the year 2399" in line]
    assert [line for line in said() if "never.slist" in line and "left out" in line]


def test_a_clock_of_other_decades(tmp_path, said):
    for name, time in {"a": NOON, "b": NOON + DAY, "c": NOON - 1000 * DAY, "d": NOON + DAY}.items():
        write(tmp_path / f"{name}.mseed", (ID, time, RATE, eventful()))
    write(tmp_path / "gps.mseed", (ID, 3657 * DAY, RATE, eventful()))
    run(tmp_path, tmp_path / "set.h5")
    assert not any(row["starttime"] < "2000" for row in rows(tmp_path / "set.csv"))
    assert any("gps.mseed: starts 1980-01-06" in line and "left out" in line for line in said())
    for name in "abc":
        (tmp_path / f"{name}.mseed").unlink()
    run(tmp_path, tmp_path / "half.h5")  # nothing says which of the two is wrong
    assert any(row["starttime"] < "2000" for row in rows(tmp_path / "half.csv"))
    assert any("correct the clock that is wrong" in line for line in said())


def test_a_copy_of_a_file_and_files_that_overlap_give_no_window_twice(folder, tmp_path):
    run(folder, tmp_path / "one.h5")
    (folder / "copy.mseed").write_bytes((folder / "a.mseed").read_bytes())
    write(folder / "part.mseed", (ID, NOON + 60 * SECOND, RATE, eventful()[3000:]))
    run(folder, tmp_path / "two.h5")
    assert peaks(tmp_path / "two.h5") == peaks(tmp_path / "one.h5")


def test_a_file_with_many_traces_is_read_once_a_day(tmp_path, monkeypatch):
    reads, read = [], reading._read

    def counting(path, **options):
        if not options.get("headonly"):
            reads.append(path)
        return read(path, **options)

    monkeypatch.setattr(reading, "_read", counting)
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    start = MIDNIGHT + DAY - 30 * SECOND
    pieces = [(f"XX.S{k:02d}..HHZ", start, RATE, noise(60, RATE, seed=k)) for k in range(12)]
    write(one / "all.mseed", *pieces)
    for number, item in enumerate(pieces):
        write(many / f"{number}.mseed", item)
    run(one, tmp_path / "one.h5", *SLIDE)
    assert len(reads) == 2  # days
    run(many, tmp_path / "many.h5", *SLIDE)
    first, second = contents(tmp_path / "one.h5"), contents(tmp_path / "many.h5")
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    # Where they do not fit in memory together, by what their ids begin with.
    reads.clear()
    monkeypatch.setattr(building, "READ_BYTES", 11 * 60 * 50 * 8)
    run(one, tmp_path / "few.h5", *SLIDE)
    assert len(reads) == 2 * 2
    few = contents(tmp_path / "few.h5")["spectrogram"]
    np.testing.assert_array_equal(few, first["spectrogram"])


def test_gaps_overlaps_and_order(tmp_path):
    data, place = eventful(240, (30, 90, 150, 210)), tmp_path / "in"
    place.mkdir()
    pieces = [
        (ID, NOON + 120 * SECOND, RATE, data[6000:]),  # the later first
        (ID, NOON, RATE, data[:4600]),  # an event at 90 s, the gap from 92 s to 100 s
    ]
    for last, more, expected in (
        (7000, 0, ["00:30", "02:30", "03:30"]),  # overlaps, and agrees
        # Now 120 s to 140 s is a gap: the event at 150 s comes 3 s after the taper and 5 s of lta.
        (7000, 1, ["00:30", "02:30", "03:30"]),
        (7300, 1, ["00:30", "03:30"]),
    ):
        overlap = (ID, NOON + 100 * SECOND, RATE, data[5000:last] + more)
        write(place / "a.mseed", *pieces, overlap)
        counts = run(place, tmp_path / "set.h5", overwrite=True)
        assert minutes(tmp_path / "set.h5") == expected
        assert more or left_out(counts) == {"gap": 1}


def test_constant_short_and_damaged_data_leave_the_others(folder, tmp_path, said):
    write(folder / "dead.mseed", ("XX.DED..HHZ", NOON, RATE, np.full(5000, 7, np.int32)))
    write(folder / "short.mseed", ("XX.SHO..HHZ", NOON, RATE, noise(6, RATE)))
    content = bytearray((folder / "a.mseed").read_bytes())
    content[100:4000] = b"\xff" * 3900  # the headers stay
    (folder / "a.mseed").write_bytes(content)
    counts = run(folder, tmp_path / "set.h5")
    assert left_out(counts) == {"stretch_constant": 1, "stretch_too_short": 1}
    assert peaks(tmp_path / "set.h5") == [
        (OTHER, f"2016-01-01T12:0{time}.000000Z") for time in ("0:20", "0:50", "1:40")
    ]
    assert "XX.DED..HHZ 2016-01-01: a stretch of 100 s left out: all its samples are 7" in said()
    assert any(line.startswith(f"{ID} 2016-01-01: {folder / 'a.mseed'}") for line in said())
    with h5py.File(tmp_path / "set.h5") as file:
        assert file.attrs["left_out.stretch_constant"] == 1


def test_an_unforeseen_fault_leaves_out_the_station_day(folder, tmp_path, said, monkeypatch):
    def fails(wave, *_):
        if wave.data[0] == eventful()[0]:
            raise ZeroDivisionError("by nought")
        return process(wave, *_)

    monkeypatch.setattr("RISCluster.waveforms.process.process", fails)
    counts = run(folder, tmp_path / "set.h5")
    assert (counts["samples"], left_out(counts)) == (3, {"station_day_failed": 1})
    assert f"{ID} 2016-01-01: left out: by nought" in said()


def test_sampling_rates(folder, tmp_path, said):
    write(folder / "c.mseed", ("XX.CCC..HHZ", NOON, 100.0, eventful(rate=100.0)))
    with pytest.raises(DataError, match="different sampling rates: 50 Hz .*100 Hz .*c.mseed.; set"):
        run(folder, tmp_path / "set.h5")
    assert run(folder, tmp_path / "set.h5", "build.sampling_rate=50")["samples"] == 9
    assert not any("weakens" in line for line in said())
    assert minutes(tmp_path / "set.h5")[-3:] == ["00:30", "01:00", "01:30"]
    run(folder, tmp_path / "wide.h5", "build.sampling_rate=50", "build.frequencies=3-22")
    assert "resampling to 50 Hz weakens 3-22 Hz above 20 Hz" in said()
    # Within one trace, the rate with most data is used.
    (folder / "c.mseed").unlink()
    other = (ID, NOON + 200 * SECOND, 100.0, eventful(60, (30,), 100))
    write(folder / "a.mseed", (ID, NOON, RATE, eventful()), other)
    assert run(folder, tmp_path / "set.h5", overwrite=True)["samples"] == 6
    assert f"{ID}: data at 100 Hz left out on 1 of its days, most is at 50 Hz" in said()


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["bandpass=3-25"], SettingsError, "build.bandpass = 3-25 Hz .* 25 Hz, the Nyquist"),
        (["frequencies=3-30"], SettingsError, "build.frequencies = 3-30 Hz .* 25 Hz, the Nyquist"),
        (
            ["bandpass=3-30", "sampling_rate=100"],
            SettingsError,
            rf"the Nyquist frequency, with {ID} \(a.mseed\) at 50 Hz",
        ),
        (["method=slide", "step=0.01"], SettingsError, "build.step = 0.01 s is less than a sample"),
        (["on=1000"], DataError, "no window in 2 station-days: 0 found; .*build.on = 1000"),
        (["length=300"], DataError, "left out: 2 stretches too short; .*shorten"),
        (["inventory=none.xml"], SettingsError, "build.inventory = none.xml: no such file"),
    ],
)
def test_settings_that_do_not_fit_the_data(folder, tmp_path, words, kind, text):
    with pytest.raises(kind, match=text):
        run(folder, tmp_path / "set.h5", *(f"build.{word}" for word in words))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_no_waveforms(tmp_path, monkeypatch, folder):
    with pytest.raises(DataError, match="no such file, no file in this folder"):
        run(tmp_path / "nowhere", tmp_path / "set.h5")
    (tmp_path / "hello.dat").write_text("hello\n")
    with pytest.raises(DataError, match="no waveforms in 1 file;"):
        run(tmp_path / "hello.dat", tmp_path / "set.h5")

    def missing(name):
        raise MissingPackage(f"no {name}")

    monkeypatch.setattr("RISCluster.waveforms.read.need", missing)
    with pytest.raises(MissingPackage, match="no obspy"):
        run(folder, tmp_path / "set.h5")


def test_responses(tmp_path, said):
    inventory, place = shared_data("mesetas") / "stations.xml", tmp_path / "in"
    place.mkdir()
    start = MIDNIGHT - 8 * DAY
    write(place / "p.mseed", ("CM.PRA.00.HHZ", start, RATE, eventful()))
    write(place / "x.mseed", (ID, start, RATE, eventful()))
    run(place, tmp_path / "set.h5", f"build.inventory={inventory}")
    assert {trace_id for trace_id, _ in peaks(tmp_path / "set.h5")} == {"CM.PRA.00.HHZ"}
    lines = said()
    assert f"{ID}: no response in {inventory}; left out" in lines
    assert any(
        f"{inventory}: has only the sensitivity for CM.PRA.00.HHZ:" in line for line in lines
    )
    row = rows(tmp_path / "set.csv")[0]
    assert row["unit"] == "m/s"
    run(place, tmp_path / "counts.h5", "build.trace_ids=CM.*")
    counts = rows(tmp_path / "counts.csv")[0]
    ratio = float(counts["peak_amplitude"]) / float(row["peak_amplitude"])
    assert ratio == pytest.approx(625853000.0, rel=1e-6)
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert file.amplitude_unit == "(m/s)^2/Hz"
    with pytest.raises(DataError, match="has a response for none of the traces"):
        run(place / "x.mseed", tmp_path / "x.h5", f"build.inventory={inventory}")


def test_again(folder, said):
    target = folder / "set.h5"  # what it writes is no input
    run(folder, target)
    before = target.read_bytes()
    left = target.with_name("set.h5.parts")  # by a process killed while it removed them
    left.mkdir()
    assert run(folder, target) is None
    assert not left.exists()
    assert said()[-1] == f"{target}: done already, from the same files with the same settings"
    for words, options in ((["build.on=5"], {}), ([], {"layout": "ris"})):
        with pytest.raises(DataError, match="set.h5: exists, made from other files or settings"):
            run(folder, target, *words, **options)
    assert target.read_bytes() == before
    run(folder, target, "build.length=2", overwrite=True)
    assert contents(target)["spectrogram"].shape == (6, 87, 50)
    target.unlink()
    with pytest.raises(DataError, match="set.csv: exists"):
        run(folder, target)
    with pytest.raises(SettingsError, match="allowed: a file ending in .h5 or .hdf5"):
        run(folder, folder / "set.csv")


def test_workers_and_interruption_change_nothing(folder, tmp_path, monkeypatch):
    write(folder / "c.mseed", ("XX.CCC..HHZ", NOON, RATE, eventful(seed=2)))
    words = ("build.method=slide", "build.step=0.5", "build.traces=yes")
    run(folder, tmp_path / "one.h5", *words)
    code = """
import os, signal, sys
from RISCluster.waveforms import build as building
from tests.waveforms.waves import settings
records, count = building._records, 0
def killed(*arguments):
    global count
    count += 1
    for block in records(*arguments):
        yield block
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)
building._records = killed
building.build([sys.argv[1]], sys.argv[2], settings(*sys.argv[3:]))
"""
    target = tmp_path / "two.h5"
    command = [sys.executable, "-c", code, str(folder), str(target), *words]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    first = Path(f"{target}.parts") / "XX.AAA..HHZ.2016-01-01"
    done, put_together, seen = first.stat().st_mtime_ns, building.put_together, []
    monkeypatch.setattr(
        building,
        "put_together",
        lambda *a: (seen.append(first.stat().st_mtime_ns), put_together(*a)),
    )
    run(folder, target, *words, workers=2)
    assert seen == [done]  # it was not made again
    expected = contents(tmp_path / "one.h5")
    assert expected["spectrogram"].shape == (3 * 223, 87, 100)
    found = contents(target)
    assert found.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_a_full_disk_stops_and_what_is_done_stays(folder, tmp_path, monkeypatch):
    code = """
import resource, signal, sys
from RISCluster.waveforms.build import build
from RISCluster.errors import RunError
from tests.waveforms.waves import settings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))
try:
    build([sys.argv[1]], sys.argv[2], settings("build.method=slide", "build.step=0.1"))
except RunError as error:
    print("RunError", error)
    sys.exit(7)
"""
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "set.h5")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 7, ended.stderr
    assert "can't be written: File too large; make room" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "set.h5").exists()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 200_000}))
    with pytest.raises(RunError, match=r"set.h5: needs 0.000209 GB, and 0.0002 GB are free"):
        run(folder, tmp_path / "set.h5")
    monkeypatch.undo()
    assert len(list((tmp_path / "set.h5.parts").glob("*.json"))) == 2
    run(folder, tmp_path / "set.h5", "build.method=slide", "build.step=0.1")
    assert len(rows(tmp_path / "set.csv")) == 2 * 1117
