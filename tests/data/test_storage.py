"""Files that can't be opened, packed values, and missing parts of arrays."""

import base64
import re
import struct
import sys

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import find_files, other_files, packing_of
from RISCluster.errors import DataError, MissingPackage

ROWS = np.random.default_rng(0).random((12, 5, 6)).astype(np.float32) + 1


def error_of(path) -> str:
    with pytest.raises(DataError) as caught:
        open_spectrograms(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "is empty"),
        (b"000001D XX    ABCDE", "is a file of waveforms; compute spectrograms with: python -m"),
        (b"\0" * 304 + b"\0\0\0\x06" + b"\0" * 400, "is a file of waveforms"),
        (b"CDF\x01\0\0", "is classic netCDF; make netCDF-4 of it"),
        (b"a,b\n1,2\n", "it must be HDF5 or Zarr, and is of another kind"),
        (b"\x89HDF\r\n\x1a\n\0", "copy or build it again if it was cut"),
    ],
    ids=range(6),
)
def test_other_kinds_of_files(tmp_path, content, kind):
    (tmp_path / "x.h5").write_bytes(content)
    assert kind in error_of(tmp_path / "x.h5")


def test_what_is_no_data_set(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "none.h5"):
        assert "no such file or Zarr folder; set data.file" in error_of(path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (10**12, 8, 8), "f4", chunks=(100, 8, 8))
    assert "10,000,000,000 of 10,000,000,000 chunks were never" in error_of(tmp_path / "a.h5")
    zarr.open_group(str(tmp_path / "c"), mode="w")
    monkeypatch.setitem(sys.modules, "zarr", None)  # as where it is not installed
    with pytest.raises(MissingPackage, match="zarr"):
        open_spectrograms(tmp_path / "c")


def test_words_of_the_command_line(tmp_path):
    for name in ("a/2020.001.msd", "a/b/2020.002", "a/notes.txt", "a/.hidden", "c.mseed", "s.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for words, found in {
        "a": "a/2020.001.msd a/b/2020.002",
        "**/2020*": "a/2020.001.msd a/b/2020.002",
        "c.mseed a c.mseed": "a/2020.001.msd a/b/2020.002 c.mseed",
        "a/notes.txt": "a/notes.txt",
    }.items():
        paths = find_files([str(tmp_path / word) for word in words.split()])
        assert [str(path.relative_to(tmp_path)) for path in paths] == found.split()
    for word in ("z*", "*.xml"):
        with pytest.raises(DataError, match="no such file, or no data in this folder"):
            find_files([str(tmp_path / word)])


# ---- packing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["samples", "cube", "zarr2", "zarr3"])
def test_every_layout_is_unpacked(tmp_path, layout):
    stored = np.random.default_rng(0).integers(1, 9000, (12, 6, 5)).astype(np.int16)
    stored[3, 2] = -32767
    values = np.where(stored == -32767, np.nan, stored * 0.001 + 5.0).astype(np.float32)
    packing = {"scale_factor": 0.001, "add_offset": 5.0, "_FillValue": -32767}
    if layout.startswith("zarr"):
        group = zarr.open_group(str(tmp_path / "p"), mode="w", zarr_format=int(layout[-1]))
        group.create_array("data", data=stored).attrs.update(packing)
    else:
        name = {"samples": "spectrogram", "cube": "data"}[layout]
        with h5py.File(tmp_path / "p", "w") as file:
            file[name] = stored
            file[name].attrs.update(packing)
    with open_spectrograms(tmp_path / "p") as file:
        got = file.read(0, 12)
        if file.layout == "cube":
            values, got = np.stack([values[:4, 0].T, values[:4, 2].T]), got[[0, 2]]
        np.testing.assert_array_equal(got, values)


