"""Locks between processes: refused at once, freed however the holder ends."""

import errno
import subprocess
import sys

import pytest

from RISCluster import io
from RISCluster.errors import RunError
from RISCluster.io import locked, new_file
from RISCluster.parallel import Job, Parts
from RISCluster.run_folder import StageFolder
from tests.conftest import ROOT, blobs, write_samples
from tests.test_scripts import QUICK, script

HOLD = """
import sys
from pathlib import Path
from RISCluster.io import locked
with locked(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
# Takes and releases it as often as it can; while it holds the lock, nobody else may.
RACE = """
import os, sys, time
from pathlib import Path
from RISCluster.errors import RunError
from RISCluster.io import locked
folder, number, done = Path(sys.argv[1]), int(sys.argv[2]), 0
end = time.monotonic() + 60
while done < number and time.monotonic() < end:
    try:
        with locked(folder / ".lock", folder):
            os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            os.unlink(folder / "alone")
            done += 1
    except RunError:
        pass
print(done)
"""


def python(code: str, *words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def hold():
    """Start a process that holds a lock; it is ended with the test."""
    started = []

    def start(path, place) -> subprocess.Popen:
        process = python(HOLD, path, place)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_is_refused_until_the_first_has_ended(tmp_path, hold, killed):
    process = hold(tmp_path / ".lock", tmp_path)
    with pytest.raises(RunError, match="in use by another process; wait") as caught:
        locked(tmp_path / ".lock", tmp_path).__enter__()
    assert str(caught.value).startswith(f"{tmp_path}: ")
    if killed:
        process.kill()
        process.wait()
        assert (tmp_path / ".lock").exists()
    else:
        process.communicate()
    with (
        locked(tmp_path / ".lock", tmp_path),
        pytest.raises(RunError, match="in use"),
        locked(tmp_path / ".lock", tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_never_two_at_once(tmp_path):
    racers = [python(RACE, tmp_path, 100) for _ in range(3)]
    answers = [racer.communicate()[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert answers == ["100"] * 3


# ---- where locks are used -----------------------------------------------------------------------


def test_a_second_run_is_refused_and_readers_are_not(tmp_path, monkeypatch, capsys, hold):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.ini").write_text("[run]\n")
    write_samples(tmp_path / "s.h5", blobs(32)[0])
    words = ("data.file=s.h5", *QUICK, "aec.n_epochs=1")
    run = tmp_path / "Outputs/test"
    process = hold(run / ".lock", "Outputs/test")
    assert script("AEC_train.py", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("RunError: Outputs/test: in use by another process")
    assert error.count("\n") == 1
    assert [path.name for path in run.iterdir()] == [".lock"]
    process.kill()
    process.wait()
    assert script("AEC_train.py", *words) == 0
    assert [path.name for path in run.iterdir()] == ["AEC"]
    process = hold(run / ".lock", "Outputs/test")
    StageFolder(run, "AEC").require_complete()
    assert script("AEC_train.py", *words) == 0  # it is done: there is nothing to lock for
    assert script("GMM_centroids.py", *words) == 2


def test_a_read_only_run_folder_gives_the_ordinary_error(tmp_path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(io.FileLock, "acquire", read_only)
    refused = pytest.raises(RunError, match="the run folder can't be made or read: Read-only")
    with refused, StageFolder(tmp_path, "AEC").lock():
        pass
    refused = pytest.raises(RunError, match=r"a.txt: can't be written: Read-only")
    with refused, new_file(tmp_path / "a.txt"):
        pass
    with pytest.raises(RunError, match=r"out.h5.parts: can't be made: Read-only"):
        Parts(tmp_path / "out.h5").run([], None, 1, "", "")


def test_a_file_that_another_process_writes_is_left_alone(tmp_path, hold):
    target = tmp_path / "labels.csv"
    partial = tmp_path / "labels.csv.partial"
    partial.write_text("half of it")
    hold(tmp_path / ".labels.csv.lock", target)
    refused = pytest.raises(RunError, match=r"labels.csv: in use by another process")
    with refused, new_file(target):
        pass
    assert partial.read_text() == "half of it"


def write_part(inputs, path):
    path.write_text(str(inputs))
    return {}


def test_parts_are_locked_until_they_are_removed(tmp_path, hold):
    target, jobs = tmp_path / "out.h5", [Job("part", 1, 1)]
    process = hold(tmp_path / "out.h5.parts/.lock", target)
    with pytest.raises(RunError, match=r"out.h5: in use by another process"):
        Parts(target).run(jobs, write_part, 1, "", "")
    Parts(target).clear()
    assert (tmp_path / "out.h5.parts").exists()
    process.kill()
    process.wait()
    parts = Parts(target)
    parts.run(jobs, write_part, 1, "", "")
    racer = python(RACE.replace("60", "1"), parts.folder, 1)
    assert racer.communicate()[0] == "0\n"
    parts.run(jobs, write_part, 1, "", "")
    parts.remove()
    assert not list(tmp_path.iterdir())


def test_locks_that_a_killed_process_left_are_removed(tmp_path, hold):
    stage = StageFolder(tmp_path, "AEC")
    stage.begin({"a": 1}, "")
    (stage.path / ".latent.npy.lock").write_text("")
    hold(stage.path / ".labels.csv.lock", stage.path / "labels.csv")
    assert stage.begin({"a": 1}, "").state == "resume"
    assert not (stage.path / ".latent.npy.lock").exists()
    assert (stage.path / ".labels.csv.lock").exists()  # somebody writes it now
    stage.complete([], {})
    (tmp_path / ".lock").write_text("")
    assert stage.is_done({"a": 1})
    assert not (tmp_path / ".lock").exists()
    hold(tmp_path / ".lock", tmp_path)
    assert stage.is_done({"a": 1})
    assert (tmp_path / ".lock").exists()
