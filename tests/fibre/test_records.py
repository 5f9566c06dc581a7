import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.fibre import records
from RISCluster.fibre.records import BadRecord, read_header
from tests.fibre.fibre import noise, record, records_settings

AUTO = records_settings().records


def header_of(path, samples=None, settings=AUTO, place="data", **attributes):
    """Header of a file whose attributes lie on the data set, a group or the file."""
    with h5py.File(path, "w") as file:
        file["raw/zone/data"] = noise(50, 4) if samples is None else samples
        names = {"data": "raw/zone/data", "group": "raw/zone", "outer": "raw", "file": "/"}
        file[names[place]].attrs.update(attributes)
    return read_header(path, settings)


@pytest.mark.parametrize("place", ["data", "group", "outer", "file"])
@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({"fs": 500.0}, 500.0),
        ({"sampling_rate": "200"}, 200.0),
        ({"SamplingFrequency[Hz]": 1000}, 1000.0),
        ({"samplingFrequency": np.array([25.0])}, 25.0),
        ({"PulseRate": 2000.0}, 2000.0),
        ({"PulseRate": 2000.0, "OutputDataRate": 200.0}, 200.0),
        ({"DT": 0.004}, 250.0),
    ],
)
def test_sampling_rate_under_its_many_names(tmp_path, place, attributes, rate):
    assert header_of(tmp_path / "a.h5", place=place, **attributes).sampling_rate == rate


def test_no_rate_is_an_error_that_names_what_is_there(tmp_path):
    path = record(tmp_path / "a.h5", noise(50), fs="fast", gauge=10.0)
    with pytest.raises(DataError, match="there are .*gauge.*set records.sampling_rate"):
        read_header(path, AUTO)
    settings = records_settings("sampling_rate=40").records
    assert read_header(path, settings).sampling_rate == 40.0


def test_a_start_that_is_no_time(tmp_path):
    path = record(tmp_path / "a.h5", noise(50), start="noon")
    with pytest.raises(DataError, match="'noon' is neither .* set records.starttime"):
        read_header(path, AUTO)
    assert read_header(path, records_settings("starttime=2020-01-01").records).start is None


@pytest.mark.parametrize(
    ("dims", "axis"),
    [
        ("time,channel", 0),
        ("channel, time", 1),
        (["locus", "time"], 1),
        ("(distance, time)", 1),
        ("locus, unknown", 1),
    ],
)
def test_order(tmp_path, dims, axis):
    assert header_of(tmp_path / "a.h5", fs=1.0, Dimensions=dims).time_axis == axis
    chosen = records_settings("order=channel,time").records
    assert header_of(tmp_path / "b.h5", settings=chosen, fs=1.0, dims=dims).time_axis == 1


def test_the_largest_data_set_unless_others_are_comparable(tmp_path):
    path = record(tmp_path / "a.h5", noise(100, 10))
    with h5py.File(path, "a") as file:
        file["small"] = noise(9, 10)
        file["text"] = np.full((200, 10), b"x")
        file["cube"] = np.zeros((30, 30, 30))
    assert read_header(path, AUTO).dataset == "data"
    with h5py.File(path, "a") as file:
        file["other"] = noise(21, 10)
        file["other"].attrs["dims"] = "time,channel"
    with pytest.raises(DataError, match=r"records.dataset to one of data \(100, 10\), other"):
        read_header(path, AUTO)
    chosen = records_settings("dataset=other", "sampling_rate=5").records
    assert read_header(path, chosen).shape == (21, 10)
    with pytest.raises(BadRecord, match="'nothing' is no data set .* it has data"):
        read_header(path, records_settings("dataset=nothing").records)


def test_files_that_cost_themselves(tmp_path):
    whole = record(tmp_path / "a.h5", noise(1000, 10)).read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("short.h5", "empty.h5"):
        with pytest.raises(
            BadRecord, match=rf"{name}: (can't be opened as HDF5 \(truncated|is empty)"
        ):
            read_header(tmp_path / name, AUTO)
    with h5py.File(tmp_path / "line.h5", "w") as file:
        file["data"] = np.zeros(10)
    with pytest.raises(BadRecord, match="no numeric data set with two dimensions"):
        read_header(tmp_path / "line.h5", AUTO)


# ---- what files of several makers say -----------------------------------------------------------


