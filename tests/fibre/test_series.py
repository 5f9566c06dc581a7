import pickle
import re

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.fibre import series as joining
from RISCluster.fibre.series import open_series
from RISCluster.settings import load_settings
from RISCluster.waveforms import read as reading
from RISCluster.waveforms.read import import_obspy
from tests.fibre.fibre import RATE, START, noise, record, records_settings, waveforms

AUTO = records_settings().records
SECOND = 10**9


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(joining.log, level, lines.append)
    return lines


def test_three_files_are_one(tmp_path):
    samples = noise(300, 5)
    for number in range(3):
        part = samples[100 * number : 100 * (number + 1)]
        # Names against the order of time, and a clock that is off by less than half a sample.
        record(tmp_path / f"{9 - number}.h5", part, START + number + 0.004 * (number == 1), dx=2.0)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert (series.n_samples, series.n_channels, series.start) == (300, 5, START * SECOND)
    np.testing.assert_array_equal(series.distance, [0, 2, 4, 6, 8])
    values, lost = series.read(50, 250, 1, 4)
    np.testing.assert_array_equal(values, samples[50:250, 1:4])
    assert values.dtype == np.float32
    assert lost == []
    few = pickle.loads(pickle.dumps(series.between(100, 200)))
    assert len(few.pieces) == 1
    np.testing.assert_array_equal(few.read(100, 200, 0, 5)[0], samples[100:200])


def test_many_small_clock_errors_make_no_seam(tmp_path, said):
    for number in range(8):
        record(tmp_path / f"{number}.h5", noise(100), START + number * 1.004)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert series.n_samples == 800
    assert [line for line in said if "drift apart by up to 0.03 s" in line]


def test_gap(tmp_path, said):
    samples = noise(200)
    record(tmp_path / "a.h5", samples[:100])
    record(tmp_path / "b.h5", samples[100:], START + 1.5)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert series.n_samples == 250
    values, _ = series.read(0, 250, 0, 3)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), np.arange(250) // 50 == 2)
    np.testing.assert_array_equal(values[150:], samples[100:])
    assert any("1 gap between files, 0.5 s in all, the first after" in line for line in said)


def test_overlap_drops_what_the_later_file_repeats(tmp_path, said):
    first, later = noise(100, seed=1), noise(100, seed=2)
    record(tmp_path / "a.h5", first)
    record(tmp_path / "b.h5", later, START + 0.8)
    record(tmp_path / "c.h5", later[:50], START + 0.9)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(values, np.concatenate([first, later[20:]]))
    lines = [line for line in said if "dropped" in line]
    assert "b.h5: begins 0.2 s before" in lines[0]
    assert "first 20 samples of 100 are dropped" in lines[0]
    assert "first 50 samples of 50 are dropped" in lines[1]


def test_lines_about_many_overlaps_are_few(tmp_path, said):
    for number in range(30):
        record(tmp_path / f"{number:02d}.h5", noise(100), START + number * 0.5)
    open_series(sorted(tmp_path.iterdir()), AUTO)
    assert sum("are dropped" in line for line in said) == 20
    assert "9 more lines as these" in said


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u1"])
@pytest.mark.parametrize("chunks", [None, (30, 4)])
def test_either_order_and_any_number_type(tmp_path, dtype, chunks):
    samples = (50 * noise(200, 6) + 100).clip(0, 255).astype(dtype)
    for name, stored in (("time,channel", samples), ("channel,time", samples.T)):
        with h5py.File(tmp_path / f"{name[0]}.h5", "w") as file:
            order = None if chunks is None else chunks if name[0] == "t" else chunks[::-1]
            file.create_dataset("data", data=stored, chunks=order)
            file.attrs.update({"dims": name, "fs": RATE})
        series = open_series([tmp_path / f"{name[0]}.h5"], AUTO)
        assert (series.n_samples, series.n_channels, series.start) == (200, 6, None)
        values, _ = series.read(33, 177, 1, 5)
        np.testing.assert_array_equal(values, samples[33:177, 1:5].astype(np.float32))


def test_files_without_times_follow_by_name(tmp_path, said):
    samples = noise(200)
    whole = record(tmp_path / "a.h5", samples[:100], None)
    record(tmp_path / "c.h5", samples[100:], None)
    (tmp_path / "b.h5").write_bytes(whole.read_bytes()[:1500])
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert series.start is None
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(values[:100], samples[:100])
    assert np.isnan(values[100:200]).all()
    np.testing.assert_array_equal(values[200:], samples[100:])
    assert any("b.h5: 100 missing samples stand for it" in line for line in said)
    assert any("joined in the order of their names, times count from 0" in line for line in said)
    given = records_settings("starttime=2020-09-13T12:26:40").records
    assert open_series(sorted(tmp_path.iterdir()), given).start == START * SECOND


