"""Files that can't be opened as a data set: named as what they are, with what to do."""

import os
import subprocess
import sys

import h5py
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import find_files
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


@pytest.mark.parametrize("name", ["spectrogram", "data"])
def test_a_size_without_values(tmp_path, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(name, (10**12, 8, 8), "f4", chunks=(100, 8, 8))
    assert "10,000,000,000 pieces were never written" in error_of(tmp_path / "a.h5")


def test_what_is_no_file(tmp_path):
    assert "python -m RISCluster build" in error_of(tmp_path)
    assert "no such file; set data.file" in error_of(tmp_path / "none.h5")
    os.mkfifo(tmp_path / "pipe")
    assert "must be an HDF5 file or a Zarr folder" in error_of(tmp_path / "pipe")


@pytest.fixture
def archive(tmp_path):
    for name in ("a/2020.001.msd", "a/b/2020.002", "a/notes.txt", "a/.hidden", "c.mseed", "s.xml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def names(archive, *words):
    found = find_files([str(archive / word) for word in words])
    return [str(path.relative_to(archive)) for path in found]


def test_folders_patterns_and_files(archive):
    assert names(archive, "a") == ["a/2020.001.msd", "a/b/2020.002"]
    assert names(archive, "*.mseed") == ["c.mseed"]
    assert names(archive, "**/2020*") == ["a/2020.001.msd", "a/b/2020.002"]
    assert names(archive, "c.mseed", "a", "c.mseed") == [
        "a/2020.001.msd", "a/b/2020.002", "c.mseed",
    ]  # fmt: skip
    assert names(archive, "a/notes.txt") == ["a/notes.txt"], "a file that is named is taken"


def test_nothing_there(archive):
    with pytest.raises(DataError, match="no such file, no file in this folder, or of this pattern"):
        find_files([str(archive / "z*")])
    with pytest.raises(DataError, match="no data among these files"):
        find_files([str(archive / "*.xml")])