def file_of(path, samples, attributes=None, **items):
    """A file with ``g/data``, attributes of several places, and arrays by their names."""
    with h5py.File(path, "w") as file:
        file["g/data"] = samples
        for place, values in (attributes or {}).items():
            file.require_group(place) if place not in file else None
            file[place].attrs.update(values)
        for name, values in items.items():
            file[name.replace("__", "/")] = values
    return path


def seconds(n, rate=100.0, start=1_600_000_000):
    return start + np.arange(n) / rate


def test_an_interval_on_the_data_set_beats_a_pulse_rate_on_the_file(tmp_path):
    attributes = {
        "g/data": {"dT": 0.001, "dx": 2.0},
        "/": {"pulse_rate": 5000.0, "file_start_gps_time": 1.6e9, "sensing_range_start": 30.5},
    }
    times = {"g__gps_time": seconds(800, 1000.0)}
    for arrays in ({}, times):
        samples = noise(800, 20)
        header = read_header(file_of(tmp_path / "a.h5", samples, attributes, **arrays), AUTO)
        assert header.sampling_rate == 1000.0
        assert header.start == 1_600_000_000 * 10**9
        np.testing.assert_array_equal(header.distance, 30.5 + 2 * np.arange(20))


def test_a_pulse_rate_is_taken_where_there_is_nothing_else(tmp_path):
    header = header_of(tmp_path / "a.h5", place="file", PulseRate=2000.0)
    assert header.sampling_rate == 2000.0
    assert any("no sampling rate but PulseRate = 2000 Hz" in note for note in header.notes)
    spanned = {
        "PulseRate": 2000.0,
        "PartStartTime": "2020-01-01",
        "PartEndTime": "2020-01-01T00:00:04.9",
    }
    assert header_of(tmp_path / "b.h5", **spanned).sampling_rate == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({"SamplingFrequency[kHz]": "2"}, 2000.0),
        ({"SamplingFrequency (Hz)": 500}, 500.0),
        ({"fs": "1000 Hz"}, 1000.0),
        ({"dt (ms)": 4.0}, 250.0),
        ({"dt": "2 ms"}, 500.0),
        ({"SampleInterval": 500, "SampleIntervalUnit": "us"}, 2000.0),
        ({"OutputDataRate": 0.5, "OutputDataRate.uom": "kHz"}, 500.0),
        ({"TimeSamplingInterval(seconds)": 0.01}, 100.0),
        ({"SamplingRate": 250e6, "DataRate": 500}, 500.0),
        ({"SamplingInterval[m]": 0.4, "fs": 50.0}, 50.0),
    ],
)
def test_units_of_rates(tmp_path, attributes, rate):
    assert header_of(tmp_path / "a.h5", **attributes).sampling_rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("attributes", "distance"),
    [
        ({"dx": 5.0}, [0, 5, 10, 15]),
        ({"dx": "2 m", "StartDistance": -1.0}, [-1, 1, 3, 5]),
        ({"SpatialResolution[ft]": 10}, [0, 3.048, 6.096, 9.144]),
        (
            {"SpatialSamplingInterval": 10.0, "SpatialSamplingIntervalUnit": "feet"},
            [0, 3.048, 6.096, 9.144],
        ),
        ({"SpatialSamplingInterval": 2.0, "StartLocusIndex": 5}, [10, 12, 14, 16]),
        (
            {
                "SpatialResolution[m]": "2",
                "Fibre Length Multiplier": "1.5",
                "Start Distance (m)": "1",
            },
            [1, 4, 7, 10],
        ),
        ({"dx": 0.01, "dxUnit": "km", "sensing_range_start": 1.0}, [1, 11, 21, 31]),
    ],
)
def test_positions_in_metres(tmp_path, attributes, distance):
    header = header_of(tmp_path / "a.h5", fs=100.0, **attributes)
    np.testing.assert_allclose(header.distance, distance)
    chosen = header_of(
        tmp_path / "b.h5", settings=records_settings("channel_spacing=7").records, fs=1.0
    )
    np.testing.assert_array_equal(chosen.distance, [0, 7, 14, 21])


