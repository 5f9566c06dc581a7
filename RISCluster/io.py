"""Files: written whole or not at all; JSON, CSV, NumPy arrays, checkpoints of plain values.

Every file is written beside its place, flushed to disk and renamed.
"""

import contextlib
import csv
import errno
import hashlib
import importlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .errors import CheckpointError, MissingPackage, RunError

FORMAT = 1  # of checkpoints; raised when a reader of the old could misread the new
PARTIAL = ".partial"  # at the end of the name of a file that is being written
LOCK = ".lock"  # at the end of the name of its lock
BLOCK_ROWS = 65536  # rows of an array on disk that are handled at a time


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; a reader sees the old one or the new one.

    Raises
    ------
    RunError
        The file can't be written; the old one, if any, is intact.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with _removed_on_error(partial):
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(partial, path)
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A path beside the target, file or folder, which becomes the target when all went well.

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
        raise _cannot_write(target, error) from None


def _cannot_write(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: can't be written: {error.strerror or error}; make room or change permissions, "
        "then run again: what was saved before is intact"
    )


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename, and flush the folder, so that a power cut can't undo it."""
    partial.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    """Flush a file or a folder to disk."""
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


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _remove(path)
        raise


def remove_quietly(path: Path) -> None:
    """Remove a file if it is there and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        remove_quietly(path)


def remove_partial_files(folder: Path) -> None:
    """Remove files that a killed process was writing, and their locks."""
    for path in folder.rglob(f"*{PARTIAL}"):
        _remove(path)
    for path in folder.rglob(f".*{LOCK}"):
        clear(path)


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


# ---- text and JSON ----


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """`write_bytes` of indented JSON; NaN becomes null, which every reader of JSON takes."""
    write_text(path, json.dumps(_without_nan(value), indent=2) + "\n")


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """What `read_json` gives of a dict that `write_json` has written."""
    return json.loads(json.dumps(_without_nan(value)))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: can't be read: {error}; move {path.parent} away and run the stage again"
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path}: not what this program writes: no JSON object; move {path.parent} away "
            "and run the stage again"
        )
    return value


# ---- arrays ----


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """`write_bytes` of named arrays in NumPy's format."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_npz` wrote; nothing is unpickled.

    Raises
    ------
    CheckpointError
        The file is missing or damaged.
    """
    try:
        _require_whole_zip(path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; run its stage again") from None
    except Exception as error:  # numpy and zipfile raise many kinds for damaged bytes
        raise _damaged(path, error) from None


def _require_whole_zip(path: Path) -> None:
    """Compare the checksums in a zip archive, which PyTorch does not look at."""
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise ValueError("it is larger unpacked than packed")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"{name} does not match its checksum")


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: damaged, can't be read: {error}; move it away and run its stage again"
    )


@contextlib.contextmanager
def new_rows(path: Path, shape: tuple[int, int], dtype: str = "float32") -> Iterator[np.ndarray]:
    """A ``.npy`` file as an array to write to, in place once the block ends.

    Raises
    ------
    RunError
        It can't be written; one that was there is intact.
    """
    require_room(path, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    with new_file(path) as partial:
        rows = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        yield rows
        rows.flush()


def open_rows(path: Path) -> np.ndarray:
    """Memory map of a ``.npy`` file with two dimensions, to read.

    Raises
    ------
    CheckpointError
        It is missing, or not such a file.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; run its stage again") from None
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise _damaged(path, error) from None
    if rows.ndim != 2:
        raise CheckpointError(
            f"{path}: not an array of rows of numbers; move it away and run its stage again"
        )
    return rows.view(np.ndarray)


def row_blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """`BLOCK_ROWS` rows of an array at a time, each with the number of its first."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield start, np.array(rows[start : start + BLOCK_ROWS])


# ---- tables ----


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """`write_bytes` of a CSV table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


