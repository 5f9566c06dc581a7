"""HDF5 files and Zarr folders, opened for reading and looked into in one way."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import DataError
from ...extras import need

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
CHUNK_CACHE = 64 * 2**20  # bytes; neighbouring windows share chunks
MOST_LISTED = 20


@dataclass(frozen=True)
class Storage:
    """An open file or folder of arrays.

    Attributes
    ----------
    path : Path
    root : h5py.File, zarr.Group or zarr.Array
    is_zarr : bool
    """

    path: Path
    root: Any
    is_zarr: bool

    def close(self) -> None:
        """Close the file."""
        if not self.is_zarr:
            self.root.close()

    @property
    def is_cube(self) -> bool:
        """Whether this looks like a cube rather than rows of spectrograms."""
        data = self.get("data")
        return data is not None and data.ndim == 3 and self.get("spectrogram") is None

    def get(self, name: str) -> Any:
        """An array by its path inside, or None."""
        if is_array(self.root):
            return self.root if name in ("", "/") else None
        try:
            found = self.root.get(name)
        except (
            KeyError,
            ValueError,
            TypeError,
            OSError,
            RuntimeError,
        ):  # a link to nowhere
            return None
        return found if is_array(found) else None

    def arrays(self) -> Iterator[tuple[str, Any]]:
        """Every array with its path, ascending."""
        if is_array(self.root):
            yield "/", self.root
            return
        yield from sorted(_walk(self.root, ""))


def is_array(item: Any) -> bool:
    """Whether an item of HDF5 or Zarr is an array, not a group."""
    return hasattr(item, "shape") and hasattr(item, "dtype")


def _walk(group: Any, prefix: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    above = (*above, group)
    for name in _names(group, prefix):
        try:
            item = group[name]
        except (KeyError, OSError, RuntimeError, ValueError, TypeError):  # a link to nowhere
            continue
        if is_array(item):
            yield prefix + name, item
        elif hasattr(item, "keys") and item not in above:  # a link may lead back up
            yield from _walk(item, f"{prefix}{name}/", above)


def _names(group: Any, prefix: str) -> list[str]:
    try:
        return list(group)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        place = group.file.filename if isinstance(group, h5py.Group) else group.store_path
        raise DataError(
            f"{place}: what is in /{prefix} can't be listed ({_reason(error)}); copy or make it "
            "again"
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def list_arrays(root: Any) -> str:
    """Names of the arrays in a file, at most twenty, for a message."""
    names = [name for name, _ in sorted(_walk(root, ""))]
    more = ", ..." if len(names) > MOST_LISTED else ""
    return (", ".join(names[:MOST_LISTED]) or "no data set") + more


def open_storage(path: Path, setting: str) -> Storage:
    """Open an HDF5 file or a Zarr folder (format 2 or 3) for reading.

    Parameters
    ----------
    path : Path
    setting : str
        What a message tells the user to change.

    Raises
    ------
    DataError
        It is missing, neither of the two, or cut short.
    MissingPackage
        It is Zarr, and zarr is not installed.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; set {setting} to your data set")
    if path.is_dir():
        return _open_zarr(path, setting)
    try:
        return Storage(path, h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE), False)
    except OSError as error:
        reason = str(error).rpartition("(")[2].rstrip(")")
        raise DataError(
            f"{path}: can't be opened as HDF5 ({reason}); it may be another kind of file, or cut "
            "short: copy or build it again"
        ) from None


def _open_zarr(path: Path, setting: str) -> Storage:
    if not any((path / mark).exists() for mark in ZARR_MARKS):
        raise DataError(f"{path}: is a folder; {setting} must be an HDF5 file or a Zarr folder")
    zarr = need("zarr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that Zarr's third format has not settled
            return Storage(path, zarr.open(str(path), mode="r"), True)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: can't be opened as Zarr ({reason}); make it again") from None


def read_all(array: Any) -> np.ndarray:
    """A small array as a whole.

    Raises
    ------
    DataError
        It is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(array[()] if array.ndim == 0 else array[:])
    except Exception as error:  # zarr and its codecs raise many kinds
        raise DataError(
            f"{_place(array)}: {array.name} can't be read ({_reason(error)}); copy or make it again"
        ) from None


def attributes_of(array: Any) -> dict[str, Any]:
    """All attributes of an array.

    Raises
    ------
    DataError
        They are damaged.
    """
    try:
        return dict(array.attrs)
    except (TypeError, ValueError, KeyError, OSError, RuntimeError) as error:
        raise DataError(
            f"{_place(array)}: attributes of {array.name} can't be read ({_reason(error)}); copy "
            "or make it again"
        ) from None


def _place(array: Any) -> Any:
    return array.file.filename if isinstance(array, h5py.Dataset) else array.store_path
