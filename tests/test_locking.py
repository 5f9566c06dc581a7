"""Locks between processes: refused at once, freed however the holder ends, never in the way."""

import errno
import os
import re
import socket
import subprocess
import sys

import pytest

from RISCluster import locking
from RISCluster.errors import RunError
from RISCluster.io import new_file
from RISCluster.locking import locked, take
from RISCluster.parallel import Job, Parts
from RISCluster.run_folder import StageFolder
from tests.conftest import ROOT, blobs, write_samples
from tests.test_scripts import QUICK, script

HOLD = """
import sys
from pathlib import Path
from RISCluster.locking import take
lock = take(Path(sys.argv[1]), Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""
# Takes and gives back as often as it can; while it holds the lock, nobody else may.
RACE = """
import os, sys, time
from pathlib import Path
from RISCluster.errors import RunError
from RISCluster.locking import locked
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


def test_the_second_is_refused_and_told_who_has_it(tmp_path, hold):
    process = hold(tmp_path / ".lock", tmp_path)
    with pytest.raises(RunError) as caught:
        take(tmp_path / ".lock", tmp_path)
    who = rf"process {process.pid} on {re.escape(socket.gethostname())} since 20\d\d-\S+Z; wait"
    assert re.search(f"^{re.escape(str(tmp_path))}: in use by {who}", str(caught.value))
    process.communicate()  # which ends it
    with locked(tmp_path / ".lock", tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_holder_leaves_no_lock(tmp_path, hold):
    process = hold(tmp_path / ".lock", tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path / ".lock", tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert not list(tmp_path.iterdir())


def test_never_two_at_once(tmp_path):
    racers = [python(RACE, tmp_path, 300) for _ in range(3)]
    answers = [racer.communicate()[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert answers == ["300"] * 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}'])
def test_a_lock_that_does_not_say_who(tmp_path, hold, content):
    hold(tmp_path / ".lock", tmp_path)
    (tmp_path / ".lock").write_text(content)
    with pytest.raises(RunError, match="in use by another process; wait"):
        take(tmp_path / ".lock", tmp_path)


def test_one_process_has_it_once(tmp_path):
    lock = take(tmp_path / ".lock", tmp_path)
    with pytest.raises(RunError, match=f"in use by process {os.getpid()} "):
        take(tmp_path / ".lock", tmp_path)
    assert take(tmp_path / ".lock", tmp_path, again=True) is lock
    lock.release()
    lock.release()
    take(tmp_path / ".lock", tmp_path).release()


def test_without_locks_it_is_said_and_work_goes_on(tmp_path, monkeypatch, caplog):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking.fcntl, "flock", none)
    for _ in range(2):
        with locked(tmp_path / ".lock", tmp_path):
            pass
    assert [text.partition("nothing")[0] for text in caplog.messages] == [
        f"{tmp_path}: can't be locked here (No locks available): "
    ]
    monkeypatch.setattr(locking, "fcntl", None)
    with locked(tmp_path / "b/.lock", tmp_path / "b"):
        pass
    assert "no locks on this system" in caplog.messages[-1]


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
    assert error.startswith(f"RunError: Outputs/test: in use by process {process.pid} on ")
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

    monkeypatch.setattr(locking.os, "open", read_only)
    with pytest.raises(RunError, match="the run folder can't be made or read: Read-only"):
        StageFolder(tmp_path, "AEC").lock()
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
    with pytest.raises(RunError, match=r"labels.csv: in use by process"), new_file(target):
        pass
    assert partial.read_text() == "half of it"


def write_part(inputs, path):
    path.write_text(str(inputs))
    return {}


def test_parts_are_locked_until_they_are_removed(tmp_path, hold):
    target, jobs = tmp_path / "out.h5", [Job("part", 1, 1)]
    process = hold(tmp_path / "out.h5.parts/.lock", target)
    with pytest.raises(RunError, match=r"out.h5: in use by process"):
        Parts(target).run(jobs, write_part, 1, "", "")
    process.kill()
    process.wait()
    parts = Parts(target)
    parts.run(jobs, write_part, 1, "", "")
    racer = python(RACE.replace("60", "1"), parts.folder, 1)
    assert racer.communicate()[0] == "0\n"
    Parts(target).run(jobs, write_part, 1, "", "")  # the same process, after a fault in between
    parts.remove()
    assert not list(tmp_path.iterdir())


def test_locks_that_a_killed_process_left_are_removed(tmp_path, hold):
    stage = StageFolder(tmp_path, "AEC")
    stage.begin({"a": 1}, "")
    (stage.path / ".latent.npy.lock").write_text("")
    hold(stage.path / ".labels.csv.lock", stage.path / "labels.csv")
    assert stage.begin({"a": 1}, "") == "resume"
    assert not (stage.path / ".latent.npy.lock").exists()
    assert (stage.path / ".labels.csv.lock").exists()  # somebody writes it now
    stage.complete([], {})
    (tmp_path / ".lock").write_text("")
    assert stage.is_done({"a": 1})
    assert not (tmp_path / ".lock").exists()


def test_asking_whether_it_is_done_leaves_the_lock_of_who_is_at_work(tmp_path, hold):
    stage = StageFolder(tmp_path, "AEC")
    stage.begin({"a": 1}, "")
    stage.complete([], {})
    hold(tmp_path / ".lock", tmp_path)
    assert stage.is_done({"a": 1})
    assert (tmp_path / ".lock").exists()
    with pytest.raises(RunError, match="in use by process"):
        stage.lock()
