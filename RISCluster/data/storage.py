"""HDF5 files and Zarr folders: opened, listed, and their arrays read as the file describes them.

Arrays are unpacked by the conventions of CF and netCDF, and values that are missing (fill values,
missing sources of virtual data sets, chunks never written) are NaN. A box is (start, stop) along
every axis.
"""

import base64
import binascii
import contextlib
import glob
import math
import os
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..io import explain_missing_filter, load_hdf5_filters, need
from ..runtime import log
from .times import to_text

Box = Sequence[tuple[int, int]]
Axes = Sequence[int]

CHUNK_CACHE = 64 * 2**20  # bytes; neighbouring windows share chunks
MAX_LISTED = 20  # names of arrays in a message
MAX_CAUSES = 3  # of missing values in a log line
MAX_UNWRITTEN = 0.999  # of all chunks; a data set with more has a size and no values
NO_DATA = (".xml", ".txt", ".csv", ".json", ".ini", ".md", ".pdf", ".png", ".partial", ".log")
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"

_BUILD = "to compute spectrograms of waveforms, run: python -m RISCluster build"
_WRITE = "write the spectrograms with h5py or xarray"
# By the first bytes of a file: what it is, and what to do.
KINDS = (
    (rb"\d{6}[DRQM][ \0]|MS\x03|WID[12]|BEGIN (IMS|GSE)|TIMESERIES |\xc3(\x40|\xf0)|C 1 |C01 |"
     rb".{304}(\x06\0\0\0|\0\0\0\x06|\x07\0\0\0|\0\0\0\x07)", f"a file of waveforms; {_BUILD}"),
    (rb"TDSm", "TDMS; make a cube of it with: python -m RISCluster cube"),
    (rb"version https://git-lfs", "a pointer of Git LFS and not the data; run: git lfs pull"),
    (rb"CDF[\x01\x02\x05]", "classic netCDF; make netCDF-4 of it: nccopy -k nc4 IN OUT"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "a packed file; unpack it first"),
    (rb"\x93NUMPY|MATLAB 5|\x89PNG|\xff\xd8\xff|%PDF|RIFF", f"NumPy, MATLAB or media; {_WRITE}"),
    (rb"\s*<", "XML or HTML, as an error page of a server is; get the data again"),
    (rb"[\t\r\n -~\x80-\xff]+\Z", f"text, as CSV is; {_WRITE}"),
)  # fmt: skip

# ---- input files --------------------------------------------------------------------------------


def find_files(words: Sequence[str]) -> list[Path]:
    """Files that words of the command line name, ascending, each once.

    Words are files, folders (with all below them) and patterns with ``*``, ``?`` and ``**``. Of
    the latter two, texts, tables, StationXML and hidden files are left out. DataError where a word
    names nothing, or there is no file at all.
    """
    found: set[Path] = set()
    for word in words:
        path = Path(word).expanduser()
        listed = path.rglob("*") if path.is_dir() else glob.glob(str(path), recursive=True)
        inside = [item for item in map(Path, listed) if item.is_file()]
        if not inside and not path.is_file():
            raise DataError(
                f"{word}: no such file, no file in this folder, or of this pattern; give files, "
                "folders or patterns that are there"
            )
        inside = [x for x in inside if x.name[0] != "." and x.suffix.lower() not in NO_DATA]
        found.update([path] if path.is_file() else inside)
    if not found:
        raise DataError(
            f"{' '.join(words)}: no data among these files: texts, tables and StationXML are left "
            "out; give others"
        )
    return sorted(found)


