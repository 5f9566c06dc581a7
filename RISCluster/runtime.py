"""Log, progress, signals, threads and memory of a process."""

import ctypes
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

log = logging.getLogger("RISCluster")
log.addHandler(logging.NullHandler())  # silent as a library, until `start_log`

LOG_INTERVAL = 30.0  # s between lines of progress where there is no terminal


def start_log(rank: int = 0) -> None:
    """Send this package's messages to standard output, from rank 0 alone."""
    log.handlers.clear()
    handler: logging.Handler = logging.NullHandler()
    if rank == 0:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class Progress:
    """Progress of a loop over `total` units: a tqdm bar on a terminal, elsewhere lines of the log.

    Ranks other than 0 give ``shown=False``.
    """

    def __init__(self, what: str, total: int, unit: str = "samples", shown: bool = True):
        self.what, self.total, self.unit, self.count = what, total, unit, 0
        self._bar, self._is_shown = None, shown
        self._start = self._logged = time.monotonic()
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, desc=what, unit=f" {unit}", leave=False, unit_scale=total > 9999
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int, **figures: float) -> None:
        """Advance by `count`, and show figures such as the loss."""
        self.count += count
        texts = {name: f"{value:.4g}" for name, value in figures.items()}
        now = time.monotonic()
        if self._bar is not None:
            if texts:
                self._bar.set_postfix(texts, refresh=False)
            self._bar.update(count)
        elif self._is_shown and now - self._logged >= LOG_INTERVAL:
            self._logged = now
            rate = self.count / (now - self._start)
            left = (self.total - self.count) / rate if rate else float("inf")
            log.info(
                f"{self.what}: {self.count:,} of {self.total:,} {self.unit}, {rate:,.3g}/s, "
                f"{left:.0f} s left" + "".join(f", {name} {text}" for name, text in texts.items())
            )


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 trace``, ``1,200 traces``."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal_number`, 0 before, which loops check.

    A second SIGINT stops at once.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._take)
            except ValueError:  # not in the main thread: the caller handles signals
                break
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
    m_trim_threshold, m_mmap_threshold = -1, -3  # of glibc's malloc.h
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # bytes, the largest that glibc accepts
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