def test_positions_from_arrays(tmp_path):
    attributes = {"g/data": {"fs": 100.0, "dims": "time,distance"}}
    path = file_of(tmp_path / "a.h5", noise(50, 4), attributes, g__distance=[3.0, 4, 6, 9])
    np.testing.assert_array_equal(read_header(path, AUTO).distance, [3, 4, 6, 9])
    with h5py.File(path, "a") as file:
        file["g/distance"].attrs["units"] = "ft"
    np.testing.assert_allclose(read_header(path, AUTO).distance[-1], 9 * 0.3048)
    numbers = {"header__channels": np.array([100, 150, 200, 250]), "header__dx": 1.5}
    path = file_of(tmp_path / "b.h5", noise(50, 4), attributes, **numbers)
    np.testing.assert_array_equal(read_header(path, AUTO).distance, [150, 225, 300, 375])


def test_the_start_is_read_under_its_many_names(tmp_path):
    expected = 1_695_407_366_158 * 10**6
    for attributes in (
        {"ISO8601 Timestamp": "2023-09-22T19:29:26.158+01:00"},
        {"GPSTimeStamp": "22/09/2023 18:29:26.158 (UTC)"},
        {"GPSTimeStamp(UTC)": "2023-09-22 18:29:26.158"},
        {"PartStartTime": b"2023-09-22T18:29:26.158+00:00"},
        {"starttime": 1_695_407_366_158},
        {"starttime": 23.158, "starttime_units": "s since 2023-09-22T18:29:03Z"},
        {"file_start_gps_time": 1_695_407_366.158},
    ):
        header = header_of(tmp_path / "a.h5", fs=100.0, **attributes)
        assert header.start == pytest.approx(expected, abs=1000)
        assert not header.start_of_all
    whole = header_of(tmp_path / "a.h5", fs=100.0, MeasurementStartTime="2023-09-22T00:00:00Z")
    assert whole.start_of_all
    assert any("MeasurementStartTime is taken" in note for note in whole.notes)


@pytest.mark.parametrize("start", ["51976-01-01T00:00:00", "2399-01-01T00:00:00Z", 5e10])
def test_a_start_beyond_all_dates(tmp_path, start):
    with pytest.raises(BadRecord, match="a.h5: its start '(51976|2399|5e).*1677 to 2262"):
        header_of(tmp_path / "a.h5", fs=100.0, starttime=start)


@pytest.mark.parametrize(
    ("attributes", "arrays"),
    [
        ({"MeasureLength[m]": "600", "SpatialResolution[m]": "2"}, {}),
        ({"StreamTime[s]": "2.0"}, {}),
        ({"NumberOfLoci": 300}, {}),
        ({"nt": 200}, {}),
        ({"StartPosition": 5.0, "StopPosition": 603.0, "dx": 2.0}, {}),
        ({"PartStartTime": "2020-01-01", "PartEndTime": "2020-01-01T00:00:01.99"}, {}),
        ({}, {"g__time": np.arange(200) * 0.01}),
        ({}, {"timestamps": seconds(200)}),
        ({}, {"g__distance": np.arange(300.0)}),
    ],
)
def test_the_order_follows_from_lengths(tmp_path, attributes, arrays):
    for samples, axis in ((noise(200, 300), 0), (noise(200, 300).T, 1)):
        values = {"g/data": {"fs": 100.0} | attributes}
        assert (
            read_header(file_of(tmp_path / "a.h5", samples, values, **arrays), AUTO).time_axis
            == axis
        )


def test_the_order_follows_from_dimension_scales(tmp_path):
    for names, axis in ((("time", "distance"), 0), (("distance", "time"), 1)):
        path = file_of(tmp_path / "a.h5", noise(200, 300), {"g/data": {"fs": 100.0}})
        with h5py.File(path, "a") as file:
            for number, name in enumerate(names):
                file[name] = 2.0 * np.arange(file["g/data"].shape[number])
                file[name].make_scale(name)
                file["g/data"].dims[number].attach_scale(file[name])
            file["time"][:] = np.arange(file["time"].size) / 50
        header = read_header(path, records_settings("sampling_rate=50").records)
        assert header.time_axis == axis
        assert header.distance[1] == 2.0


def test_no_order_is_an_error_that_names_both_lengths(tmp_path):
    path = file_of(tmp_path / "a.h5", noise(100, 384), {"g/data": {"fs": 100.0}})
    with pytest.raises(BadRecord, match=r"g/data is 100 x 384, and nothing .*records.order"):
        read_header(path, AUTO)
    assert read_header(path, records_settings("order=time,channel").records).time_axis == 0
    path = file_of(tmp_path / "b.h5", noise(30, 4000), {"g/data": {"fs": 100.0}})
    with pytest.raises(BadRecord, match="g/data is 30 x 4,000"):
        read_header(path, AUTO)
    header = header_of(tmp_path / "c.h5", noise(400, 8), fs=100.0)
    assert header.time_axis == 0
    assert "the longer is taken, time,channel; set records.order" in header.notes[0]