def test_a_given_start_moves_all_files(tmp_path):
    record(tmp_path / "a.h5", noise(100))
    record(tmp_path / "b.h5", noise(100), START + 2)
    given = records_settings("starttime=2000-01-01").records
    series = open_series(sorted(tmp_path.iterdir()), given)
    assert (series.start, series.n_samples) == (946_684_800 * SECOND, 300)
    with pytest.raises(SettingsError, match="starttime = noon is not allowed"):
        open_series(sorted(tmp_path.iterdir()), records_settings("starttime=noon").records)


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
        open_series(sorted(tmp_path.iterdir()), AUTO)


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
def test_one_odd_file_is_left_out(tmp_path, said, samples, attributes, line):
    whole = noise(500)
    for number in range(5):
        part = whole[100 * number : 100 * (number + 1)]
        record(tmp_path / f"{number}.h5", part, START + number)
    record(tmp_path / "odd.h5", samples, **({"start": START + 5} | attributes))
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert (series.n_samples, series.start) == (500, START * SECOND)
    np.testing.assert_array_equal(series.read(0, 500, 0, 3)[0], whole)
    assert sum("odd.h5: " in text and line in text for text in said) == 1


def test_a_note_on_many_files_is_one_line(tmp_path, said):
    for number in range(5):
        end = f"2020-09-13T12:27:{10 + number}Z"
        record(tmp_path / f"{number}.h5", noise(100), START + number, PartEndTime=end)
    open_series(sorted(tmp_path.iterdir()), AUTO)
    lines = [line for line in said if "PartEndTime" in line]
    assert len(lines) == 1
    assert lines[0].endswith("(and so in 4 more files)")


def test_files_that_all_name_the_start_of_the_measurement(tmp_path, said):
    samples = noise(300)
    for number in range(3):
        part = samples[100 * number : 100 * (number + 1)]
        whole = {"MeasurementStartTime": "2020-09-13T12:26:40Z"}
        record(tmp_path / f"{number}.h5", part, None, **whole)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    np.testing.assert_array_equal(series.read(0, 300, 0, 3)[0], samples)
    assert series.start == START * SECOND
    assert any("in the order of their names, from 2020-09-13T12:26:40" in line for line in said)


def test_a_gap_inside_a_file(tmp_path, said):
    samples = noise(200)
    path = record(tmp_path / "a.h5", samples)
    times = START + np.arange(200) / RATE
    times[100:] += 0.5
    with h5py.File(path, "a") as file:
        file["RawDataTime"] = times
    series = open_series([path], AUTO)
    values, _ = series.read(0, series.n_samples, 0, 3)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), np.arange(250) // 50 == 2)
    np.testing.assert_array_equal(values[150:], samples[100:])
    assert any("1 gap inside files, 0.5 s in all" in line for line in said)


@pytest.mark.parametrize("start", ["1970-01-01T00:00:00+00:00", "2250-01-01"])
def test_a_start_that_can_not_be_is_said(tmp_path, said, start):
    open_series([record(tmp_path / "a.h5", noise(300), start)], AUTO)
    assert any(f"starts {start[:10]}T00:00:00" in line for line in said)


# ---- samples that are not there -----------------------------------------------------------------


def virtual(tmp_path, order="time,channel", nested=False):
    """Four sources of 50 samples each, one of them gone; another part has none at all."""
    samples = noise(250, 4)
    along = order == "time,channel"
    layout = h5py.VirtualLayout((250, 4) if along else (4, 250), "f4")
    for number in range(4):
        part = samples[50 * number : 50 * (number + 1)]
        name = f"s{number}.h5"
        with h5py.File(tmp_path / name, "w") as file:
            file["d"] = part if along else part.T
        if nested:
            inner = h5py.VirtualLayout((50, 4) if along else (4, 50), "f4")
            inner[:] = h5py.VirtualSource(name, "d", shape=inner.shape)
            name = f"n{number}.h5"
            with h5py.File(tmp_path / name, "w") as file:
                file.create_virtual_dataset("d", inner)
        source = h5py.VirtualSource(name, "d", shape=(50, 4) if along else (4, 50))
        place = slice(50 * number, 50 * (number + 1))
        layout[(place, slice(None)) if along else (slice(None), place)] = source
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_virtual_dataset("data", layout)
        data.attrs.update({"fs": RATE, "dims": order})
    return tmp_path / "v.h5", samples


