"""Packed values and missing ones, in every layout, and in coordinates and columns."""

import base64
import struct

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import packing_of
from RISCluster.errors import DataError

STORED = np.random.default_rng(0).integers(1, 9000, (12, 6, 5)).astype(np.int16)
STORED[3, 2] = -32767
PACKED = {"scale_factor": 0.001, "add_offset": 5.0, "_FillValue": np.int16(-32767)}
UNPACKED = np.where(STORED == -32767, np.nan, STORED * 0.001 + 5.0).astype(np.float32)


@pytest.mark.parametrize("layout", ["samples", "cube", "ris", "zarr2", "zarr3"])
def test_every_layout_is_unpacked(tmp_path, layout):
    path, expected = tmp_path / "p", UNPACKED
    if layout.startswith("zarr"):
        group = zarr.open_group(str(path), mode="w", zarr_format=int(layout[-1]))
        data = group.create_array("data", data=STORED)
        data.attrs.update({name: value.item() if hasattr(value, "item") else value
                           for name, value in PACKED.items()})  # fmt: skip
    else:
        name = {"samples": "spectrogram", "cube": "data", "ris": "4.0/Spectrogram"}[layout]
        with h5py.File(path, "w") as file:
            values = STORED
            if layout == "ris":  # axes are packed with the rest
                values = np.zeros((12, 7, 6), np.int16)
                values[:, :6, 1:], values[:, :6, 0] = STORED, np.arange(6) * 1000
                values[:, 6, 1:] = np.arange(5) * 1000
            file[name] = values
            file[name].attrs.update(PACKED)
    with open_spectrograms(path) as file:
        if file.layout == "cube":
            expected = np.stack([UNPACKED[:4, 0].T, UNPACKED[:4, 2].T])
            got = np.stack([file.read(0, 1)[0], file.read(2, 3)[0]])
        else:
            got = file.read(0, 12)
        np.testing.assert_array_equal(got, expected)
        assert file.missing == ["the fill value -32767"]
        if layout == "ris":
            np.testing.assert_allclose(file.frequency, 5 + np.arange(6))


def test_a_fill_value_that_netcdf_declares_without_an_attribute(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        for dtype, fill in (("f4", 9.969209968386869e36), ("i2", -32767)):
            array = file.create_dataset(dtype, (3,), dtype, fillvalue=fill)
            array[:2] = 1
            got = packing_of(array).unpack(array[:])
            np.testing.assert_array_equal(got, [1, 1, np.nan])


def test_fill_values_as_xarray_writes_them_into_zarr(tmp_path):
    group = zarr.open_group(str(tmp_path / "3"), mode="w", zarr_format=3)
    array = group.create_array("x", data=np.array([-999.0, 2]))
    array.attrs["_FillValue"] = base64.b64encode(struct.pack("<d", -999.0)).decode()
    assert packing_of(array).missing == (-999.0,)
    group = zarr.open_group(str(tmp_path / "2"), mode="w", zarr_format=2)
    for name, fill, missing in (("a", -999, (-999,)), ("b", 0, ())):
        array = group.create_array(name, data=np.arange(3), fill_value=fill)
        assert packing_of(array).missing == ()  # Zarr's own
        array.attrs["_ARRAY_DIMENSIONS"] = ["time"]
        assert packing_of(array).missing == missing


@pytest.mark.parametrize(
    ("dtype", "attributes", "stored", "values"),
    [
        ("i1", {"_Unsigned": "true", "_FillValue": np.int8(-1)}, [-1, -2], [np.nan, 254]),
        ("i1", {"_Unsigned": "true", "scale_factor": 0.5}, [-2, 1], [127, 0.5]),
        ("f4", {"_FillValue": 1e20}, [1e20, 2], [np.nan, 2]),
        ("i2", {"missing_value": np.array([-1, -2], "i2")}, [-1, -2, 3], [np.nan, np.nan, 3]),
        ("i2", {"valid_range": np.array([0, 10], "i2")}, [-1, 5, 11], [np.nan, 5, np.nan]),
        ("i2", {"valid_min": 0}, [-1, 11], [np.nan, 11]),
        ("i2", {"valid_max": 10, "scale_factor": 2.0}, [10, 11], [20, np.nan]),
        ("i2", {"valid_range": [-1.0, 0.0], "scale_factor": -0.5}, [0, 2, 3], [0, -1, np.nan]),
        ("f4", {"_FillValue": "none"}, [1, 2], [1, 2]),
        ("f4", {"missing_value": "-9"}, [-9, 2], [np.nan, 2]),
        ("f4", {"scale_factor": "soon"}, [1, 2], "must be a number, not 'soon'"),
        ("f4", {"scale_factor": [1.0, 2.0]}, [1, 2], "must be one number"),
    ],
)
def test_attributes_of_packing(tmp_path, dtype, attributes, stored, values):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["x"] = np.array(stored, dtype)
        file["x"].attrs.update(attributes)
        if isinstance(values, str):
            with pytest.raises(DataError, match=values):
                packing_of(file["x"])
            return
        got = packing_of(file["x"]).unpack(file["x"][:])
    np.testing.assert_array_equal(got.astype(float), values)


def test_coordinates_and_columns_are_unpacked_too(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["spectrogram"] = np.ones((2, 6, 5), np.float32)
        for name, values, attributes in (
            ("frequency", np.arange(6, dtype="i2"), {"scale_factor": 0.5}),
            ("labels", [0, -99], {"_FillValue": -99}),
            ("starttime", [10, -1], {"units": "s since 2020-01-01", "_FillValue": -1}),
        ):
            file[name] = values
            file[name].attrs.update(attributes)
    with open_spectrograms(tmp_path / "s.h5") as file:
        assert file.frequency.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert file.labels().tolist() == [0, -1]
        assert file.starttimes() == ["2020-01-01T00:00:10.000000Z", ""]