# ---- time stamps --------------------------------------------------------------------------------


def stamped(path, times, rate=100.0, name="g__RawDataTime", **attributes):
    values = {"g/data": {"dims": "time,channel", "fs": rate} | attributes}
    return read_header(file_of(path, noise(len(times), 4), values, **{name: times}), AUTO)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_stamps_give_rate_and_start(tmp_path, unit):
    values = {"g/data": {"dims": "time,channel"}}
    times = (1_600_000_000 * 10**9 + np.arange(300, dtype=np.int64) * 4_000_000) // unit
    if unit == 10**9:
        times = 1_600_000_000 + np.arange(300) * 0.004
    path = file_of(tmp_path / "a.h5", noise(300, 4), values, g__time=times)
    header = read_header(path, AUTO)
    assert header.sampling_rate == 250.0
    assert header.start == 1_600_000_000 * 10**9
    assert [part.n_samples for part in header.segments] == [300]


def test_stamps_beat_a_rate_that_contradicts_them(tmp_path):
    header = stamped(tmp_path / "a.h5", seconds(300, 250.0))
    assert header.sampling_rate == 250.0
    assert any("fs says 100 Hz, but g/RawDataTime 250 Hz" in note for note in header.notes)
    header = stamped(tmp_path / "b.h5", seconds(300, 100.1), dt=0.5)
    assert (header.sampling_rate, header.notes) == (100.0, ())
    header = stamped(tmp_path / "c.h5", seconds(300, 250.0), dt=0.004)
    assert header.sampling_rate == 250.0
    assert any("fs says 100 Hz" in note for note in header.notes)


@pytest.mark.parametrize(("away", "is_noted"), [(0.4, False), (-3600, True), (2, True)])
def test_a_start_that_contradicts_the_stamps_is_noted(tmp_path, away, is_noted):
    header = stamped(tmp_path / "a.h5", seconds(300), start=1_600_000_000.0 + away)
    assert abs(header.start - 1_600_000_000 * 10**9) < 1000
    noted = " ".join(header.notes)
    assert ("but g/RawDataTime begins 2020-09-13T12:26:40.000000Z" in noted) == is_noted


@pytest.mark.parametrize(
    ("scale", "unit"), [(1, ""), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "")]
)
def test_a_unit_guessed_by_the_size_of_a_start_is_noted(tmp_path, scale, unit):
    number, note = 1_600_000_000 * scale, f"{unit} since 1970 are assumed by its size"
    times = number + (np.arange(300) / 100 * scale).astype(np.int64 if scale > 1 else float)
    for header in (
        header_of(tmp_path / "a.h5", fs=100.0, start=number),
        header_of(tmp_path / "b.h5", fs=100.0, MeasurementStartTime=number),
        stamped(tmp_path / "c.h5", times),
    ):
        assert header.start == 1_600_000_000 * 10**9
        assert any(note in text for text in header.notes) == bool(unit)
    sure = (
        stamped(tmp_path / "d.h5", times, start="2020-09-13T12:26:40Z"),
        header_of(tmp_path / "e.h5", fs=1.0, dims="time,x", start=1.6e12, start_unit="ms"),
    )
    assert [header.notes for header in sure] == [(), ()]


def test_a_jump_of_the_stamps_cuts(tmp_path):
    times = 1_600_000_000_000_000 + np.arange(300) * 10_000
    times[100:] += 10_000_000
    times[250:] += 50_000
    header = stamped(tmp_path / "a.h5", times)
    second = 10**9
    assert [(part.first, part.n_samples) for part in header.segments] == [
        (0, 100),
        (100, 150),
        (250, 50),
    ]
    starts = [part.start - 1_600_000_000 * second for part in header.segments]
    assert starts == [0, 11 * second, 12_550_000_000]


def test_jitter_does_not_cut(tmp_path):
    rng = np.random.default_rng(0)
    times = seconds(2000)
    jittered = times + rng.normal(0, 0.004, 2000)
    jittered[700] -= 3.0
    for name, values in (
        ("jitter", jittered),
        ("drift", times * (1 + 2e-12) + 1e-5 * np.arange(2000)),
        ("whole seconds", np.floor(times + 0.3)),
        ("blocks", np.repeat(times[::50], 50)),
    ):
        header = stamped(tmp_path / "a.h5", values)
        assert len(header.segments) == 1, name
        assert header.sampling_rate == 100.0, name
        assert abs(header.start - 1_600_000_000 * 10**9) < 10**9, name


