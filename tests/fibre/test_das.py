"""Records read with DASCore, where that is installed; and what is said where it is not."""

import sys
from importlib import import_module

import h5py
import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.fibre.records import read_dascore_header, read_record, read_with_dascore
from RISCluster.fibre.series import open_series
from tests.fibre.fibre import AUTO, SECOND, START, noise

pytestmark = pytest.mark.filterwarnings("ignore")  # DASCore's own


def patch_file(path, samples, start, other=False):
    """A file of DASCore at 100 Hz and 2 m; `other` is an array that our own reader can't choose."""
    dascore = pytest.importorskip("dascore")
    step = np.timedelta64(10_000_000, "ns")
    times = np.datetime64(round(start * SECOND), "ns") + np.arange(len(samples)) * step
    coords = {"time": times, "distance": 5.0 + 2.0 * np.arange(samples.shape[1])}
    patch = dascore.Patch(samples, coords=coords, dims=("time", "distance"))
    patch.update_attrs(data_units="m/s").io.write(path, "DASDAE")
    if other:
        with h5py.File(path, "a") as file:
            file["other"] = samples
    return path


def test_both_readers_agree_and_pickles_are_not_read(tmp_path):
    samples = noise(300, 6)
    path = patch_file(tmp_path / "a.h5", samples, START)
    own, other = read_record(path, AUTO), read_dascore_header(path, AUTO)
    for name in ("segments", "n_channels", "sampling_rate", "start", "time_axis", "unit"):
        assert getattr(own, name) == getattr(other, name), name
    np.testing.assert_allclose(own.distance, other.distance)
    np.testing.assert_array_equal(read_with_dascore(path, other.dataset, 0), samples)
    import_module("dascore").get_example_patch().io.write(tmp_path / "a.pkl", "PICKLE")
    with pytest.raises(DataError, match="DASCore can't read it"):
        read_dascore_header(tmp_path / "a.pkl", AUTO)


def test_files_that_our_own_reader_refuses_are_one_series(tmp_path):
    samples = noise(600, 5)
    patch_file(tmp_path / "0.h5", samples[:300], START, other=True)
    patch_file(tmp_path / "1.h5", samples[300:], START + 4, other=True)  # 1 s is missing
    series = open_series(sorted(tmp_path.glob("*.h5")), AUTO)
    assert (series.sampling_rate, series.start) == (100.0, START * SECOND)
    values, lost = series.read(250, 450, 1, 4)
    assert lost == []
    np.testing.assert_array_equal(values[:50], samples[250:300, 1:4])
    assert np.isnan(values[50:150]).all()
    np.testing.assert_array_equal(values[150:], samples[300:350, 1:4])


def test_without_dascore_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dascore", None)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["blocks"] = np.zeros((5, 10, 4))
    (tmp_path / "b.tdms").write_bytes(b"TDSm" + bytes(100))
    for name in ("a.h5", "b.tdms"):
        with pytest.raises(DataError, match=rf"{name}: .*, or pip install dascore .extra 'das'"):
            open_series([tmp_path / name], AUTO)