def stamp(path: Path) -> list[str | int]:
    """Identity of a file: name, size in bytes, and time of last change in ns."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def other_files(path: Path, known: frozenset[Path] = frozenset()) -> list[str]:
    """Name, size and time of the files that virtual and external data sets are read from."""
    found: list[str] = []
    if path in known or not h5py.is_hdf5(path):
        return found
    with contextlib.suppress(OSError, RuntimeError, DataError), h5py.File(path, "r") as file:
        for _, dataset in Storage(path, file).arrays():  # errors are reported where it is read
            names = [os.fsdecode(name) for name, _, _ in dataset.external or ()]
            names += [x.file_name for x in dataset.virtual_sources()] if dataset.is_virtual else []
            for name in (x for x in dict.fromkeys(names) if x != "." and "%b" not in x):
                place = next((p for p in _candidates(dataset, name) if p.exists()), None)
                found.append(f"{name} gone" if place is None else " ".join(map(str, stamp(place))))
                found += other_files(place, known | {path}) if place is not None else []
    return list(dict.fromkeys(found))


# ---- opening ------------------------------------------------------------------------------------


class Storage:
    """An open file or folder of arrays; `root` is an h5py.File, zarr.Group or zarr.Array."""

    def __init__(self, path: Path, root: Any):
        self.path, self.root, self.is_zarr = path, root, not isinstance(root, h5py.File)

    def close(self) -> None:
        """Close the file."""
        if not self.is_zarr:
            self.root.close()

    def get(self, name: str) -> Any:
        """An array by its path inside, or None."""
        if is_array(self.root):
            return self.root if name in ("", "/") else None
        found = _member(self.root, name)
        return found if is_array(found) else None

    def arrays(self) -> list[tuple[str, Any]]:
        """Every array with its path, ascending."""
        return [("/", self.root)] if is_array(self.root) else sorted(_walk(self.root, ""))

    def listed(self) -> str:
        """Names and shapes of the first arrays, for a message."""
        names = [f"{name} {tuple(array.shape or ())}" for name, array in self.arrays()]
        more = ["..."] * (len(names) > MAX_LISTED)
        return ", ".join(names[:MAX_LISTED] + more) or "no data set"


def open_storage(path: Path, setting: str) -> Storage:
    """Open an HDF5 file or a Zarr folder (format 2 or 3); `setting` is named in messages.

    DataError where it is missing, neither of the two, or cut short.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; set {setting} to your data set")
    if any((path / mark).exists() for mark in ("zarr.json", ".zgroup", ".zarray")):
        zarr = need("zarr")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of types that Zarr's third format has not settled
                return Storage(path, zarr.open(str(path), mode="r"))
        except Exception as error:  # zarr raises many kinds for damaged metadata
            raise _unreadable(path, "/", error) from None
    if not path.is_file():
        raise DataError(f"{path}: {setting} must be an HDF5 file or a Zarr folder; {_BUILD}")
    load_hdf5_filters()
    try:
        return Storage(path, h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE))
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None


def why_closed(path: Path, error: OSError) -> str:
    """Why a file can't be opened as HDF5, and what to do."""
    reason = reason_of(error)
    if "already open for" in reason or "lock file" in reason:
        return (
            f"can't be locked ({reason}): it is being written by another program, or was when that "
            "was killed; close it, or wait for its end; if there is none, run h5clear -s FILE, or "
            "set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
        )
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as second:
        return f"can't be read ({second.strerror}); check its permissions, or copy it again"
    if not head:
        return "is empty (0 bytes); copy or build it again"
    for form, kind in KINDS if not head.startswith(b"\x89HDF") else ():
        if re.match(form, head, re.DOTALL):
            return f"can't be opened as HDF5: it must be HDF5 or Zarr, and is {kind}"
    reason = reason.rpartition("(")[2].rstrip(")") or reason
    return (
        f"can't be opened as HDF5 ({reason}); it may be another kind of file, or cut short: "
        "copy or build it again"
    )


def is_array(item: Any) -> bool:
    """Whether an item of HDF5 or Zarr is an array, not a group."""
    return hasattr(item, "shape") and hasattr(item, "dtype")


def _member(group: Any, name: str) -> Any:
    """An item of a group; None for a link to nowhere."""
    try:
        return group.get(name)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        if isinstance(group, h5py.Group):
            return None
        raise _unreadable(place_of(group), name, error) from None


