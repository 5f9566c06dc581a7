"""Long work in independent jobs, each of which leaves a file: parallel, resumable, in order.

The parts lie in ``<target>.parts/`` until the target has been put together from them. A part
counts once its ``.json`` is there, which is written after it and holds its checksum; so a job that
was killed is done again, as is one whose part was damaged since, and nothing else is. From the
first job until the parts are removed, the folder is locked against other processes.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from .errors import CheckpointError, RunError, Stopped
from .io import locked, plain, read_json, remove_quietly, sha256, write_json
from .runtime import Progress, StopRequest, log, processors

AUTO = 0  # workers: as many as processors, but no more than there is work for
JOBS_A_WORKER = 8  # at least, for starting a worker takes a second or two
LOCK = ".lock"
STALE = {"other": "parts of other settings or files are", "damaged": "parts are damaged and are"}
AHEAD = 2  # jobs handed out for each worker: the next one waits while one runs


@dataclass(frozen=True)
class Job:
    """One piece of the work.

    Attributes
    ----------
    name : str
        Of its file; unique.
    task : Any
        What the function that does the work takes; can be pickled.
    inputs : Any
        JSON value: where it is the same, so is the part.
    size : int
        How much of the whole, in the unit that the progress counts.
    """

    name: str
    task: Any
    inputs: Any
    size: int = 1


def identity(inputs: Any) -> str:
    """Short checksum of a JSON value."""
    text = json.dumps(inputs, sort_keys=True)
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
        How whoever runs out of memory can have fewer processes.
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
        """What the job's function returned."""
        return read_json(self._marker(job))["summary"]

    def _marker(self, job: Job) -> Path:
        return self.folder / f"{job.name}.json"

    def _state(self, job: Job) -> str:
        """How a part stands: ``done``, ``missing``, ``other`` or ``damaged``."""
        marker, path = self._marker(job), self.path(job)
        if not marker.exists() or not path.exists():
            return "other" if marker.exists() else "missing"
        try:
            found = read_json(marker)
        except CheckpointError:
            return "damaged"
        if found.get("identity") != identity(job.inputs):
            return "other"
        whole = found.get("checksum") == identity([found.get("summary"), sha256(path)])
        return "done" if whole else "damaged"

    def _left(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs to do; says what is wrong with parts that are there."""
        states = [self._state(job) for job in jobs]
        for state, what in STALE.items():
            if state in states:
                log.warning(f"{self.folder}: {states.count(state):,} {what} made again")
        left = [job for job, state in zip(jobs, states, strict=True) if state != "done"]
        if len(left) < len(jobs):
            log.info(f"{self.folder}: {len(jobs) - len(left):,} of {len(jobs):,} parts are there")
        return left

    def run(
        self,
        jobs: Sequence[Job],
        work: Callable[[Any, Path], dict[str, Any]],
        workers: int,
        what: str,
        unit: str,
    ) -> None:
        """Do the jobs that are not done yet.

        Parameters
        ----------
        jobs : sequence of Job
        work : callable
            A function of a module: takes a job's inputs and the path where the part is to be
            written, returns a JSON dict. What it lists under ``infos`` and, as warnings, under
            ``warnings`` goes to the log, in the order of the jobs that end.
        workers : int
            Processes, or `AUTO`; with 1 the work is done in this one.
        what, unit : str
            What the progress says and counts.

        Raises
        ------
        Stopped
            SIGINT or SIGTERM came; what is done is kept.
        RunError
            The folder can't be written, another process is at it, or a worker was killed.
        """
        try:
            self._take()
        except OSError as error:
            raise RunError(
                f"{self.folder}: can't be made: {error.strerror or error}; make room or change "
                "permissions, then run again"
            ) from None
        try:
            self._run(jobs, work, workers, what, unit)
        except BaseException as error:
            self._release()
            if isinstance(error, BrokenProcessPool):
                raise RunError(
                    "a worker process was killed, perhaps for want of memory; run the same "
                    f"command again to go on, {self.fewer}"
                ) from None
            raise

    def _run(
        self,
        jobs: Sequence[Job],
        work: Callable[[Any, Path], dict[str, Any]],
        workers: int,
        what: str,
        unit: str,
    ) -> None:
        left = self._left(jobs)
        for job in left:  # of a part that was made otherwise, and is now overwritten
            remove_quietly(self._marker(job))
        workers = workers_for(workers, len(left))
        total = sum(job.size for job in left)
        with StopRequest() as stop, Progress(what, total, unit) as progress:
            for job, (summary, checksum) in _results(left, work, self.path, workers, stop):
                summary = plain(summary)
                marker = {"identity": identity(job.inputs), "summary": summary}
                write_json(self._marker(job), marker | {"checksum": identity([summary, checksum])})
                for line in summary.get("infos", []):
                    log.info(line)
                for line in summary.get("warnings", []):
                    log.warning(line)
                progress.add(job.size)
            if stop.signal_number:
                done = sum(self._state(job) == "done" for job in jobs)
                raise Stopped(
                    f"{what[0].lower()}{what[1:]}: {done:,} of {len(jobs):,} parts are done and "
                    f"kept in {self.folder}; run the same command to go on",
                    stop.signal_number,
                )

    def remove(self) -> None:
        """Remove the parts, after the target was put together."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._release()

    def clear(self) -> None:
        """Remove what a process has left that was killed when the target was already whole."""
        if not self.folder.is_dir():
            return
        try:
            self._take()
        except (RunError, OSError):  # another process is at it, or nothing can be removed here
            return
        self.remove()

    def _take(self) -> None:
        if not self._is_held:
            self._held.enter_context(locked(self.folder / LOCK, self.target))
            self._is_held = True

    def _release(self) -> None:
        self._is_held = False
        self._held.close()


def _work(
    work: Callable[[Any, Path], dict[str, Any]], inputs: Any, path: Path
) -> tuple[dict[str, Any], str]:
    """Do a job; what it says of itself, and the checksum of its part."""
    summary = work(inputs, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())  # on disk before its marker is
    return summary, sha256(path)


def _results(
    jobs: Sequence[Job],
    work: Callable[[Any, Path], dict[str, Any]],
    path: Callable[[Job], Path],
    workers: int,
    stop: StopRequest,
) -> Iterator[tuple[Job, tuple[dict[str, Any], str]]]:
    """Jobs and what came of them as they end; after a signal, only those that had begun."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            if stop.signal_number:
                return
            yield job, _work(work, job.task, path(job))
        return
    yield from _in_parallel(iter(jobs), work, path, min(workers, len(jobs)), stop)


def _in_parallel(
    todo: Iterator[Job],
    work: Callable[[Any, Path], dict[str, Any]],
    path: Callable[[Job], Path],
    workers: int,
    stop: StopRequest,
) -> Iterator[tuple[Job, tuple[dict[str, Any], str]]]:
    running: dict[Future, Job] = {}
    with _pool(workers) as pool:
        while True:
            while len(running) < AHEAD * workers and not stop.signal_number:
                job = next(todo, None)
                if job is None:
                    break
                running[pool.submit(_work, work, job.task, path(job))] = job
            if stop.signal_number:
                running = {future: job for future, job in running.items() if not future.cancel()}
            if not running:
                return
            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each, which leave signals to this one."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in threads}
    os.environ.update(dict.fromkeys(threads, "1"))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at once when the process that gives the work was killed, which tells nobody."""
    parent_process().join()
    os._exit(1)
