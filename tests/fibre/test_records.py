"""Headers of fibre records, as makers of interrogators and xarray, xdas and netCDF write them."""

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.fibre.records import Record, read_record
from tests.data.conftest import write_axes
from tests.fibre.fibre import AUTO, SECOND, START, noise, record, records_settings


def header_of(
    folder, settings=AUTO, samples=None, attributes=None, arrays=None, place="g/data", **more
) -> Record:
    """Header of ``g/data`` (time, channel), with attributes of places, `more` of one, and arrays"""
    with h5py.File(folder / "a.h5", "w") as file:
        file["g/data"] = noise(50, 4) if samples is None else samples
        for name, values in (arrays or {}).items():
            file[name] = values
        attributes = {"/": {"dims": "time,channel"}} if attributes is None else attributes
        for name, values in [*attributes.items(), (place, more)]:
            file[name].attrs.update(values)
    return read_record(folder / "a.h5", settings)


def stamped(folder, times, settings=AUTO, units=None, **more) -> Record:
    """Header of a file with time stamps, and a rate of 100 Hz unless another is given."""
    values = {"g/data": {"dims": "time,channel", "fs": 100.0}, "g/RawDataTime": units or {}}
    arrays, samples = {"g/RawDataTime": times}, noise(len(times), 4)
    return header_of(folder, settings, samples, values, arrays, **more)


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
    with pytest.raises(DataError, match=r"auto is not one .* it has .*data \(100, 10\), other"):
        read_record(path, AUTO)
    chosen = records_settings("dataset=other", "sampling_rate=5").records
    assert read_record(path, chosen).segments == [(0, 0, 21)]
    with pytest.raises(DataError, match="nothing is not one numeric data set .* it has .*data"):
        read_record(path, records_settings("dataset=nothing").records)


@pytest.mark.parametrize("place", ["g/data", "/"])
@pytest.mark.parametrize(("attributes", "rate"), [
    ({"sampling_rate": "200"}, 200), ({"SamplingFrequency[kHz]": "2"}, 2000),
    ({"dt (ms)": np.array([4.0])}, 250),
    ({"SampleInterval": 500, "SampleIntervalUnit": "us"}, 2000),
    ({"OutputDataRate": 0.5, "OutputDataRate.uom": "kHz", "PulseRate": 2000.0}, 500),
    ({"SamplingRate": 250e6, "DataRate": 500}, 500), ({"SamplingInterval[m]": 0.4, "fs": 50.0}, 50),
])  # fmt: skip
def test_sampling_rate_under_its_names_and_in_its_units(tmp_path, place, attributes, rate):
    assert header_of(tmp_path, place=place, **attributes).sampling_rate == pytest.approx(rate)


def test_no_rate_is_an_error_that_names_what_is_there(tmp_path):
    bad = {"fs": "fast", "dx": 10.0, "PulseRate": 2000.0, "dt": 10**7}  # not in nanoseconds
    with pytest.raises(DataError, match="known are .*spacing.*set records.sampling_rate"):
        header_of(tmp_path, **bad)
    settings = records_settings("sampling_rate=40").records
    assert header_of(tmp_path, settings, **bad).sampling_rate == 40.0


@pytest.mark.parametrize("arrays", [{}, {"g/gps_time": seconds(800, 1000.0)}])
def test_the_nearest_value_is_taken(tmp_path, arrays):
    """An interval of the samples, not a rate of the file; and a start beside it, as of Terra15."""
    attributes = {"g/data": {"dT": 0.001, "dx": 2.0, "dims": "time,channel"}}
    attributes["/"] = {"fs": 5000.0, "file_start_gps_time": 1.6e9, "sensing_range_start": 30.5}
    attributes["g"] = {"unit": b"\xb5m/m/s"}  # Latin-1
    found = header_of(tmp_path, AUTO, noise(800, 20), attributes, arrays)
    assert (found.sampling_rate, found.start, found.unit) == (1000, START * SECOND, "µm/m/s")
    np.testing.assert_array_equal(found.distance, 30.5 + 2 * np.arange(20))


@pytest.mark.parametrize(("attributes", "arrays", "distance"), [
    ({"dx": "2", "StartDistance": -1.0}, {}, [-1, 1, 3, 5]),
    ({"SpatialSamplingInterval": 10.0, "SpatialSamplingIntervalUnit": "feet"}, {},
     [0, 3.048, 6.096, 9.144]),
    ({"SpatialSamplingInterval": 2.0, "StartLocusIndex": 5}, {}, [10, 12, 14, 16]),
    ({"SpatialResolution[m]": "2", "Fibre Length Multiplier": "1.5",
      "Start Distance (m)": "1"}, {}, [1, 4, 7, 10]),
    ({}, {"g/distance": [3.0, 4, 6, 9]}, [3, 4, 6, 9]),
    ({}, {"header/channels": [100, 150, 200, 250], "header/dx": 1.5}, [150, 225, 300, 375]),
    ({"dx": 2.0}, {"g/distance": [b"a", b"b", b"c", b"d"]}, [0, 2, 4, 6]),
    ({}, {}, None),
])  # fmt: skip
def test_positions_in_metres(tmp_path, attributes, arrays, distance):
    found = header_of(tmp_path, arrays=arrays, fs=100.0, **attributes).distance
    assert found is None if distance is None else np.allclose(found, distance)
    settings = records_settings("channel_spacing=7").records
    assert header_of(tmp_path, settings, fs=1.0, dx=3.0).distance[1] == 7


