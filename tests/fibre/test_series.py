"""Records joined on one axis of time, and samples that are missing in them."""

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.fibre.series import open_series, time_in_name
from tests.data.conftest import write_damaged
from tests.fibre.fibre import AUTO, RATE, SECOND, START, noise, record, records_settings


def opened(folder):
    return open_series(sorted(folder.iterdir()), AUTO)


@pytest.mark.parametrize(("starts", "expected", "line"), [
    ([0, 1.5], [*range(100), *[np.nan] * 50, *range(100, 200)], "records: 0.5 s are missing"),
    # of the later files what the first repeats, and all of one is dropped
    ([0, 0.8, 0.9], [*range(100), *range(120, 200)], "1.1 s of later samples are dropped"),
    # clock errors of 0.4 samples, in whole ones
    ([0, 1.004, 2.008], [*range(200), np.nan, *range(200, 300)], "0.01 s are missing"),
])  # fmt: skip
def test_gaps_and_overlaps(tmp_path, lines, starts, expected, line):
    for number, start in enumerate(starts):
        samples = np.arange(100.0 - 10 * (start == 0.9))[:, None] + [100 * number, 0]
        record(tmp_path / f"{number}.h5", samples, START + start)
    series = opened(tmp_path)
    values, _ = series.read(0, series.n_samples, 0, 1)
    np.testing.assert_array_equal(values[:, 0], expected)
    assert any(line in text for text in lines)


@pytest.mark.parametrize(("dtype", "turn"), [("f4", 1), ("f8", -1), ("i2", 1), ("i4", -1)])
def test_either_order_and_any_number_type(tmp_path, dtype, turn):
    """No digits are lost, as of unwrapped phases: large integers of which little moves."""
    samples = (50 * noise(200, 6) + (2**30 if dtype == "i4" else 0)).astype(dtype)
    dims = ",".join(("time", "channel")[::turn])
    record(tmp_path / "a.h5", samples if turn == 1 else samples.T, dims=dims)
    values, lost = opened(tmp_path).read(13, 171, 1, 5)
    np.testing.assert_array_equal(values, samples[13:171, 1:5])
    assert (values.dtype, lost) == (np.float64 if dtype in ("f8", "i4") else np.float32, [])


@pytest.mark.parametrize("start", [None, "2250-01-01"])
def test_a_start_that_is_not_known_or_can_not_be(tmp_path, lines, start):
    path = record(tmp_path / "a.h5", noise(300), start)
    assert open_series([path], AUTO).start is None
    assert any("times count from 0; set records.starttime" in line for line in lines)
    given = records_settings("starttime=2000-01-01").records
    assert open_series([path], given).start == 946_684_800 * SECOND
    record(tmp_path / "b.h5", noise(300), start)
    with pytest.raises(DataError, match="a.h5: its start is .* 2 files; set records.name_times"):
        opened(tmp_path)


@pytest.mark.parametrize(("name", "pattern", "time"), [
    ("fibre_20210304T050607.tdms", "%Y%m%dT%H%M%S", 1614834367_000000000),
    ("a.2021.063.05h06.h5", "%Y.%j.%Hh%M", 1614834360_000000000),
    ("1_210304_05.06.07.250_9.h5", "%y%m%d_%H.%M.%S.%f", 1614834367_250000000),
])  # fmt: skip
def test_times_in_names(tmp_path, name, pattern, time):
    assert time_in_name(tmp_path / name, pattern) == time
    with pytest.raises(DataError, match="its name has no time as records.name_times = %Y%m%d_x"):
        time_in_name(tmp_path / f"20211304_x{name}", "%Y%m%d_x")
    for bad, why in (("%Y%m%d%d", "twice; allowed: each"), ("%m%d", "gives no year")):
        with pytest.raises(SettingsError, match=f"name_times = {bad} .*{why}"):
            time_in_name(tmp_path / name, bad)


def test_files_that_do_not_fit_to_the_others(tmp_path, lines):
    record(tmp_path / "0.h5", noise(100))
    record(tmp_path / "1.h5", noise(100), START + 1)
    record(tmp_path / "odd.h5", noise(100), START + 2, fs="fast")
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file.create_dataset("data", (100, 3), "f4", chunks=(50, 3))[:50] = 1
    assert opened(tmp_path).n_samples == 200
    for left_out in ("odd.h5: no attribute of data", "cut.h5: data: 1 of 2 chunks were never"):
        assert sum(left_out in text for text in lines) == 1
    for start, samples, more, line in (
        ("2199-01-01", noise(100), {}, "starts .* years after the data before.* clock"),
        (START, noise(100), {"fs": 50.0}, "3 channels, .time, channel., a start, 50 Hz, but"),
        (START, noise(100, 4), {}, "4 channels.*; give only files of one kind"),
        (START, noise(100), {"dims": "channel,time"}, ".channel, time.*; give only"),
    ):
        record(tmp_path / "odd.h5", samples, start, **more)
        with pytest.raises(DataError, match=rf"odd.h5: .*{line}"):
            opened(tmp_path)
    (tmp_path / "a.mseed").write_text("nothing")
    with pytest.raises(DataError, match="a.mseed: is neither HDF5 nor Zarr"):
        open_series([tmp_path / "a.mseed"], AUTO)


@pytest.mark.parametrize(("attributes", "scale"), [({}, 0.5), ({"scale_factor": 0.01}, 0.01)])
def test_values_are_scaled_and_what_stands_for_none_is_missing(tmp_path, attributes, scale):
    stored = (10 * noise(100, 3)).clip(-40, 40).astype("i4")
    stored[30:50, 1], stored[60:, 2] = -(2**31), -999
    more = {"_FillValue": np.int32(-999), "add_offset": 5.0}
    with h5py.File(record(tmp_path / "a.h5", stored, **attributes, **more), "a") as file:
        file["header/dataScale"] = 0.5
    expected = stored * scale + 5
    expected[30:50, 1] = expected[60:, 2] = np.nan
    values, lost = opened(tmp_path).read(0, 100, 0, 3)
    np.testing.assert_allclose(values, expected)
    assert lost == []


def test_a_file_damaged_after_its_header_is_missing(tmp_path):
    write_damaged(tmp_path / "a.h5", "data", noise(100), (50, 3), 1, fs=RATE, dims="time,channel")
    series = opened(tmp_path)
    values, lost = series.read(0, 100, 0, 3)
    assert np.isnan(values).all()
    assert "samples can't be read, they are missing" in lost[0][1]
    assert np.isfinite(series.read(0, 50, 0, 3)[0]).all()
