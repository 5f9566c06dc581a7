"""Which axis is which: by names of dimensions, by lengths of coordinates, or refused."""

from itertools import permutations

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError

AXES = ("time", "channel", "frequency")
CUBE = np.random.default_rng(0).random((12, 6, 5)).astype(np.float32)
SQUARE = CUBE[:5, :5]
COORDINATES = {
    "time": np.arange(12) * 2.0,
    "distance": np.arange(6) * 10.0,
    "frequency": np.arange(5) * 1.5,
}


def write_netcdf(path, values, names, name="data"):
    """As netCDF-4 and xarray do: a scale a dimension; of those not in COORDINATES, sizes alone."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=values)
        for axis, dimension in enumerate(names):
            n = values.shape[axis]
            if dimension in COORDINATES:
                scale = file.create_dataset(dimension, data=COORDINATES[dimension][:n])
                scale.make_scale(dimension)
            else:
                scale = file.create_dataset(dimension, (n,), "f4")
                scale.make_scale("This is a netCDF dimension but not a netCDF variable.")
            data.dims[axis].attach_scale(scale)
    return path


def write_labels(path, values, names):
    with h5py.File(path, "w") as file:
        file["data"] = values
        for axis, dimension in enumerate(names):
            file["data"].dims[axis].label = dimension
    return path


def write_zarr(path, values, names, zarr_format):
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    if zarr_format == 3:
        group.create_array("data", data=values, dimension_names=names)
    else:
        group.create_array("data", data=values).attrs["_ARRAY_DIMENSIONS"] = list(names)
    return path


WRITERS = {
    "netcdf": write_netcdf,
    "labels": write_labels,
    "zarr2": lambda *words: write_zarr(*words, 2),
    "zarr3": lambda *words: write_zarr(*words, 3),
}


def samples_of(path, **keywords):
    with open_spectrograms(path, **keywords) as file:
        return file.layout, file.read(0, file.n_samples), file.frequency


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("cube", [CUBE, SQUARE], ids=["oblong", "square"])
def test_cubes_of_any_order_by_the_names_of_dimensions(tmp_path, writer, cube, caplog):
    caplog.set_level("INFO", "RISCluster")
    names = ("time", "distance", "frequency")
    _, expected, _ = samples_of(WRITERS[writer](tmp_path / "c", cube, names))
    assert "is stored as" not in caplog.text
    for number, order in enumerate(permutations(range(3))):
        path = WRITERS[writer](
            tmp_path / f"{number}", cube.transpose(order), [names[axis] for axis in order]
        )
        layout, got, _ = samples_of(path)
        assert layout == "cube"
        np.testing.assert_array_equal(got, expected)
    assert "is stored as (frequency, time, channel) by its dimension names" in caplog.text


def test_cubes_by_the_lengths_of_their_coordinates(tmp_path, caplog):
    caplog.set_level("INFO", "RISCluster")
    for number, order in enumerate(permutations(range(3))):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["data"] = CUBE.transpose(order)
            for name, values in COORDINATES.items():
                file[name] = values
        layout, got, frequency = samples_of(tmp_path / f"{number}.h5")
        np.testing.assert_array_equal(got[0], CUBE[:4, 0].T)
        np.testing.assert_array_equal(frequency, COORDINATES["frequency"])
    assert "is stored as (channel, time, frequency) by its coordinates" in caplog.text


@pytest.mark.parametrize("name", ["data", "spectrogram", "psd"])
def test_the_names_of_dimensions_tell_the_layout(tmp_path, name):
    path = write_netcdf(tmp_path / "c.nc", CUBE, ("time", "channel", "frequency"), name)
    assert samples_of(path)[0] == "cube"
    names = ("event", "frequency", "time_bin")
    path = write_netcdf(tmp_path / "s.nc", CUBE.transpose(0, 2, 1), names, name)
    layout, got, _ = samples_of(path)
    assert layout == "samples"
    np.testing.assert_array_equal(got, CUBE.transpose(0, 2, 1))


@pytest.mark.parametrize("layout", ["cube", "samples"])
def test_descending_axes_are_read_ascending(tmp_path, layout):
    values = CUBE if layout == "cube" else CUBE.transpose(0, 2, 1)
    seconds = np.arange(12 if layout == "cube" else 6) * 2.0
    name = {"cube": "data", "samples": "spectrogram"}[layout]
    found = []
    for step in (1, -1):
        with h5py.File(tmp_path / f"{step}.h5", "w") as file:
            axes = (0, 2) if layout == "cube" else (1, 2)
            file[name] = np.flip(values, axes) if step < 0 else values
            file["frequency"], file["time"] = np.arange(5.0)[::step], seconds[::step]
            if layout == "cube":
                file["time"].attrs["units"] = "s since 2020-01-01"
        with open_spectrograms(tmp_path / f"{step}.h5") as file:
            found.append((file.read(0, file.n_samples), file.frequency, file.starttimes()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("named", [True, False])
def test_samples_of_another_order(tmp_path, named, caplog):
    caplog.set_level("INFO", "RISCluster")
    rows = CUBE.transpose(0, 2, 1)  # sample, frequency, time
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["spectrogram"] = rows.transpose(0, 2, 1)
        file["frequency"] = np.arange(5.0)
        if named:
            file["spectrogram"].attrs["_ARRAY_DIMENSIONS"] = ["sample", "time", "frequency"]
        else:
            file["time"] = np.arange(6.0)
    np.testing.assert_array_equal(samples_of(tmp_path / "s.h5")[1], rows)
    assert "is stored as (sample, time, frequency)" in caplog.text
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["data"], file["frequency"] = CUBE.transpose(0, 2, 1), np.arange(5.0)
    with pytest.raises(DataError, match=r"has shape \(12, 5, 6\), .* unknown; write it in"):
        open_spectrograms(tmp_path / "c.h5")
