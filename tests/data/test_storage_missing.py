"""Missing parts of arrays: sources of virtual data sets, chunks, filters; damage is named."""

import re

import h5py
import numpy as np
import pytest
import torch
import zarr

from RISCluster import io
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError

CPU = torch.device("cpu")
ROWS = np.random.default_rng(0).random((12, 5, 6)).astype(np.float32) + 1


def write_sources(folder, layout_shape=(12, 5, 6)):
    """Three sources of four samples each, and a virtual data set of them."""
    virtual = h5py.VirtualLayout(layout_shape, "f4")
    for number in range(3):
        part = slice(4 * number, 4 * number + 4)
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file.create_dataset("d", data=ROWS[part], chunks=(2, 5, 6))
        virtual[part] = h5py.VirtualSource(f"s{number}.h5", "d", shape=(4, 5, 6))
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_virtual_dataset("spectrogram", virtual)
    return folder / "v.h5"


def finite_rows(path):
    with open_spectrograms(path) as file:
        rows = file.read(0, file.n_samples)
        finite = np.isfinite(rows)
        n = min(len(rows), 12)
        np.testing.assert_array_equal(rows[:n][finite[:n]], ROWS[:n][finite[:n]])
        return np.flatnonzero(finite.all(axis=(1, 2))).tolist()


def missing_of(path):
    with open_spectrograms(path) as file:
        return file.missing


def test_sources_that_are_gone_are_missing_and_named(tmp_path, caplog):
    path = write_sources(tmp_path)
    assert finite_rows(path) == list(range(12))
    assert missing_of(path) == []
    (tmp_path / "s1.h5").rename(tmp_path / "moved.h5")
    assert finite_rows(path) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert missing_of(path) == ["source s1.h5:/d is missing or damaged"]
    assert "spectrogram: missing: source s1.h5:/d is missing or damaged; these" in caplog.text
    (tmp_path / "s1.h5").write_bytes(b"damaged")
    with h5py.File(tmp_path / "s2.h5", "w") as file:
        file["other"] = 1
    assert finite_rows(path) == [0, 1, 2, 3]


def test_parts_that_no_source_covers_and_shorter_sources(tmp_path):
    path = write_sources(tmp_path, (15, 5, 6))
    assert finite_rows(path) == list(range(12))
    assert missing_of(path) == ["parts without a source"]
    with h5py.File(tmp_path / "s0.h5", "w") as file:
        file["d"] = ROWS[:3]
    assert finite_rows(path) == [0, 1, 2, *range(4, 12)]
    assert missing_of(path)[0] == "source s0.h5:/d is shorter than expected"


def test_sources_that_miss_parts_themselves(tmp_path):
    path = write_sources(tmp_path)
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        data = file.create_dataset("d", (4, 5, 6), "f4", chunks=(2, 5, 6))
        data[2:] = ROWS[6:8]
    outer = h5py.VirtualLayout((12, 5, 6), "f4")
    outer[:] = h5py.VirtualSource("v.h5", "spectrogram", shape=(12, 5, 6))
    with h5py.File(tmp_path / "outer.h5", "w") as file:
        file.create_virtual_dataset("spectrogram", outer)
    for name in ("v.h5", "outer.h5"):
        assert finite_rows(tmp_path / name) == [0, 1, 2, 3, *range(6, 12)]
    assert "s1.h5:/d: 1 of 2 chunks of d were never written" in missing_of(path)[0]


@pytest.mark.parametrize("kind", ["hdf5", "zarr2", "zarr3"])
def test_chunks_that_were_never_written_are_missing(tmp_path, kind, caplog):
    cube = ROWS.transpose(0, 2, 1)
    path = tmp_path / "c"
    keywords = {"shape": cube.shape, "chunks": (4, 6, 5), "dtype": "f4"}
    if kind == "hdf5":
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", **keywords)
            data[:4], data[8:] = cube[:4], cube[8:]
    else:
        group = zarr.open_group(str(path), mode="w", zarr_format=int(kind[-1]))
        data = group.create_array("data", **keywords)
        data[:4], data[8:] = cube[:4], cube[8:]
    with open_spectrograms(path) as file:
        rows = file.read(0, file.n_samples).reshape(3, 6, 5, 4)
    np.testing.assert_array_equal(rows[0], cube[:4].transpose(1, 2, 0))
    np.testing.assert_array_equal(rows[2], cube[8:].transpose(1, 2, 0))
    assert np.isnan(rows[1]).all()
    assert caplog.text.count("never written") == 1


@pytest.mark.parametrize("name", ["spectrogram", "frequency", "starttime"])
def test_a_filter_that_is_not_installed_is_named(tmp_path, name, monkeypatch):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        columns = {"spectrogram": ROWS, "frequency": np.arange(5.0), "starttime": np.arange(12.0)}
        for column, values in columns.items():
            plist = {"chunks": values.shape, "compression": "gzip"} if column == name else {}
            file.create_dataset(column, data=values, **plist)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    monkeypatch.setitem(io.HDF5_FILTERS, 1, "Blosc")
    with (
        pytest.raises(DataError, match=rf"/{name} needs .* filter Blosc .*pip install hdf5plugin"),
        open_spectrograms(tmp_path / "f.h5") as file,
    ):
        file.starttimes()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_codec_of_zarr_that_is_not_installed_is_named(tmp_path, zarr_format):
    group = zarr.open_group(str(tmp_path / "c"), mode="w", zarr_format=zarr_format)
    group.create_array("data", data=ROWS)
    meta = tmp_path / "c/data" / (".zarray" if zarr_format == 2 else "zarr.json")
    meta.write_text(re.sub('"(zstd|blosc)"', '"weird"', meta.read_text()))
    with pytest.raises(DataError, match="can't be read .*weird.*install the codec"):
        open_spectrograms(tmp_path / "c")
