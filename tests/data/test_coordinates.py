"""Times, frequencies and distances of cubes in the units that they name."""

import re
import warnings

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.times import frequency_factor, seconds_factor, to_metres
from RISCluster.errors import DataError

CUBE = np.random.default_rng(0).random((8, 6, 5)).astype(np.float32)


def opened(path, **coordinates):
    """Opens a cube with coordinates as (values, attributes); Python's warnings are errors."""
    with h5py.File(path, "w") as file:
        file["data"] = CUBE
        for name, (values, attributes) in coordinates.items():
            file[name] = values
            file[name].attrs.update(attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_spectrograms(path)


def starts(file):
    with file:
        times = file.starttimes()
        return times and (times[0], times[-1])


STEPS = np.arange(8)
NS_2020 = 1_577_836_800_000_000_000


@pytest.mark.parametrize(
    ("values", "units", "first", "second"),
    [
        (STEPS, "seconds since 2020-01-01 00:00:00 UTC", "2020-01-01T00:00:00", "00:00:04"),
        (STEPS, "hours since 2020-01-01 00:00:00 -6:00", "2020-01-01T06:00:00", "10:00:00"),
        (1928472 + STEPS, "hours since 1800-1-1", "2020-01-01T00:00:00", "04:00:00"),
        (1000 * STEPS, "msec since 2020-01-01", "2020-01-01T00:00:00", "00:00:04"),
        (STEPS.astype("i4"), "hours since 2020-01-01", "2020-01-01T00:00:00", "04:00:00"),
        (STEPS.astype("u8"), "Hours Since 2020-01-01", "2020-01-01T00:00:00", "04:00:00"),
        (STEPS.astype("f4"), "hours @ 2020-01-01", "2020-01-01T00:00:00", "04:00:00"),
        (STEPS / 24, "days since 2020-01-01", "2020-01-01T00:00:00", "04:00:00"),
        (NS_2020 + STEPS * 10**9, "nanoseconds since 1970-01-01", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 + STEPS * 10**9, "ns", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 + STEPS * 10**9, "datetime64[ns]", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 // 1000 + STEPS * 10**6, "", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 / 1e9 + STEPS, "", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 / 1e9 + STEPS, "seconds since the epoch", "2020-01-01T00:00:00", "00:04"),
        ([f"2020-01-01T0{k}:00:00+02:00" for k in STEPS], "", "2019-12-31T22:00:00", "02:00:00"),
        ([f"2020-01-01 0{k}:00:00Z" for k in STEPS], "", "2020-01-01T00:00:00", "04:00:00"),
    ],
)  # fmt: skip
def test_times(tmp_path, values, units, first, second):
    attributes = {"units": units} if units else {}
    found = starts(opened(tmp_path / "c.h5", time=(values, attributes)))
    assert found[0].startswith(first)
    assert found[1].endswith(f"{second}.000000Z")


@pytest.mark.parametrize(
    ("values", "attributes", "said"),
    [
        (STEPS, {"units": "fortnights since 2020-01-01"}, "unit 'fortnights' is not known"),
        (STEPS, {"units": "months since 2020-01-01"}, "has no fixed length"),
        (STEPS, {"units": "days since 2020-01-01", "calendar": "360_day"}, "calendar '360_day'"),
        (STEPS, {"units": "days since soon"}, "reference 'soon' is no date"),
        (STEPS, {"units": "fortnights"}, "unit 'fortnights' is not known"),
        (STEPS * 1e6, {"units": "days since 2020-01-01"}, "7 of 8 are no times, or are before"),
        (np.r_[np.nan, 1:8], {"units": "s since 2020-01-01"}, "some times are missing"),
        (["2020-01-01", "soon", *["2020-01-02"] * 6], {}, "1 of 8 is no time, .*first: 'soon'"),
        (np.r_[STEPS[:7], 4e9], {"units": "s since 2020-01-01"}, "2146-.* is far from its other"),
    ],
)
def test_times_that_cannot_be_converted_are_not_used_and_that_is_said(
    tmp_path, caplog, values, attributes, said
):
    with opened(tmp_path / "c.h5", time=(values, attributes)) as file:
        assert file.starttimes() is None
        assert (file.time_unit, file.time[1]) == ("step", 1)
    assert len(caplog.messages) == 1
    assert re.search(said, caplog.text)


def test_a_guess_is_one_line(tmp_path, caplog):
    caplog.set_level("INFO", "RISCluster")
    opened(tmp_path / "c.h5", time=(NS_2020 + STEPS * 10**9, {})).close()
    assert "is taken as ns since 1970 in UTC, by the size of its numbers" in caplog.text
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("units", "last"), [("Hz", 4), ("kHz", 4000), ("mHz", 0.004), ("rad/s", 4 / 2 / np.pi)]
)
def test_frequencies_are_converted(tmp_path, units, last):
    with opened(tmp_path / "c.h5", frequency=(np.arange(5.0), {"units": units})) as file:
        assert (file.frequency[-1], file.frequency_unit) == (pytest.approx(last), "Hz")


def test_names_of_channels_beside_their_distances(tmp_path):
    names = [f"XX.S{k}..HHZ" for k in range(6)]
    characters = np.array(names, "S20").view("S1").reshape(6, 20)
    for texts in (names, characters):
        with opened(tmp_path / "c.h5", station=(texts, {}), distance=(np.arange(6.0), {})) as file:
            assert file.channel_names() == names
            assert file.distance[5] == 5


def test_times_as_zarr_has_them(tmp_path):
    for kind, unit in (("M8[ns]", 10**9), ("M8[us]", 10**6), ("m8[s]", 1)):
        group = zarr.open_group(str(tmp_path / kind), mode="w", zarr_format=3)
        group.create_array("data", data=CUBE)
        since = 0 if kind[0] == "m" else 1_577_836_800 * unit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group.create_array("time", data=(since + STEPS * unit).astype(kind))
        with open_spectrograms(tmp_path / kind) as file:
            times = file.starttimes()
            assert file.time.tolist() == [0, 1, 2, 3]
        assert times is None if kind[0] == "m" else times[-1] == "2020-01-01T00:00:04.000000Z"


def test_coordinates_as_tie_points(tmp_path):
    """As xdas writes them: two points, and what lies between is interpolated."""
    ties = {
        "time": ([0, 7], [0, 14_000], {"units": "milliseconds since 2023-01-01"}),
        "distance": ([0, 5], [0.0, 50.0], {}),
        "frequency": ([0, 2, 4], [0.0, 1.0, 4.0], {"units": "Hz"}),
    }
    with h5py.File(tmp_path / "x.nc", "w") as file:
        data = file.create_dataset("__values__", data=CUBE)
        for axis, (name, (indices, points, attributes)) in enumerate(ties.items()):
            size = file.create_dataset(name, (CUBE.shape[axis],), "f4")
            size.make_scale("This is a netCDF dimension but not a netCDF variable.         8")
            data.dims[axis].attach_scale(size)
            file[f"{name}_indices"], file[f"{name}_values"] = indices, points
            file[f"{name}_values"].attrs.update(attributes)
    with open_spectrograms(tmp_path / "x.nc") as file:
        assert file.starttimes(6, 7) == ["2023-01-01T00:00:08.000000Z"]
        assert file.time.tolist() == [0, 2, 4, 6]
        assert file.distance.tolist() == [0, 10, 20, 30, 40, 50]
        assert file.frequency.tolist() == [0, 0.5, 1, 2.5, 4]


def test_names_of_channels_that_are_not_unique(tmp_path, caplog):
    with opened(tmp_path / "c.h5", channel_names=(["A", "A", "B", "C", "D", "E"], {})) as file:
        assert file.trace_ids()[:2] == ["channel 0", "channel 1"]
    assert "names of channels are not unique" in caplog.text


@pytest.mark.parametrize(
    ("unit", "hertz"),
    [
        ("", 1), ("Hz", 1), ("hertz", 1), ("kHz", 1e3), ("mHz", 1e-3), ("MHz", 1e6), ("1/s", 1),
        ("s-1", 1), ("s**-1", 1), ("cycles per second", 1), ("1/min", 1 / 60),
        ("rad/s", 1 / (2 * np.pi)), ("rad s-1", 1 / (2 * np.pi)),
        ("radians per second", 1 / (2 * np.pi)), ("deg/s", 1 / 360), ("bin", None),
    ],
)  # fmt: skip
def test_frequencies(unit, hertz):
    assert frequency_factor("x.h5: frequency", unit) == (hertz and pytest.approx(hertz, rel=1e-12))


@pytest.mark.parametrize("unit", ["s", "m", "rad", "log10(Hz)", "mel", "1/m", "octaves"])
def test_what_is_no_frequency_is_refused(unit):
    with pytest.raises(DataError, match=r"x\.h5: frequency is in '.*', which is no known unit"):
        frequency_factor("x.h5: frequency", unit)


def test_durations():
    assert [seconds_factor(unit) for unit in ("", "s", "msec", "hrs", "ns", "bin", "samples")] == [
        1, 1, 1e-3, 3600, 1e-9, None, None
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no fixed length"):
        seconds_factor("months")


def test_lengths():
    x = np.array([0.0, 2.0])
    for unit, last in (("m", 2), ("km", 2000), ("ft", 0.6096), ("feet", 0.6096), ("metres", 2)):
        values, shown = to_metres(x, unit)
        assert (values.tolist(), shown) == ([0, pytest.approx(last)], "m")
    assert to_metres(x, "degrees")[1] == "degrees"
    assert to_metres(x, "")[1] == ""
