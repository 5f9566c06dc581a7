"""Files that can't be opened, packed values, and missing parts of arrays."""

import base64
import os
import re
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import find_files, other_files, packing_of
from RISCluster.errors import DataError, MissingPackage

WRITER = """
import sys, time, h5py
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    file["spectrogram"] = [[[1.0]]]
    if sys.argv[2] == "swmr":
        file.swmr_mode = True
    print("ready", flush=True)
    time.sleep(60)
"""
WAVES = "is a file of waveforms; to compute spectrograms of waveforms, run: python -m"
FILES = {
    b"": "is empty (0 bytes)",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "run: git lfs pull",
    b"000001D XX    ABCDE": WAVES,
    b"MS\x03\x00": WAVES,
    b"\0" * 304 + b"\0\0\0\x06" + b"\0" * 400: WAVES,
    b"WID2 2005/10/09": WAVES,
    b"TIMESERIES XX_TEST": WAVES,
    b"\xc3\x40\xf1\x40" * 100: WAVES,
    b"CDF\x01\0\0": "is classic netCDF; make netCDF-4 of it",
    b"a,b\n1,2\n": "is text, as CSV is;",
    b"<!DOCTYPE html>": "is XML or HTML",
    b"\x1f\x8b\x08": "is a packed file; unpack",
}


def error_of(path) -> str:
    with pytest.raises(DataError) as caught:
        open_spectrograms(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["lock", "swmr"])
def test_a_file_that_is_being_written(tmp_path, mode):
    words = [sys.executable, "-c", WRITER, str(tmp_path / "w.h5"), mode]
    environment = os.environ | {"HDF5_USE_FILE_LOCKING": "TRUE"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as writer:
        try:
            assert writer.stdout.readline() == b"ready\n"
            assert "close it, or wait for its end" in error_of(tmp_path / "w.h5")
        finally:
            writer.kill()


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_other_kinds_of_files(tmp_path, content):
    (tmp_path / "x.h5").write_bytes(content)
    assert FILES[content] in error_of(tmp_path / "x.h5")


def test_what_is_no_data_set(tmp_path, monkeypatch):
    assert "python -m RISCluster build" in error_of(tmp_path)
    assert "no such file; set data.file" in error_of(tmp_path / "none.h5")
    for name in ("spectrogram", "data"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset(name, (10**12, 8, 8), "f4", chunks=(100, 8, 8))
        assert "10,000,000,000 pieces were never written" in error_of(tmp_path / "a.h5")
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
    for word, reason in (("z*", "no such file, no file in this"), ("*.xml", "no data among these")):
        with pytest.raises(DataError, match=reason):
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
        assert file.missing == ["the fill value -32767"]


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
        ("f4", {"scale_factor": "soon"}, [1, 2], "must be one number, not 'soon'"),
        ("f4", {"scale_factor": [1.0, 2.0]}, [1, 2], "must be one number, not"),
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
            got = packing_of(file["x"]).unpack(file["x"][:])
            np.testing.assert_array_equal(got.astype(float), values)


# ---- missing parts ------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).random((12, 5, 6)).astype(np.float32) + 1


def write_sources(folder, n_rows=12):
    """Three sources of four samples each, and a virtual data set of them."""
    virtual = h5py.VirtualLayout((n_rows, 5, 6), "f4")
    for number in range(3):
        part = slice(4 * number, 4 * number + 4)
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file.create_dataset("d", data=ROWS[part], chunks=(2, 5, 6))
        virtual[part] = h5py.VirtualSource(f"s{number}.h5", "d", shape=(4, 5, 6))
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_virtual_dataset("spectrogram", virtual)
    return folder / "v.h5"


def check_rows(path, expected, cause=None):
    """Rows without a missing value, and the first cause why others have some."""
    with open_spectrograms(path) as file:
        rows = file.read(0, file.n_samples)
        finite = np.isfinite(rows)
        n = min(len(rows), 12)
        np.testing.assert_array_equal(rows[:n][finite[:n]], ROWS[:n][finite[:n]])
        assert np.flatnonzero(finite.all(axis=(1, 2))).tolist() == [*expected]
        assert (file.missing or [None])[0] == cause


def test_virtual_data_sets_without_some_of_their_sources(tmp_path, caplog):
    path = write_sources(tmp_path)
    before = other_files(path)
    assert [text.split()[0] for text in before] == ["s0.h5", "s1.h5", "s2.h5"]
    check_rows(path, range(12))
    (tmp_path / "s1.h5").unlink()
    assert other_files(path) != before
    cause = "source s1.h5:/d is missing or damaged"
    check_rows(path, [0, 1, 2, 3, 8, 9, 10, 11], cause)
    assert f"spectrogram: missing: {cause}; these" in caplog.text
    (tmp_path / "s1.h5").write_bytes(b"damaged")
    with h5py.File(tmp_path / "s2.h5", "w") as file:
        file["other"] = 1
    check_rows(path, range(4), cause)
    path = write_sources(tmp_path, 15)
    check_rows(path, range(12), "parts without a source")
    with h5py.File(tmp_path / "s0.h5", "w") as file:
        file["d"] = ROWS[:3]
    check_rows(path, [0, 1, 2, *range(4, 12)], "source s0.h5:/d is shorter than expected")


def test_sources_that_miss_parts_themselves(tmp_path):
    path = write_sources(tmp_path)
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        file.create_dataset("d", (4, 5, 6), "f4", chunks=(2, 5, 6))[2:] = ROWS[6:8]
    outer = h5py.VirtualLayout((12, 5, 6), "f4")
    outer[:] = h5py.VirtualSource("v.h5", "spectrogram", shape=(12, 5, 6))
    with h5py.File(tmp_path / "outer.h5", "w") as file:
        file.create_virtual_dataset("spectrogram", outer)
    inner = "source s1.h5:/d: 1 of 2 chunks of d were never written"
    check_rows(path, [0, 1, 2, 3, *range(6, 12)], inner)
    cause = f"source v.h5:/spectrogram: {inner}"
    check_rows(tmp_path / "outer.h5", [0, 1, 2, 3, *range(6, 12)], cause)


@pytest.mark.parametrize("kind", ["hdf5", "zarr2", "zarr3"])
def test_chunks_that_were_never_written_are_missing(tmp_path, kind, caplog):
    cube = ROWS.transpose(0, 2, 1)
    if kind == "hdf5":
        root = h5py.File(tmp_path / "c", "w")
        data = root.create_dataset("data", cube.shape, "f4", chunks=(4, 6, 5))
    else:
        root = zarr.open_group(str(tmp_path / "c"), mode="w", zarr_format=int(kind[-1]))
        data = root.create_array("data", shape=cube.shape, chunks=(4, 6, 5), dtype="f4")
    data[:4], data[8:] = cube[:4], cube[8:]
    if kind == "hdf5":
        root.close()
    with open_spectrograms(tmp_path / "c") as file:
        rows = file.read(0, file.n_samples).reshape(3, 6, 5, 4)
    np.testing.assert_array_equal(rows[[0, 2]], cube.reshape(3, 4, 6, 5)[::2].transpose(0, 2, 3, 1))
    assert np.isnan(rows[1]).all()
    assert caplog.text.count("never written") == 1


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
    match = "/spectrogram needs .* filter deflate .*pip install hdf5plugin"
    with pytest.raises(DataError, match=match):
        open_spectrograms(tmp_path / "f.h5")
