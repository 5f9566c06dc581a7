"""HDF5 files and Zarr folders, opened for reading and looked into in one way."""

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..io import explain_missing_filter, load_hdf5_filters, need
from .times import to_text

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
CHUNK_CACHE = 64 * 2**20  # bytes; neighbouring windows share chunks
MAX_LISTED = 20
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
# Attributes that hold names of dimensions, of those who do without HDF5's scales
DIMENSIONS = ("_ARRAY_DIMENSIONS", "dimensions", "dims", "_dims")

_BUILD = "to compute spectrograms of waveforms, run: python -m RISCluster build"
_TABLE = "write the spectrograms with h5py or xarray"
# By the first bytes of a file: what it is, and what to do.
KINDS = (
    (rb"\d{6}[DRQM][ \0]|MS\x03", f"miniSEED; {_BUILD}"),
    (rb".{304}(\x06\0\0\0|\0\0\0\x06|\x07\0\0\0|\0\0\0\x07)", f"SAC; {_BUILD}"),
    (rb"WID[12]|BEGIN (IMS|GSE)", f"GSE or IMS; {_BUILD}"),
    (rb"TIMESERIES ", f"ASCII waveforms (SLIST, TSPAIR); {_BUILD}"),
    (rb"\xc3(\x40|\xf0)|C 1 |C01 ", f"SEG-Y; {_BUILD}"),
    (rb"TDSm", "TDMS; make a cube of it with: python -m RISCluster cube"),
    (rb"version https://git-lfs", "a pointer of Git LFS and not the data; run: git lfs pull"),
    (rb"CDF[\x01\x02\x05]", "classic netCDF; make netCDF-4 of it: nccopy -k nc4 IN OUT"),
    (rb"\x93NUMPY", f"NumPy's npy; {_TABLE}"),
    (rb"PK\x03\x04", "a zip archive, as npz and packed Zarr are; unpack it first"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "packed by gzip, bzip2, xz or zstd; unpack it"),
    (rb"MATLAB 5", f"MATLAB 5; save it with '-v7.3', or: {_TABLE}"),
    (rb"\x89PNG|\xff\xd8\xff|%PDF|RIFF", f"an image, a sound or a PDF; {_TABLE}"),
    (rb"\s*<", "XML or HTML, as an error page of a server is; get the data again"),
    (rb"[\t\r\n -~\x80-\xff]+\Z", f"text, as CSV is; {_TABLE}"),
)  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """An open file or folder of arrays; `root` is an h5py.File, zarr.Group or zarr.Array."""

    path: Path
    root: Any
    is_zarr: bool

    def close(self) -> None:
        """Close the file."""
        if not self.is_zarr:
            self.root.close()

    def get(self, name: str) -> Any:
        """An array by its path inside, or None."""
        if is_array(self.root):
            return self.root if name in ("", "/") else None
        try:
            found = self.root.get(name)
        except (KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
            _raise_missing_codec(self.path, name, error)
            return None  # a link to nowhere
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
        except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
            _raise_missing_codec(place_of(group), prefix + name, error)
            continue  # a link to nowhere
        if is_array(item):
            yield prefix + name, item
        elif hasattr(item, "keys") and item not in above:  # a link may lead back up
            yield from _walk(item, f"{prefix}{name}/", above)


def _names(group: Any, prefix: str) -> list[str]:
    try:
        return list(group)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        _raise_missing_codec(place_of(group), f"/{prefix}", error)
        raise DataError(
            f"{place_of(group)}: what is in /{prefix} can't be listed ({reason_of(error)}); "
            "copy or make it again"
        ) from None


def reason_of(error: BaseException) -> str:
    """What an exception of h5py or zarr says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def list_arrays(root: Any) -> str:
    """Names of the first arrays in a file, for a message."""
    names = [name for name, _ in sorted(_walk(root, ""))]
    more = ", ..." if len(names) > MAX_LISTED else ""
    return (", ".join(names[:MAX_LISTED]) or "no data set") + more


def open_storage(path: Path, setting: str) -> Storage:
    """Open an HDF5 file or a Zarr folder (format 2 or 3) for reading.

    `setting` is named in messages as what to change.

    Raises
    ------
    DataError
        It is missing, neither of the two, or cut short.
    MissingPackage
        It is Zarr, and zarr is not installed.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file; set {setting} to your data set")
        if path.is_dir():
            return _open_zarr(path, setting)
        if not path.is_file():
            raise DataError(f"{path}: is no file; {setting} must be an HDF5 file or a Zarr folder")
        load_hdf5_filters()
        return Storage(path, h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE), False)
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None


