"""Several files as one set, chosen samples, and arrays of NumPy."""

import re

import h5py
import numpy as np
import pytest

from RISCluster.data import sets
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.sets import open_data, write_samples
from RISCluster.errors import DataError
from RISCluster.settings import load_settings
from tests.conftest import blobs
from tests.conftest import write_samples as write_file

X, CLASSES = blobs(90)
NAMES = ["a", "b", "c"]


def opened(file, *words):
    return open_data(load_settings(None, [f"data.file={file}", *words]))


@pytest.fixture
def parts(tmp_path):
    """Three files of 20, 30 and 40 samples."""
    for number, (first, stop) in enumerate(((0, 20), (20, 50), (50, 90))):
        rows = np.arange(first, stop, dtype=np.float32)
        columns = {
            "starttime": [f"2016-01-{1 + number:02d}T00:00:{i:02d}Z" for i in range(len(rows))],
            "trace_id": [f"XH.DR{i % 4:02d}..HHZ" for i in range(first, stop)],
            "peak_amplitude": rows,
            "event_id": np.arange(stop - first) // 10 - 1,
            "trace": np.repeat(rows[:, None], 8, axis=1),
            "labels": CLASSES[first:stop],
        }
        path = write_file(tmp_path / f"{number}.h5", X[first:stop], **columns)
        with h5py.File(path, "a") as file:
            file["trace"].attrs.update(sampling_rate=50.0, units="m/s")
            file["peak_amplitude"].attrs["units"] = "m/s"
            file.attrs["build.method"], file.attrs["class_names"] = "detect", NAMES
    return tmp_path


def test_files_of_a_pattern_are_one_set(parts, monkeypatch):
    monkeypatch.setattr(sets, "MAX_OPEN", 2)
    with opened(f"{parts}/?.h5") as file, opened(f"{parts}/0.h5, {parts}/[12].h5") as listed:
        assert (file.n_samples, file.layout) == (90, "samples")
        assert str(file.path) == f"{parts}/0.h5 and 2 more files"
        np.testing.assert_array_equal(file.read(18, 53), X[18:53])
        assert file.column("starttime", 20, 21) == ["2016-01-02T00:00:00.000000Z"]
        assert file.column("trace_id", 50, 52) == ["XH.DR02..HHZ", "XH.DR03..HHZ"]
        assert file.labels().tolist() == CLASSES.tolist()
        assert file.class_names() == NAMES
        events = [-1] * 10 + [0] * 10 + [-1] * 10 + [1] * 10 + [2] * 10 + [-1] * 10
        assert file.column("event_id", 0, 61).tolist() == [*events, 3]
        found = {"file": [f"{parts}/0.h5", f"{parts}/1.h5"], "file_index": [19, 0]}
        assert file.origins(19, 21) == found
        assert file.column("rms") is None
        assert file.traces([60, 5])[0][:, 0].tolist() == [60, 5]
        before = file.fingerprint(), file.columns_fingerprint()
        assert before == (listed.fingerprint(), listed.columns_fingerprint())
    with h5py.File(parts / "2.h5", "a") as file:
        file["spectrogram"][-1] *= 2
    with opened(f"{parts}/?.h5") as file:
        assert file.fingerprint() != before[0]


@pytest.mark.parametrize(("words", "index"), [
    (["stations=DR01, XH.DR03"], np.arange(1, 90, 2)),
    (["stations=XH.*.HHZ"], np.arange(90)),
    (["after=2016-01-02", "before=2016-01-03T00:00:10"], np.arange(20, 60)),
    (["min_amplitude=49.5", "stations=*00"], np.arange(52, 90, 4)),
])  # fmt: skip
def test_samples_are_chosen(parts, words, index):
    words = [f"data.{word}" for word in words]
    with opened(f"{parts}/*.h5", *words) as file, opened(f"{parts}/*.h5") as whole:
        np.testing.assert_array_equal(file.read(0, file.n_samples), X[index])
        times = [whole.column("starttime")[i] for i in index]
        assert file.column("starttime") == times
        assert file.labels().tolist() == whole.labels()[index].tolist()
        assert (file.fingerprint() == whole.fingerprint()) == (len(index) == 90)
        write_samples(file, parts / "chosen.hdf5")
    with open_spectrograms(parts / "chosen.hdf5") as copy:
        np.testing.assert_array_equal(copy.read(0, len(index)), X[index])
        assert copy.column("starttime") == times
        assert copy.column("peak_amplitude").tolist() == index.tolist()
        assert (copy.waveform_unit, copy.attributes["build.method"]) == ("m/s", "detect")
        assert copy.traces([0])[0][0, 0] == index[0]
        assert (copy.frequency[1], copy.frequency_unit, copy.time_unit) == (1.5, "Hz", "s")


def test_what_does_not_fit_is_named(parts, small_file):
    bare = write_file(parts / "x.h5", X[:9, 1:])
    other = write_file(parts / "y.h5", X[:9], labels=CLASSES[:9])
    with h5py.File(other, "a") as file:
        file["labels"].attrs["class_names"] = NAMES[::-1]
        file["peak_amplitude"] = np.ones(9)
        file["peak_amplitude"].attrs["units"] = "m/s"
    for file, words, message in (
        (f"{parts}/[0x].h5", [], "x.h5: shape is (15, 20), and of "),
        (f"{parts}/[0y].h5", [], "y.h5: class_names is ['c', 'b', 'a'], and of "),
        (bare, ["data.after=2016-01-01"], "has no column starttime for data.after; allowed"),
        (small_file, ["data.stations=Q*"], "none of 96 samples has data.stations = Q*; allowed"),
        (f"{parts}/*.hdf5", [], "*.hdf5: no such file or Zarr folder; set data.file"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            opened(file, *words)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy(tmp_path, order):
    path = tmp_path / "x.npy"
    np.save(path, np.asarray(X.transpose(0, 2, 1), order=order))
    content = path.read_bytes()
    words = ["data.axes=sample,time,frequency", "data.frequencies=2-17", "data.time_step=0.5"]
    with opened(path, *words) as file:
        np.testing.assert_array_equal(file.read(3, 60), X[3:60])
        assert file.frequency.tolist() == list(range(2, 18))
        assert (file.time[3], file.time_unit, file.layout) == (1.5, "s", "samples")
    assert path.read_bytes() == content
    with opened(path, "data.axes=time,channel,frequency", "cube.window=9") as file:
        assert (file.layout, file.n_samples) == ("cube", 21 * 20)
    np.save(path, X[0])
    with pytest.raises(DataError, match=r"x.npy: has shape .*allowed: \(sample, freq"):
        opened(path)
