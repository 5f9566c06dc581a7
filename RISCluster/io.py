"""Files: JSON, CSV, NumPy arrays, torch files; atomic writes and locks; optional packages."""

import contextlib
import glob
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .errors import CheckpointError, MissingPackage, RunError

FORMAT = 1  # of checkpoints
PARTIAL, LOCK = ".partial", ".lock"  # suffixes of a file that is being written, and of its lock
BLOCK_ROWS = 65536  # rows of an array on disk that are processed at a time

# ---- locks and atomic writes --------------------------------------------------------------------


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Raise an OSError of the block as a RunError about `path`."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; make room, change permissions "
            "or name another place, then run again: files saved before are intact"
        ) from None


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keep other processes from a file or folder, or a RunError if one has it now."""
    path = place.absolute().with_name(f".{place.name}{LOCK}")
    lock = FileLock(path, timeout=0)  # released by the system if the process is killed
    with write_errors(place):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{place}: in use by another process; wait until it has ended, or stop it, then "
                "run the same command again"
            ) from None
    try:
        yield
    finally:
        remove_quietly(path)  # before the release: no other process holds it then
        lock.release()


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Path beside a target (file or folder), renamed to it after the block; or a RunError."""
    partial = target.with_name(target.name + PARTIAL)
    with locked(target), write_errors(target):
        remove_quietly(partial)
        try:
            yield partial
            for path in filter(Path.is_file, [partial, *partial.rglob("*")]):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if target.is_dir() and partial.is_dir():  # a Zarr folder
                shutil.rmtree(target)
            partial.replace(target)
        finally:
            remove_quietly(partial)


def remove_quietly(path: Path) -> None:
    """Remove a file or folder if it exists and can be removed."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):  # not a folder
        path.unlink()


def require_room(target: Path, n_bytes: int) -> None:
    """RunError for a file that would not fit: HDF5 can't close a file properly on a full disk."""
    folder = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise RunError(
            f"{target}: needs {n_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free on this "
            "disk; make room, then run the same command again: finished parts are not repeated"
        )


# ---- paths --------------------------------------------------------------------------------------


class Address(type(Path())):
    """Path of an object store, such as s3://bucket/cube.zarr or https://host/cube.zarr."""

    def __str__(self) -> str:
        return re.sub(r"^(\w+):/+", r"\1://", super().__str__())


def as_path(text: str | Path) -> Path:
    """Path that a text names, with the home folder for ~, or an `Address`."""
    return Address(text) if "://" in str(text) else Path(text).expanduser()


def is_remote(path: Path) -> bool:
    """Whether a path is in an object store."""
    return isinstance(path, Address)


def store_options(url: str | Path) -> dict[str, Any]:
    """Options of fsspec: S3 without credentials in environment or home folder is read as public."""
    has_keys = {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} & {*os.environ}
    has_keys = has_keys or Path("~/.aws/credentials").expanduser().exists()
    return {} if has_keys or not str(url).startswith("s3:") else {"anon": True}


