"""Long work in independent jobs, each of which writes a file: parallel and resumable.

The files (parts) are in ``<target>.parts/``, locked against other processes, until the target is
written. A part is done when its ``.json``, written after it, has the inputs of the job and the
checksum of the part.
"""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from .errors import CheckpointError, RunError, Stopped
from .io import LOCK, locked, plain, read_json, remove_quietly, sha256, write_json
from .runtime import Progress, StopRequest, log, processors

AUTO = 0  # workers: one a processor, fewer where there are few jobs
JOBS_PER_WORKER = 8  # at least: the start of a worker takes a second or two
Work = Callable[[Any, Path], dict[str, Any]]
Result = tuple[dict[str, Any], str]  # summary of a job, and checksum of its part


@dataclass(frozen=True)
class Job:
    """One part of the work, of a `size` in the unit of the progress.

    `name` is that of its file, `task` the argument of the function that makes it (can be pickled),
    `inputs` a JSON value that determines it.
    """

    name: str
    task: Any
    inputs: Any
    size: int = 1


def identity(inputs: Any) -> str:
    """Short checksum of a JSON value."""
    text = json.dumps(plain(inputs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def workers_for(workers: int, n_jobs: int) -> int:
    """Number of processes for some jobs; `workers` may be `AUTO`."""
    return workers or max(1, min(processors(), n_jobs // JOBS_PER_WORKER))


class Parts:
    """The parts of a target; `hint` tells how to use fewer processes."""

    def __init__(self, target: Path, hint: str = "with fewer --workers"):
        self.target, self.hint = target, hint
        self.folder = target.with_name(target.name + ".parts")
        self._lock = ExitStack()
        self._is_locked = False

    def path(self, job: Job) -> Path:
        """File of a job."""
        return self.folder / job.name

    def summary(self, job: Job) -> dict[str, Any]:
        """Return value of the job's function."""
        return read_json(self._marker(job))["summary"]

    def _marker(self, job: Job) -> Path:
        return self.folder / f"{job.name}.json"

    def is_done(self, job: Job) -> bool:
        """Whether a part is finished, of the inputs of the job and undamaged."""
        try:
            found = read_json(self._marker(job))
            checksum = identity([found.get("summary"), sha256(self.path(job))])
        except (CheckpointError, OSError):
            return False
        return (found.get("identity"), found.get("checksum")) == (identity(job.inputs), checksum)

    def run(self, jobs: Sequence[Job], work: Work, workers: int, what: str, unit: str) -> None:
        """Do the jobs that are not done yet; `Stopped` on SIGINT or SIGTERM.

        `work`, a function of a module, takes the task of a job and the path of its part, and
        returns a JSON dict, whose ``infos`` and ``warnings`` are logged. `workers` is a number of
        processes or `AUTO`; `what` and `unit` are for the progress.
        """
        self._acquire()
        try:
            self._run(jobs, work, workers, what, unit)
        except BrokenProcessPool:
            self._release()
            raise RunError(
                "a worker process was killed, perhaps because memory was exhausted; run the "
                f"same command again, {self.hint}: finished parts are not repeated"
            ) from None
        except BaseException:
            self._release()
            raise

    def _run(self, jobs: Sequence[Job], work: Work, workers: int, what: str, unit: str) -> None:
        left = [job for job in jobs if not self.is_done(job)]
        n_done, total = len(jobs) - len(left), sum(job.size for job in left)
        if n_done:
            log.info(f"{self.folder}: {n_done:,} of {len(jobs):,} parts are done")
        if n_old := sum(self._marker(job).exists() for job in left):
            log.warning(f"{self.folder}: {n_old:,} damaged or outdated parts are made again")
        for job in left:
            remove_quietly(self._marker(job))
        with StopRequest() as stop, Progress(what, total, unit) as progress:
            for job, (summary, checksum) in self._results(left, work, workers, stop):
                marker = {"identity": identity(job.inputs), "summary": summary}
                write_json(self._marker(job), marker | {"checksum": identity([summary, checksum])})
                for line in summary.get("infos", []):
                    log.info(line)
                for line in summary.get("warnings", []):
                    log.warning(line)
                n_done += 1
                progress.add(job.size)
            if stop.signal_number:
                raise Stopped(
                    f"{what[0].lower()}{what[1:]}: {n_done:,} of {len(jobs):,} parts are done and "
                    f"saved in {self.folder}; run the same command to resume",
                    stop.signal_number,
                )

    def _results(
        self, jobs: Sequence[Job], work: Work, workers: int, stop: StopRequest
    ) -> Iterator[tuple[Job, Result]]:
        """Jobs with their results as they end; after a signal, only those that run."""
        workers = min(workers_for(workers, len(jobs)), len(jobs))
        if workers <= 1:
            for job in jobs:
                if stop.signal_number:
                    return
                yield job, _do(work, job.task, self.path(job))
            return
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
        try:
            runs = {pool.submit(_do, work, job.task, self.path(job)): job for job in jobs}
            for run in as_completed(runs):
                if stop.signal_number:
                    for other in runs:
                        other.cancel()
                if not run.cancelled():
                    yield runs[run], run.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def remove(self) -> None:
        """Remove the parts, after the target is written."""
        remove_quietly(self.folder)
        self._release()

    def clear(self) -> None:
        """`remove`, unless another process uses them."""
        with suppress(RunError):
            if self.folder.is_dir():
                self._acquire()
                self.remove()

    def _acquire(self) -> None:
        if not self._is_locked:
            self._lock.enter_context(locked(self.folder / LOCK, self.target))
            self._is_locked = True

    def _release(self) -> None:
        self._is_locked = False
        self._lock.close()


def _do(work: Work, task: Any, path: Path) -> Result:
    summary = work(task, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())  # on disk before its marker is
    return summary, sha256(path)


def _start_worker() -> None:
    """Prepare a worker process: one thread, signals left to the parent, and an end with it."""
    for name in ("OMP", "OPENBLAS", "MKL"):  # for libraries that are not loaded yet
        os.environ[f"{name}_NUM_THREADS"] = "1"
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)