def test_a_jump_of_jittered_or_block_wise_stamps_cuts(tmp_path):
    rng = np.random.default_rng(0)
    times = seconds(2000)
    times[900:] += 5
    for values in (times + rng.normal(0, 0.002, 2000), np.repeat(times[::50], 50)):
        header = stamped(tmp_path / "a.h5", values)
        assert [part.first for part in header.segments] == [0, 900]
        away = header.segments[1].start - header.segments[0].start - 14 * 10**9
        assert abs(away) < 10**7


def test_samples_that_were_never_written_are_left_out(tmp_path):
    times = seconds(300)
    times[200:] = 0
    samples = noise(300, 4)
    values = {"g/data": {"dims": "time,channel", "fs": 100.0}}
    header = read_header(file_of(tmp_path / "a.h5", samples, values, g__gps_time=times), AUTO)
    assert header.segments[0].n_samples == 300
    samples[200:] = 0
    header = read_header(file_of(tmp_path / "a.h5", samples, values, g__gps_time=times), AUTO)
    assert header.segments[0].n_samples == 200
    assert "last 100 samples were never written" in header.notes[0]


def test_an_end_that_contradicts_start_and_length_is_said(tmp_path):
    ends = {"PartStartTime": "2020-01-01", "fs": 10.0}
    for end, note in (
        ("2020-01-01T00:00:05", ""),
        ("2020-01-01T00:00:04.9", ""),
        ("2020-01-01T00:00:15", "10 s later than its start"),
        ("2020-01-01T00:00:03", "2 s earlier than its start"),
    ):
        header = header_of(tmp_path / "a.h5", PartEndTime=end, **ends)
        assert note in " ".join(header.notes)
        assert bool(header.notes) == bool(note)


def test_relative_stamps_count_from_the_start_in_the_unit_that_fits(tmp_path):
    for step in (0.01, 10, 10_000, 10_000_000):
        times = np.arange(300) * step
        times[200:] += 100 * step
        header = stamped(tmp_path / "a.h5", times, name="g__time", start="2020-09-13T12:26:40")
        assert [part.start for part in header.segments] == [
            1_600_000_000 * 10**9,
            1_600_000_003 * 10**9,
        ]


def test_times_of_netcdf(tmp_path):
    path = file_of(tmp_path / "a.h5", noise(300, 400), g__time=np.arange(300) * 20)
    with h5py.File(path, "a") as file:
        file["g/time"].attrs["units"] = "milliseconds since 2020-09-13 12:26:40"
        file["g/time"].make_scale("time")
        file["g/data"].dims[0].attach_scale(file["g/time"])
    header = read_header(path, AUTO)
    assert (header.sampling_rate, header.start) == (50.0, 1_600_000_000 * 10**9)
    assert header.time_axis == 0


def test_stamps_that_can_not_be_converted_are_said(tmp_path):
    path = file_of(
        tmp_path / "a.h5", noise(300, 4), {"g/data": {"fs": 50.0}}, g__time=np.arange(300)
    )
    with h5py.File(path, "a") as file:
        file["g/time"].attrs.update({"units": "s since 2020-01-01", "calendar": "360_day"})
    header = read_header(path, AUTO)
    assert (header.sampling_rate, header.start) == (50.0, None)
    assert any("not used: calendar '360_day' has" in note for note in header.notes)


def test_tie_points_of_xdas(tmp_path):
    ties = {"g__time_indices": [0, 149, 150, 299], "g__time_values": [0, 2980, 10_000, 12_980]}
    along = {"g__distance_indices": [0, 399], "g__distance_values": [0.0, 3990.0]}
    path = file_of(tmp_path / "a.h5", noise(300, 400), **ties, **along)
    with h5py.File(path, "a") as file:
        file["g/time_values"].attrs["units"] = "milliseconds since 2020-09-13 12:26:40"
        for axis, name in enumerate(("time", "distance")):
            file[f"g/{name}"] = np.zeros(file["g/data"].shape[axis])
            file[f"g/{name}"].make_scale(
                f"This is a netCDF dimension but not a netCDF variable. {axis}"
            )
            file["g/data"].dims[axis].attach_scale(file[f"g/{name}"])
    header = read_header(path, AUTO)
    assert (header.sampling_rate, header.time_axis) == (50.0, 0)
    starts = [1_600_000_000 * 10**9, 1_600_000_010 * 10**9]
    assert [(part.start, part.first) for part in header.segments] == list(
        zip(starts, (0, 150), strict=True)
    )
    np.testing.assert_array_equal(header.distance, 10 * np.arange(400))


