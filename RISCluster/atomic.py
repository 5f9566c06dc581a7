"""Files that are either whole or not there: written beside their place, flushed, renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RunError
from .locking import clear, locked

PARTIAL = ".partial"  # at the end of the name of a file that is being written
LOCK = ".lock"  # at the end of the name of its lock


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the place, flush to disk, then rename: a reader sees the old or the new.

    Raises
    ------
    RunError
        The file can't be written; the old one, if any, is intact.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(partial, path)
    except OSError as error:
        remove_quietly(partial)
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run again: what was saved before is intact"
        ) from None
    except BaseException:
        remove_quietly(partial)
        raise


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename, and have the disk know of it, so that a power cut can't undo it later."""
    partial.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    """Have the disk take what was written to a file, or to all files of a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that can be written and not listed, or not on this system
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
    finally:
        os.close(descriptor)


def remove_quietly(path: Path) -> None:
    """Remove a file if it is there and can be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A path beside the target to write to, which becomes the target when all went well.

    Only one process at a time can write a target.

    Raises
    ------
    RunError
        It can't be written, or another process is writing it; a target that was there is intact.
    """
    partial = target.with_name(target.name + PARTIAL)
    try:
        lock = target.with_name(f".{target.name}{LOCK}")
        with locked(lock, target), _removed_on_error(partial):
            _remove(partial)
            yield partial
            for path in [partial, *partial.rglob("*")]:
                _flush(path)
            if target.is_dir():
                shutil.rmtree(target)
            _put_in_place(partial, target)
    except OSError as error:
        raise RunError(
            f"{target}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run again: what was made before is intact"
        ) from None


def require_room(target: Path, n_bytes: int) -> None:
    """Refuse early what would not fit: HDF5 can't close a file properly on a full disk.

    Raises
    ------
    RunError
        The disk of `target` has less than `n_bytes` left.
    """
    there = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if n_bytes > free:
        raise RunError(
            f"{target}: takes {n_bytes / 1e9:.3g} GB, and there are {free / 1e9:.3g} GB left on "
            "this disk; make room, then run the same command again: what is done is kept"
        )


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _remove(path)
        raise


def remove_partial_files(folder: Path) -> None:
    """Remove what a killed process has left of files that it was writing."""
    for path in folder.rglob(f"*{PARTIAL}"):
        _remove(path)
    for path in folder.rglob(f".*{LOCK}"):
        clear(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        remove_quietly(path)