def test_fill_values_without_an_attribute_or_as_xarray_writes_them(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:  # as netCDF declares them
        for dtype, fill in (("f4", 9.969209968386869e36), ("i2", -32767)):
            array = file.create_dataset(dtype, (3,), dtype, fillvalue=fill)
            array[:2] = 1
            np.testing.assert_array_equal(packing_of(array).unpack(array[:]), [1, 1, np.nan])
    group = zarr.open_group(str(tmp_path / "3"), mode="w", zarr_format=3)
    array = group.create_array("x", data=np.array([-999.0, 2]))
    array.attrs["_FillValue"] = base64.b64encode(struct.pack("<d", -999.0)).decode()
    assert packing_of(array).missing == (-999.0,)
    group = zarr.open_group(str(tmp_path / "2"), mode="w", zarr_format=2)
    for fill, attributes, missing in (
        (-999, {}, (-999,)),
        (0, {"_ARRAY_DIMENSIONS": ["time"]}, ()),
        (0, {"_ARRAY_DIMENSIONS": ["time"], "scale_factor": 0.1}, (0,)),
    ):
        array = group.create_array("x", data=np.arange(3), fill_value=fill, overwrite=True)
        array.attrs.update(attributes)
        assert packing_of(array).missing == missing


@pytest.mark.parametrize(
    ("dtype", "attributes", "stored", "values"),
    [
        ("f4", {"_FillValue": 1e20}, [1e20, 2], [np.nan, 2]),
        ("i2", {"missing_value": np.array([-1, -2], "i2")}, [-1, -2, 3], [np.nan, np.nan, 3]),
        ("f4", {"missing_value": "-9"}, [-9, 2], [np.nan, 2]),
        ("i2", {"scale_factor": [0.5]}, [1, 2], [0.5, 1]),
        ("i1", {"_Unsigned": "true"}, [-1, -2], "_Unsigned is true"),
        ("f4", {"scale_factor": [1.0, 2.0]}, [1, 2], "attributes of /x can't be used"),
    ],
)
def test_attributes_of_packing(tmp_path, dtype, attributes, stored, values):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["x"] = np.array(stored, dtype)
        file["x"].attrs.update(attributes)
        if isinstance(values, str):
            with pytest.raises(DataError, match=values):
                packing_of(file["x"])
        else:
            np.testing.assert_array_equal(packing_of(file["x"]).unpack(file["x"][:]), values)


# ---- missing parts ------------------------------------------------------------------------------


def write_sources(folder, n_rows=12, fill=0):
    """Three sources of four samples each, and a virtual data set of them."""
    virtual = h5py.VirtualLayout((n_rows, 5, 6), "f4")
    for number in range(3):
        part = slice(4 * number, 4 * number + 4)
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file.create_dataset("d", data=ROWS[part], chunks=(2, 5, 6))
        virtual[part] = h5py.VirtualSource(f"s{number}.h5", "d", shape=(4, 5, 6))
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_virtual_dataset("spectrogram", virtual, fillvalue=fill)
    return folder / "v.h5"


def test_virtual_data_sets_need_all_of_their_sources(tmp_path):
    path = write_sources(tmp_path)
    before = other_files(path)
    assert [text.split()[0] for text in before] == ["s0.h5", "s1.h5", "s2.h5"]
    with open_spectrograms(path) as file:
        np.testing.assert_array_equal(file.read(0, 12), ROWS)
    (tmp_path / "s1.h5").unlink()
    assert "spectrogram: source s1.h5:/d is missing or damaged; put it" in error_of(path)
    (tmp_path / "s1.h5").write_bytes(b"damaged")
    assert "source s1.h5:/d is missing or damaged" in error_of(path)
    assert other_files(path) != before
    for n, why in ((3, "source s1.h5:/d is shorter than"), (4, "s1.h5: d: 1 of 4 chunks were")):
        with h5py.File(tmp_path / "s1.h5", "w") as file:
            file.create_dataset("d", (n, 5, 6), "f4", chunks=(1, 5, 6))[:3] = 1
        assert why in error_of(path)
    assert "parts have no source" in error_of(write_sources(tmp_path, 15))
    path = write_sources(tmp_path, 15, np.nan)  # reads what is missing as such
    with open_spectrograms(path) as file:
        assert np.isfinite(file.read(0, 15)).all(axis=(1, 2)).tolist() == [True] * 12 + [False] * 3


def test_chunks_that_were_never_written_are_refused_unless_they_are_missing_values(tmp_path):
    for fill in (0, np.nan):
        with h5py.File(tmp_path / "c.h5", "w") as file:
            data = file.create_dataset(
                "spectrogram", ROWS.shape, "f4", chunks=(4, 5, 6), fillvalue=fill
            )
            data[:4], data[8:] = ROWS[:4], ROWS[8:]
        if fill == 0:
            assert "spectrogram: 1 of 3 chunks were never written; wait" in error_of(
                tmp_path / "c.h5"
            )
    with open_spectrograms(tmp_path / "c.h5") as file:
        expected = np.where(np.arange(12)[:, None, None] // 4 == 1, np.nan, ROWS)
        np.testing.assert_array_equal(file.read(0, 12), expected)


def test_a_filter_or_codec_that_is_not_installed_is_named(tmp_path, monkeypatch):
    for zarr_format, name in ((2, ".zarray"), (3, "zarr.json")):
        path = tmp_path / str(zarr_format)
        zarr.open_group(str(path), mode="w", zarr_format=zarr_format).create_array("x", data=ROWS)
        meta = path / "x" / name
        meta.write_text(re.sub('"(zstd|blosc)"', '"weird"', meta.read_text()))
        with pytest.raises(DataError, match="can't be read .*weird.*install the codec"):
            open_spectrograms(path)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("spectrogram", data=ROWS, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    match = "spectrogram: needs .* filter deflate .*pip install hdf5plugin"
    with pytest.raises(DataError, match=match):
        open_spectrograms(tmp_path / "f.h5")
