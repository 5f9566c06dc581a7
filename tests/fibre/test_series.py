"""Records and waveforms joined on one axis of time, and samples that are missing in them."""

import pickle
import re

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.fibre import series as joining
from RISCluster.fibre.series import open_series
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.read import import_obspy
from tests.fibre.fibre import (
    AUTO,
    RATE,
    SECOND,
    START,
    noise,
    record,
    records_settings,
    virtual,
    waveforms,
)  # fmt: skip


def opened(folder, settings=AUTO):
    return open_series(sorted(folder.iterdir()), settings)


def record_parts(folder, samples, n, names="{}.h5", **attributes):
    """Files of n samples each, one after the other."""
    for number, first in enumerate(range(0, len(samples), n)):
        start = attributes.get("start", START + first / RATE)
        words = attributes | {"start": start}
        record(folder / names.format(number), samples[first : first + n], **words)


def test_three_files_are_one(tmp_path):
    samples = noise(300, 5)
    for number in range(3):
        part = samples[100 * number : 100 * (number + 1)]
        # Names against the order of time, and a clock that is off by less than half a sample.
        record(tmp_path / f"{9 - number}.h5", part, START + number + 0.004 * (number == 1), dx=2.0)
    series = opened(tmp_path)
    assert (series.n_samples, series.n_channels, series.start) == (300, 5, START * SECOND)
    np.testing.assert_array_equal(series.distance, [0, 2, 4, 6, 8])
    values, lost = series.read(50, 250, 1, 4)
    np.testing.assert_array_equal(values, samples[50:250, 1:4])
    assert (values.dtype, lost) == (np.float32, [])
    few = pickle.loads(pickle.dumps(series.between(100, 200)))
    assert len(few.pieces) == 1
    np.testing.assert_array_equal(few.read(100, 200, 0, 5)[0], samples[100:200])


@pytest.mark.parametrize("inside", [False, True])
def test_gap(tmp_path, lines, inside):
    samples, times = noise(200), START + np.arange(200) / RATE
    if inside:
        times[100:] += 0.5
        with h5py.File(record(tmp_path / "a.h5", samples), "a") as file:
            file["RawDataTime"] = times
    else:
        record(tmp_path / "a.h5", samples[:100])
        record(tmp_path / "b.h5", samples[100:], START + 1.5)
    series = opened(tmp_path)
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), np.arange(250) // 50 == 2)
    np.testing.assert_array_equal(values[150:], samples[100:])
    place = ("between files", "inside files")[inside]
    assert any(f"1 gap {place}, 0.5 s in all, the first" in line for line in lines)


def test_many_small_clock_errors_make_no_seam(tmp_path, lines):
    for number in range(8):
        record(tmp_path / f"{number}.h5", noise(100), START + number * 1.004)
    assert opened(tmp_path).n_samples == 800
    assert any("drift apart by up to 0.03 s" in line for line in lines)


def test_overlap_drops_what_the_later_file_repeats(tmp_path, lines):
    first, later = noise(100, seed=1), noise(100, seed=2)
    record(tmp_path / "a.h5", first)
    record(tmp_path / "b.h5", later, START + 0.8)
    record(tmp_path / "c.h5", later[:50], START + 0.9)
    series = opened(tmp_path)
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(values, np.concatenate([first, later[20:]]))
    dropped = [line for line in lines if "dropped" in line]
    assert re.search("b.h5: begins 0.2 s before .* first 20 samples of 100 are", dropped[0])
    assert "first 50 samples of 50 are dropped" in dropped[1]
    for number in range(30):
        record(tmp_path / f"d{number:02d}.h5", noise(100), START + 2 + number * 0.5)
    lines.clear()
    opened(tmp_path)
    assert sum("are dropped" in line for line in lines) == 20
    assert "11 more lines as these" in lines


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1"])
@pytest.mark.parametrize("chunks", [None, (30, 4)])
@pytest.mark.parametrize("order", ["time,channel", "channel,time"])
def test_either_order_and_any_number_type(tmp_path, dtype, chunks, order):
    samples = (50 * noise(200, 6) + 100).clip(0, 255).astype(dtype)
    turn = 1 if order == "time,channel" else -1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = samples if turn == 1 else samples.T
        file.create_dataset("data", data=stored, chunks=chunks and chunks[::turn])
        file.attrs.update({"dims": order, "fs": RATE})
    series = opened(tmp_path)
    assert (series.n_samples, series.n_channels, series.start) == (200, 6, None)
    values, _ = series.read(33, 177, 1, 5)
    np.testing.assert_array_equal(values, samples[33:177, 1:5].astype(np.float32))


