"""SIGINT and SIGTERM as a wish to stop, which loops grant at the next safe point."""

import signal
from types import FrameType


class StopRequest:
    """Context in which the two signals raise a flag; a second SIGINT stops at once.

    Attributes
    ----------
    signal_number : int
        Signal that was taken, 0 for none.
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
