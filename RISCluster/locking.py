"""One process at a time in one place: locks that end with the process that holds them.

A lock is the operating system's (``flock``) on a small file that says who holds it. However a
process ends, the system frees its locks, so a file that a killed one has left is no obstacle.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .errors import RunError
from .runtime import log

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_held: dict[Path, "Lock"] = {}  # by this process
_warned: set[Path] = set()


class Lock:
    """A lock that this process holds; see `take`.

    Parameters
    ----------
    path : Path
        Of the lock's file.
    descriptor : int
        Of the open file.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path, self._descriptor = path, descriptor
        _held[path] = self

    def release(self) -> None:
        """Give it back and remove its file; a second time does nothing."""
        if _held.get(self.path) is not self:
            return
        del _held[self.path]
        # Removed while it is still held: who opened it before sees in `_is_there` that it is gone.
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            pass
        os.close(self._descriptor)


def take(path: Path, place: Path, again: bool = False) -> Lock:
    """Lock a place against other processes, at once or not at all.

    Where the file system or the operating system has no locks, a line says so and work goes on.

    Parameters
    ----------
    path : Path
        Of the lock's file; its folder is made.
    place : Path
        What is locked, as the message names it.
    again : bool
        Take over what this same process holds already, instead of refusing it.

    Returns
    -------
    Lock

    Raises
    ------
    RunError
        Another process holds it; the message says which, and since when.
    OSError
        The file can't be made.
    """
    path = Path(os.path.abspath(path))
    if again and path in _held:
        return _held[path]
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, place)
            if _is_there(path, descriptor):
                _say_who(descriptor)
                return Lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one before has removed it: make a new one


def clear(path: Path) -> None:
    """Remove the file of a lock that a killed process has left, if it can be."""
    if path.exists():
        try:
            take(path, path).release()
        except (RunError, OSError):  # held, by another process or by this one, or not ours
            pass


@contextmanager
def locked(path: Path, place: Path) -> Iterator[None]:
    """`take` a lock for the time of a block."""
    lock = take(path, place)
    try:
        yield
    finally:
        lock.release()


def _lock(descriptor: int, place: Path) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no locks on this system")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{place}: in use by {_holder(descriptor)}; wait until it has ended, or stop it, then "
            "run the same command again"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if place not in _warned:
            _warned.add(place)
            log.warning(
                f"{place}: can't be locked here ({error.strerror}): nothing keeps a second process "
                "from the same place, see to it that there is none"
            )


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that others would open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _say_who(descriptor: int) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    who = {"host": socket.gethostname(), "process": os.getpid(), "since": since}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)
    except OSError:  # a full disk: the lock holds without it
        pass


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
