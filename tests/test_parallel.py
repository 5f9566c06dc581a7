"""Jobs that write files: parallel, resumable, equal for every number of workers."""

import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from RISCluster import parallel
from RISCluster.errors import DataError, RunError, SettingsError, Stopped
from RISCluster.parallel import Job, Parts
from RISCluster.settings import load_settings


def write_part(task, path: Path):
    time.sleep(0.01)
    with path.with_name("log").open("a") as file:
        file.write(f"{task}\n")
    path.write_text(str(task))
    return {"value": task, "warnings": [f"line of {task}"] if task == 3 else []}


def at_two(task, path: Path):
    """A job of which task 2 does what the file beside the parts says."""
    what = path.parent.with_name("what").read_text() if task == 2 else ""
    if what == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    if what == "fail":
        raise DataError("two is not allowed")
    if what == "die":
        os._exit(9)
    return write_part(task, path)


def remove_all(task, path: Path):
    Parts(path.parent.with_name("out.h5")).remove()
    raise DataError("removed")


def jobs(n=5):
    return [Job(f"part{number}", number, ["a", number]) for number in range(n)]


def done(parts):
    return sorted((parts.folder / "log").read_text().split())


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "out.h5")


def run(parts, work=write_part, workers=1, todo=None):
    return parts.run(todo or jobs(), work, workers, "Working", "parts")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(parts, workers, caplog):
    with caplog.at_level("WARNING", "RISCluster"):
        assert run(parts, workers=workers)
    assert done(parts) == [parts.path(job).read_text() for job in jobs()] == list("01234")
    assert [parts.summary(job)["value"] for job in jobs()] == list(range(5))
    assert caplog.messages == ["line of 3"]


def test_missing_and_other_parts_are_made_again_and_begun_ones_last(parts):
    run(parts, todo=jobs(7))
    first, third = parts.path(jobs()[0]), parts.path(jobs()[2])
    first.replace(f"{first}.begun")  # by another process
    Path(f"{third}.json").unlink()
    changed = [*jobs(6), Job("part6", 6, ["b", 6])]  # the part of other inputs has another name
    run(parts, todo=changed)
    assert (parts.folder / "log").read_text().split() == list("0123456" + "260")
    assert [parts.summary(job)["value"] for job in changed] == list(range(7))
    assert not list(parts.folder.glob(".*")) + list(parts.folder.glob("*.begun"))
    parts.remove()
    assert not parts.folder.exists()


@pytest.mark.parametrize(("what", "workers", "error", "text"), [
    ("stop", 1, Stopped, "^Working: stopped; .* run the same command"),
    ("fail", 1, DataError, "two is not allowed"),
    ("fail", 2, DataError, "two is not allowed"),
    ("die", 2, RunError, "a worker process was killed.*fewer processes"),
])  # fmt: skip
def test_an_error_of_a_job_is_raised_and_the_next_run_resumes(parts, what, workers, error, text):
    parts.target.with_name("what").write_text(what)
    with pytest.raises(error, match=text):
        run(parts, at_two, workers)
    if workers == 1:
        assert done(parts) == list("012" if what == "stop" else "01")
    run(parts)
    assert set(done(parts)) == set("01234")


def share(folder):
    run(Parts(folder / "out.h5"), todo=jobs(40))


def test_two_processes_share_the_parts_of_one_target(parts):
    start = get_context("spawn").Process
    both = [start(target=share, args=[parts.target.parent]) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert all(map(parts.is_done, jobs(40)))
    assert set(done(parts)) == {str(number) for number in range(40)}
    assert len(done(parts)) <= 41  # the last may be made twice


def test_a_completed_target_a_cluster_without_address_and_numbers_of_workers(parts, monkeypatch):
    assert not run(parts, remove_all)  # another process has completed the target
    for words, expected in (
        (["backend=dask"], "scheduler = none; backend = dask needs an address such as tcp://host"),
        (
            ["backend=ray", "scheduler=tcp://a:1"],
            "a:1; backend = ray needs auto, or an address such as ray:",
        ),
    ):
        settings = load_settings(None, [f"run.{word}" for word in words]).run
        with pytest.raises(SettingsError, match=expected):
            run(Parts(parts.target, settings))
    monkeypatch.setattr(parallel, "cpu_count", lambda: 4)
    chosen = [parallel.workers_for(parallel.AUTO, n) for n in (0, 1, 8, 16, 31, 32, 1000)]
    assert chosen == [1, 1, 1, 2, 3, 4, 4]
    assert parallel.workers_for(7, 1) == 7