def find_paths(text: str) -> list[Path]:
    """Paths that a text names: one, or several with commas, each of them also a pattern."""
    if os.path.exists(Path(text).expanduser()):
        return [Path(text).expanduser()]
    found: dict[Path, None] = {}
    for path in map(as_path, filter(None, map(str.strip, text.split(",")))):
        matches = [] if os.path.exists(path) else sorted(glob.glob(str(path), recursive=True))
        found |= dict.fromkeys(map(Path, matches)) if matches else {path: None}
    return list(found) or [Path(text)]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- text, JSON, CSV and arrays: every writer is atomic -----------------------------------------


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; see `new_file`."""
    with new_file(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write_bytes(path, text.encode())


def plain(value: Any) -> Any:
    """Value for JSON: NumPy's scalars as Python's, and null for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON; NaN becomes null."""
    write_text(path, json.dumps(plain(value), indent=2) + "\n")


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays in NumPy's format."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


@contextlib.contextmanager
def new_rows(path: Path, shape: tuple[int, int], dtype: str = "float32") -> Iterator[np.ndarray]:
    """Array to write to, which is the ``.npy`` file `path` after the block."""
    require_room(path, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    with new_file(path) as partial:
        rows = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        yield rows
        rows.flush()


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Raise any error as a CheckpointError: parsers raise many kinds for damaged bytes."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        elif "weights_only" in str(error):  # which PyTorch tells to switch off
            reason = "not a file of weights as PyTorch saves them"
        raise CheckpointError(
            f"{path}: missing or damaged: {reason}; run its stage again, or name another"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or damaged file is a CheckpointError."""
    with _read_errors(path):
        return {**json.loads(path.read_text(encoding="utf-8"))}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays; a missing or damaged file is a CheckpointError."""
    with _read_errors(path), path.open("rb") as file:  # or it stays open if it is damaged
        return dict(np.load(file, allow_pickle=False))


def open_rows(path: Path) -> np.ndarray:
    """Memory map of a ``.npy`` file (N, D); a missing or damaged one is a CheckpointError."""
    with _read_errors(path):
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if rows.ndim != 2:
            raise ValueError("not an array of rows")
        return rows.view(np.ndarray)


def row_blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of `BLOCK_ROWS` rows of an array, each with the number of its first row."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield start, np.array(rows[start : start + BLOCK_ROWS])


# ---- torch files --------------------------------------------------------------------------------


def save_checkpoint(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write tensors and plain values of a `kind` as ``AEC model``, as equal bytes if equal."""
    import torch

    buffer = io.BytesIO()
    torch.save(_with_shared_texts({"format": FORMAT, "kind": kind, **content}), buffer)
    write_bytes(path, buffer.getvalue())


def _with_shared_texts(value: Any) -> Any:
    """Copy in which equal texts are one object, because pickle writes an object once."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {_with_shared_texts(key): _with_shared_texts(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_shared_texts, value))
    return value


def read_torch(path: Path) -> Any:
    """Tensors and plain values of a torch file, on the CPU; executes nothing."""
    import torch

    with _read_errors(path):
        if zipfile.is_zipfile(path):  # PyTorch's older format is not
            with zipfile.ZipFile(path) as archive:
                if name := archive.testzip():  # PyTorch compares no checksums
                    raise ValueError(f"{name} does not match its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Content that `save_checkpoint` wrote, of the same kind and format."""
    content = read_torch(path)
    found = content.get("kind") if isinstance(content, dict) else "something else"
    if found != kind or content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: holds {found}, not {kind} of this version; name another or rerun its stage"
        )
    return content


# ---- optional packages --------------------------------------------------------------------------

PIP_NAMES = {"umap": "umap-learn"}  # where they differ from that of the module


def need(module: str) -> ModuleType:
    """Import a module of an optional package; MissingPackage with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackage(
            f"{package}: can't be imported ({error}); pip install {PIP_NAMES.get(package, package)}"
        ) from None


@cache
def load_hdf5_filters() -> None:
    """Register the filters of hdf5plugin with HDF5, where it is installed."""
    with contextlib.suppress(Exception):  # missing, or built against another HDF5
        importlib.import_module("hdf5plugin")


def explain_missing_filter(dataset: Any) -> str | None:
    """Filter without which chunks of an h5py data set can't be read here; None if there is none."""
    import h5py

    load_hdf5_filters()
    properties = dataset.id.get_create_plist()
    filters = map(properties.get_filter, range(properties.get_nfilters()))
    lacking = [f"{x[3].decode()} ({x[0]})" for x in filters if not h5py.h5z.filter_avail(x[0])]
    what = "which is missing here; install it with: pip install hdf5plugin"
    return f"it is compressed with the HDF5 filter {lacking[0]}, {what}" if lacking else None