def test_files_without_times_follow_by_name(tmp_path, lines):
    samples = noise(200)
    whole = record(tmp_path / "a.h5", samples[:100], None)
    record(tmp_path / "c.h5", samples[100:], None)
    (tmp_path / "b.h5").write_bytes(whole.read_bytes()[:1500])
    series = opened(tmp_path)
    assert series.start is None
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(values[:100], samples[:100])
    assert np.isnan(values[100:200]).all()
    np.testing.assert_array_equal(values[200:], samples[100:])
    assert any("b.h5: 100 missing samples stand for it" in line for line in lines)
    assert any("in the order of their names, times count from 0" in line for line in lines)
    given = records_settings("starttime=2020-09-13T12:26:40").records
    assert opened(tmp_path, given).start == START * SECOND


@pytest.mark.parametrize(
    ("words", "start", "begin"),
    [
        ({"MeasurementStartTime": "2020-09-13T12:26:40Z"}, START * SECOND, "from 2020-09-13T12:26"),
        ({"start": "1970-01-01T00:00:00Z"}, None, "times count from 0"),  # no clock was set
    ],
)
def test_files_that_all_name_one_start(tmp_path, lines, words, start, begin):
    samples = noise(300)
    record_parts(tmp_path, samples, 100, **({"start": None} | words))
    series = opened(tmp_path)
    np.testing.assert_array_equal(series.read(0, 300, 0, 3)[0], samples)
    assert series.start == start
    assert any(f"in the order of their names, {begin}" in line for line in lines)


def test_a_given_start_moves_all_files(tmp_path):
    record(tmp_path / "a.h5", noise(100))
    record(tmp_path / "b.h5", noise(100), START + 2)
    series = opened(tmp_path, records_settings("starttime=2000-01-01").records)
    assert (series.start, series.n_samples) == (946_684_800 * SECOND, 300)
    with pytest.raises(SettingsError, match="starttime = noon is not allowed"):
        opened(tmp_path, records_settings("starttime=noon").records)


ODD = [
    (noise(100), {"fs": 50.0}, "at 50 Hz with a start, but"),
    (noise(100, 4), {}, "has 4 channels as (time, channel)"),
    (noise(100), {"start": None}, "at 100 Hz without a start, but"),
    (noise(100), {"dims": "channel,time"}, "as (channel, time)"),
]


@pytest.mark.parametrize(("samples", "attributes", "line"), ODD)
def test_two_kinds_of_files(tmp_path, samples, attributes, line):
    record(tmp_path / "a.h5", noise(100))
    record(tmp_path / "b.h5", samples, **({"start": START + 1} | attributes))
    with pytest.raises(DataError, match=rf"b.h5: .*{re.escape(line)}.*; give only files of"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("samples", "attributes", "line"),
    [
        *ODD,
        (noise(100), {"fs": "fast"}, "no attribute of data"),
        (noise(100), {"start": "noon"}, "its start 'noon'"),
        (noise(100), {"start": "1970-01-01T00:00:10Z"}, "starts 1970-01-01T00:00:10"),
        (noise(100), {"start": "2199-01-01"}, "starts 2199-01-01"),
        (np.full((100, 3), b"x"), {}, "no numeric data set"),
    ],
)
def test_one_odd_file_is_left_out(tmp_path, lines, samples, attributes, line):
    whole = noise(500)
    record_parts(tmp_path, whole, 100)
    record(tmp_path / "odd.h5", samples, **({"start": START + 5} | attributes))
    series = opened(tmp_path)
    assert (series.n_samples, series.start) == (500, START * SECOND)
    np.testing.assert_array_equal(series.read(0, 500, 0, 3)[0], whole)
    assert sum("odd.h5: " in text and line in text for text in lines) == 1


