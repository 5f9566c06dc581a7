"""Jobs that leave files: parallel, resumable, whatever the number of workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from RISCluster.errors import DataError, RunError, Stopped
from RISCluster.parallel import Job, Parts, identity
from tests.conftest import ROOT


def write_part(inputs, path: Path):
    with path.with_name("log").open("a") as file:
        file.write(f"{inputs}\n")
    path.write_text(str(inputs))
    return {"value": inputs, "warnings": [f"line of {inputs}"] if inputs == 3 else []}


def stop_at_two(inputs, path: Path):
    if inputs == 2:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    return write_part(inputs, path)


def fail_at_two(inputs, path: Path):
    if inputs == 2:
        raise DataError("two is not allowed")
    return write_part(inputs, path)


def die_at_two(inputs, path: Path):
    if inputs == 2:
        os._exit(9)
    return write_part(inputs, path)


def jobs(n=5, depends="a"):
    return [Job(f"part{number}", number, [depends, number]) for number in range(n)]


def done(parts):
    return sorted((parts.folder / "log").read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_and_again_not_at_all(tmp_path, workers, caplog):
    parts = Parts(tmp_path / "out.h5")
    with caplog.at_level("WARNING", "RISCluster"):
        parts.run(jobs(), write_part, workers, "Working", "parts")
    assert done(parts) == list("01234")
    assert [parts.summary(job)["value"] for job in jobs()] == list(range(5))
    assert [parts.path(job).read_text() for job in jobs()] == list("01234")
    assert caplog.messages == ["line of 3"]
    parts.run(jobs(), write_part, workers, "Working", "parts")
    assert done(parts) == list("01234")
    parts.run(jobs(7), write_part, workers, "Working", "parts")
    assert done(parts) == list("0123456")
    parts.remove()
    assert not parts.folder.exists()


def test_a_part_made_from_something_else_or_missing_is_made_again(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    parts.run(jobs(3), write_part, 1, "Working", "parts")
    changed = [*jobs(2), Job("part2", 2, ["b", 2])]
    parts.path(changed[0]).unlink()
    parts.run(changed, write_part, 1, "Working", "parts")
    assert done(parts) == ["0", "0", "1", "2", "2"]


def test_a_signal_lets_the_job_end_and_keeps_what_is_done(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    said = "^working: 3 of 5 parts are done and kept in .*; run the same command to go on$"
    with pytest.raises(Stopped, match=said) as caught:
        parts.run(jobs(), stop_at_two, 1, "Working", "parts")
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert done(parts) == list("012")
    parts.run(jobs(), write_part, 1, "Working", "parts")
    assert done(parts) == list("01234")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_comes_through(tmp_path, workers):
    parts = Parts(tmp_path / "out.h5")
    with pytest.raises(DataError, match="two is not allowed"):
        parts.run(jobs(), fail_at_two, workers, "Working", "parts")
    parts.run(jobs(), write_part, workers, "Working", "parts")
    assert set(done(parts)) == set("01234")


def test_a_worker_that_is_killed_is_said(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    with pytest.raises(RunError, match="a worker process was killed.*fewer --workers"):
        parts.run(jobs(), die_at_two, 2, "Working", "parts")


def wait_long(inputs, path: Path):
    path.with_name(f"worker{inputs}").write_text(str(os.getpid()))
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
    """Or they would go on writing parts beside the workers of the next start."""
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
        assert time.monotonic() < end, "workers are still there"
        time.sleep(0.02)


def test_damaged_parts_are_made_again(tmp_path, caplog):
    parts = Parts(tmp_path / "out.h5")
    parts.run(jobs(5), write_part, 1, "Working", "parts")
    (parts.folder / "part0").write_text("7")  # the same length
    (parts.folder / "part1.json").write_text("{")
    marker = parts.folder / "part2.json"
    marker.write_text(marker.read_text().replace('"value": 2', '"value": 3'))
    caplog.clear()
    parts.run(jobs(5), write_part, 1, "Working", "parts")
    assert done(parts) == sorted("01234012")
    assert [parts.summary(job)["value"] for job in jobs()] == list(range(5))
    assert caplog.messages[0] == f"{parts.folder}: 3 parts are damaged and are made again"


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be made"):
        Parts(tmp_path / "file" / "out.h5").run(jobs(), write_part, 1, "Working", "parts")


def test_identity_is_of_the_content():
    assert identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
    assert identity({"a": 1}) != identity({"a": 2})


def test_killed_amid_other_settings_leaves_no_part_that_passes_for_the_first(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    parts.run(jobs(1), write_part, 1, "Working", "parts")
    with pytest.raises(DataError):
        parts.run([Job("part0", 2, "other")], fail_at_two, 1, "Working", "parts")
    parts.run(jobs(1), write_part, 1, "Working", "parts")
    assert done(parts) == ["0", "0"]


def test_workers_are_as_many_as_there_is_work_for(monkeypatch):
    from RISCluster import parallel as module

    monkeypatch.setattr(module, "processors", lambda: 4)
    chosen = [module.workers_for(module.AUTO, n) for n in (0, 1, 8, 16, 31, 32, 1000)]
    assert chosen == [1, 1, 1, 2, 3, 4, 4]
    assert module.workers_for(7, 1) == 7


def test_what_was_left_beside_a_whole_target_is_cleared(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    parts.clear()
    parts.folder.mkdir()
    (parts.folder / "part0").write_text("0")
    (parts.folder / ".lock").write_text("")
    parts.clear()
    assert not parts.folder.exists()


def test_parts_that_another_process_is_at_are_not_cleared(tmp_path):
    parts = Parts(tmp_path / "out.h5")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from RISCluster.io import locked
with locked(Path({str(parts.folder / ".lock")!r}), Path("out.h5")):
    print("taken", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "taken\n"
        parts.clear()
        assert parts.folder.exists()
        other.stdin.close()
    parts.clear()
    assert not parts.folder.exists()
