"""Formats of files: JSON, CSV, NumPy's, and checkpoints that hold nothing but plain values."""

import csv
import hashlib
import io
import json
import math
import os
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .atomic import new_file as new_file
from .atomic import remove_partial_files as remove_partial_files
from .atomic import remove_quietly as remove_quietly
from .atomic import require_room as require_room
from .atomic import write_bytes
from .errors import CheckpointError, RunError
from .seals import Damaged, is_sealed, is_zip, require_whole_zip, sealed_zip

FORMAT = 1  # of checkpoints; raised when a reader of the old could misread the new


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


def write_npy(path: Path, array: np.ndarray) -> None:
    """`write_bytes` of an array in NumPy's format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """`write_bytes` of named arrays in NumPy's format."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, sealed_zip(buffer.getvalue()))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_npz` wrote; nothing is unpickled.

    Raises
    ------
    CheckpointError
        The file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            require_whole_zip(file)
            with zipfile.ZipFile(file) as archive:
                return {
                    name.removesuffix(".npy"): _read_array(archive.read(name))
                    for name in archive.namelist()
                }
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; run its stage again") from None
    except Exception as error:  # numpy and zipfile raise many kinds for damaged bytes
        raise CheckpointError(
            f"{path}: damaged, can't be read: {error}; move it away and run its stage again"
        ) from None


def _read_array(content: bytes) -> np.ndarray:
    """Array of a file in NumPy's format; no memory is taken for more than it holds."""
    file = io.BytesIO(content)
    shape, _, dtype = read_npy_header(file)
    if dtype.itemsize * math.prod(shape) != len(content) - file.tell():
        raise Damaged(f"its bytes do not make an array of {shape}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column by column, and type of an array in NumPy's format.

    Raises
    ------
    Damaged
        It is not such a file, or of objects.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        with warnings.catch_warnings(action="ignore"):  # of headers as Python 2 wrote them
            shape, by_columns, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise Damaged(f"its header is none of NumPy's: {error}") from None
    if dtype.hasobject or min(shape, default=0) < 0:
        raise Damaged("not an array of numbers")
    return shape, by_columns, dtype


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
            raise RunError(
                f"{self.path}: can't be written: {error.strerror or error}; make room or change "
                "permissions, then run again: what was saved before is intact"
            ) from None


def _history(path: Path, header: list[str], n_epochs: int) -> list[list[str]]:
    """Rows of the first epochs; of one more, which a kill has cut, nothing is asked."""
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
    torch.save(_with_one_of_each_text({"format": FORMAT, "kind": kind, **content}, {}), buffer)
    write_bytes(path, sealed_zip(buffer.getvalue()))


def _with_one_of_each_text(value: Any, known: dict[str, str]) -> Any:
    """A copy in which equal texts are one object, for a pickle tells one from two alike."""
    if isinstance(value, str):
        return known.setdefault(value, value)
    if isinstance(value, dict):
        copy = type(value)()
        vars_of = getattr(value, "__dict__", {})  # PyTorch hangs versions on states of modules
        for name, item in vars_of.items():
            setattr(copy, name, _with_one_of_each_text(item, known))
        for key, item in value.items():
            copy[_with_one_of_each_text(key, known)] = _with_one_of_each_text(item, known)
        return copy
    if isinstance(value, (list, tuple)):
        return type(value)(_with_one_of_each_text(item, known) for item in value)
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
        with path.open("rb") as file:
            if is_zip(file):
                require_whole_zip(file)
            elif is_sealed(file):
                raise Damaged("it is sealed, and no archive")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file; run its stage again, or name another"
        ) from None
    except Exception as error:  # torch raises many kinds for damaged or hostile bytes
        reason = str(error) if isinstance(error, Damaged) else type(error).__name__
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