@pytest.mark.parametrize("start", ["1970-01-01T00:00:00+00:00", "2250-01-01"])
def test_notes_on_many_files_and_a_start_that_can_not_be(tmp_path, lines, start):
    series = open_series([record(tmp_path / "a.h5", noise(300), start)], AUTO)
    assert series.start is None
    assert any(f"starts {start[:10]}T00:00:00" in line for line in lines)
    (tmp_path / "a.h5").unlink()
    record_parts(tmp_path, noise(500), 100, PartEndTime="2020-09-13T12:27:30Z")
    opened(tmp_path)
    notes = [line for line in lines if "PartEndTime" in line]
    assert [line.partition(" (")[2] for line in notes] == ["and so in 4 more files)"]


# ---- samples that are not there -----------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_virtual_sources_and_chunks_that_are_gone_are_missing(tmp_path, turn):
    path, samples = virtual(tmp_path, noise(100, 4), turn)
    (tmp_path / "s1.h5").rename(tmp_path / "moved.h5")
    series, missing = open_series([path], AUTO), np.arange(20, 90) >= 50
    values, lost = series.read(20, 90, 1, 4)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), missing)
    np.testing.assert_array_equal(values[~missing], samples[20:50, 1:4])
    line = "v.h5: samples can't be read, they count as missing: source s1.h5:/d is missing"
    assert line in lost[0]
    assert series.read(0, 50, 0, 4)[1] == []
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (100, 4)[::turn], "i4", chunks=(25, 4)[::turn])
        data.attrs.update({"fs": RATE, "dims": ",".join(("time", "channel")[::turn])})
        data[(slice(0, 50), slice(None))[::turn]] = 7
    values, lost = open_series([tmp_path / "a.h5"], AUTO).read(20, 90, 1, 4)
    np.testing.assert_array_equal(values[:, 0], np.where(missing, np.nan, 7))
    assert "2 of 4 chunks of data were never written" in lost[0]


@pytest.mark.parametrize(
    ("dtype", "mark", "attributes", "fillvalue"),
    [
        ("i4", -(2**31), {}, None),
        ("i4", -9999, {"_FillValue": np.int32(-9999)}, None),
        ("f4", -12345, {}, -12345.0),
    ],
)
def test_values_that_stand_for_none_are_missing(tmp_path, dtype, mark, attributes, fillvalue):
    samples = np.abs((10 * noise(100, 3)).clip(-40, 40).astype("f4" if dtype == "f4" else "i2"))
    samples = samples.astype(dtype)
    samples[30:50, 1] = mark
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=samples, fillvalue=fillvalue)
        file["data"].attrs.update({"fs": RATE, "dims": "time,channel"} | attributes)
    values, lost = opened(tmp_path).read(0, 100, 0, 3)
    missing = np.zeros((100, 3), bool)
    missing[30:50, 1] = True
    np.testing.assert_array_equal(np.isnan(values), missing)
    np.testing.assert_array_equal(values[~missing], samples[~missing].astype("f4"))
    assert lost == []


def test_packed_samples_are_unpacked(tmp_path):
    packed = (100 * noise(100, 3)).astype("i2")
    packed[5, 1] = -1
    marks = {"scale_factor": 0.01, "add_offset": 5.0, "_FillValue": np.int16(-1)}
    path = record(tmp_path / "a.h5", packed, **marks)
    values, _ = open_series([path], AUTO).read(0, 100, 0, 3)
    expected = np.where(packed == -1, np.nan, packed * 0.01 + 5)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    with h5py.File(record(tmp_path / "b.h5", packed), "a") as file:
        file["header/dataScale"] = 0.5
    values, _ = open_series([tmp_path / "b.h5"], AUTO).read(0, 100, 0, 3)
    np.testing.assert_array_equal(values, packed * np.float32(0.5))


