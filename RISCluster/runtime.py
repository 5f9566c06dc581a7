"""Log, progress, signals, threads and memory of a process."""

import ctypes
import logging
import signal
import sys
from contextlib import suppress
from types import FrameType

from tqdm import tqdm

log = logging.getLogger("RISCluster")
log.addHandler(logging.NullHandler())  # silent as a library, until `start_log`

LOG_INTERVAL = 30.0  # s between reports of progress where there is no terminal


def start_log(rank: int = 0) -> None:
    """Send this package's messages to standard output, from rank 0 alone."""
    handler = _Console(sys.stdout) if rank == 0 else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


class _Console(logging.StreamHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Go on without the log where `head` has closed the output."""
        if not isinstance(sys.exception(), BrokenPipeError):
            super().handleError(record)


class Progress(tqdm):
    """Progress bar of a loop over `total` units, in a file a line each half minute."""

    monitor_interval = 0  # no thread of its own

    def __init__(self, what: str, total: int, unit: str = "samples", shown: bool = True):
        wait = 0.1 if sys.stderr.isatty() else LOG_INTERVAL
        super().__init__(
            desc=what, total=total, unit=f" {unit}", unit_scale=total > 9999, disable=not shown,
            mininterval=wait, delay=wait, leave=False,
        )  # fmt: skip

    def add(self, count: int, **figures: float) -> None:
        """Advance by `count`, and show figures such as the loss."""
        self.set_postfix(figures, refresh=False)
        self.update(count)


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 trace``, ``1,200 traces``."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal_number`, 0 before; a second SIGINT stops."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        with suppress(ValueError):  # not in the main thread: the caller handles signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next batch: new pages took a sixth of a step."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD in bytes, the largest that glibc accepts
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
