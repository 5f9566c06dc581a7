"""Files that are either whole or not there, and checkpoints that hold nothing but plain values."""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError, RunError

FORMAT = 1  # of checkpoints; raised when a reader of the old could misread the new


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the place, flush to disk, then rename: a reader sees the old or the new.

    Raises
    ------
    RunError
        The file can't be written; the old one, if any, is intact.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        remove_quietly(partial)
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run again: what was saved before is intact"
        ) from None


def remove_quietly(path: Path) -> None:
    """Remove a file if it is there and can be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A path beside the target to write to, which becomes the target when all went well.

    Raises
    ------
    RunError
        It can't be written; a target that was there is intact.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if target.is_dir():
            shutil.rmtree(target)
        partial.replace(target)
    except OSError as error:
        _remove(partial)
        raise RunError(
            f"{target}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run again: what was made before is intact"
        ) from None
    except BaseException:
        _remove(partial)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        remove_quietly(path)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """`write_bytes` of indented JSON; NaN becomes null, which every reader of JSON takes."""
    write_text(path, json.dumps(_without_nan(value), indent=2) + "\n")


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
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: can't be read: {error}; move {path.parent} away and run the stage again"
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not what this program writes: no JSON object")
    return value


def write_npy(path: Path, array: np.ndarray) -> None:
    """`write_bytes` of an array in NumPy's format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


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
        # From memory: NumPy leaves a damaged file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # numpy and zipfile raise many kinds for damaged bytes
        raise CheckpointError(f"{path}: damaged, can't be read: {error}") from None


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
        Its first column is ``epoch``, ascending from 1.
    n_epochs : int
        Rows to keep of a table that is there already; 0 starts a new one.
    """

    def __init__(self, path: Path, header: Sequence[str], n_epochs: int):
        self.path = path
        rows: list[list[str]] = []
        if n_epochs and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))[1 : n_epochs + 1]
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
            raise RunError(f"{self.path}: can't be written: {error.strerror or error}") from None


def save_checkpoint(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values as a torch file.

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
    torch.save({"format": FORMAT, "kind": kind, **content}, buffer)
    write_bytes(path, buffer.getvalue())


def read_torch(path: Path) -> Any:
    """Content of any torch file, on the CPU; tensors and plain values only, nothing is executed.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or holds anything else.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # torch raises many kinds for damaged or hostile bytes
        raise CheckpointError(
            f"{path}: damaged, or not a file of tensors and plain values "
            f"({type(error).__name__}); move it away, or name another"
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
        raise CheckpointError(f"{path}: holds {found}, not {kind}")
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: written in format {content.get('format')}, this version reads {FORMAT}"
        )
    return content


def sha256(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
