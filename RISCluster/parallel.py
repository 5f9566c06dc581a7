"""Long work in independent jobs, each of which writes a file: parallel and resumable.

The parts are in ``<target>.parts/`` until the target has been put together. A part is done once
its ``.json`` is there, which is written after it and holds its checksum: only parts that are
missing, damaged or of other inputs are made. The folder is locked against other processes.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from .errors import CheckpointError, RunError, Stopped
from .io import LOCK, plain, read_json, remove_quietly, sha256, write_json
from .locking import locked
from .runtime import Progress, StopRequest, log, processors

AUTO = 0  # workers: as many as processors, but no more than there is work for
JOBS_A_WORKER = 8  # at least, for starting a worker takes a second or two
STALE = {"other": "parts of other settings or files are", "damaged": "parts are damaged and are"}
Work = Callable[[Any, Path], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """One piece of the work.

    Attributes
    ----------
    name : str
        Of its file; unique.
    inputs : Any
        Argument of the function that does the work; can be pickled.
    depends : Any
        JSON value that identifies the inputs: a part made with an equal one is not made again.
    size : int
        Amount of work, in the unit of the progress.
    """

    name: str
    inputs: Any
    depends: Any
    size: int = 1


def identity(depends: Any) -> str:
    """Short checksum of a JSON value."""
    text = json.dumps(depends, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def workers_for(workers: int, n_jobs: int) -> int:
    """Number of processes for some jobs, where `AUTO` may be asked for."""
    return workers or max(1, min(processors(), n_jobs // JOBS_A_WORKER))


class Parts:
    """The parts of a target that is being made.

    Parameters
    ----------
    target : Path
    fewer : str
        How to use fewer processes, for the message about memory.
    """

    def __init__(self, target: Path, fewer: str = "with fewer --workers"):
        self.target, self.fewer = target, fewer
        self.folder = target.with_name(target.name + ".parts")
        self._held = ExitStack()  # the lock, while this process has it
        self._is_held = False

    def path(self, job: Job) -> Path:
        """File of a job's part."""
        return self.folder / job.name

    def summary(self, job: Job) -> dict[str, Any]:
        """Result of the job's function."""
        return read_json(self._marker(job))["summary"]

    def _marker(self, job: Job) -> Path:
        return self.folder / f"{job.name}.json"

    def _state(self, job: Job) -> str:
        """``done``, ``missing``, ``other`` or ``damaged``."""
        marker, path = self._marker(job), self.path(job)
        if not marker.exists() or not path.exists():
            return "other" if marker.exists() else "missing"
        try:
            found = read_json(marker)
        except CheckpointError:
            return "damaged"
        if found.get("identity") != identity(job.depends):
            return "other"
        whole = found.get("checksum") == identity([found.get("summary"), sha256(path)])
        return "done" if whole else "damaged"

    def _left(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs to do; logs which parts are not used."""
        states = [self._state(job) for job in jobs]
        for state, what in STALE.items():
            if state in states:
                log.warning(f"{self.folder}: {states.count(state):,} {what} made again")
        left = [job for job, state in zip(jobs, states, strict=True) if state != "done"]
        if len(left) < len(jobs):
            log.info(f"{self.folder}: {len(jobs) - len(left):,} of {len(jobs):,} parts are there")
        return left

    def run(self, jobs: Sequence[Job], work: Work, workers: int, what: str, unit: str) -> None:
        """Do the jobs that are not done yet.

        Parameters
        ----------
        jobs : sequence of Job
        work : callable
            A function of a module: takes a job's inputs and the path of its part, returns a JSON
            dict. Its lists ``told`` and ``said`` are logged, as information and as warnings.
        workers : int
            Processes, or `AUTO`; with 1 the work is done in this one.
        what, unit : str
            Name of the work and unit of its progress.

        Raises
        ------
        Stopped
            SIGINT or SIGTERM was received; finished parts are kept.
        RunError
            The folder can't be written, another process uses it, or a worker was killed.
        """
        try:
            self._lock()
        except OSError as error:
            raise RunError(
                f"{self.folder}: can't be made: {error.strerror or error}; make room or change "
                "permissions, then run again"
            ) from None
        try:
            self._run(jobs, work, workers, what, unit)
        except BaseException as error:
            self._unlock()
            if isinstance(error, TerminatedWorkerError):
                raise RunError(
                    "a worker process was killed, perhaps for want of memory; run the same "
                    f"command again to go on, {self.fewer}"
                ) from None
            raise

    def _run(self, jobs: Sequence[Job], work: Work, workers: int, what: str, unit: str) -> None:
        left = self._left(jobs)
        for job in left:
            remove_quietly(self._marker(job))  # the part is overwritten
        total = sum(job.size for job in left)
        with StopRequest() as stop, Progress(what, total, unit) as progress:
            for job, summary, checksum in self._results(left, work, workers, stop):
                summary = plain(summary)
                marker = {"identity": identity(job.depends), "summary": summary}
                write_json(self._marker(job), marker | {"checksum": identity([summary, checksum])})
                for line in summary.get("told", []):
                    log.info(line)
                for line in summary.get("said", []):
                    log.warning(line)
                progress.add(job.size)
            if stop.signal_number:
                done = sum(self._state(job) == "done" for job in jobs)
                raise Stopped(
                    f"{what[0].lower()}{what[1:]}: {done:,} of {len(jobs):,} parts are done and "
                    f"kept in {self.folder}; run the same command to go on",
                    stop.signal_number,
                )

    def _results(
        self, jobs: Sequence[Job], work: Work, workers: int, stop: StopRequest
    ) -> Iterator[tuple[Job, dict[str, Any], str]]:
        """Jobs, results and checksums as they end; after a signal, only of those handed out."""
        workers = min(workers_for(workers, len(jobs)), max(1, len(jobs)))
        tasks = (
            delayed(_work)(work, job, self.path(job), os.getpid())
            for job in jobs
            if not stop.signal_number
        )
        with parallel_config("loky", inner_max_num_threads=1):
            pool = Parallel(workers, return_as="generator_unordered", pre_dispatch=2 * workers)
            with pool:
                yield from pool(tasks)

    def remove(self) -> None:
        """Remove the parts, after the target was put together."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def clear(self) -> None:
        """Remove parts that a process killed after the target was complete has left."""
        if not self.folder.is_dir():
            return
        try:
            self._lock()
        except (RunError, OSError):  # another process uses them, or nothing can be removed here
            return
        self.remove()

    def _lock(self) -> None:
        if not self._is_held:
            self._held.enter_context(locked(self.folder / LOCK, self.target))
            self._is_held = True

    def _unlock(self) -> None:
        self._is_held = False
        self._held.close()


def _work(work: Work, job: Job, path: Path, main: int) -> tuple[Job, dict[str, Any], str]:
    """Do a job; the job, its result and the checksum of its part."""
    if os.getpid() != main:
        _prepare_worker(main)
    summary = work(job.inputs, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())  # on disk before its marker is
    return job, summary, sha256(path)


@cache
def _prepare_worker(main: int) -> None:
    """Leave signals to the main process, and end with it: a killed one can't stop its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(main: int) -> None:
    while os.getppid() == main:
        time.sleep(0.5)
    os._exit(1)