# ---- files that cost themselves -----------------------------------------------------------------


def test_text_groups_and_links_to_nowhere(tmp_path):
    path = record(tmp_path / "a.h5", noise(300))
    with h5py.File(path, "a") as file:
        file["gone"] = h5py.SoftLink("/nowhere")
        file["far"] = h5py.ExternalLink("missing.h5", "/data")
        file["fs/inner"] = 3.0
    assert read_header(path, AUTO).sampling_rate == 100.0
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"] = np.full((30, 4), b"x")
        file["group/data/inner"] = np.zeros(3)
    for settings in (AUTO, records_settings("dataset=group/data").records):
        with pytest.raises(BadRecord, match="b.h5"):
            read_header(tmp_path / "b.h5", settings)


def test_external_storage_that_is_missing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = str(tmp_path / "a.raw")
        data = file.create_dataset("data", (300, 3), "f4", external=[(raw, 0, 3600)])
        data[:] = noise(300)
        data.attrs.update({"fs": 100.0, "dims": "time,channel"})
    assert read_header(tmp_path / "a.h5", AUTO).shape == (300, 3)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(BadRecord, match="a.raw, which is missing or too short"):
        read_header(tmp_path / "a.h5", AUTO)


def test_a_missing_codec_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "explain_missing_filter", lambda _: "filter Blosc (number 32001)")
    path = record(tmp_path / "a.h5", noise(300))
    with pytest.raises(BadRecord, match="data needs another package: filter Blosc"):
        read_header(path, AUTO)


STAMP = 1_600_000_000


@pytest.mark.parametrize("at", [0, 500, -1])
@pytest.mark.parametrize("bad", [1.0, STAMP - 3600.0, STAMP + 40 * 365 * 86400.0])
def test_a_bad_stamp_decides_no_rate(tmp_path, at, bad):
    times = STAMP + np.arange(1000) / 100
    times[at] = bad
    header = stamped(tmp_path / "a.h5", times, "")
    assert header.sampling_rate == 100
    assert abs(header.start - STAMP * 10**9) < 100
    assert len(header.segments) == 1


def test_stamps_that_descend_are_said(tmp_path):
    times = STAMP + np.arange(1000)[::-1] / 100
    header = stamped(tmp_path / "a.h5", times)
    assert any("does not ascend" in note for note in header.notes)


def test_a_size_without_samples(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (10**12, 5), "f4", chunks=(1000, 5))
        data.attrs.update({"fs": 100.0, "dims": "time,channel"})
        file.create_dataset("time", (10**12,), "f8", chunks=(1000,))
        data[:10] = 1.0
    with pytest.raises(BadRecord, match="999,999,999 of its 1,000,000,000 pieces were never"):
        read_header(tmp_path / "a.h5", AUTO)


def test_an_interval_without_a_unit_is_not_in_nanoseconds(tmp_path):
    record(tmp_path / "a.h5", noise(100, 5), fs="", dt=10**7)
    with pytest.raises(BadRecord, match="is a sampling rate"):
        read_header(tmp_path / "a.h5", AUTO)


def test_what_a_writer_left_open(tmp_path):
    with h5py.File(tmp_path / "b.h5", "w", libver="latest") as file:
        file["data"] = noise(100, 5)
        file.swmr_mode = True
        (tmp_path / "a.h5").write_bytes((tmp_path / "b.h5").read_bytes())
    with pytest.raises(BadRecord, match="being written by another program"):
        read_header(tmp_path / "a.h5", AUTO)


def test_units_that_are_no_utf_8_or_an_array(tmp_path):
    assert header_of(tmp_path / "b.h5", fs=100.0, unit=["m", "s"]).unit == ""
    record(tmp_path / "a.h5", noise(100, 5), units=b"\xb5m/m/s")
    assert read_header(tmp_path / "a.h5", AUTO).unit == "µm/m/s"