def test_a_file_damaged_after_its_header_is_missing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=noise(100), chunks=(50, 3), compression="gzip")
        data.attrs.update({"fs": RATE, "dims": "time,channel"})
        chunk = data.id.get_chunk_info(1)
    with (tmp_path / "a.h5").open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    series = opened(tmp_path)
    values, lost = series.read(0, 100, 0, 3)
    assert np.isnan(values).all()
    assert "a.h5: samples can't be read, they count as missing" in lost[0]
    assert np.isfinite(series.read(0, 50, 0, 3)[0]).all()


@pytest.mark.parametrize("dims", ["time,channel", "channel,time"])
@pytest.mark.parametrize("offset", [0, 10**8, 2 * 10**9])
def test_an_offset_costs_no_digits(tmp_path, offset, dims, monkeypatch):
    """Unwrapped phase of an interrogator: large integers of which little moves."""
    monkeypatch.setattr(joining, "READ_VALUES", 99)
    moving = np.random.default_rng(0).integers(-300, 300, (400, 3)).astype(np.int32)
    samples = moving + np.array([offset, -offset, offset // 2], dtype=np.int64)
    record(tmp_path / "r.h5", samples if dims == "time,channel" else samples.T, dims=dims)
    values, lost = opened(tmp_path).read(50, 350, 0, 3)
    assert (values.dtype, lost) == (np.float32, [])
    expected = moving[50:350] - moving[50:350].mean(0)
    np.testing.assert_allclose(values - values.mean(0, dtype=float), expected, atol=1e-3)


# ---- waveforms of an array ----------------------------------------------------------------------

A = "XX.A..HHZ"


def test_array(tmp_path):
    """Channels in the order of their ids, on one axis of time, with what is missing as NaN."""
    a, b = np.arange(300), 1000 + np.arange(200)
    waveforms(tmp_path / "1.mseed", ("XX.B..HHZ", 0, b, RATE), (A, 0.5, a[:100], RATE))
    waveforms(tmp_path / "2.mseed", (A, 1.996, a[100:], RATE))
    series = opened(tmp_path)
    assert series.channel_names == (A, "XX.B..HHZ")
    assert (series.start, series.n_samples, series.distance) == (START * SECOND, 400, None)
    expected = np.full((400, 2), np.nan, dtype=np.float32)
    expected[50:150, 0], expected[200:400, 0], expected[:200, 1] = a[:100], a[100:], b
    np.testing.assert_array_equal(series.read(0, 400, 0, 2)[0], expected)
    np.testing.assert_array_equal(series.read(120, 260, 0, 1)[0], expected[120:260, :1])
    few = pickle.loads(pickle.dumps(series.between(120, 260)))
    np.testing.assert_array_equal(few.read(120, 260, 0, 2)[0], expected[120:260])
    (tmp_path / "1.mseed").write_bytes(b"gone")
    lost = series.read(0, 100, 0, 1)[1]
    assert re.search("1.mseed: can't be read as .*; its samples count as missing$", lost[0])


def test_array_overlaps_that_disagree_are_missing(tmp_path):
    waveforms(tmp_path / "1.mseed", (A, 0, np.arange(100), RATE))
    waveforms(tmp_path / "2.mseed", (A, 0.8, np.arange(80, 180), RATE))
    np.testing.assert_array_equal(opened(tmp_path).read(0, 180, 0, 1)[0][:, 0], np.arange(180))
    waveforms(tmp_path / "2.mseed", (A, 0.8, np.arange(100), RATE))
    values, lost = opened(tmp_path).read(0, 180, 0, 1)
    np.testing.assert_array_equal(np.isnan(values[:, 0]), np.arange(180) // 20 == 4)
    assert lost == ["XX.A..HHZ: samples of overlaps that disagree count as missing"]


def test_array_is_read_once_for_all_its_channels(tmp_path, monkeypatch):
    traces = [(f"XX.S{k}..HHZ", 0, k + np.arange(300), RATE) for k in range(20)]
    series = open_series([waveforms(tmp_path / "1.mseed", *traces)], AUTO)
    reads, read = [], reading._read
    monkeypatch.setattr(reading, "_read", lambda *a, **b: reads.append(a) or read(*a, **b))
    values, _ = series.read(100, 200, 0, 20)
    np.testing.assert_array_equal(values[0], 100 + np.arange(20))
    assert len(reads) == 1


def test_array_rates_that_are_rounded_leave_no_seam(tmp_path):
    """Half a sample off the grid, where rounding to even would part every other file."""
    waveforms(tmp_path / "0.mseed", (A, 0, np.arange(1000), RATE))
    for k in range(5):
        start = 0.005 + 0.99 * k  # an odd number of samples
        rate = (99.999992, 100, 100.000008)[k % 3]
        piece = ("XX.B..HHZ", start, np.arange(99) + 99 * k, rate)
        waveforms(tmp_path / f"{k + 1}.mseed", piece)
    series = opened(tmp_path)
    assert series.sampling_rate == 100
    np.testing.assert_array_equal(series.read(0, 495, 1, 2)[0][:, 0], np.arange(495))
    np.testing.assert_array_equal(series.read(150, 210, 1, 2)[0][:, 0], np.arange(150, 210))
    waveforms(tmp_path / "1.mseed", ("XX.B..HHZ", 0, [1, 2], 50.0))
    with pytest.raises(DataError, match="XX.B..HHZ: sampled at 50 Hz, but XX.A..HHZ at 100 Hz"):
        open_series([tmp_path / "0.mseed", tmp_path / "1.mseed"], AUTO)


def test_array_without_what_a_wrong_clock_has(tmp_path, lines):
    waveforms(tmp_path / "a.mseed", (A, 0, np.arange(6000), RATE))
    bad = waveforms(tmp_path / "b.mseed", (A, -1_284_000_000, np.arange(50), RATE))
    series = opened(tmp_path)
    assert (series.start, series.n_samples) == (START * SECOND, 6000)
    assert len(lines) == 1
    assert lines[0].startswith(f"{bad}: starts 1980-01-06T")
    assert "41 years away from the data of 2020-09-13" in lines[0]
    waveforms(tmp_path / "b.mseed", (A, -1_284_000_000, np.arange(5000), RATE))
    with pytest.raises(DataError, match="b.mseed: starts 1980-01-06.* 41 years away"):
        opened(tmp_path)


def test_array_gaps_that_were_filled_are_missing(tmp_path):
    data = 5000 + np.rint(100 * np.random.default_rng(0).standard_normal(3000))
    data[1000:1500], data[2000:2005] = 0, -(2**31)
    path = waveforms(tmp_path / "1.mseed", (A, 0, np.zeros(2), RATE))
    trace = import_obspy().read(str(path))[0]
    trace.data = data.astype(np.int32)
    trace.write(str(path), format="MSEED", encoding="INT32")
    series = opened(tmp_path)
    values, lost = series.read(0, 3000, 0, 1)
    data[1000:1500] = data[2000:2005] = np.nan
    np.testing.assert_array_equal(values[:, 0], data.astype(np.float32))
    assert "XX.A..HHZ: samples that are all 0 count as missing" in lost
    # A block that begins within the run has samples from before it.
    np.testing.assert_array_equal(series.read(1450, 1600, 0, 1)[0][:, 0], data[1450:1600])


def test_both_kinds_are_refused(tmp_path):
    waves = waveforms(tmp_path / "1.mseed", (A, 0, np.ones(100), RATE))
    with pytest.raises(DataError, match="a.h5 is HDF5 and .*1.mseed is not"):
        open_series([record(tmp_path / "a.h5", noise(100)), waves], AUTO)
    (tmp_path / "b.dat").write_text("nothing")
    with pytest.raises(DataError, match="none of 1 files is usable; .*b.dat"):
        open_series([tmp_path / "b.dat"], AUTO)