def why_closed(path: Path, error: OSError) -> str:
    """Why a file can't be opened as HDF5, and what to do."""
    reason = reason_of(error)
    if "lock file" in reason and error.errno in (11, 13, 35):
        return (
            "is locked by a program that writes it; close that, or wait for its end (where none "
            "does, set the environment variable HDF5_USE_FILE_LOCKING=FALSE)"
        )
    if "lock file" in reason:
        return (
            f"can't be locked here ({reason}); set the environment variable "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    if "already open for" in reason:
        return (
            "is being written by another program, or was when that was killed; close it, or wait "
            "for its end (if it was killed, run: h5clear -s FILE)"
        )
    if isinstance(error, PermissionError):
        return "permission to read it is denied; change its permissions"
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = os.fstat(file.fileno()).st_size
    except OSError as second:
        return f"can't be read ({second.strerror}); check the disk, or copy it again"
    if not size:
        return "is empty (0 bytes); copy or build it again"
    kind = next((kind for form, kind in KINDS if re.match(form, head, re.DOTALL)), None)
    if kind and not head.startswith(b"\x89HDF"):
        return f"can't be opened as HDF5: it must be HDF5 or Zarr, and is {kind}"
    reason = reason.rpartition("(")[2].rstrip(")") or reason
    return (
        f"can't be opened as HDF5 ({reason}); it may be another kind of file, or cut short: "
        "copy or build it again"
    )


def _open_zarr(path: Path, setting: str) -> Storage:
    if not any((path / mark).exists() for mark in ZARR_MARKS):
        raise DataError(
            f"{path}: is a folder; {setting} must be an HDF5 file or a Zarr folder; {_BUILD}"
        )
    zarr = need("zarr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that Zarr's third format has not settled
            return Storage(path, zarr.open(str(path), mode="r"), True)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        _raise_missing_codec(path, "/", error)
        raise DataError(
            f"{path}: can't be opened as Zarr ({reason_of(error)}); make it again"
        ) from None


def _raise_missing_codec(place: Any, name: str, error: Exception) -> None:
    """Name a codec of Zarr that is not installed, where that is the error."""
    text = reason_of(error)
    if isinstance(error, KeyError) and "codec" not in text.lower():
        return
    if "UnknownCodec" in type(error).__name__ or re.search(
        "codec.*not (available|found)|Unknown codec", text
    ):
        raise DataError(
            f"{place}: {name} is compressed with a codec of Zarr that is missing here ({text}); "
            "install it with: pip install numcodecs, or the package that has this codec"
        ) from None


def attributes_of(array: Any) -> dict[str, Any]:
    """All attributes of an array; DataError where they are damaged."""
    try:
        return dict(array.attrs)
    except (TypeError, ValueError, KeyError, OSError, RuntimeError) as error:
        raise DataError(
            f"{place_of(array)}: attributes of {array.name} can't be read ({reason_of(error)}); "
            "copy or make it again"
        ) from None


def notes_of(array: Any) -> dict[str, Any]:
    """Attributes of an array or group without those that HDF5 and netCDF have for themselves."""
    own = r"CLASS|NAME|DIMENSION_L\w+|REFERENCE_LIST|_N(etcdf4|C)\w+"
    return {key: value for key, value in attributes_of(array).items() if not re.fullmatch(own, key)}


def text_attribute(array: Any, name: str) -> str:
    """An attribute as text, empty where it is not there."""
    value = np.ravel(attributes_of(array).get(name, ""))
    return to_text(value[0]).strip() if value.size else ""


def place_of(array: Any) -> Any:
    """File or folder of an array or group, for messages."""
    if isinstance(array, (h5py.Dataset, h5py.Group)):
        return array.file.filename
    return str(array.store_path).removeprefix("file://")


def is_variable(array: Any) -> bool:
    """Whether an array holds values, rather than the size of a netCDF dimension alone."""
    name = attributes_of(array).get("NAME", b"")
    return not (isinstance(name, bytes) and name.startswith(NO_VARIABLE))


def shape_of(array: Any) -> tuple[int, ...]:
    """Shape of an array; of texts kept as single characters, as netCDF may, that of the texts."""
    shape = tuple(array.shape or ())  # none at all where it is declared as empty
    return shape[:-1] if array.dtype == "S1" and len(shape) > 1 else shape


def joined(values: np.ndarray) -> np.ndarray:
    """Texts of single characters, (n, length), to (n,); other values unchanged."""
    if values.dtype != "S1" or values.ndim < 2 or not values.size:
        return values
    return np.ascontiguousarray(values).view(f"S{values.shape[-1]}")[..., 0]


def dimension_names(array: Any) -> list[str]:
    """Names of the axes of an array, empty where the file gives none.

    Of HDF5's scales and labels, Zarr's ``dimension_names``, or an attribute; see `DIMENSIONS`.
    """
    names: list[str] = [""] * array.ndim
    if not isinstance(array, h5py.Dataset):
        found = getattr(array.metadata, "dimension_names", None)
        names = [name or "" for name in found or names]
    else:
        try:
            for axis, dimension in enumerate(array.dims):
                scale = dimension[0].name if len(dimension) else ""
                names[axis] = (dimension.label or scale or "").rpartition("/")[2]
        except (KeyError, OSError, RuntimeError, ValueError, UnicodeError):  # damaged references
            names = [""] * array.ndim
    attributes = {} if any(names) else attributes_of(array)
    for key in DIMENSIONS:
        found = attributes.get(key, [])
        texts = found.split(",") if isinstance(found, str) else np.ravel(found).tolist()
        if len(texts) == array.ndim and key in attributes:
            return [to_text(text).strip() for text in texts]
    return names


def require_filters(array: Any) -> None:
    """Refuse a data set of HDF5 whose compression filter is not installed, with its name."""
    why = explain_missing_filter(array) if isinstance(array, h5py.Dataset) else None
    if why:
        raise DataError(f"{place_of(array)}: {array.name} needs another package: {why}")
