"""Headers of fibre records, as makers of interrogators and xarray, xdas and netCDF write them."""

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.fibre.records import Record, read_record
from tests.fibre.fibre import AUTO, SECOND, START, noise, record, records_settings


def file_of(path, samples, attributes=None, units=(), **items):
    """A file with ``g/data``, attributes of several places, and arrays by their names."""
    with h5py.File(path, "w") as file:
        file["g/data"] = samples
        for name, values in items.items():
            file[name.replace("__", "/")] = values
        for place, values in ((attributes or {}) | dict(units)).items():
            (file[place] if place in file else file.require_group(place)).attrs.update(values)
    return path


def header_of(folder, settings=AUTO, place="g/data", **attributes) -> Record:
    """Header of a file of (time, channel) with attributes of one place."""
    values = {"/": {"dims": "time,channel"}}
    values[place] = values.get(place, {}) | attributes
    return read_record(file_of(folder / "a.h5", noise(50, 4), values), settings)


def stamped(folder, times, name="g__RawDataTime", settings=AUTO, units=(), **attributes) -> Record:
    """Header of a file with time stamps, and a rate of 100 Hz unless another is given."""
    values = {"g/data": {"dims": "time,channel", "fs": 100.0} | attributes}
    path = file_of(folder / "a.h5", noise(len(times), 4), values, dict(units), **{name: times})
    return read_record(path, settings)


def seconds(n, rate=100.0):
    return START + np.arange(n) / rate


def test_the_largest_data_set_unless_others_are_comparable(tmp_path):
    path = record(tmp_path / "a.h5", noise(100, 10))
    with h5py.File(path, "a") as file:
        file["small"], file["text"] = noise(9, 10), np.full((200, 10), b"x")
        file["cube"], file["line"] = np.zeros((30, 30, 30)), np.zeros((2000, 1))
        file["gone"], file["far"] = h5py.SoftLink("/no"), h5py.ExternalLink("missing.h5", "/data")
    assert read_record(path, AUTO).dataset == "data"
    with h5py.File(path, "a") as file:
        file["other"] = noise(21, 10)
        file["other"].attrs["dims"] = "time,channel"
    with pytest.raises(DataError, match=r"more than one .* it has .*data \(100, 10\), other"):
        read_record(path, AUTO)
    chosen = records_settings("dataset=other", "sampling_rate=5").records
    assert read_record(path, chosen).segments == [(0, 0, 21)]
    with pytest.raises(DataError, match="'nothing' is no numeric data set .* it has .*data"):
        read_record(path, records_settings("dataset=nothing").records)


@pytest.mark.parametrize("place", ["g/data", "g", "/", "elsewhere"])
@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({"sampling_rate": "200"}, 200),
        ({"SamplingFrequency[kHz]": "2"}, 2000),
        ({"samplingFrequency": np.array([25.0])}, 25),
        ({"dt (ms)": 4.0}, 250),
        ({"SampleInterval": 500, "SampleIntervalUnit": "us"}, 2000),
        ({"OutputDataRate": 0.5, "OutputDataRate.uom": "kHz", "PulseRate": 2000.0}, 500),
        ({"SamplingRate": 250e6, "DataRate": 500}, 500),
        ({"SamplingInterval[m]": 0.4, "fs": 50.0}, 50),
    ],
)
def test_sampling_rate_under_its_names_and_in_its_units(tmp_path, place, attributes, rate):
    found = header_of(tmp_path, place=place, **attributes)
    assert found.sampling_rate == pytest.approx(rate)


def test_no_rate_is_an_error_that_names_what_is_there(tmp_path):
    bad = {"fs": "fast", "dx": 10.0, "PulseRate": 2000.0, "dt": 10**7}  # not in nanoseconds
    with pytest.raises(DataError, match="known are .*dx.*set records.sampling_rate"):
        header_of(tmp_path, **bad)
    settings = records_settings("sampling_rate=40").records
    assert header_of(tmp_path, settings, **bad).sampling_rate == 40.0


