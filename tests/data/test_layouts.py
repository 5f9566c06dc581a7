"""Layouts of files: axes, samples and columns, and what is refused."""

import json
import re
from itertools import permutations

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError
from tests.conftest import blobs, write_samples
from tests.data.conftest import write_axes, write_damaged


def test_fingerprints_are_those_of_finished_runs(tmp_path):
    values = np.arange(3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)
    path = write_samples(tmp_path / "a.h5", values, labels=[0, 1, 0], trace_id=[b"A", b"B", b"A"])
    known = ["60c92eee4540571b7879e9c2cb87963b", "ab6519e86156130674e1bb5d036d4d8b"]
    cases = {"": [True] * 2, "spectrogram": [False, True], "trace_id": [False] * 2}
    for changed, same in cases.items():
        with h5py.File(path, "r+") as file:
            if changed:
                file[changed][-1] = file[changed][1]
        with open_spectrograms(path) as file:
            found = file.fingerprint(), file.columns_fingerprint()
        assert [one == other for one, other in zip(found, known, strict=True)] == same


def test_ris_layout(tmp_path):
    spectrogram, _ = blobs(12)
    rows = np.zeros((12, 17, 21), dtype=np.float32)
    rows[:, :16, 1:], rows[:, :16, 0] = spectrogram, np.arange(16) + 3.0
    rows[:, 16, 1:] = np.arange(20) * 0.04
    row = {"network": "XH", "station": "DR01", "channel": "HHZ", "peak": 12.5, "unit": "m/s"}
    row |= {"DT_ON": "2014-12-02 07:47:16.600"}
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["4.0/Spectrogram"] = rows
        file["4.0/Catalogue"] = [json.dumps(row)] * 11 + ['{"station": "DR02"}']
    with open_spectrograms(tmp_path / "r.h5") as file:
        assert (file.layout, file.shape, file.waveform_unit) == ("ris", (16, 20), "m/s")
        np.testing.assert_array_equal(file.read(0, 12), spectrogram)
        np.testing.assert_array_equal(file.frequency, np.arange(16) + 3.0)
        np.testing.assert_allclose(file.time, np.arange(20) * 0.04, atol=1e-6)
        for times in (file.column("starttime", 10), file.column("onset", 10)):
            assert times == ["2014-12-02T07:47:16.600000Z", ""]
        assert file.column("end") is None
        assert file.column("trace_id", 10) == ["XH.DR01..HHZ", ".DR02.."]
        np.testing.assert_array_equal(file.column("peak_amplitude", 10), [12.5, np.nan])
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file["4.0/Catalogue"][1] = b'["A"]'
    match = "Catalogue must hold one JSON object a sample"
    with open_spectrograms(tmp_path / "r.h5") as file, pytest.raises(DataError, match=match):
        file.column("trace_id")


def test_damaged_block_is_named(tmp_path):
    path = write_damaged(tmp_path / "gz.h5", "spectrogram", blobs(64)[0], (8, 16, 20), 3)
    with open_spectrograms(path) as file:
        file.read(0, 24)
        with pytest.raises(DataError, match="samples 24 to 31 of spectrogram can't be read"):
            file.read(24, 32)


def test_labels_and_names_of_classes(tmp_path):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], labels=[0.0, np.nan, 2.0])
    with h5py.File(path, "a") as file:
        file.attrs["class_names"] = '["ice", "sea", "äther"]'
    with open_spectrograms(path) as file:
        assert file.class_names() == ["ice", "sea", "äther"]
        assert file.labels().tolist() == [0, -1, 2]
    for labels, match in (([np.inf, 0, 1], "whole numbers"), ([0], "one value a sample")):
        path = write_samples(tmp_path / "a.h5", blobs(3)[0], labels=labels)
        with open_spectrograms(path) as file, pytest.raises(DataError, match=match):
            file.labels()


def test_times_that_cannot_be_read_are_logged_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("RISCluster.data.layouts.COLUMN_ROWS", 3)  # they are read in parts
    texts = ["2020-01-01T02:00:00+02:00", "yesterday", "2399-01-01T00:00:00Z", ""]
    path = write_samples(tmp_path / "a.h5", blobs(4)[0], starttime=texts)
    with open_spectrograms(path) as file:
        assert file.column("starttime", 2, 3) == [""]
        assert file.column("starttime") == ["2020-01-01T00:00:00.000000Z", "", "", ""]
    assert len(caplog.messages) == 1
    assert re.search("starttime: 2 of 4 values are no times.*first: 'yesterday'", caplog.text)


@pytest.mark.parametrize(("name", "values", "text"), [
    ("spectrogram", np.ones((0, 8, 8)), "holds 0 samples of 8 x 8"),
    ("images", np.ones((3, 16, 20)), r"the file has images \(3, 16, 20\); set"),
    ("spectrogram", np.ones((5, 3, 8)), "3 x 8 .* allowed: real numbers, samples of 4 x 4"),
    ("frequency", np.arange(20), r"coordinate frequency \(20,\); allowed: one value a step"),
    ("frequency", np.arange(16)[::-1], "does not ascend from bin to bin; allowed"),
    ("frequency", ["a"] * 16, "frequency axis"),
])  # fmt: skip
def test_data_sets_that_do_not_fit(tmp_path, name, values, text):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0])
    with h5py.File(path, "a") as file:
        del file["frequency"], file["time"]
        if name != "frequency":
            del file["spectrogram"]
        file[name] = values
    with pytest.raises(DataError, match=text):
        open_spectrograms(path)


STORED = np.arange(1, 361, dtype=np.int16).reshape(12, 6, 5)
STORED[3, 2] = -32767
PACKING = {"scale_factor": 0.001, "add_offset": 5.0, "_FillValue": -32767}
CUBE = np.where(STORED == -32767, np.nan, STORED * 0.001 + 5.0).astype(np.float32)


def write_named(path, kind, values, names, name):
    """Packed values with names of dimensions, as one of several libraries writes them."""
    if kind != "netcdf":
        group = zarr.open_group(str(path), mode="w", zarr_format=int(kind[-1]))
        words = {"dimension_names": names} if kind == "zarr3" else {}
        data = group.create_array(name, data=values, **words)
        data.attrs.update(PACKING if words else PACKING | {"_ARRAY_DIMENSIONS": list(names)})
        return path
    sizes = zip(names, values.shape, strict=True)
    axes = {dim: None if dim == "time_bin" else np.arange(n, dtype="f4") for dim, n in sizes}
    with h5py.File(path, "w") as file:
        write_axes(file, file.create_dataset(name, data=values), axes)
        file[name].attrs.update(PACKING)
    return path


@pytest.mark.parametrize("name", ["data", "spectrogram", "psd"])
@pytest.mark.parametrize("kind", ["netcdf", "zarr2", "zarr3"])
def test_the_names_of_dimensions_give_layout_and_order(tmp_path, name, kind):
    for number, order in enumerate(permutations(range(3))):
        names = [("time", "distance", "frequency")[axis] for axis in order]
        path = write_named(tmp_path / f"{number}", kind, STORED.transpose(order), names, name)
        with open_spectrograms(path) as file:
            assert file.layout == "cube"
            np.testing.assert_array_equal(file.read(2, 3)[0], CUBE[:4, 2].T)
    path = write_named(tmp_path / "s", kind, STORED, ("event", "time_bin", "frequency"), name)
    with open_spectrograms(path) as file:
        assert file.layout == "samples"
        np.testing.assert_array_equal(file.read(0, 12), CUBE.transpose(0, 2, 1))