@pytest.mark.parametrize(("attributes", "is_known"), [
    ({"ISO8601 Timestamp": "2023-09-22T19:29:26.158+01:00", "GPSTimeStamp": "22/09/2023"}, 1),
    ({"PartStartTime": b"2023-09-22T18:29:26.158+00:00"}, 1),
    ({"starttime": 1_695_407_366_158}, 1),
    ({"MeasurementStartTime": "2023-09-22T18:29:26.158Z"}, 0),  # of many files
    ({"start": 23.5}, 0),
])  # fmt: skip
def test_the_start_is_read_under_its_names(tmp_path, attributes, is_known):
    found = header_of(tmp_path, fs=100.0, **attributes).start
    assert found == (pytest.approx(1_695_407_366_158 * 10**6, abs=1000) if is_known else None)


@pytest.mark.parametrize(("attributes", "arrays"), [
    ({"Dimensions": "time,channel"}, {}), ({"Dimensions": ["time step", "unknown"]}, {}),
    ({"Dimensions": "(time, distance)"}, {}),
    ({"StartPosition": 5.0, "StopPosition": 603.0, "dx": 2.0}, {}),
    ({"MeasureLength[m]": "600", "SpatialResolution[m]": "2"}, {}),  # as of Silixa
    ({}, {"timestamps": seconds(200)}), ({}, {"g/distance": np.arange(300.0)}),
])  # fmt: skip
def test_order_by_names_or_by_lengths(tmp_path, attributes, arrays):
    more = {"attributes": {}, "arrays": arrays, "fs": 100.0} | attributes
    assert header_of(tmp_path, samples=noise(200, 300), **more).time_axis == 0
    settings = records_settings("order=channel,time").records
    assert header_of(tmp_path, settings, noise(200, 300), **more).time_axis == 1
    if "Dimensions" not in attributes:
        assert header_of(tmp_path, samples=noise(300, 200), **more).time_axis == 1
        with pytest.raises(DataError, match=r"g/data is 50 x 50, and the file .*records.order"):
            header_of(tmp_path, samples=noise(50, 50), **more | {"arrays": {"t": seconds(50)}})


NANOSECONDS = START * SECOND + np.arange(300, dtype=np.int64) * 4_000_000


@pytest.mark.parametrize(("times", "unit", "fs", "rate", "start"), [
    (NANOSECONDS, "", "", 250.0, START), (NANOSECONDS // 10**6, "", "", 250.0, START),
    (NANOSECONDS / SECOND, "s", "", 250.0, START),
    (START + np.round(np.arange(3000) / 300, 3), "", "", 300, START),  # milliseconds
    (seconds(300, 100.1), "", 100.0, 100.0, START),  # of the attribute
    (np.arange(300) * 0.01, "s", 100.0, 100.0, None),  # from an unknown time
])  # fmt: skip
def test_stamps_give_rate_and_start(tmp_path, times, unit, fs, rate, start):
    found = stamped(tmp_path, times, units={"units": unit}, fs=fs)
    assert (found.sampling_rate, found.start) == (rate, start and start * SECOND)
    assert found.segments == [(0, 0, len(times))]


def test_a_jump_of_stamps_is_a_gap_and_jitter_is_not(tmp_path):
    times = START * 10**6 + np.arange(300) * 10_000
    times[100:] += 10_000_000
    times[250:] += 50_000
    found = stamped(tmp_path, times)
    assert found.start == START * SECOND
    assert found.segments == [(0, 0, 100), (11 * SECOND, 100, 150), (12_550_000_000, 250, 50)]
    found = stamped(tmp_path, times + np.random.default_rng(0).integers(-1500, 1500, 300))
    assert [first for _, first, _ in found.segments] == [0, 100, 250]


def changed(at, value):
    times = seconds(300)
    times[at] = value
    return times


@pytest.mark.parametrize(("times", "units", "line"), [
    (np.floor(seconds(300)), {}, "do not ascend evenly"),  # blocks of one time
    (np.full(300, 1.0 * START), {}, "do not ascend evenly"),
    (changed(0, 1.0), {}, "do not ascend evenly"),
    (changed(-1, START + 40 * 365 * 86400.0), {}, "do not ascend evenly"),
    (changed(150, np.nan), {}, "do not ascend evenly"),
    (changed(slice(200, None), 0), {}, "do not ascend evenly"),  # never written
    (np.arange(300), {"units": "s since 2020-01-01", "calendar": "360_day"}, "calendar"),
    (seconds(300), {"units": "counts"}, "unit 'counts' is not known"),
    (seconds(300, 250.0), {}, "they are at 250 Hz, and the sampling rate is 100 Hz"),
])  # fmt: skip
def test_stamps_that_can_not_be_used_are_refused(tmp_path, times, units, line):
    text = rf"g/RawDataTime can't be used: .*{line}.*; set records.sampling_rate"
    with pytest.raises(DataError, match=text):
        stamped(tmp_path, times, units=units)
    settings = records_settings("sampling_rate=50").records
    found = stamped(tmp_path, times, settings, units, starttime=float(START))
    assert (found.sampling_rate, found.start) == (50.0, START * SECOND)
    assert found.segments == [(0, 0, len(times))]


def test_tie_points_of_xdas(tmp_path):
    ties = {"time_indices": [0, 149, 150, 299], "time_values": [0, 2980, 10_000, 12_980],
            "distance_indices": [0, 399], "distance_values": [0.0, 3990.0]}  # fmt: skip
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = noise(300, 400)
        for name, values in ties.items():
            file[name] = values
        file["time_values"].attrs["units"] = "milliseconds since 2020-09-13 12:26:40"
        write_axes(file, file["data"], {"time": None, "distance": None})
    found = read_record(tmp_path / "a.h5", AUTO)
    assert (found.sampling_rate, found.start, found.time_axis) == (50.0, START * SECOND, 0)
    assert found.segments == [(0, 0, 150), (10 * SECOND, 150, 150)]
    np.testing.assert_array_equal(found.distance, 10 * np.arange(400))