def test_the_nearest_value_is_taken(tmp_path):
    """An interval of the samples, not a rate of the file; and a start beside it."""
    attributes = {"g/data": {"dT": 0.001, "dx": 2.0, "dims": "time,channel"}}
    attributes["/"] = {"fs": 5000.0, "file_start_gps_time": 1.6e9, "sensing_range_start": 30.5}
    for arrays in ({}, {"g__gps_time": seconds(800, 1000.0)}):
        path = file_of(tmp_path / "a.h5", noise(800, 20), attributes, **arrays)
        found = read_record(path, AUTO)
        assert (found.sampling_rate, found.start) == (1000.0, START * SECOND)
        np.testing.assert_array_equal(found.distance, 30.5 + 2 * np.arange(20))


@pytest.mark.parametrize(
    ("attributes", "distance"),
    [
        ({"dx": 5.0}, [0, 5, 10, 15]),
        ({"dx": "2", "StartDistance": -1.0}, [-1, 1, 3, 5]),
        ({"SpatialSamplingInterval": 10.0, "SpatialSamplingIntervalUnit": "feet"},
         [0, 3.048, 6.096, 9.144]),
        ({"SpatialSamplingInterval": 2.0, "StartLocusIndex": 5}, [10, 12, 14, 16]),
        ({"SpatialResolution[m]": "2", "Fibre Length Multiplier": "1.5",
          "Start Distance (m)": "1"}, [1, 4, 7, 10]),
        ({"dx": 0.01, "dxUnit": "km", "sensing_range_start": 1.0}, [1, 11, 21, 31]),
        ({}, None),
    ],
)  # fmt: skip
def test_positions_in_metres(tmp_path, attributes, distance):
    found = header_of(tmp_path, fs=100.0, **attributes).distance
    assert found is None if distance is None else np.allclose(found, distance)
    settings = records_settings("channel_spacing=7").records
    assert header_of(tmp_path, settings, fs=1.0, dx=3.0).distance[1] == 7


def test_positions_of_arrays(tmp_path):
    attributes, path = {"g/data": {"fs": 100.0, "dims": "time,distance"}}, tmp_path / "a.h5"
    for units, last in (({}, 9), ({"g/distance": {"units": "ft"}}, 9 * 0.3048)):
        file_of(path, noise(50, 4), attributes, units, g__distance=[3.0, 4, 6, 9])
        assert read_record(path, AUTO).distance[-1] == pytest.approx(last)
    numbers = {"header__channels": np.array([100, 150, 200, 250]), "header__dx": 1.5}
    file_of(path, noise(50, 4), attributes, **numbers)
    np.testing.assert_array_equal(read_record(path, AUTO).distance, [150, 225, 300, 375])


def test_units_of_samples_that_are_no_utf_8_or_an_array(tmp_path):
    assert header_of(tmp_path, fs=100.0, unit=["m", "s"]).unit == ""
    assert header_of(tmp_path, fs=100.0, units=b"\xb5m/m/s").unit == "µm/m/s"


@pytest.mark.parametrize(
    ("attributes", "is_known"),
    [
        ({"ISO8601 Timestamp": "2023-09-22T19:29:26.158+01:00", "GPSTimeStamp": "22/09/2023"}, 1),
        ({"PartStartTime": b"2023-09-22T18:29:26.158+00:00"}, 1),
        ({"starttime": 1_695_407_366_158}, 1),
        ({"file_start_gps_time": 1_695_407_366.158}, 1),
        ({"MeasurementStartTime": "2023-09-22T18:29:26.158Z"}, 0),  # of many files
        ({"start": "noon"}, 0),
        ({"start": 23.5}, 0),
    ],
)
def test_the_start_is_read_under_its_names(tmp_path, attributes, is_known):
    found = header_of(tmp_path, fs=100.0, **attributes).start
    assert found == (pytest.approx(1_695_407_366_158 * 10**6, abs=1000) if is_known else None)


