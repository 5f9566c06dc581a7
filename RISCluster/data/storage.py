"""Arrays of HDF5 files and Zarr folders: found, described by their attributes, and read.

Values are unpacked by the CF and netCDF conventions. Missing values (fill values, chunks that were
never written, missing sources of virtual data sets) are NaN. A box is (start, stop) along each
axis.
"""

import base64
import contextlib
import glob
import math
import os
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, RISClusterError
from ..io import explain_missing_filter, is_remote, load_hdf5_filters, need
from ..runtime import log
from ..settings import DataSettings
from .times import to_text

Box = Sequence[tuple[int, int]]

CHUNK_CACHE = 64 * 2**20  # bytes; neighbouring windows share chunks
MAX_LISTED = 20  # names of arrays in a message
MAX_CAUSES = 3  # of missing values in a log line
MAX_UNWRITTEN = 0.999  # of all chunks; a data set with more has a size and no values
NO_DATA = (".xml", ".txt", ".csv", ".json", ".ini", ".md", ".pdf", ".png", ".partial", ".log")

_BUILD = "to compute spectrograms of waveforms, run: python -m RISCluster build"
_WRITE = "write the spectrograms with h5py or xarray"
# By the first bytes of a file: what it is, and what to do.
KINDS = (
    (rb"\Z", "empty (0 bytes); copy or build it again"),
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
    """Files that words of the command line (files, folders, patterns) name, ascending, each once.

    Of folders and patterns, texts, tables, StationXML and hidden files are left out.
    """
    found: set[Path] = set()
    for word in words:
        path = Path(word).expanduser()
        listed = path.rglob("*") if path.is_dir() else glob.glob(str(path), recursive=True)
        inside = [path] if path.is_file() else [x for x in map(Path, listed) if x.is_file()]
        if not inside:
            raise DataError(
                f"{word}: no such file, no file in this folder, or of this pattern; give others"
            )
        hidden = {x for x in inside if x.name[0] == "." or x.suffix.lower() in NO_DATA} - {path}
        found |= {*inside} - hidden
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
    with contextlib.suppress(OSError, RuntimeError, DataError), h5py.File(path, "r") as file:
        for dataset in Storage(path, file).arrays.values():  # errors are reported where it is read
            names = [os.fsdecode(name) for name, _, _ in dataset.external or ()]
            names += [x.file_name for x in dataset.virtual_sources()] if dataset.is_virtual else []
            for name in (x for x in dict.fromkeys(names) if x != "." and "%b" not in x):
                places = [_raw_file(dataset, name)] if dataset.external else []
                places = places or _candidates(dataset, name)
                place = next(filter(Path.exists, places), None)
                found.append(f"{name} gone" if place is None else " ".join(map(str, stamp(place))))
                if place is not None and place not in known:
                    found += other_files(place, known | {place})
    return list(dict.fromkeys(found))


# ---- opening ------------------------------------------------------------------------------------


class Storage:
    """An open file or folder; `arrays` are all in it by their path, ascending.

    `root` is an h5py.File, zarr.Group or zarr.Array.
    """

    def __init__(self, path: Path, root: Any):
        self.path, self.root, self.is_zarr = path, root, not isinstance(root, h5py.File)
        self.close = (lambda: None) if self.is_zarr else root.close
        self.arrays = {"/": root} if is_array(root) else dict(sorted(_walk(root, "")))

    def get(self, name: str) -> Any:
        """An array by its path inside, or None."""
        return self.arrays.get(name.strip("/") or "/")

    def listed(self) -> str:
        """Names and shapes of the first arrays, for a message."""
        names = [f"{name} {tuple(array.shape or ())}" for name, array in self.arrays.items()]
        more = ["..."] * (len(names) > MAX_LISTED)
        return ", ".join(names[:MAX_LISTED] + more) or "no data set"


def open_storage(path: Path, setting: str, npy: DataSettings | None = None) -> Storage:
    """Open an HDF5 file, a ``.npy`` file with the axes of `npy`, or a Zarr folder (format 2 or 3).

    `setting` is named in a DataError.
    """
    if is_remote(path):
        return _open_remote(path)
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file; set {setting} to your data set")
    if any((path / mark).exists() for mark in ("zarr.json", ".zgroup", ".zarray")):
        zarr = need("zarr")
        with explain(path, "/"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that Zarr's third format has not settled
            return Storage(path, zarr.open(str(path), mode="r"))
    if not path.is_file():
        raise DataError(f"{path}: {setting} must be an HDF5 file or a Zarr folder; {_BUILD}")
    if path.suffix.lower() == ".npy":
        return _open_npy(path, npy or DataSettings())
    load_hdf5_filters()
    try:
        return Storage(path, h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE))
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None


def _open_remote(path: Path) -> Storage:
    """A Zarr store behind fsspec, whose settings are its own (as FSSPEC_S3_ANON=true)."""
    scheme, zarr = str(path).partition("://")[0], need("zarr")
    need({"s3": "s3fs", "http": "aiohttp", "https": "aiohttp"}.get(scheme, "fsspec"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Storage(path, zarr.open(str(path), mode="r"))
    except Exception as error:  # of many libraries
        raise DataError(
            f"{path}: can't be opened as a Zarr store ({reason_of(error)}); give the address of a "
            "store with consolidated metadata, and for s3 credentials or FSSPEC_S3_ANON=true"
        ) from None


def _open_npy(path: Path, settings: DataSettings) -> Storage:
    """An array of NumPy as an external data set of a file in memory, so that HDF5 reads it."""
    axes = [*settings.axes]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim != len(axes):
            raise ValueError(f"its shape is {array.shape}")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: can't be read as an array of ({settings.axes}), as data.axes has it "
            f"({reason_of(error)}); give an array of three dimensions"
        ) from None
    if not array.flags.c_contiguous:  # of Fortran
        array, axes = array.T, axes[::-1]
    root = h5py.File(f"{path} (NumPy)", "w", driver="core", backing_store=False)
    data = root.create_dataset(
        "data" if "channel" in axes else "spectrogram", array.shape, array.dtype,
        external=[(str(path.absolute()), array.offset, array.nbytes)],
    )  # fmt: skip
    data.attrs["dimensions"] = axes
    n = dict(zip(axes, array.shape, strict=True))
    coordinates = {}
    if settings.frequencies is not None:
        coordinates["frequency"] = np.linspace(*settings.frequencies, n["frequency"]), "Hz"
    if settings.time_step is not None:
        coordinates["time"] = np.arange(n["time"]) * settings.time_step, "s"
    for name, (values, unit) in coordinates.items():
        root[name] = values
        root[name].attrs["units"] = unit
    return Storage(path, root)


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
    for form, kind in KINDS if not head.startswith(b"\x89HDF") else ():
        if re.match(form, head, re.DOTALL):
            return f"can't be opened as HDF5: it must be HDF5 or Zarr, and is {kind}"
    reason = reason.rpartition("(")[2].rstrip(")") or reason
    return f"can't be opened as HDF5 ({reason}); it may be cut short: copy or build it again"


@contextlib.contextmanager
def explain(place: Any, what: str) -> Iterator[None]:
    """Raise a DataError for what h5py, zarr and their codecs raise where bytes are damaged."""
    try:
        yield
    except RISClusterError:
        raise
    except Exception as error:
        raise DataError(
            f"{place}: {what} can't be read ({reason_of(error)}); copy or make it again, or "
            "install the codec that it needs (pip install hdf5plugin or numcodecs)"
        ) from None


def reason_of(error: BaseException) -> str:
    """Message of an exception of h5py or zarr, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_array(item: Any) -> bool:
    """Whether an item of HDF5 or Zarr is an array, not a group."""
    return hasattr(item, "shape") and hasattr(item, "dtype")


def place_of(array: Any) -> Any:
    """File or folder of an array or group, for messages."""
    if isinstance(array, (h5py.Dataset, h5py.Group)):
        return array.file.filename
    return str(array.store_path).removeprefix("file://")


def _walk(group: Any, prefix: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    is_hdf5, place = isinstance(group, h5py.Group), place_of(group)
    with explain(place, f"/{prefix}"):
        names = list(group)
    for name in names:
        item = None  # of HDF5, links to nowhere are left out
        with contextlib.suppress(Exception) if is_hdf5 else explain(place, prefix + name):
            item = group.get(name)
        if is_array(item):
            yield prefix + name, item
        elif hasattr(item, "keys") and item not in (*above, group):  # a link may lead back up
            yield from _walk(item, f"{prefix}{name}/", (*above, group))


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
    "component": "component components",
    "sample": "sample samples event events detection detections example",
}
CUBE = ("time", "channel", "frequency")
SAMPLES = ("sample", "frequency", "time")
WITH_COMPONENTS = ("sample", "component", "frequency", "time")


def attributes_of(array: Any) -> dict[str, Any]:
    """All attributes of an array or group; DataError where they are damaged."""
    with explain(place_of(array), f"attributes of {array.name}"):
        return dict(array.attrs)


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
    size_alone = b"This is a netCDF dimension but not a netCDF variable"
    return not (isinstance(name, bytes) and name.startswith(size_alone))


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
    for found in (attributes[key] for key in DIMENSIONS if key in attributes):
        texts = found.split(",") if isinstance(found, str) else np.ravel(found).tolist()
        if len(texts) == array.ndim:
            return [to_text(text).strip() for text in texts]
    return names


def roles_of(array: Any) -> list[str]:
    """Role of each axis by the name of its dimension: a key of `ROLES`, or empty."""
    names = [re.sub("_(coords?|dim)$", "", name.lower()) for name in dimension_names(array)]
    roles = [next((x for x in ROLES if name in ROLES[x].split()), "") for name in names]
    known = [role for role in roles if role]
    return roles if len(set(known)) == len(known) else [""] * len(roles)


# ---- packing ------------------------------------------------------------------------------------

# Attributes of packing, and how many numbers each may have
PACKING = {"scale_factor": 1, "add_offset": 1, "valid_range": 2, "valid_min": 1, "valid_max": 1,
           "_FillValue": None, "missing_value": None}  # fmt: skip


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
    kind = array.dtype.kind
    if kind not in "iuf":
        return Packing()
    attributes = attributes_of(array)
    found = {
        name: _numbers(array, name, attributes[name]) for name in PACKING if name in attributes
    }
    marks = found.get("_FillValue", _declared_fill(array, attributes))
    marks = marks + found.get("missing_value", [])
    scale, offset = (found.get("scale_factor") or [1.0])[0], (found.get("add_offset") or [0.0])[0]
    low, high = found.get("valid_range") or (-np.inf, np.inf)
    ends = [(found.get("valid_min") or [low])[0], (found.get("valid_max") or [high])[0]]
    unsigned = 0
    if kind == "i" and text_attribute(array, "_Unsigned").lower() == "true":
        unsigned = 2 ** (8 * array.dtype.itemsize)
        marks = [int(mark) % unsigned for mark in marks]
        ends = [end if np.isinf(end) else int(end) % unsigned for end in ends]
    is_packed = kind in "iu" and {"scale_factor", "add_offset"} & {*attributes}
    if is_packed and all(isinstance(end, float) for end in ends):  # of values, not as stored
        ends = sorted((end - offset) / scale for end in ends)
    if kind == "f":  # as it is stored: 1e20 is another number in float32
        with np.errstate(over="ignore"):
            marks = np.array(marks, dtype=array.dtype).tolist()
    missing = tuple(dict.fromkeys(mark for mark in marks if mark == mark))  # NaN is NaN already
    return Packing(float(scale), float(offset), missing, *ends, unsigned)


def sample_packing(dataset: h5py.Dataset) -> Packing:
    """Packing of a fibre's samples: also ``dataScale`` in the group header, and least integers."""
    packing, header = packing_of(dataset), dataset.file.get("header")
    if packing.scale == 1.0 and isinstance(header, h5py.Group):
        for name, value in [*header.items(), *header.attrs.items()]:
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
    with contextlib.suppress(TypeError, ValueError):
        numbers = np.ravel(value)
        numbers = numbers if numbers.dtype.kind in "iuf" else numbers.astype(np.float64)
        if not numbers.size or PACKING[name] in (None, numbers.size):
            return numbers.tolist()
    if PACKING[name] is None:
        with contextlib.suppress(TypeError, ValueError, struct.error):
            return list(struct.unpack("<d", base64.b64decode(to_text(value))))
        return []
    wanted = "one number" if PACKING[name] == 1 else "two numbers"
    raise DataError(
        f"{place_of(array)}: attribute {name} of {array.name} must be {wanted}, not "
        f"{str(value)[:40]!r}; change or delete it"
    )


# ---- reading ------------------------------------------------------------------------------------


def require_filters(dataset: h5py.Dataset) -> None:
    """Refuse a data set whose compression filter is not installed, with its name."""
    if why := explain_missing_filter(dataset):
        raise DataError(f"{place_of(dataset)}: {dataset.name} needs another package: {why}")


def read_values(
    array: Any, start: int = 0, stop: int | None = None, complete: bool = False
) -> np.ndarray:
    """A part of a small array, unpacked; texts of single characters are joined.

    DataError where it is damaged, or it must be `complete` and not all of it was written.
    """
    shape, causes = array.shape or (), []
    with explain(place_of(array), array.name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Zarr does not write chunks of zeros.
        if complete and shape and isinstance(array, h5py.Dataset):
            causes = find_gaps(array, [(0, n) for n in shape])[1]
        values = np.asarray(array[start:stop] if shape else array[()])
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
    gaps, causes = find_gaps(array, box)
    if not gaps.any():
        return packing.unpack(np.asarray(array[_slices(*np.transpose(box))])), []
    # Steps that miss everything are not read: HDF5 fails for sources that are damaged.
    others = [tuple(k for k in range(gaps.ndim) if k != axis) for axis in range(gaps.ndim)]
    axis = max(range(gaps.ndim), key=lambda axis: gaps.all(others[axis]).mean())
    edges = np.diff(~gaps.all(others[axis]), prepend=False, append=False)
    values, first = np.full(gaps.shape, np.nan), box[axis][0]
    for start, stop in np.flatnonzero(edges).reshape(-1, 2):
        part, at = [slice(*side) for side in box], [slice(None)] * gaps.ndim
        part[axis], at[axis] = slice(start + first, stop + first), slice(start, stop)
        values[tuple(at)] = packing.unpack(np.asarray(array[tuple(part)]))
    values[gaps] = np.nan
    return values, causes


# ---- missing parts ------------------------------------------------------------------------------


def why_hardly_written(dataset: h5py.Dataset) -> str:
    """Why a data set has a size and no values, or not all in raw files; empty where it has them."""
    rest = dataset.nbytes if dataset.external else 0
    for name, offset, size in dataset.external or ():
        path, size = _raw_file(dataset, os.fsdecode(name)), min(size, rest)
        rest -= size
        if not path.is_file() or path.stat().st_size < offset + size:
            return (
                f"its values are in the raw file {path}, which is missing or shorter than "
                f"{offset + size:,} bytes (names without a folder count from where you run this)"
            )
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


def _slices(low: Sequence[int], high: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))


def find_gaps(array: Any, box: Box) -> tuple[np.ndarray, list[str]]:
    """Where values of a box are missing, or False, and why they are."""
    name, n_missing = array.name.lstrip("/"), 1
    cause = f"chunks of {name} that were never written"
    if isinstance(array, h5py.Dataset):
        if array.is_virtual:
            return _virtual_gaps(array, *np.transpose(box))
        n, n_missing = _count_chunks(array)
        cause = f"{n_missing:,} of {n:,} chunks of {name} were never written"
    elif hasattr(array.store, "fs"):  # an object store, which would be asked for every chunk
        return np.False_, []
    gaps = _unwritten(array, box) if n_missing else np.False_
    return gaps, [cause] if gaps.any() else []


def _unwritten(array: Any, box: Box) -> np.ndarray:
    """True for values of a box in chunks that were never written."""
    is_hdf5 = isinstance(array, h5py.Dataset)
    sizes = (None if is_hdf5 else array.shards) or array.chunks or array.shape
    cells = [np.arange(*side) // size for side, size in zip(box, sizes, strict=True)]
    found = [np.unique(numbers, return_inverse=True) for numbers in cells]
    gaps = np.ones([len(numbers) for numbers, _ in found], dtype=bool)
    for at in np.ndindex(gaps.shape if array.chunks else ()):
        cell = tuple(int(numbers[k]) for k, (numbers, _) in zip(at, found, strict=True))
        if is_hdf5:
            place = tuple(k * size for k, size in zip(cell, sizes, strict=True))
            gaps[at] = not array.id.get_chunk_info_by_coord(place).size
        else:
            gaps[at] = not (Path(place_of(array)) / array.metadata.encode_chunk_key(cell)).exists()
    return gaps[np.ix_(*(places for _, places in found))]


def _virtual_gaps(
    dataset: h5py.Dataset, begin: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """See `find_gaps`: HDF5 gives zeros for sources that are missing, without an error."""
    mappings, causes, gaps = dataset.virtual_sources(), [], np.ones(end - begin, dtype=bool)
    if any("%b" in mapping.file_name for mapping in mappings):  # files without an end
        return np.False_, []
    for mapping in mappings:
        for first, last in mapping.vspace.get_select_hyper_blocklist().astype(int):
            low, high = np.clip([first, last + 1], begin, end)
            if (low < high).all():
                missing, found = _source_gaps(dataset, mapping, low, high)
                gaps[_slices(low - begin, high - begin)] = missing
                label = f"source {mapping.file_name}:/{mapping.dset_name.lstrip('/')}"
                causes += [label + cause for cause in found]
    if gaps.any() and not causes:
        causes.append("parts without a source")
    return gaps, list(dict.fromkeys(causes))


def _source_gaps(
    dataset: h5py.Dataset, mapping: Any, low: np.ndarray, high: np.ndarray
) -> tuple[Any, list[str]]:
    """Gaps in `low` to `high` of a virtual data set, all in one source.

    A source of other axes is missing as a whole where anything of it is.
    """
    for path in _candidates(dataset, mapping.file_name):
        with contextlib.suppress(OSError, RuntimeError, ValueError), h5py.File(path, "r") as file:
            source, selected = file.get(mapping.dset_name), mapping.src_space
            if not isinstance(source, h5py.Dataset):
                return True, [" is not in that file"]
            why = explain_missing_filter(source)
            if why := why or (source.external and why_hardly_written(source)):
                return True, [f": {why}"]
            begin, last = map(np.array, mapping.vspace.get_select_bounds())
            sides, first = last + 1 - begin, np.zeros(source.ndim, dtype=int)
            n, sizes = mapping.vspace.get_select_npoints(), np.array(source.shape)
            if source.ndim == len(sides) and n == sides.prod():
                sizes = sides
            if selected.get_select_type() != h5py.h5s.SEL_ALL:  # whose size is not stored
                first, last = map(np.array, selected.get_select_bounds())
                sizes = last + 1 - first
            is_box = sizes.tolist() == sides.tolist() and n == sides.prod()
            low, high = (low - begin, high - begin) if is_box else (0 * first, sizes)
            reach = np.minimum(first + high, source.shape) - first
            is_short, gaps, found = (reach < high).any() or source.size < n, np.True_, []
            if (low < reach).all():
                gaps, found = find_gaps(source, np.transpose([first + low, first + reach]).tolist())
            causes = [" is shorter than expected"] * int(is_short) + [
                f": {cause}" for cause in found
            ]
            if not is_box:
                return bool(causes), causes
            mask = np.ones(high - low, dtype=bool)
            mask[_slices(0 * low, reach - low)] = gaps
            return mask, causes
    return True, [" is missing or damaged"]


def _raw_file(dataset: h5py.Dataset, name: str) -> Path:
    """Where HDF5 reads external storage: by default from the working directory."""
    own = os.path.dirname(os.path.abspath(os.fsdecode(dataset.file.filename)))
    return Path(os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", own), name)


def _candidates(dataset: h5py.Dataset, name: str) -> list[Path]:
    """Where HDF5 looks for a source."""
    own = Path(os.fsdecode(dataset.file.filename))
    path = own if name == "." else Path(name)
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(own.parent))
    folders = [Path(prefix)] * bool(prefix) + [own.parent, Path(), own.resolve().parent]
    relative = path.name if path.is_absolute() else path
    return [path] * path.is_absolute() + [folder / relative for folder in folders]


class StoredArray:
    """An array of an open file, read in boxes.

    `order` is the axis of the file for each axis as it is used, and `flipped` which of the latter
    are stored in descending order. `shape` and `chunks` (None where contiguous) are of the axes as
    used, and `causes` why values may be missing. DataError where it is compressed with a filter
    that is not installed, was never written, or its packing can't be understood.
    """

    def __init__(
        self,
        path: Path,
        array: Any,
        order: Sequence[int] = (0, 1, 2),
        flipped: Sequence[bool] = (False, False, False),
    ):
        self.path, self.array, self.name = path, array, array.name.lstrip("/")
        self.order, self.flipped = tuple(order), tuple(flipped)
        self.dtype, chunks = np.dtype(array.dtype), getattr(array, "chunks", None)
        self.shape = tuple(array.shape[axis] for axis in self.order)
        self.chunks = None if chunks is None else tuple(chunks[axis] for axis in self.order)
        self.packing = packing_of(array)
        marks = ", ".join(map(str, self.packing.missing))
        self.causes = [f"the fill value {marks}"] if marks else []
        self._is_whole = False
        if isinstance(array, h5py.Dataset):
            require_filters(array)
            if why := why_hardly_written(array):
                raise DataError(f"{path}: {why}; wait until it is complete, or copy it again")
            self._is_whole = not array.is_virtual and _count_chunks(array)[1] == 0

    def read(self, what: str, *ranges: tuple[int, int]) -> np.ndarray:
        """Values of a part, as stored, or float with NaN where values are packed or missing.

        `what` is the part in words, for the DataError where it can't be read; `ranges` are start
        and end along the first axes; all of the others are read.
        """
        box = [(0, n) for n in self.array.shape]
        for axis, (start, stop) in enumerate(ranges):
            n = self.shape[axis]
            box[self.order[axis]] = (n - stop, n - start) if self.flipped[axis] else (start, stop)
        with explain(self.path, f"{what} of {self.name}"):
            if self._is_whole:
                values, causes = self.packing.unpack(self.array[_slices(*np.transpose(box))]), []
            else:
                values, causes = read_box(self.array, box, self.packing)
        self._report_missing(causes)
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return values.transpose(self.order)[steps]

    def _report_missing(self, causes: list[str]) -> None:
        if new := [cause for cause in causes if cause not in self.causes]:
            shown = [*new[:MAX_CAUSES], *["..."] * (len(new) > MAX_CAUSES)]
            log.warning(
                f"{self.path}: {self.name}: missing: {', '.join(shown)}; these parts are read as "
                "missing values (NaN)"
            )
            self.causes += new