def _walk(group: Any, prefix: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    try:
        names = list(group)
    except Exception as error:
        raise _unreadable(place_of(group), f"/{prefix}", error) from None
    for name in names:
        item = _member(group, name)
        if is_array(item):
            yield prefix + name, item
        elif hasattr(item, "keys") and item not in (*above, group):  # a link may lead back up
            yield from _walk(item, f"{prefix}{name}/", (*above, group))


def _unreadable(place: Any, name: str, error: Exception) -> DataError:
    return DataError(
        f"{place}: {name} can't be read ({reason_of(error)}); copy or make it again, or install "
        "the codec that it needs (pip install numcodecs)"
    )


def reason_of(error: BaseException) -> str:
    """Message of an exception of h5py or zarr, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def place_of(array: Any) -> Any:
    """File or folder of an array or group, for messages."""
    if isinstance(array, (h5py.Dataset, h5py.Group)):
        return array.file.filename
    return str(array.store_path).removeprefix("file://")


# ---- attributes and names of axes ----------------------------------------------------------------

# Attributes that hold names of dimensions, of files without HDF5's scales
DIMENSIONS = ("_ARRAY_DIMENSIONS", "dimensions", "dims", "_dims")
# Names of dimensions, in lower case and without _coords
ROLES = {
    "time": "time times t datetime start_time starttime time_bin times_bin",
    "frequency": "frequency frequencies freq freqs f frequency_bin",
    "channel": (
        "channel channels distance distances location loc station stations receiver receivers "
        "sensor node fibre fiber locus depth offset position x space"
    ),
    "sample": "sample samples event events detection detections example",
}
CUBE = ("time", "channel", "frequency")
SAMPLES = ("sample", "frequency", "time")


def attributes_of(array: Any) -> dict[str, Any]:
    """All attributes of an array; DataError where they are damaged."""
    try:
        return dict(array.attrs)
    except (TypeError, ValueError, KeyError, OSError, RuntimeError) as error:
        raise _unreadable(place_of(array), f"attributes of {array.name}", error) from None


def notes_of(array: Any) -> dict[str, Any]:
    """Attributes of an array or group without those that HDF5 and netCDF have for themselves."""
    own = r"CLASS|NAME|DIMENSION_L\w+|REFERENCE_LIST|_N(etcdf4|C)\w+"
    return {key: value for key, value in attributes_of(array).items() if not re.fullmatch(own, key)}


def text_attribute(array: Any, name: str) -> str:
    """An attribute as text, empty where it is not there."""
    value = np.ravel(attributes_of(array).get(name, ""))
    return to_text(value[0]).strip() if value.size else ""


def is_variable(array: Any) -> bool:
    """Whether an array holds values, rather than the size of a netCDF dimension alone."""
    name = attributes_of(array).get("NAME", b"")
    return not (isinstance(name, bytes) and name.startswith(NO_VARIABLE))


def shape_of(array: Any) -> tuple[int, ...]:
    """Shape of an array; of texts stored as single characters, as netCDF may, that of the texts."""
    shape = tuple(array.shape or ())  # none at all where it is declared as empty
    return shape[:-1] if array.dtype == "S1" and len(shape) > 1 else shape


def dimension_names(array: Any) -> list[str]:
    """Names of the axes: of HDF5's scales, Zarr's ``dimension_names`` or an attribute; or ''."""
    names = [""] * array.ndim
    if not isinstance(array, h5py.Dataset):
        names = [name or "" for name in getattr(array.metadata, "dimension_names", None) or names]
    else:
        with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):  # damaged references
            labels = [x.label or (x[0].name if len(x) else "") for x in array.dims]
            names = [(label or "").rpartition("/")[2] for label in labels]
    attributes = {} if any(names) else attributes_of(array)
    for key in DIMENSIONS:
        found = attributes.get(key, [])
        texts = found.split(",") if isinstance(found, str) else np.ravel(found).tolist()
        if len(texts) == array.ndim and key in attributes:
            return [to_text(text).strip() for text in texts]
    return names


def roles_of(array: Any) -> list[str]:
    """Role of each axis by the name of its dimension: a key of `ROLES`, or empty."""
    names = [re.sub("_(coords?|dim)$", "", name.lower()) for name in dimension_names(array)]
    roles = [next((x for x in ROLES if name in ROLES[x].split()), "") for name in names]
    known = [role for role in roles if role]
    return roles if len(set(known)) == len(known) else [""] * len(roles)


def named_layout(array: Any) -> str | None:
    """Layout by the names of an array's dimensions: ``cube``, ``samples`` or None."""
    roles = set(roles_of(array)) if array.ndim == 3 else set()
    if not {"time", "frequency"} <= roles:
        return None
    return "cube" if "channel" in roles else "samples" if "sample" in roles else None


def dimension_of(array: Any, role: str) -> tuple[str, Any]:
    """Name of the dimension of a role, and its scale in HDF5 or None."""
    roles = roles_of(array)
    if role not in roles:
        return "", None
    axis = roles.index(role)
    has_scale = isinstance(array, h5py.Dataset) and len(array.dims[axis])
    scale = array.dims[axis][0] if has_scale and is_variable(array.dims[axis][0]) else None
    return dimension_names(array)[axis], scale


def axis_order(
    path: Path, array: Any, wanted: tuple[str, ...], lengths: dict[str, int]
) -> tuple[int, ...]:
    """Axis of the file for each axis of `wanted`; as stored where nothing contradicts it.

    `array` has three dimensions, `wanted` is `CUBE` or `SAMPLES`, and `lengths` are those of
    coordinates, by role. DataError where the dimensions are others, or their order is unknown.
    """
    names, roles = dimension_names(array), roles_of(array)
    label, needed = f"{path}: {array.name.lstrip('/')}", f"({', '.join(wanted)})"
    if set(roles) - {"", *wanted}:
        raise DataError(
            f"{label} has the dimensions ({', '.join(names)}), and this layout needs {needed}; set "
            "data.layout or data.dataset, or name the dimensions otherwise"
        )
    named = {wanted.index(role): axis for axis, role in enumerate(roles) if role}
    sizes = {wanted.index(role): n for role, n in lengths.items()}
    orders = [x for x in permutations(range(3)) if all(x[at] == y for at, y in named.items())]
    fitting = [x for x in orders if all(array.shape[x[at]] == n for at, n in sizes.items())]
    if wanted is SAMPLES and not named:  # samples come first, unless names say otherwise
        fitting = [order for order in fitting if order[0] == 0] or fitting
    found = fitting or orders  # where no order fits, the coordinate is refused later on
    if (0, 1, 2) in found:
        return 0, 1, 2
    if len(found) > 1 and fitting:
        raise DataError(
            f"{label} has shape {tuple(array.shape)}, which does not fit its coordinates as "
            f"{needed}, and the order of its axes is unknown; write it in this order, or name its "
            "dimensions"
        )
    order = ", ".join(wanted[found[0].index(axis)] for axis in range(3))
    evidence = "dimension names" if named else "coordinates"
    log.info(f"{label} is stored as ({order}) by its {evidence}; read as {needed}")
    return found[0]


# ---- packing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """How stored numbers become values: stored * scale + offset.

    Stored numbers in `missing`, below `low` and above `high` are missing values. Where `unsigned`,
    signed integers stand for unsigned ones of that many values.
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple = ()
    low: float = -np.inf
    high: float = np.inf
    unsigned: int = 0

    def unpack(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers to values, float64 with NaN for missing ones where anything changes."""
        if self.unsigned:
            values = values.astype(np.promote_types(values.dtype, np.int64)) % self.unsigned
        gaps = np.isin(values, np.array(self.missing)) if self.missing else np.False_
        if self.low > -np.inf or self.high < np.inf:
            gaps = gaps | (values < self.low) | (values > self.high)
        if (self.scale, self.offset) != (1, 0):
            values = values * np.float64(self.scale) + self.offset
        return np.where(gaps, np.nan, values.astype(np.float64)) if gaps.any() else values


def packing_of(array: Any) -> Packing:
    """Packing of an array by its attributes; DataError where one of them is no number."""
    if array.dtype.kind not in "iuf":
        return Packing()
    attributes = attributes_of(array)
    names = ("scale_factor", "add_offset", "_FillValue", "missing_value", "valid_range",
             "valid_min", "valid_max")  # fmt: skip
    found = {name: _numbers(array, name, attributes.get(name, ())) for name in names}
    scale, offset = found["scale_factor"] or [1.0], found["add_offset"] or [0.0]
    if len(scale) != 1 or len(offset) != 1:
        raise DataError(
            f"{place_of(array)}: scale_factor and add_offset of {array.name} must be one number "
            "each; unpack the values and write them again"
        )
    if "_FillValue" not in attributes:
        found["_FillValue"] = _declared_fill(array, attributes)
    unsigned = 0
    if array.dtype.kind == "i" and text_attribute(array, "_Unsigned").lower() == "true":
        unsigned = 2 ** (8 * array.dtype.itemsize)
        found = {name: [int(x) % unsigned for x in numbers] for name, numbers in found.items()}
    low, high = found["valid_range"] if len(found["valid_range"]) == 2 else (-np.inf, np.inf)
    low, high = (found["valid_min"] or [low])[0], (found["valid_max"] or [high])[0]
    is_value = isinstance(low, float) and isinstance(high, float)
    if is_value and array.dtype.kind in "iu" and {"scale_factor", "add_offset"} & {*attributes}:
        low, high = sorted((end - offset[0]) / scale[0] for end in (low, high))
    marks = found["_FillValue"] + found["missing_value"]
    if array.dtype.kind == "f":  # as it is stored: 1e20 is another number in float32
        with np.errstate(over="ignore"):
            marks = np.array(marks, dtype=array.dtype).tolist()
    missing = tuple(dict.fromkeys(mark for mark in marks if mark == mark))  # NaN is NaN already
    return Packing(float(scale[0]), float(offset[0]), missing, low, high, unsigned)


def sample_packing(dataset: h5py.Dataset) -> Packing:
    """Packing of a fibre's samples: also ``dataScale`` in the group header, and least integers."""
    packing, header = packing_of(dataset), dataset.file.get("header")
    if packing.scale == 1.0 and isinstance(header, h5py.Group):
        both = {name: header[name] for name in header} | dict(header.attrs)
        for name, value in both.items():
            if name.lower().replace("_", "") == "datascale":
                scale = np.ravel(value[()] if isinstance(value, h5py.Dataset) else value)
                if scale.size == 1 and scale.dtype.kind in "iuf" and np.isfinite(scale[0]):
                    packing = replace(packing, scale=float(scale[0]) or 1.0)
    if dataset.dtype.kind == "i" and dataset.dtype.itemsize > 1 and not packing.unsigned:
        marks = (*packing.missing, int(np.iinfo(dataset.dtype).min))
        packing = replace(packing, missing=tuple(dict.fromkeys(marks)))
    return packing


def _declared_fill(array: Any, attributes: dict[str, Any]) -> list:
    """Fill value without an attribute, as netCDF declares it to HDF5 and xarray to Zarr 2."""
    if isinstance(array, h5py.Dataset):
        declared = array.id.get_create_plist().fill_value_defined()
        is_own = declared == h5py.h5d.FILL_VALUE_USER_DEFINED and array.fillvalue != 0
        return [array.fillvalue.item()] if is_own else []
    fill = array.fill_value  # 0 is the default and may be a value
    is_own = "_ARRAY_DIMENSIONS" in attributes and fill is not None
    return np.ravel(fill).tolist() if is_own and (fill != 0 or "scale_factor" in attributes) else []


def _numbers(array: Any, name: str, value: Any) -> list:
    """Numbers of an attribute; a fill value may be text, or base64 of a float64 as of xarray."""
    is_text = isinstance(value, (str, bytes)) and name in ("_FillValue", "missing_value")
    try:
        numbers = np.ravel(value)
        return (numbers if numbers.dtype.kind in "iuf" else numbers.astype(np.float64)).tolist()
    except (TypeError, ValueError):
        if is_text:
            with contextlib.suppress(binascii.Error, struct.error):
                return list(struct.unpack("<d", base64.b64decode(to_text(value))))
            return []
        raise DataError(
            f"{place_of(array)}: attribute {name} of {array.name} must be a number, not "
            f"{str(value)[:40]!r}; change or delete it"
        ) from None


# ---- missing parts ------------------------------------------------------------------------------


def why_hardly_written(dataset: h5py.Dataset) -> str:
    """Why a data set has a size and no values; empty where it has some."""
    n, n_missing = _count_chunks(dataset)
    if n_missing <= MAX_UNWRITTEN * n:
        return ""
    shape = " x ".join(f"{size:,}" for size in dataset.shape)
    name = dataset.name.lstrip("/")
    return f"{name} is {shape}, but {n_missing:,} of its {n:,} pieces were never written"


def _count_chunks(dataset: h5py.Dataset) -> tuple[int, int]:
    """Chunks, or one for a data set without, and how many of them were never written."""
    if dataset.is_virtual or dataset.external or not dataset.size:
        return 0, 0
    if not dataset.chunks:
        return 1, int(dataset.id.get_storage_size() == 0)
    n = math.prod(-(-x // y) for x, y in zip(dataset.shape, dataset.chunks, strict=True))
    return n, n - dataset.id.get_num_chunks()


def find_missing(array: Any, box: Box | None = None) -> tuple[list[str], np.ndarray | None]:
    """Why values of an array are missing, and a mask of a box where they are (None: nowhere)."""
    name = array.name.lstrip("/")
    if not isinstance(array, h5py.Dataset):
        mask = None if box is None else _unwritten(array, box)
        is_whole = mask is None or not mask.any()
        return ([], None) if is_whole else ([f"chunks of {name} that were never written"], mask)
    if array.is_virtual:
        return _missing_sources(array, box)
    n, n_missing = _count_chunks(array)
    causes = [f"{n_missing:,} of {n:,} chunks of {name} were never written"] if n_missing else []
    return causes, _unwritten(array, box) if causes and box is not None else None


def _unwritten(array: Any, box: Box) -> np.ndarray:
    """True for values of a box in chunks that were never written."""
    is_hdf5 = isinstance(array, h5py.Dataset)
    sizes = (None if is_hdf5 else array.shards) or array.chunks or array.shape
    cells = [np.arange(*side) // size for side, size in zip(box, sizes, strict=True)]
    found = [np.unique(numbers, return_inverse=True) for numbers in cells]
    mask = np.ones([len(numbers) for numbers, _ in found], dtype=bool)
    for at in np.ndindex(mask.shape if array.chunks else ()):
        cell = tuple(int(numbers[k]) for k, (numbers, _) in zip(at, found, strict=True))
        if is_hdf5:
            place = tuple(k * size for k, size in zip(cell, sizes, strict=True))
            mask[at] = not array.id.get_chunk_info_by_coord(place).size
        else:
            mask[at] = not (Path(place_of(array)) / array.metadata.encode_chunk_key(cell)).exists()
    return mask[np.ix_(*(places for _, places in found))]


def _missing_sources(dataset: h5py.Dataset, box: Box | None) -> tuple[list[str], np.ndarray | None]:
    """See `find_missing`; of a virtual data set, by its sources and what they miss themselves."""
    mappings, causes, n_mapped = dataset.virtual_sources(), [], 0
    if any("%b" in mapping.file_name for mapping in mappings):  # files without an end
        return [], None
    begin, end = np.array(box or [(0, n) for n in dataset.shape]).T
    mask = None if box is None else np.ones(end - begin, dtype=bool)
    for mapping in mappings:
        low, high = map(np.array, mapping.vspace.get_select_bounds())
        n_mapped += mapping.vspace.get_select_npoints()
        if (low >= end).any() or (high < begin).any():
            continue
        why, missing = _missing_source(dataset, mapping, high + 1 - low)
        label = f"source {mapping.file_name}:/{mapping.dset_name.lstrip('/')}"
        causes += [f"{label}{cause}" for cause in why]
        for first, last in mapping.vspace.get_select_hyper_blocklist().astype(int):
            start, stop = np.clip([first, last + 1], begin, end)
            if mask is not None:
                mask[_slices(start - begin, stop - begin)] = missing[
                    _slices(start - low, stop - low)
                ]
    if n_mapped < dataset.size and (mask is None or (mask.any() and not causes)):
        causes.append("parts without a source")
    return list(dict.fromkeys(causes)), mask


def _missing_source(
    dataset: h5py.Dataset, mapping: Any, sizes: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Why values of one source are missing, and a mask of its part, of `sizes`, where they are.

    A source with other axes than the data set is missing as a whole where it is not complete.
    """
    everything, nothing = (np.broadcast_to(value, sizes) for value in (np.True_, np.False_))
    for path in _candidates(dataset, mapping.file_name):
        with contextlib.suppress(OSError, RuntimeError, ValueError), h5py.File(path, "r") as file:
            source, selected = file.get(mapping.dset_name), mapping.src_space
            if not isinstance(source, h5py.Dataset):
                return [" is not in that file"], everything
            if why := explain_missing_filter(source):
                return [f": {why}"], everything
            first, n = np.zeros(source.ndim, dtype=int), mapping.vspace.get_select_npoints()
            is_box = n == sizes.prod()
            is_same = source.size == n or len(sizes) != source.ndim or not is_box
            needed = np.array(source.shape) if is_same else sizes
            if selected.get_select_type() != h5py.h5s.SEL_ALL:  # whose size is not stored
                first, last = map(np.array, selected.get_select_bounds())
                needed = last + 1 - first
            reach = np.clip(source.shape - first, 0, needed)
            is_short = source.size < n or (reach < needed).any()
            causes = [" is shorter than expected"] * bool(is_short)
            is_box &= n == needed.prod()
            box = [*zip(first, first + reach, strict=True)]
            inner, gaps = find_missing(source, box if is_box else None)
            causes += [f": {cause}" for cause in inner]
            if not causes or not is_box:
                return causes, everything if causes else nothing
            mask = np.ones(needed, dtype=bool)
            mask[_slices(0 * reach, reach)] = False if gaps is None else gaps
            return causes, mask.reshape(sizes)
    return [" is missing or damaged"], everything


def _slices(low: np.ndarray, high: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(*side) for side in zip(low.tolist(), high.tolist(), strict=True))


def _candidates(dataset: h5py.Dataset, name: str) -> Iterator[Path]:
    """Where HDF5 looks for a source."""
    own, path = Path(os.fsdecode(dataset.file.filename)), Path(name)
    if name == ".":
        path = own
    if path.is_absolute():
        yield path
        path = Path(path.name)
    if prefix := os.environ.get("HDF5_VDS_PREFIX", ""):
        yield Path(prefix.replace("${ORIGIN}", str(own.parent))) / path
    yield from (own.parent / path, path, own.resolve().parent / path)


# ---- reading ------------------------------------------------------------------------------------


def require_filters(array: Any) -> None:
    """Refuse a data set of HDF5 whose compression filter is not installed, with its name."""
    why = explain_missing_filter(array) if isinstance(array, h5py.Dataset) else None
    if why:
        raise DataError(f"{place_of(array)}: {array.name} needs another package: {why}")


def read_values(
    array: Any, start: int = 0, stop: int | None = None, complete: bool = False
) -> np.ndarray:
    """A part of a small array, unpacked; texts of single characters are joined.

    DataError where it is damaged, or not all of it was written and it must be `complete`.
    """
    require_filters(array)
    try:
        causes = find_missing(array)[0] if complete and array.shape else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.asarray(array[start:stop] if array.shape else array[()])
    except Exception as error:  # zarr and its codecs raise many kinds
        raise _unreadable(place_of(array), array.name, error) from None
    if causes:
        raise DataError(
            f"{place_of(array)}: values of {array.name} are missing: {causes[0]}; copy it again, "
            "with the files that it is read from"
        )
    if values.dtype == "S1" and values.ndim > 1 and values.size:
        values = np.ascontiguousarray(values).view(f"S{values.shape[-1]}")[..., 0]
    return packing_of(array).unpack(values)


def read_box(array: Any, box: Box, packing: Packing) -> tuple[np.ndarray, list[str]]:
    """Values of a box, unpacked, with NaN where they are missing; and why they are."""
    causes, mask = find_missing(array, box)
    if mask is None or not mask.any():
        return packing.unpack(np.asarray(array[tuple(slice(*side) for side in box)])), []
    # Steps that miss everything are not read: HDF5 fails for sources that are damaged.
    others = [tuple(k for k in range(mask.ndim) if k != axis) for axis in range(mask.ndim)]
    axis = max(range(mask.ndim), key=lambda axis: mask.all(others[axis]).mean())
    edges = np.diff(~mask.all(others[axis]), prepend=False, append=False)
    values = np.full(mask.shape, np.nan)
    for start, stop in np.flatnonzero(edges).reshape(-1, 2):
        part, at = [slice(*side) for side in box], [slice(None)] * mask.ndim
        part[axis], at[axis] = slice(start + box[axis][0], stop + box[axis][0]), slice(start, stop)
        values[tuple(at)] = packing.unpack(np.asarray(array[tuple(part)]))
    values[mask] = np.nan
    return values, causes


class StoredArray:
    """An array of an open file, read in boxes.

    `order` is the axis of the file for each axis as it is used, and `flipped` which of the latter
    are stored in descending order. `shape` and `chunks` (None where contiguous) are of the axes as
    used, and `causes` why values may be missing. DataError where it is compressed with a filter
    that is not installed, was never written, or its packing can't be understood.
    """

    def __init__(self, path: Path, array: Any, order: Axes = (0, 1, 2), flipped: Axes = (0, 0, 0)):
        self.path, self.array, self.name = path, array, array.name.lstrip("/")
        self.order, self.flipped = tuple(order), tuple(flipped)
        self.dtype, chunks = np.dtype(array.dtype), getattr(array, "chunks", None)
        self.shape = tuple(array.shape[axis] for axis in self.order)
        self.chunks = None if chunks is None else tuple(chunks[axis] for axis in self.order)
        self.packing = packing_of(array)
        marks = ", ".join(map(str, self.packing.missing))
        self.causes = [f"the fill value {marks}"] if marks else []
        require_filters(array)
        is_hdf5 = isinstance(array, h5py.Dataset)
        if is_hdf5 and (why := why_hardly_written(array)):
            raise DataError(f"{path}: {why}; wait until it is complete, or copy it again")
        causes = find_missing(array)[0]
        self._is_whole = is_hdf5 and not causes
        self._report_missing(causes)

    def _report_missing(self, causes: list[str]) -> None:
        if new := [cause for cause in causes if cause not in self.causes]:
            shown = [*new[:MAX_CAUSES], *["..."] * (len(new) > MAX_CAUSES)]
            log.warning(
                f"{self.path}: {self.name}: missing: {', '.join(shown)}; these parts are read as "
                "missing values (NaN)"
            )
            self.causes += new

    def read(self, what: str, *ranges: tuple[int, int]) -> np.ndarray:
        """Values of a part, as stored, or float with NaN where values are packed or missing.

        `what` is the part in words, for the DataError where it can't be read; `ranges` are start
        and end along the first axes; all of the others are read.
        """
        box = [(0, n) for n in self.array.shape]
        for axis, (start, stop) in enumerate(ranges):
            n = self.shape[axis]
            box[self.order[axis]] = (n - stop, n - start) if self.flipped[axis] else (start, stop)
        try:
            if self._is_whole:
                values = self.packing.unpack(self.array[tuple(slice(*side) for side in box)])
            else:
                values, causes = read_box(self.array, box, self.packing)
                self._report_missing([] if isinstance(self.array, h5py.Dataset) else causes)
        except Exception as error:  # h5py, zarr and its codecs raise many kinds for damaged bytes
            raise _unreadable(self.path, f"{what} of {self.name}", error) from None
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return values.transpose(self.order)[steps]
