"""Times, frequencies and distances of cubes in the units that they name."""

import re
import warnings

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms

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


@pytest.mark.parametrize(
    ("values", "units", "first", "second"),
    [
        (STEPS, "hours since 2020-01-01 00:00:00 -6:00", "2020-01-01T06:00:00", "10:00:00"),
        (1928472 + STEPS, "hours since 1800-1-1", "2020-01-01T00:00:00", "04:00:00"),
        (STEPS.astype("f4"), "hours @ 2020-01-01", "2020-01-01T00:00:00", "04:00:00"),
        (NS_2020 + STEPS * 10**9, "datetime64[ns]", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 / 1e9 + STEPS, "", "2020-01-01T00:00:00", "00:04"),
        (NS_2020 / 1e9 + STEPS, "seconds since the epoch", "2020-01-01T00:00:00", "00:04"),
        ([f"2020-01-01T0{k}:00:00+02:00" for k in STEPS], "", "2019-12-31T22:00:00", "02:00:00"),
    ],
)
def test_times(tmp_path, values, units, first, second):
    attributes = {"units": units} if units else {}
    found = starts(opened(tmp_path / "c.h5", time=(values, attributes)))
    assert found[0].startswith(first)
    assert found[1].endswith(f"{second}.000000Z")


@pytest.mark.parametrize(
    ("values", "units", "reason"),
    [
        (STEPS, "fortnights since 2020-01-01", "unit 'fortnights' is not known"),
        (STEPS, "days since soon", "reference 'soon' is no date"),
        (STEPS * 1e6, "days since 2020-01-01", "7 of 8 are no times, or are before"),
        (np.r_[np.nan, 1:8], "s since 2020-01-01", "some times are missing"),
        (np.r_[STEPS[:7], 4e9], "s since 2020-01-01", "2146-.* is far from its other"),
    ],
)
def test_times_that_are_not_used(tmp_path, caplog, values, units, reason):
    with opened(tmp_path / "c.h5", time=(values, {"units": units})) as file:
        assert file.starttimes() is None
        assert (file.time_unit, file.time[1]) == ("step", 1)
    assert len(caplog.messages) == 1
    assert re.search(reason, caplog.text)
