"""Files that can't be opened as a data set: named as what they are, with what to do."""

import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError

WRITER = """
import sys, time, h5py
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    file["spectrogram"] = [[[1.0]]]
    if sys.argv[2] == "swmr":
        file.swmr_mode = True
    print("ready", flush=True)
    time.sleep(60)
"""


def error_of(path) -> str:
    with pytest.raises(DataError) as caught:
        open_spectrograms(path)
    text = str(caught.value)
    assert "\n" not in text
    assert "damaged" not in text
    return text


@pytest.mark.parametrize("mode", ["lock", "swmr"])
def test_a_file_that_is_being_written(tmp_path, mode):
    path = tmp_path / "w.h5"
    environment = os.environ | {"HDF5_USE_FILE_LOCKING": "TRUE"}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), mode], stdout=subprocess.PIPE, env=environment
    ) as writer:
        try:
            assert writer.stdout.readline() == b"ready\n"
            text = error_of(path)
        finally:
            writer.kill()
    assert "copy it again" not in text
    assert "close" in text
    assert "wait for its end" in text


def reason_of_open(monkeypatch, path, error) -> str:
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(h5py, "File", refuse)
    return error_of(path)


def test_what_the_system_refuses(tmp_path, monkeypatch):
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    unlocked = OSError(37, "unable to lock file, errno = 37, error message = 'No locks available'")
    text = reason_of_open(monkeypatch, tmp_path / "x.h5", unlocked)
    assert "set the environment variable HDF5_USE_FILE_LOCKING=FALSE" in text


WAVES = "is a file of waveforms; to compute spectrograms of waveforms, run: python -m"
FILES = {
    b"": "is empty (0 bytes)",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "run: git lfs pull",
    b"000001D XX    ABCDE": WAVES,
    b"MS\x03\x00": WAVES,
    b"\0" * 304 + b"\x06\0\0\0" + b"\0" * 400: WAVES,
    b"\0" * 304 + b"\0\0\0\x06" + b"\0" * 400: WAVES,
    b"WID2 2005/10/09": WAVES,
    b"TIMESERIES XX_TEST": WAVES,
    b"\xc3\x40\xf1\x40" * 100: WAVES,
    b"CDF\x01\0\0": "is classic netCDF; make netCDF-4 of it",
    b"a,b\n1,2\n": "is text, as CSV is;",
    b"<!DOCTYPE html>": "is XML or HTML",
    b"\x1f\x8b\x08": "is a packed file; unpack",
}


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_other_kinds_of_files(tmp_path, content):
    (tmp_path / "x.h5").write_bytes(content)
    assert FILES[content] in error_of(tmp_path / "x.h5")


def test_arrays_of_numpy_and_folders(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    assert "is NumPy, MATLAB or media" in error_of(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "y")
    assert "is a packed file" in error_of(tmp_path / "a.zip")
    assert "python -m RISCluster build" in error_of(tmp_path)
    assert "no such file; set data.file" in error_of(tmp_path / "none.h5")
    os.mkfifo(tmp_path / "pipe")
    assert "must be an HDF5 file or a Zarr folder" in error_of(tmp_path / "pipe")


def test_a_file_cut_short_is_not_called_locked(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spectrogram"] = np.ones((100, 8, 8))
    os.truncate(tmp_path / "a.h5", 10_000)
    assert "can't be opened as HDF5 (truncated file" in error_of(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["spectrogram", "data"])
def test_a_size_without_values(tmp_path, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(name, (10**12, 8, 8), "f4", chunks=(100, 8, 8))
    assert "10,000,000,000 pieces were never written" in error_of(tmp_path / "a.h5")
