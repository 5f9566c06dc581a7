"""Jobs that write files: parallel, resumable, equal for every number of workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from RISCluster import parallel
from RISCluster.errors import DataError, RunError, Stopped
from RISCluster.io import locked
from RISCluster.parallel import Job, Parts, identity

ROOT = Path(__file__).parent.parent  # not of conftest: workers would load torch


def write_part(task, path: Path):
    with path.with_name("log").open("a") as file:
        file.write(f"{task}\n")
    path.write_text(str(task))
    return {"value": task, "warnings": [f"line of {task}"] if task == 3 else []}


def stop_at_two(task, path: Path):
    if task == 2:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    return write_part(task, path)


def fail_at_two(task, path: Path):
    if task == 2:
        raise DataError("two is not allowed")
    return write_part(task, path)


def die_at_two(task, path: Path):
    if task == 2:
        os._exit(9)
    return write_part(task, path)


def jobs(n=5, inputs="a"):
    return [Job(f"part{number}", number, [inputs, number]) for number in range(n)]


def done(parts):
    return sorted((parts.folder / "log").read_text().split())


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "out.h5")


def run(parts, work=write_part, workers=1, todo=None):
    parts.run(todo or jobs(), work, workers, "Working", "parts")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(parts, workers, caplog):
    with caplog.at_level("WARNING", "RISCluster"):
        run(parts, workers=workers)
    assert done(parts) == list("01234")
    assert [parts.summary(job)["value"] for job in jobs()] == list(range(5))
    assert [parts.path(job).read_text() for job in jobs()] == list("01234")
    assert caplog.messages == ["line of 3"]
    run(parts, todo=jobs(7))
    assert done(parts) == list("0123456")
    with pytest.raises(RunError, match=r"out.h5: in use by another process"):
        run(Parts(parts.target))  # locked until the parts are removed
    Parts(parts.target).clear()
    assert parts.folder.exists()
    parts.remove()
    assert not parts.folder.exists()


def test_damaged_missing_and_outdated_parts_are_made_again(parts, caplog):
    run(parts, todo=jobs(7))
    parts.path(jobs()[0]).unlink()
    (parts.folder / "part1").write_text("7")  # the same length
    (parts.folder / "part2.json").write_text("{")
    marker = parts.folder / "part3.json"
    marker.write_text(marker.read_text().replace('"value": 3', '"value": 4'))
    changed = [*jobs(6), Job("part6", 6, ["b", 6])]
    caplog.clear()
    run(parts, todo=changed)
    assert done(parts) == sorted("0123456" + "01236")
    assert [parts.summary(job)["value"] for job in changed] == list(range(7))
    assert f"{parts.folder}: 5 damaged or outdated parts are made again" in caplog.messages


def test_a_signal_finishes_the_job_and_the_next_run_resumes(parts):
    text = "^working: 3 of 5 parts are done and saved in .*; run the same command to resume$"
    with pytest.raises(Stopped, match=text) as caught:
        run(parts, stop_at_two)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert done(parts) == list("012")
    run(parts)
    assert done(parts) == list("01234")


@pytest.mark.parametrize(
    ("work", "workers", "error", "text"),
    [
        (fail_at_two, 1, DataError, "two is not allowed"),
        (fail_at_two, 2, DataError, "two is not allowed"),
        (die_at_two, 2, RunError, "a worker process was killed.*fewer --workers"),
    ],
)
def test_an_error_of_a_job_is_raised(parts, work, workers, error, text):
    with pytest.raises(error, match=text):
        run(parts, work, workers)
    run(parts)
    assert set(done(parts)) == set("01234")
    with pytest.raises(DataError):  # a part of other inputs is outdated while it is made
        run(parts, fail_at_two, todo=[Job("part0", 2, "other")])
    n = done(parts).count("0")
    run(parts, todo=jobs(1))
    assert done(parts).count("0") == n + 1


def wait_long(task, path: Path):
    path.with_name(f"worker{task}").write_text(str(os.getpid()))
    time.sleep(60)


WAITING = """
import sys
from pathlib import Path
from RISCluster.parallel import Parts
from tests.test_parallel import jobs, wait_long
if __name__ == "__main__":
    Parts(Path(sys.argv[1])).run(jobs(2), wait_long, 2, "Working", "parts")
"""


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_workers_end_with_the_process_that_was_killed(tmp_path):
    """Or they would write parts beside the workers of the next start."""
    (tmp_path / "main.py").write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path / "out.h5"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    noted = [tmp_path / f"out.h5.parts/worker{number}" for number in range(2)]
    end = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in noted):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    workers = [int(path.read_text()) for path in noted]
    while any(map(is_alive, workers)):
        assert time.monotonic() < end, "workers still run"
        time.sleep(0.02)


def test_parts_beside_a_finished_target_are_cleared(parts):
    parts.clear()
    parts.folder.mkdir()
    for name in ("part0", ".lock"):
        (parts.folder / name).write_text("")
    with locked(parts.folder / ".lock", parts.target):
        parts.clear()
        assert parts.folder.exists()
    parts.clear()
    assert not parts.folder.exists()


def test_identity_is_of_the_content():
    assert identity({"a": 1, "b": [2]}) == identity({"b": (2,), "a": 1})
    assert identity({"a": 1}) != identity({"a": 2})


def test_workers_are_as_many_as_there_is_work_for(monkeypatch):
    monkeypatch.setattr(parallel, "processors", lambda: 4)
    chosen = [parallel.workers_for(parallel.AUTO, n) for n in (0, 1, 8, 16, 31, 32, 1000)]
    assert chosen == [1, 1, 1, 2, 3, 4, 4]
    assert parallel.workers_for(7, 1) == 7