class HistoryFile:
    """A CSV table that grows by a row an epoch and survives being cut at any moment.

    Parameters
    ----------
    path : Path
    header : sequence of str
        Its first column is ``epoch``, which counts up.
    n_epochs : int
        Epochs to keep of a table that is there already; 0 starts a new one.

    Raises
    ------
    CheckpointError
        The table that is there is damaged.
    """

    def __init__(self, path: Path, header: Sequence[str], n_epochs: int):
        self.path = path
        rows = _history(path, list(header), n_epochs) if n_epochs and path.exists() else []
        write_csv(path, header, rows)

    def append(self, row: Sequence[Any]) -> None:
        """Add one row and flush it to disk."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text.getvalue())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _cannot_write(self.path, error) from None


def _history(path: Path, header: list[str], n_epochs: int) -> list[list[str]]:
    """Rows of the first epochs; the row after them may be cut."""
    try:
        found, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        if found != header:
            raise ValueError(f"its header is not {','.join(header)}")
        kept = []
        for row in rows:
            if kept and int(kept[-1][0]) == n_epochs:
                break
            if len(row) != len(header) or not all(map(_is_number, row)):
                raise ValueError(f"'{','.join(row)}' is no row of it")
            if kept and int(row[0]) != int(kept[-1][0]) + 1:
                raise ValueError(f"epoch {row[0]} comes after {kept[-1][0]}")
            kept.append(row)
        if not kept or int(kept[-1][0]) != n_epochs:
            raise ValueError(f"it ends before epoch {n_epochs}")
        return kept
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(
            f"{path}: damaged, can't be read: {error}; move it away and run the same command "
            f"again: the table begins anew after epoch {n_epochs}"
        ) from None


def _is_number(text: str) -> bool:
    try:
        return bool(text.strip()) and float(text) is not None
    except ValueError:
        return False


# ---- checkpoints ----


def save_checkpoint(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values as a torch file; equal ones give equal bytes.

    Parameters
    ----------
    path : Path
    kind : str
        What it is, such as ``"AEC model"``; `load_checkpoint` insists on it.
    content : dict
        Nested dicts and lists of tensors, numbers, strings, booleans and None.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(_shared_texts({"format": FORMAT, "kind": kind, **content}, {}), buffer)
    write_bytes(path, buffer.getvalue())


def _shared_texts(value: Any, known: dict[str, str]) -> Any:
    """A copy in which equal texts are one object: pickles of equal and of same ones differ."""
    if isinstance(value, str):
        return known.setdefault(value, value)
    if isinstance(value, dict):
        copy = type(value)()
        for name, item in getattr(value, "__dict__", {}).items():  # versions in a module's state
            setattr(copy, name, _shared_texts(item, known))
        for key, item in value.items():
            copy[_shared_texts(key, known)] = _shared_texts(item, known)
        return copy
    if isinstance(value, (list, tuple)):
        return type(value)(_shared_texts(item, known) for item in value)
    return value


def read_torch(path: Path) -> Any:
    """Content of any torch file, on the CPU; tensors and plain values only, nothing is executed.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or holds anything else.
    """
    import torch

    try:
        if zipfile.is_zipfile(path):  # PyTorch's older format is none
            _require_whole_zip(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file; run its stage again, or name another"
        ) from None
    except Exception as error:  # torch raises many kinds for damaged or hostile bytes
        reason = str(error) if type(error) is ValueError else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged, or not a file of tensors and plain values ({reason}); move it away "
            "and run its stage again, or name another"
        ) from None


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, on the CPU, without executing anything in it.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, of another kind or of another format.
    """
    content = read_torch(path)
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind", "something else") if isinstance(content, dict) else "no dict"
        raise CheckpointError(
            f"{path}: holds {found}, not {kind}; name another, or run its stage again"
        )
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: written in format {content.get('format')}, this version reads {FORMAT}; run "
            "its stage again, or read it with the version that wrote it"
        )
    return content


def sha256(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


# Extra, name by which it is installed, and what it is for, by the name that is imported.
EXTRAS = {
    "obspy": ("waveforms", "obspy", "waveforms are read with obspy"),
    "zarr": ("cubes", "zarr", "Zarr cubes are read and written with zarr"),
    "umap": ("embedding", "umap-learn", "report.embedding = umap is drawn with umap-learn"),
    "openTSNE": ("embedding", "openTSNE", "report.embedding = opentsne is drawn with openTSNE"),
}


def need(package: str) -> ModuleType:
    """Import a package of an extra.

    Parameters
    ----------
    package : str
        One of `EXTRAS`.

    Raises
    ------
    MissingPackage
        It is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        extra, name, why = EXTRAS[package]
        raise MissingPackage(
            f"{why}, which can't be imported here ({error}); install it with: pip install "
            f"{name}, or conda install -c conda-forge {name.lower()} (it is the extra '{extra}')"
        ) from None


# Registered numbers of HDF5's filters that hdf5plugin has
HDF5_FILTERS = {
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}


@cache
def load_hdf5_filters() -> None:
    """Make the filters of hdf5plugin known to HDF5, where it is installed; once a process."""
    try:
        importlib.import_module("hdf5plugin")
    except Exception:  # missing, or built against another HDF5: explain_missing_filter names it
        return


def explain_missing_filter(dataset: Any) -> str | None:
    """Why the chunks of a data set can't be unpacked here.

    Parameters
    ----------
    dataset : h5py.Dataset

    Returns
    -------
    str or None
        Filter and the package that has it; None where all its filters are there.
    """
    import h5py

    load_hdf5_filters()
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        name = HDF5_FILTERS.get(code) or name.decode("utf-8", "replace").strip() or "unknown"
        return (
            f"it is compressed with the HDF5 filter {name} (number {code}), which is missing here; "
            "install it with: pip install hdf5plugin"
        )
    return None
