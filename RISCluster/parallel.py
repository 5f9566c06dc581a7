"""Long work in independent jobs, each of which writes a file: parallel and resumable.

The files (parts) are in ``<target>.parts/`` until the target is written, with the identity of their
inputs in the name. A part is done when its ``.json``, written after it, exists. Processes and
machines that share a file system may work on one target at once: a part is renamed to its name
when it is whole, and one that another process has begun comes last.
"""

import hashlib
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed, parallel_config
from threadpoolctl import threadpool_limits

from .errors import RunError, SettingsError, Stopped
from .io import need, plain, read_json, remove_quietly, write_errors, write_json
from .runtime import Progress, StopRequest, log
from .settings import RunSettings, as_text

AUTO = 0  # workers: one a processor, fewer where there are few jobs
JOBS_PER_WORKER = 8  # at least: the start of a worker takes a second or two
CONNECT = 30  # seconds that a cluster has to answer
ADDRESSES = {  # of a scheduler, and how they begin
    "dask": ("an address such as tcp://host:8786", "tcp:", "tls:", "ws:", "wss:", "ucx:", "ucxx:"),
    "ray": ("auto, or an address such as ray://host:10001", "auto", "ray:"),
}
Work = Callable[[Any, Path], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """One part of the work."""

    name: str  # of its file
    task: Any  # argument of the function that makes it; can be pickled
    inputs: Any  # JSON value that determines it
    size: int = 1  # in the unit of the progress


def identity(inputs: Any) -> str:
    """Short checksum of a JSON value."""
    text = json.dumps(plain(inputs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def workers_for(workers: int, n_jobs: int) -> int:
    """Number of processes for some jobs; `workers` may be `AUTO`."""
    return workers or max(1, min(cpu_count(), n_jobs // JOBS_PER_WORKER))


class Parts:
    """The parts of a target; `threads` in place of processes of this machine start faster."""

    def __init__(self, target: Path, settings: RunSettings | None = None, threads: bool = False):
        self.target, self.settings, self.threads = target, settings or RunSettings(), threads
        self.folder = target.with_name(target.name + ".parts")

    def path(self, job: Job) -> Path:
        """File of a job."""
        return self.folder / f"{identity(job.inputs)}-{job.name}"

    def summary(self, job: Job) -> dict[str, Any]:
        """Return value of the job's function."""
        return read_json(_marker(self.path(job)))

    def is_done(self, job: Job) -> bool:
        """Whether a part is finished."""
        return self.path(job).exists() and _marker(self.path(job)).exists()

    def remove(self) -> None:
        """Remove the parts, after the target is written."""
        remove_quietly(self.folder)

    def run(self, jobs: Sequence[Job], work: Work, workers: int, what: str, unit: str) -> bool:
        """Do the jobs that are not done yet; `Stopped` on SIGINT or SIGTERM.

        `work` (task, path of the part) is a function of a module and returns a JSON dict, whose
        ``infos`` and ``warnings`` are logged. `workers` are of this machine, or `AUTO`.
        False where another process has completed the target meanwhile.
        """
        with write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        left = [job for job in jobs if not self.is_done(job)]
        if len(left) < len(jobs):
            log.info(f"{self.folder}: {len(jobs) - len(left):,} of {len(jobs):,} parts are done")
        total = sum(job.size for job in left)
        try:
            with StopRequest() as stop, Progress(what, total, unit) as progress:
                for is_last in (False, True):  # then those that other processes have begun
                    left = self._pass(left, work, workers, is_last, stop, progress)
        except BrokenProcessPool:
            raise RunError(
                "a worker process was killed, perhaps because memory was exhausted; run the same "
                "command again with fewer processes (--workers or taskset): finished parts are kept"
            ) from None
        except Exception:
            if self.folder.is_dir():
                raise
        if not self.folder.is_dir():
            log.info(f"{self.target}: another process has completed it")
        return self.folder.is_dir()

    def _pass(
        self, jobs: list[Job], work: Work, workers: int, is_last: bool,
        stop: StopRequest, progress: Progress,
    ) -> list[Job]:  # fmt: skip
        """Do jobs; those that another process has begun are left, but with `is_last`."""
        if not jobs:
            return []
        calls = (
            delayed(_do)(number, work, job.task, self.path(job), is_last, Path.cwd())
            for number, job in enumerate(jobs)
            if not stop.signal_number
        )
        left = []
        workers = min(workers_for(workers, len(jobs)), len(jobs))
        with _pool(self.settings, workers, self.threads) as pool:
            for number, summary in pool(calls):
                if summary is None:
                    left.append(jobs[number])
                    continue
                for line in summary.get("infos", []):
                    log.info(line)
                for line in summary.get("warnings", []):
                    log.warning(line)
                progress.add(jobs[number].size)
        if stop.signal_number:
            raise Stopped(
                f"{progress.desc}: stopped; finished parts are saved in {self.folder}: run the "
                "same command to resume",
                stop.signal_number,
            )
        return left


@contextmanager
def _pool(settings: RunSettings, workers: int, threads: bool) -> Iterator[Parallel]:
    """Pool that runs calls of `joblib.delayed`, each when a worker is free."""
    backend, address = settings.backend, settings.scheduler
    allowed, *starts = ADDRESSES.get(backend, ("none", ""))
    if not str(address).startswith(tuple(starts)):
        raise SettingsError(
            f"[run] scheduler = {as_text(address)}; backend = {backend} needs {allowed}"
        )
    options = {"backend": backend, "n_jobs": -1}
    with ExitStack() as stack:
        try:
            if backend == "processes" and threads:
                options = {"backend": "threading", "n_jobs": workers}
                stack.enter_context(threadpool_limits(1))  # until all threads have ended
            elif backend == "processes":
                options = {"backend": "loky", "n_jobs": workers, "initializer": _start_worker}
            elif backend == "dask":
                client = need("distributed").Client(address, timeout=CONNECT, set_as_default=False)
                options["client"] = stack.enter_context(client)
                client.wait_for_workers(1, CONNECT)
            else:
                need("ray").init(address, ignore_reinit_error=True)
                need("ray.util.joblib").register_ray()
        except (OSError, TimeoutError, ConnectionError) as error:
            raise RunError(
                f"[run] scheduler = {address}: no answer of a {backend} scheduler with workers "
                f"({' '.join(str(error).split())[:200]}); start them first"
            ) from None
        kind = "list" if backend == "ray" else "generator_unordered"  # ray has no generators
        with parallel_config(**options):
            pool = Parallel(return_as=kind, batch_size=1, pre_dispatch="n_jobs")
        yield pool


def _start_worker() -> None:
    """Prepare a worker process: one thread, and signals left to the parent."""
    for name in ("OMP", "OPENBLAS", "MKL"):  # for libraries that are not loaded yet
        os.environ[f"{name}_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _do(
    number: int, work: Work, task: Any, path: Path, is_last: bool, folder: Path
) -> tuple[int, dict[str, Any] | None]:
    """Make a part: its `number` and summary, which is None where another process has begun it.

    With `is_last` it is made all the same: that process may have been killed.
    """
    os.chdir(folder)  # of the command, in which relative paths are
    if path.exists() and _marker(path).exists():
        return number, read_json(_marker(path))
    temporary, claim = path.with_name(f".{uuid.uuid4().hex}"), path.with_name(f"{path.name}.begun")
    try:
        claim.touch(exist_ok=is_last)
    except FileExistsError:
        return number, None
    try:
        with threadpool_limits(1):  # sums of several threads differ in the last digits
            summary = plain(work(task, temporary))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # on disk before its marker is
        temporary.replace(path)
        write_json(temporary, summary)
        temporary.replace(_marker(path))
    finally:
        remove_quietly(temporary)
        remove_quietly(claim)
    return number, summary