@pytest.mark.parametrize("order", ["time,channel", "channel,time"])
@pytest.mark.parametrize("nested", [False, True])
def test_virtual_sources_that_are_gone_are_missing(tmp_path, order, nested):
    path, samples = virtual(tmp_path, order, nested)
    (tmp_path / "s1.h5").rename(tmp_path / "moved.h5")
    (tmp_path / "s2.h5").write_bytes(b"damaged")
    series = open_series([path], AUTO)
    values, lost = series.read(30, 250, 1, 4)
    here = np.arange(30, 250)
    missing = (here // 50 == 1) | (here // 50 == 2) | (here >= 200)
    np.testing.assert_array_equal(np.isnan(values), np.repeat(missing[:, None], 3, axis=1))
    np.testing.assert_array_equal(values[~missing], samples[30:250, 1:4][~missing])
    assert len(lost) == 2
    assert "v.h5: samples can't be read, they count as missing: source " in lost[0]
    assert series.read(0, 50, 0, 4)[1] == []


def test_a_virtual_part_without_a_source_and_one_that_got_shorter(tmp_path):
    path, samples = virtual(tmp_path)
    with h5py.File(tmp_path / "s0.h5", "w") as file:
        file["d"] = samples[:20]
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        file["other"] = samples[:20]
    values, lost = open_series([path], AUTO).read(0, 250, 0, 4)
    here = np.arange(250)
    missing = (here >= 20) & (here < 100) | (here >= 200)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), missing)
    np.testing.assert_array_equal(values[~missing], samples[~missing])
    assert any("s0.h5:/d is shorter" in line for line in lost)
    assert any("s1.h5:/d is not in that file" in line for line in lost)


def test_a_virtual_data_set_of_every_other_channel(tmp_path):
    samples = noise(100, 4)
    layout = h5py.VirtualLayout((100, 4), "f4")
    for number in (0, 1):
        with h5py.File(tmp_path / f"s{number}.h5", "w") as file:
            file["d"] = samples[:, number::2]
        layout[:, number::2] = h5py.VirtualSource(f"s{number}.h5", "d", shape=(100, 2))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_virtual_dataset("data", layout)
        data.attrs.update({"fs": RATE, "dims": "time,channel"})
    series = open_series([tmp_path / "v.h5"], AUTO)
    np.testing.assert_array_equal(series.read(10, 90, 0, 4)[0], samples[10:90])
    (tmp_path / "s1.h5").unlink()
    values, _ = series.read(10, 90, 1, 4)
    np.testing.assert_array_equal(np.isnan(values).all(axis=0), [True, False, True])
    np.testing.assert_array_equal(values[:, 1], samples[10:90, 2])


@pytest.mark.parametrize("dtype", ["f4", "i4"])
@pytest.mark.parametrize("order", ["time,channel", "channel,time"])
def test_chunks_that_were_never_written_are_missing(tmp_path, dtype, order):
    samples = (100 * noise(100, 6)).astype(dtype) + 1
    along = order == "time,channel"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        shape, chunks = ((100, 6), (30, 4)) if along else ((6, 100), (4, 30))
        data = file.create_dataset("data", shape, dtype, chunks=chunks)
        data.attrs.update({"fs": RATE, "dims": order})
        turned = data if along else None
        for low, high in ((0, 30), (60, 100)):
            if along:
                turned[low:high] = samples[low:high]
            else:
                data[:, low:high] = samples[low:high].T
    series = open_series([tmp_path / "a.h5"], AUTO)
    values, lost = series.read(20, 100, 1, 6)
    missing = (np.arange(20, 100) >= 30) & (np.arange(20, 100) < 60)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), missing)
    np.testing.assert_array_equal(values[~missing], samples[20:, 1:][~missing])
    assert lost == [
        f"{tmp_path / 'a.h5'}: samples can't be read, they count as missing: 2 of 8 chunks of "
        "data were never written"
    ]
    assert series.read(60, 100, 0, 6)[1] == []


