"""Cubes as files of spectrograms, in HDF5 and in both formats of Zarr, and their coordinates."""

import warnings

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data import cube_file
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError
from RISCluster.settings import CubeSettings, load_settings
from tests.data.conftest import write_axes

CUBE = (100 * np.random.default_rng(0).random((50, 7, 5))).astype("f4")
SMALL = CUBE[:8, :6]
STEPS = np.arange(8)


def settings(**keys) -> CubeSettings:
    return load_settings(None, [f"cube.{key}={value}" for key, value in keys.items()]).cube


def write_cube(path, cube=CUBE, chunks=None, **coordinates):
    """Coordinates are values, or (values, units)."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=cube, chunks=chunks)
        for name, values in coordinates.items():
            file[name], units = values if isinstance(values, tuple) else (values, "")
            file[name].attrs["units"] = units
    return path


def check(file, cube, window, stride, across=1, apart=1):
    """All samples, and some of them, against windows cut by hand."""
    index = np.arange(file.n_samples)
    windows, channels = file.place(index)
    sizes = (len(cube) - window) // stride + 1, (cube.shape[1] - across) // apart + 1
    assert {*zip(windows, channels, strict=True)} == {*np.ndindex(sizes)}
    places = zip(windows * stride, channels * apart, strict=True)
    parts = [[cube[s : s + window, c + k].T for k in range(across)] for s, c in places]
    wanted = np.array(parts, np.float32).reshape(-1, *[across] * (across > 1), 5, window)
    for some in (index, *(np.flatnonzero(np.sin(index * k) > 0.5) for k in (1, 2, 3))):
        found, rows = zip(*file.read_blocks(some), strict=True)
        np.testing.assert_array_equal(np.concatenate(found), some)
        np.testing.assert_array_equal(np.concatenate(rows), wanted[some])
    np.testing.assert_array_equal(file.read(3, 9), wanted[3:9])


@pytest.mark.parametrize(("tile", "chunks"), [(1, (8, 3, 5)), (600, (50, 1, 5)), (2**20, None)])
@pytest.mark.parametrize(
    ("window", "stride", "across", "apart", "channels", "times"),
    [(4, 4, 1, 1, ":", ":"), (4, 1, 3, 1, ":", ":"), (5, 3, 2, 1, "1:6:2", "3:"),
     (4, 6, 1, 1, "-2:", "::3"), (6, 6, 4, 2, ":", ":"), (5, 2, 7, 1, ":", ":")],
)  # fmt: skip
def test_tiles(tmp_path, monkeypatch, tile, chunks, window, stride, across, apart, channels, times):
    monkeypatch.setattr(cube_file, "TILE_BYTES", tile)
    monkeypatch.setattr(cube_file, "BLOCK_BYTES", max(1, tile // 4))
    path = write_cube(tmp_path / "c.h5", chunks=chunks)
    keys = {"window_channels": across, "stride_channels": apart}
    chosen = settings(window=window, stride=stride, channels=channels, times=times, **keys)
    parts = [slice(*(int(x) if x else None for x in t.split(":"))) for t in (times, channels)]
    with open_spectrograms(path, cube=chosen) as file:
        check(file, CUBE[parts[0]][:, parts[1]], window, stride, across, apart)


@pytest.mark.parametrize(("zarr_format", "unit"), [(2, "D"), (3, "s")])
def test_cryocube_with_its_days_for_times(tmp_path, caplog, zarr_format, unit):
    """What CryoCube writes: Zarr of float64, metres, hertz, and times cut to days."""
    group = zarr.open_group(str(tmp_path / "c.zarr"), mode="w", zarr_format=zarr_format)
    cube = CUBE[:40].astype("f8")
    group.create_array("data", data=cube, chunks=(20, 3, 5))
    group.create_array("metadata/loc_coords", data=np.arange(7) * 4)
    group.create_array("metadata/freq_coords", data=np.arange(5) * 2.0)
    with warnings.catch_warnings(action="ignore"):
        times = (np.datetime64("2020-07-24", "s") + np.arange(40)).astype(f"M8[{unit}]")
        group.create_array("metadata/time_coords", data=times)
    with open_spectrograms(tmp_path / "c.zarr") as file:
        check(file, cube, 4, 4)
        np.testing.assert_array_equal(file.frequency, np.arange(5) * 2.0)
        np.testing.assert_array_equal(file.distance, np.arange(7) * 4.0)
        assert (file.distance_unit, file.chunks) == ("m", (20, 3, 5))
        if unit == "D":
            assert file.column("starttime") is None
            assert "do not ascend" in caplog.text
        else:
            assert file.column("starttime")[-1] == "2020-07-24T00:00:36.000000Z"


def test_times_names_and_distances(tmp_path):
    coordinates = {
        "time_coords": (1.6e9 + 0.5 * np.arange(50), "seconds since 1970-01-01T00:00:00Z"),
        "loc_coords": np.arange(7) * 16.8, "channel_names": [f"A{n}".encode() for n in range(7)],
    }  # fmt: skip
    coordinates = {f"metadata/{name}": values for name, values in coordinates.items()}
    path = write_cube(tmp_path / "c.h5", **coordinates)
    with open_spectrograms(path, cube=settings(channels="2:4", times="10:")) as file:
        assert file.column("starttime", 2, 3) == ["2020-09-13T12:26:47.000000Z"]
        assert file.column("trace_id", 0, 3) == ["A2", "A3", "A2"]
        np.testing.assert_allclose(file.distance, [33.6, 50.4])
        assert (file.time.tolist(), file.time_unit) == ([0, 0.5, 1.0, 1.5], "s")
    with open_spectrograms(path, cube=settings(window_channels=3, stride_channels=2)) as file:
        assert file.column("trace_id", 0, 2) == ["A1", "A3"]  # those in the middle
        np.testing.assert_allclose(file.distance, [16.8, 50.4, 84])
        assert file.components == ("-1", "+0", "+1")


@pytest.mark.parametrize(("keys", "coordinates", "text"), [
    ({"channels": "3:9"}, {}, "channels = 3:9 takes 4 of 7 channels; allowed"),
    ({"window": 20, "times": "::3"}, {}, "takes 17 of 50 times; .* a window of 20 fits"),
    ({"window_channels": 8}, {}, "takes 7 of 7 channels; .* a window of 8 fits"),
    ({}, {"time": np.arange(49)}, r"\(50, 7, 5\), and .*time \(49,\)"),
    ({}, {"distance": np.r_[1:7, np.nan]}, "distance must hold finite numbers"),
    ({}, {"time": np.arange(50)[::-1]}, "time descends; allowed"),
    ({}, {"data2": CUBE}, r"no data set 'b' .* has data \(50, 7, 5\), data2"),
])  # fmt: skip
def test_settings_and_coordinates_that_do_not_fit(tmp_path, keys, coordinates, text):
    path = write_cube(tmp_path / "c.h5", **coordinates)
    with pytest.raises(DataError, match=text):
        open_spectrograms(path, "cube", "b" if "data2" in coordinates else "auto", settings(**keys))


def test_coordinates_as_tie_points(tmp_path):
    """As xdas writes them: two points, and what lies between is interpolated."""
    ties = {
        "time": ([0, 7], [0, 14_000], "milliseconds since 2023-01-01"),
        "distance": ([0, 5], [0.0, 50.0], "m"),
        "frequency": ([0, 2, 4], [0.0, 1.0, 4.0], "Hz"),
    }
    with h5py.File(tmp_path / "x.nc", "w") as file:
        write_axes(file, file.create_dataset("__values__", data=SMALL), dict.fromkeys(ties))
        for name, (indices, points, units) in ties.items():
            file[f"{name}_indices"], file[f"{name}_values"] = indices, points
            file[f"{name}_values"].attrs["units"] = units
    with open_spectrograms(tmp_path / "x.nc") as file:
        assert file.column("starttime", 6, 7) == ["2023-01-01T00:00:08.000000Z"]
        assert file.time.tolist() == [0, 2, 4, 6]
        assert file.distance.tolist() == [0, 10, 20, 30, 40, 50]
        assert file.frequency.tolist() == [0, 0.5, 1, 2.5, 4]


@pytest.mark.parametrize(("values", "units", "first", "why"), [
    (1_577_836_800.0 + STEPS, "", "2020-01-01T00:00:00.000000Z", ""),
    ([f"2020-01-01T0{k}:00:00+02:00" for k in STEPS], "", "2019-12-31T22:00:00.000000Z", ""),
    (np.r_[np.nan, 1:8], "s since 2020-01-01", None, "times are missing or do not ascend"),
    (STEPS, "furlongs", None, "unit 'furlongs' is not known"),
])  # fmt: skip
def test_times(tmp_path, caplog, values, units, first, why):
    """Of windows, or None where they are not used, and why; also beside names of channels."""
    names, time = [f"XX.S{k}..HHZ" for k in range(6)], (values, units)
    path = write_cube(tmp_path / "c.h5", SMALL, time=time, station=names, distance=np.arange(6.0))
    with open_spectrograms(path) as file:
        assert (file.channel_names(), file.distance[5]) == (names, 5)
        assert (file.column("starttime") or [None])[0] == first
        assert (file.time_unit, file.time[1] > 0) == ("step" if why else "s", True)
    assert why in caplog.text
    assert bool(caplog.messages) == bool(why)
