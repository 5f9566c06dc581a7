"""Files that can't be opened, attributes of packing, and missing parts of arrays."""

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
THIRDS = np.where(np.arange(12)[:, None, None] // 4 == 1, np.nan, ROWS)  # without its second third


def zarr_array(folder, zarr_format, **words):
    group = zarr.open_group(str(folder), mode="w", zarr_format=zarr_format)
    return group.create_array("data", **words)


def error_of(path) -> str:
    with pytest.raises(DataError) as caught:
        open_spectrograms(path)
    return str(caught.value)


def test_what_is_not_there_damaged_or_not_installed(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "none.h5"):
        assert "no such file or Zarr folder; set data.file" in error_of(path)
    foreign = "is neither HDF5 nor Zarr; make spectrograms of waveforms with python -m RISCluster "
    foreign += "build, of fibre records with python -m RISCluster cube"
    damaged = "can't be opened as HDF5 ("
    head = b"\x89HDF\r\n\x1a\n\0"
    for content, why in ((b"", foreign), (b"CDF\x01\0", foreign), (head, damaged)):
        (tmp_path / "x.h5").write_bytes(content)
        assert f"x.h5: {why}" in error_of(tmp_path / "x.h5")
    for zarr_format, name in ((2, ".zarray"), (3, "zarr.json")):
        path = tmp_path / str(zarr_format)
        zarr_array(path, zarr_format, data=ROWS)
        meta = path / "data" / name
        meta.write_text(re.sub('"(zstd|blosc)"', '"weird"', meta.read_text()))
        assert re.search("can't be read .*weird.*install the codec", error_of(path))
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackage, match="zarr"):
        open_spectrograms(path)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("spectrogram", data=ROWS, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    match = "spectrogram: needs .* filter deflate .*pip install hdf5plugin"
    assert re.search(match, error_of(tmp_path / "f.h5"))


def test_words_of_the_command_line(tmp_path):
    for name in ("a/2020.001.msd", "a/b/2020.002", "a/notes.txt", "a/.hidden", "c.mseed", "s.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    inside = "a/2020.001.msd a/b/2020.002"
    several = "c.mseed **/2020* c.mseed", f"{inside} c.mseed"
    for words, found in (("a", inside), several, ("a/notes.txt", "a/notes.txt")):
        paths = [tmp_path / name for name in found.split()]
        assert find_files([str(tmp_path / word) for word in words.split()]) == paths
    with pytest.raises(DataError, match="no such file, or no data in this folder"):
        find_files([str(tmp_path / "*.xml")])


@pytest.mark.parametrize(("zarr_format", "dtype", "fill", "attributes", "stored", "values"), [
    (0, "f4", None, {"_FillValue": 1e20}, [1e20, 2], [np.nan, 2]),
    (0, "i2", None, {"missing_value": np.int16([-1, -2])}, [-1, -2, 3], [np.nan, np.nan, 3]),
    (0, "f4", 9.969209968386869e36, {}, [9.969209968386869e36, 1], [np.nan, 1]),  # as netCDF
    # As xarray writes them
    (3, "f8", 0, {"_FillValue": base64.b64encode(struct.pack("<d", -9)).decode()}, [-9, 0],
     [np.nan, 0]),
    (2, "f8", -9, {}, [-9, 0], [np.nan, 0]),
    (2, "f8", 0, {"_ARRAY_DIMENSIONS": ["time"]}, [0, 1], [0, 1]),
    (2, "f8", 0, {"_ARRAY_DIMENSIONS": ["time"], "scale_factor": 0.5}, [0, 1], [np.nan, 0.5]),
    (0, "i1", None, {"_Unsigned": "true"}, [-1, -2], "_Unsigned is true"),
    (0, "f4", None, {"scale_factor": [1.0, 2.0]}, [1, 2], "attributes of /x can't be used"),
    (0, "f4", None, {"_FillValue": "none"}, [1, 2], "attributes of /x can't be used"),
])  # fmt: skip
def test_attributes_of_packing(tmp_path, zarr_format, dtype, fill, attributes, stored, values):
    stored = np.array(stored, dtype)
    with h5py.File(tmp_path / "p.h5", "w") as file:
        data = file.create_dataset("x", data=stored, fillvalue=fill)
        if zarr_format:  # instead of HDF5
            data = zarr_array(tmp_path / "z", zarr_format, data=stored, fill_value=fill)
        data.attrs.update(attributes)
        if isinstance(values, str):
            with pytest.raises(DataError, match=values):
                packing_of(data)
        else:
            np.testing.assert_array_equal(packing_of(data).unpack(data[:]), values)


def test_chunks_that_were_never_written_are_refused_or_missing_values(tmp_path):
    for fill in (0, np.nan):
        with h5py.File(tmp_path / "c.h5", "w") as file:
            words = {"chunks": (4, 5, 6), "fillvalue": fill}
            data = file.create_dataset("spectrogram", ROWS.shape, "f4", **words)
            data[:4], data[8:] = ROWS[:4], ROWS[8:]
        if fill == 0:
            assert "spectrogram: 1 of 3 chunks were never written" in error_of(tmp_path / "c.h5")
    with open_spectrograms(tmp_path / "c.h5") as file:
        np.testing.assert_array_equal(file.read(0, 12), THIRDS)


def test_virtual_data_sets_need_all_of_their_sources(tmp_path):
    def write(n, fill=0.0):
        virtual = h5py.VirtualLayout((n, 5, 6), "f4")
        for part in range(3):
            rows = slice(4 * part, 4 * part + 4)
            with h5py.File(tmp_path / f"s{part}.h5", "w") as file:
                file["d"] = ROWS[rows]
            virtual[rows] = h5py.VirtualSource(f"s{part}.h5", "d", shape=(4, 5, 6))
        with h5py.File(tmp_path / "v.h5", "w") as file:
            file.create_virtual_dataset("spectrogram", virtual, fillvalue=fill)
        return tmp_path / "v.h5"

    path = write(12)
    before = other_files(path)
    assert [text.split()[0] for text in before] == ["s0.h5", "s1.h5", "s2.h5"]
    with open_spectrograms(path) as file:
        np.testing.assert_array_equal(file.read(0, 12), ROWS)
    (tmp_path / "s1.h5").unlink()  # HDF5 reads zeros without it
    assert "spectrogram: source s1.h5:/d is missing, damaged or too short" in error_of(path)
    assert other_files(path) != before
    for n, why in ((3, "source s1.h5:/d is missing"), (4, "s1.h5: d: 1 of 4 chunks were")):
        with h5py.File(tmp_path / "s1.h5", "w") as file:
            file.create_dataset("d", (n, 5, 6), "f4", chunks=(1, 5, 6))[:3] = 1
        assert why in error_of(path)
    assert "parts have no source" in error_of(write(15))
    with open_spectrograms(write(15, np.nan)) as file:
        assert np.isfinite(file.read(0, 15)).all(axis=(1, 2)).tolist() == [True] * 12 + [False] * 3


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (4, 5, 6))])
def test_chunks_of_zarr_that_were_never_written_are_missing(tmp_path, zarr_format, shards):
    words = {"chunks": (2 if shards else 4, 5, 6), "shards": shards, "dtype": "f4"}
    data = zarr_array(tmp_path / "z", zarr_format, shape=ROWS.shape, **words)
    data[:4], data[8:] = ROWS[:4], ROWS[8:]
    with open_spectrograms(tmp_path / "z") as file:
        np.testing.assert_array_equal(file.stored.read("", (0, 12), (1, 5)), THIRDS[:, 1:5])
        np.testing.assert_array_equal(file.stored.read("", (5, 9)), THIRDS[5:9])