# ---- which axis is time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "axis"),
    [("time,channel", 0), ("channel, time", 1), (["locus", "time"], 1), ("(distance, time)", 1),
     (["time step", "unknown"], 0), ("locus, unknown", 1)],
)  # fmt: skip
def test_order_by_names(tmp_path, dims, axis):
    path = file_of(tmp_path / "a.h5", noise(50, 4), {"g/data": {"fs": 1.0, "Dimensions": dims}})
    assert read_record(path, AUTO).time_axis == axis
    assert read_record(path, records_settings("order=channel,time").records).time_axis == 1


@pytest.mark.parametrize(
    ("attributes", "arrays"),
    [
        ({"NumberOfLoci": 300}, {}),
        ({"nt": 200}, {}),
        ({"StartPosition": 5.0, "StopPosition": 603.0, "dx": 2.0}, {}),
        ({}, {"timestamps": seconds(200)}),
        ({}, {"g__distance": np.arange(300.0)}),
    ],
)
def test_order_by_lengths(tmp_path, attributes, arrays):
    for samples, axis in ((noise(200, 300), 0), (noise(200, 300).T, 1)):
        values = {"g/data": {"fs": 100.0} | attributes}
        path = file_of(tmp_path / "a.h5", samples, values, **arrays)
        assert read_record(path, AUTO).time_axis == axis


@pytest.mark.parametrize("attributes", [{}, {"nt": 100, "nx": 100}])
def test_no_order_is_an_error_that_names_both_lengths(tmp_path, attributes):
    path = file_of(tmp_path / "a.h5", noise(100, 8), {"g/data": {"fs": 100.0} | attributes})
    with pytest.raises(DataError, match=r"g/data is 100 x 8, and the file .*records.order"):
        read_record(path, AUTO)
    assert read_record(path, records_settings("order=time,channel").records).time_axis == 0


# ---- time stamps --------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_stamps_give_rate_and_start(tmp_path, unit):
    times = (START * SECOND + np.arange(300, dtype=np.int64) * 4_000_000) // unit
    times = START + np.arange(300) * 0.004 if unit == SECOND else times
    found = stamped(tmp_path, times, fs="")
    assert (found.sampling_rate, found.start) == (250.0, START * SECOND)
    assert (found.segments, found.notes) == ([(0, 0, 300)], ())


def test_a_rate_that_contradicts_the_stamps_is_refused(tmp_path):
    assert stamped(tmp_path, seconds(300, 100.1)).sampling_rate == 100  # of the attribute
    with pytest.raises(DataError, match="RawDataTime are at 250 Hz, fs is 100 Hz; set records.sam"):
        stamped(tmp_path, seconds(300, 250.0))
    for rate, is_noted in ((250, False), (50, True)):
        chosen = records_settings(f"sampling_rate={rate}").records
        found = stamped(tmp_path, seconds(300, 250.0), settings=chosen)
        assert (found.sampling_rate, found.start) == (rate, START * SECOND)
        assert any("gaps in the stamps are not seen" in note for note in found.notes) == is_noted


def test_a_jump_of_stamps_is_a_gap(tmp_path):
    times = START * 10**6 + np.arange(300) * 10_000
    times[100:] += 10_000_000
    times[250:] += 50_000
    found = stamped(tmp_path, times)
    assert found.start == START * SECOND
    assert found.segments == [(0, 0, 100), (11 * SECOND, 100, 150), (12_550_000_000, 250, 50)]


def test_jitter_is_no_gap(tmp_path):
    times = seconds(2000) + np.random.default_rng(0).uniform(-0.0015, 0.0015, 2000)
    times[900:] += 5
    found = stamped(tmp_path, times)
    (_, first, _), (offset, second, _) = found.segments
    assert (first, second) == (0, 900)
    assert abs(offset - 14 * SECOND) < 10**7
    rounded = np.round(np.arange(3000) / 300, 3)  # milliseconds
    found = stamped(tmp_path, START + rounded, fs="")
    assert (found.sampling_rate, len(found.segments)) == (300, 1)


