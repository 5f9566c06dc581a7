"""What a person sees while work goes on: log lines, and a bar or a line now and then."""

import logging
import sys
import time
from types import TracebackType

log = logging.getLogger("RISCluster")
log.addHandler(logging.NullHandler())  # silent as a library, until `start_log`


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
    """Counts towards a known end, with a rate.

    On a terminal it is a tqdm bar; elsewhere a log line every `interval` seconds.

    Parameters
    ----------
    what : str
        What is going on, in a word or two.
    total : int
        The count it will end on.
    unit : str
        What is counted.
    shown : bool
        False on ranks other than 0.
    """

    interval = 30.0  # s

    def __init__(self, what: str, total: int, unit: str = "samples", shown: bool = True):
        self.what, self.total, self.unit, self.count = what, total, unit, 0
        self._bar = None
        self._shown = shown
        self._start = self._said = time.monotonic()
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, desc=what, unit=f" {unit}", leave=False, unit_scale=total > 9999
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int, **figures: float) -> None:
        """Count on, and show figures such as the loss beside it."""
        self.count += count
        if self._bar is not None:
            if figures:
                self._bar.set_postfix(
                    {name: f"{value:.4g}" for name, value in figures.items()}, refresh=False
                )
            self._bar.update(count)
            return
        now = time.monotonic()
        if self._shown and now - self._said >= self.interval:
            self._said = now
            rate = self.count / (now - self._start)
            left = (self.total - self.count) / rate if rate else float("inf")
            shown = "".join(f", {name} {value:.4g}" for name, value in figures.items())
            log.info(
                f"{self.what}: {self.count:,} of {self.total:,} {self.unit}, {rate:,.3g}/s, "
                f"{left:.0f} s left{shown}"
            )


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 trace``, ``1,200 traces``."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
