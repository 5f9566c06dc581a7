"""Locks between processes; the system frees them however their process ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import RunError


@contextlib.contextmanager
def locked(path: Path, place: Path) -> Iterator[None]:
    """Hold a lock for the time of a block, taken at once or not at all.

    Parameters
    ----------
    path : Path
        File of the lock; its folder is made, and the file is removed at the end.
    place : Path
        What is locked, as the message names it.

    Raises
    ------
    RunError
        It is held already.
    OSError
        The file can't be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.absolute(), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{place}: in use by another process; wait until it has ended, or stop it, then run "
            "the same command again"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # before the release: nobody else has it then
        lock.release()


def clear(path: Path) -> None:
    """Remove the file of a lock that nobody holds, if it can be removed."""
    if path.exists():
        with contextlib.suppress(RunError, OSError), locked(path, path):
            pass