@pytest.mark.parametrize("at", [0, 500, -1])
@pytest.mark.parametrize("bad", [1.0, START + 40 * 365 * 86400.0])
def test_a_bad_stamp_decides_nothing(tmp_path, at, bad):
    times = seconds(1000)
    times[at] = bad
    found = stamped(tmp_path, times, fs="")
    assert (found.sampling_rate, len(found.segments)) == (100, 1)
    assert abs(found.start - START * SECOND) < 1000


def test_samples_without_a_time_at_the_end_are_left_out(tmp_path):
    times = seconds(300)
    times[200:] = 0
    found = stamped(tmp_path, times)
    assert found.segments == [(0, 0, 200)]
    assert "last 100 samples have no time" in found.notes[0]


@pytest.mark.parametrize(
    ("times", "units", "note"),
    [
        (seconds(1000)[::-1], {}, "do not ascend evenly"),
        (np.floor(seconds(1000)), {}, "do not ascend evenly"),  # blocks of one time
        (np.arange(300) * 0.01, {"units": "s"}, "do not count from a known time"),
        (np.arange(300), {"units": "s since 2020-01-01", "calendar": "360_day"}, "calendar"),
    ],
)
def test_stamps_that_are_not_used_are_noted(tmp_path, times, units, note):
    found = stamped(tmp_path, times, "g__time", units={"g/time": units})
    assert (found.sampling_rate, found.start) == (100.0, None)
    assert "time stamps of g/time are not used: " in found.notes[0]
    assert note in found.notes[0]


def test_times_of_netcdf_and_tie_points_of_xdas(tmp_path):
    units = {"units": "milliseconds since 2020-09-13 12:26:40"}
    path = file_of(tmp_path / "a.h5", noise(300, 400), units={"g/time": units}, g__time=[0] * 300)
    with h5py.File(path, "a") as file:
        file["g/time"][:] = np.arange(300) * 20
        file["g/time"].make_scale("time")
        file["g/data"].dims[0].attach_scale(file["g/time"])
    found = read_record(path, AUTO)
    assert (found.sampling_rate, found.start, found.time_axis) == (50.0, START * SECOND, 0)
    ties = {"g__time_indices": [0, 149, 150, 299], "g__time_values": [0, 2980, 10_000, 12_980]}
    ties |= {"g__distance_indices": [0, 399], "g__distance_values": [0.0, 3990.0]}
    file_of(path, noise(300, 400), units={"g/time_values": units}, **ties)
    with h5py.File(path, "a") as file:
        for axis, name in enumerate(("g/time", "g/distance")):
            file[name] = np.zeros(file["g/data"].shape[axis])
            text = f"This is a netCDF dimension but not a netCDF variable. {axis}"
            file[name].make_scale(text)
            file["g/data"].dims[axis].attach_scale(file[name])
    found = read_record(path, AUTO)
    assert (found.sampling_rate, found.start, found.time_axis) == (50.0, START * SECOND, 0)
    assert found.segments == [(0, 0, 150), (10 * SECOND, 150, 150)]
    np.testing.assert_array_equal(found.distance, 10 * np.arange(400))


# ---- files that can't be used -------------------------------------------------------------------


def test_files_that_hold_no_record(tmp_path):
    for name, shape in (("line", (10,)), ("large", (10**12, 5))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            chunks = None if name == "line" else (1000, 5)
            file.create_dataset("data", shape, "f4", chunks=chunks)[:10] = 1.0
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("data", (50, 4), "i2", external=[(str(tmp_path / "raw.0"), 0, 400)])
    (tmp_path / "empty.h5").write_bytes(b"")
    for name, line in {
        "line": "no numeric data set of .time, channel.; it has data",
        "large": "999,999,999 of 1,000,000,000 chunks were never",
        "raw": "has its values in raw files",
        "empty": "is empty",
    }.items():
        with pytest.raises(DataError, match=f"{name}.h5: .*{line}"):
            read_record(tmp_path / f"{name}.h5", AUTO)