@pytest.mark.parametrize(
    ("dtype", "mark", "attributes", "fillvalue"),
    [
        ("i2", -32768, {}, None),
        ("i4", -(2**31), {}, None),
        ("i4", -9999, {"_FillValue": np.int32(-9999)}, None),
        ("f4", 1e20, {"missing_value": np.float32(1e20)}, None),
        ("f4", -12345, {}, -12345.0),
        ("i2", 77, {}, 77),
        ("u1", 255, {"_FillValue": np.array([255], "u1")}, None),
    ],
)
def test_values_that_stand_for_none_are_missing(tmp_path, dtype, mark, attributes, fillvalue):
    samples = (10 * noise(100, 3)).clip(-40, 40).astype("f4" if dtype == "f4" else "i2")
    samples = np.abs(samples).astype(dtype)
    samples[30:50, 1] = mark
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=samples, fillvalue=fillvalue)
        file["data"].attrs.update({"fs": RATE, "dims": "time,channel"} | attributes)
    values, lost = open_series([tmp_path / "a.h5"], AUTO).read(0, 100, 0, 3)
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
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=noise(100), chunks=(50, 3), compression="gzip")
        data.attrs.update({"fs": RATE, "dims": "time,channel"})
        chunk = data.id.get_chunk_info(1)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    series = open_series([path], AUTO)
    values, lost = series.read(0, 100, 0, 3)
    assert np.isnan(values).all()
    assert "a.h5: samples can't be read, they count as missing" in lost[0]
    assert np.isfinite(series.read(0, 50, 0, 3)[0]).all()


# ---- waveforms of an array ----------------------------------------------------------------------


def test_array(tmp_path, said):
    """Channels in the order of their ids, on one axis of time, with what is missing as NaN."""
    a, b = np.arange(300), 1000 + np.arange(200)
    waveforms(tmp_path / "1.mseed", ("XX.B..HHZ", 0, b, RATE), ("XX.A..HHZ", 0.5, a[:100], RATE))
    waveforms(tmp_path / "2.mseed", ("XX.A..HHZ", 1.996, a[100:], RATE))
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert series.channel_names == ("XX.A..HHZ", "XX.B..HHZ")
    assert (series.start, series.n_samples) == (START * SECOND, 400)
    expected = np.full((400, 2), np.nan, dtype=np.float32)
    expected[50:150, 0], expected[200:400, 0], expected[:200, 1] = a[:100], a[100:], b
    np.testing.assert_array_equal(series.read(0, 400, 0, 2)[0], expected)
    np.testing.assert_array_equal(series.read(120, 260, 0, 1)[0], expected[120:260, :1])
    few = pickle.loads(pickle.dumps(series.between(120, 260)))
    np.testing.assert_array_equal(few.read(120, 260, 0, 2)[0], expected[120:260])
    assert series.distance is None


def test_array_overlaps_that_disagree_are_missing(tmp_path):
    waveforms(tmp_path / "1.mseed", ("XX.A..HHZ", 0, np.arange(100), RATE))
    waveforms(tmp_path / "2.mseed", ("XX.A..HHZ", 0.8, np.arange(80, 180), RATE))
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    np.testing.assert_array_equal(series.read(0, 180, 0, 1)[0][:, 0], np.arange(180))
    waveforms(tmp_path / "2.mseed", ("XX.A..HHZ", 0.8, np.arange(100), RATE))
    values, lines = open_series(sorted(tmp_path.iterdir()), AUTO).read(0, 180, 0, 1)
    np.testing.assert_array_equal(np.isnan(values[:, 0]), np.arange(180) // 20 == 4)
    assert lines == ["XX.A..HHZ: samples of overlaps that disagree count as missing"]


def test_array_rates_differ(tmp_path):
    waveforms(
        tmp_path / "1.mseed", ("XX.A..HHZ", 0, np.ones(9), 100.0), ("XX.B..HHZ", 0, [1, 2], 50.0)
    )
    with pytest.raises(DataError, match="XX.B..HHZ: sampled at 50 Hz, but XX.A..HHZ at 100 Hz"):
        open_series([tmp_path / "1.mseed"], AUTO)


def test_a_file_that_vanished_is_missing(tmp_path):
    path = waveforms(tmp_path / "1.mseed", ("XX.A..HHZ", 0, np.ones(100), RATE))
    series = open_series([path], AUTO)
    path.write_bytes(b"gone")
    values, lost = series.read(0, 100, 0, 1)
    assert np.isnan(values).all()
    assert lost[0].startswith(f"{path}: can't be read as waveforms (of no format")
    assert lost[0].endswith("; its samples count as missing")


def test_array_of_a_gather(tmp_path, said):
    from tests.waveforms.test_read import gather

    data = gather(tmp_path / "g.sgy", START * SECOND)
    series = open_series([tmp_path / "g.sgy"], AUTO)
    assert (series.n_samples, series.n_channels) == (1000, 12)
    np.testing.assert_array_equal(series.read(300, 900, 4, 9)[0], data[4:9, 300:900].T)


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
    waveforms(tmp_path / "0.mseed", ("XX.A..HHZ", 0, np.arange(1000), RATE))
    for k in range(5):
        start = 0.005 + 0.99 * k  # an odd number of samples
        rate = (99.999992, 100, 100.000008)[k % 3]
        piece = ("XX.B..HHZ", start, np.arange(99) + 99 * k, rate)
        waveforms(tmp_path / f"{k + 1}.mseed", piece)
    series = open_series(sorted(tmp_path.iterdir()), AUTO)
    assert series.sampling_rate == 100
    values = series.read(0, 495, 1, 2)[0][:, 0]
    np.testing.assert_array_equal(values, np.arange(495))
    np.testing.assert_array_equal(series.read(150, 210, 1, 2)[0][:, 0], np.arange(150, 210))


def test_array_without_what_a_wrong_clock_has(tmp_path, said):
    good = waveforms(tmp_path / "a.mseed", ("XX.A..HHZ", 0, np.arange(6000), RATE))
    bad = waveforms(tmp_path / "b.mseed", ("XX.A..HHZ", -1_284_000_000, np.arange(50), RATE))
    series = open_series([good, bad], AUTO)
    assert (series.start, series.n_samples) == (START * SECOND, 6000)
    assert len(said) == 1
    assert said[0].startswith(f"{bad}: starts 1980-01-06T")
    assert "41 years away from the data of 2020-09-13" in said[0]
    bad = waveforms(tmp_path / "b.mseed", ("XX.A..HHZ", -1_284_000_000, np.arange(5000), RATE))
    with pytest.raises(DataError, match="b.mseed: starts 1980-01-06.* 41 years away"):
        open_series([good, bad], AUTO)


def test_array_gaps_that_were_filled_are_missing(tmp_path):
    data = 5000 + np.rint(100 * np.random.default_rng(0).standard_normal(3000))
    data[1000:1500], data[2000:2005] = 0, -(2**31)
    path = waveforms(tmp_path / "1.mseed", ("XX.A..HHZ", 0, np.zeros(2), RATE))
    trace = import_obspy().read(str(path))[0]
    trace.data = data.astype(np.int32)
    trace.write(str(path), format="MSEED", encoding="INT32")
    series = open_series([path], AUTO)
    values, lines = series.read(0, 3000, 0, 1)
    data[1000:1500] = data[2000:2005] = np.nan
    np.testing.assert_array_equal(values[:, 0], data.astype(np.float32))
    assert "XX.A..HHZ: samples that are all 0 count as missing" in lines
    # A block that begins within the run has samples from before it.
    np.testing.assert_array_equal(series.read(1450, 1600, 0, 1)[0][:, 0], data[1450:1600])


def test_both_kinds_are_refused(tmp_path):
    waves = waveforms(tmp_path / "1.mseed", ("XX.A..HHZ", 0, np.ones(100), RATE))
    with pytest.raises(DataError, match="a.h5 is HDF5 and .*1.mseed is not"):
        open_series([record(tmp_path / "a.h5", noise(100)), waves], AUTO)
    text = tmp_path / "b.dat"
    text.write_text("nothing")
    with pytest.raises(DataError, match="none of 1 files is usable; .*b.dat"):
        open_series([text], AUTO)


@pytest.mark.parametrize("offset", [0, 10**8, 2 * 10**9])
def test_an_offset_costs_no_digits(tmp_path, offset):
    """Unwrapped phase of an interrogator: large integers of which little moves."""
    rng = np.random.default_rng(0)
    moving = rng.integers(-300, 300, (400, 3)).astype(np.int32)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["data"] = moving + np.array([offset, -offset, offset // 2], dtype=np.int64)
        file["data"].attrs["fs"] = 100.0
        file["data"].attrs["dims"] = "time,channel"
    settings = load_settings(None, []).records
    values, lost = open_series([tmp_path / "r.h5"], settings).read(50, 350, 0, 3)
    assert not lost
    expected = moving[50:350] - moving[50:350].mean(0)
    np.testing.assert_allclose(values - values.mean(0, dtype=float), expected, atol=1e-3)
