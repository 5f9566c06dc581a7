"""Arrays of HDF5 files and Zarr folders, unpacked by the CF conventions; NaN for missing values."""

import base64
import contextlib
import glob
import itertools
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..errors import DataError, RISClusterError
from ..io import explain_missing_filter, is_remote, load_hdf5_filters, need, store_options
from ..settings import DataSettings
from .times import to_text

CHUNK_CACHE = 64 * 2**20  # bytes; neighbouring windows share chunks
FOREIGN = "is neither HDF5 nor Zarr"
NO_DATA = (".xml", ".txt", ".csv", ".json", ".ini", ".md", ".pdf", ".png", ".partial", ".log")


def find_files(words: Sequence[str]) -> list[Path]:
    """Files, ascending, that words of the command line name: files, folders or patterns."""
    found: set[Path] = set()
    for word in words:
        path = Path(word).expanduser()
        listed = path.rglob("*") if path.is_dir() else glob.glob(str(path), recursive=True)
        inside = {x for x in map(Path, listed) if x.name[0] != "." and x.is_file()}
        inside = {x for x in inside if x.suffix.lower() not in NO_DATA}
        inside = {path} if path.is_file() else inside
        if not inside:
            raise DataError(
                f"{word}: no such file, or no data in this folder or of this pattern, where texts, "
                "tables and StationXML are left out; give others"
            )
        found |= inside
    return sorted(found)


def stamp(path: Path) -> list[str | int]:
    """Identity of a file: name, size in bytes, and time of last change in ns."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _sources(dataset: h5py.Dataset) -> Iterator[tuple[Path, Any]]:
    """Files that a virtual data set is read from, with the mapping of each part of it."""
    path = Path(os.fsdecode(dataset.file.filename))
    for part in dataset.virtual_sources():
        yield path if part.file_name == "." else path.parent / part.file_name, part


def other_files(path: Path) -> list[str]:
    """Name, size and time of the files that virtual data sets are read from."""
    places: set[Path] = set()
    with contextlib.suppress(OSError, RuntimeError, DataError), h5py.File(path, "r") as file:
        arrays = Storage(path, file).arrays.values()  # errors are reported where it is read
        places = {place for x in arrays if x.is_virtual for place, _ in _sources(x)} - {path}
    found = {" ".join(map(str, stamp(place))) for place in places if place.exists()}
    return sorted(found.union(*map(other_files, places)))


class Storage:
    """An open h5py.File, zarr.Group or zarr.Array `root`; `arrays` are all in it by their path."""

    def __init__(self, path: Path, root: Any):
        self.path, self.root, items = path, root, {}
        self.close = getattr(root, "close", lambda: None)
        with explain(path, "its content"):
            if isinstance(root, h5py.File):  # links to other files and places are left out
                root.visititems(lambda name, item: items.update({name: item}))
            else:
                items |= {"/": root} if hasattr(root, "shape") else root.members(max_depth=None)
        self.arrays = {name: x for name, x in sorted(items.items()) if hasattr(x, "shape")}

    def get(self, name: str) -> Any:
        """An array by its path inside, or None."""
        return self.arrays.get(name.strip("/") or "/")


def open_storage(path: Path, setting: str, npy: DataSettings | None = None) -> Storage:
    """Open an HDF5 file, a ``.npy`` file with the axes of `npy`, or Zarr (format 2 or 3).

    `setting` is named in a DataError. Zarr may be remote, see `store_options`.
    """
    if is_remote(path) or any((path / x).exists() for x in ("zarr.json", ".zgroup", ".zarray")):
        zarr = need("zarr")
        if is_remote(path):
            need("s3fs" if str(path).startswith("s3:") else "aiohttp")
        with explain(path, "the Zarr store"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that Zarr's third format has not settled
            options = store_options(path) or None  # which are an error for a local store
            return Storage(path, zarr.open(str(path), mode="r", storage_options=options))
    if not path.is_file():
        raise DataError(
            f"{path}: no such file or Zarr folder; set {setting} to your data set, or make one of "
            "waveforms with: python -m RISCluster build"
        )
    if path.suffix.lower() == ".npy":
        return _open_npy(path, npy or DataSettings())
    load_hdf5_filters()
    try:
        return Storage(path, h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE))
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None


def _open_npy(path: Path, settings: DataSettings) -> Storage:
    """An array of NumPy as an external data set of a file in memory, so that HDF5 reads it."""
    axes = [*settings.axes]
    with explain(path, "its array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != len(axes):
        raise DataError(
            f"{path}: has shape {array.shape}; allowed: ({', '.join(axes)}), by data.axes"
        )
    root = h5py.File(f"{path} (NumPy)", "w", driver="core", backing_store=False)
    if settings.frequencies is not None:
        n = array.shape[axes.index("frequency")]
        root["frequency"] = np.linspace(*settings.frequencies, n)
    if settings.time_step is not None:
        root["time"] = np.arange(array.shape[axes.index("time")]) * settings.time_step
    if not array.flags.c_contiguous:  # of Fortran
        array, axes = array.T, axes[::-1]
    external = [(str(path.absolute()), array.offset, array.nbytes)]
    name = "data" if "channel" in axes else "spectrogram"
    data = root.create_dataset(name, array.shape, array.dtype, external=external)
    data.attrs["dimensions"] = axes
    return Storage(path, root)


def why_closed(path: Path, error: OSError) -> str:
    """Why a file can't be opened as HDF5, and what to do."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(8)
        if re.match(rb"\d{6}[DRQM][ \0]|MS\x03", start):
            return "is miniSEED; make spectrograms of it with python -m RISCluster build"
        if start[:4] != b"\x89HDF":
            return (
                f"{FOREIGN}; make spectrograms of waveforms with python -m RISCluster build, of "
                "fibre records with python -m RISCluster cube, and netCDF-4 of classic netCDF with "
                "nccopy -k nc4 IN OUT"
            )
    return (
        f"can't be opened as HDF5 ({reason_of(error)}); copy or build it again if it was cut "
        "short; wait if another program writes it; if that was killed, run h5clear -s FILE"
    )


@contextlib.contextmanager
def explain(place: Any, what: str) -> Iterator[None]:
    """Raise a DataError for what h5py, zarr and their codecs raise where bytes are damaged."""
    try:
        yield
    except RISClusterError:
        raise
    except Exception as error:
        check = "check address, network and credentials; " if "://" in str(place) else ""
        raise DataError(
            f"{place}: {what} can't be read ({reason_of(error)}); {check}copy or make it again, or "
            "install the codec that it needs (pip install hdf5plugin or numcodecs)"
        ) from None


def reason_of(error: BaseException) -> str:
    """Message of an exception of h5py or zarr, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def place_of(array: Any) -> Any:
    """File or folder of an array or group, for messages."""
    if isinstance(array, (h5py.Dataset, h5py.Group)):
        return array.file.filename
    return str(array.store_path).removeprefix("file://")


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
    """Attributes of an array or group without those that HDF5 and netCDF have for themselves."""
    internal = r"CLASS|NAME|DIMENSION_L\w+|REFERENCE_LIST|_N(etcdf4|C)\w+"
    with explain(place_of(array), f"attributes of {array.name}"):
        return {key: value for key, value in array.attrs.items() if not re.fullmatch(internal, key)}


def text_attribute(array: Any, name: str) -> str:
    """An attribute as text, empty where it is not there."""
    value = np.ravel(attributes_of(array).get(name, ""))
    return to_text(value[0]).strip() if value.size else ""


def is_variable(array: Any) -> bool:
    """Whether an array holds values, rather than the size of a netCDF dimension alone."""
    size_alone = "This is a netCDF dimension but not a netCDF variable"
    return not to_text(array.attrs.get("NAME", "")).startswith(size_alone)


def dimension_names(array: Any) -> list[str]:
    """Names of the axes: of HDF5's scales, Zarr's ``dimension_names`` or an attribute; or ''."""
    if not isinstance(array, h5py.Dataset):
        names = getattr(array.metadata, "dimension_names", None) or ()
    else:
        names = ()
        with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):  # damaged references
            labels = [x.label or (x[0].name if len(x) else "") for x in array.dims]
            names = [(label or "").rpartition("/")[2] for label in labels]
    found = [] if any(names) else [attributes_of(array).get(key) for key in DIMENSIONS]
    for value in found:
        texts = value.split(",") if isinstance(value, str) else np.ravel(value).tolist()
        if value is not None and len(texts) == array.ndim:
            return [to_text(text).strip() for text in texts]
    return [name or "" for name in names] or [""] * array.ndim


def roles_of(array: Any) -> list[str]:
    """Role of each axis by the name of its dimension: a key of `ROLES`, or empty."""
    names = [re.sub("_(coords?|dim)$", "", name.lower()) for name in dimension_names(array)]
    roles = [next((x for x in ROLES if name in ROLES[x].split()), "") for name in names]
    known = [role for role in roles if role]
    return roles if len(set(known)) == len(known) else [""] * len(roles)


PACKING = ("scale_factor", "add_offset", "missing_value", "_FillValue", "_Unsigned")  # attributes


class Packing(NamedTuple):
    """Stored numbers in `missing` are missing values; others become stored * scale + offset."""

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple = ()

    def unpack(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers to values, float64 with NaN for missing ones where anything changes."""
        gaps = np.isin(values, np.array(self.missing)) if self.missing else np.False_
        if (self.scale, self.offset) != (1, 0):
            values = values * np.float64(self.scale) + self.offset
        return np.where(gaps, np.nan, values.astype(np.float64)) if gaps.any() else values


def packing_of(array: Any) -> Packing:
    """Packing of an array by its attributes, or the fill value that it is declared with."""
    kind, attributes = array.dtype.kind, attributes_of(array)
    if kind not in "iuf":
        return Packing()
    fill = array.fillvalue if isinstance(array, h5py.Dataset) else array.fill_value
    is_xarray = {"_ARRAY_DIMENSIONS", "scale_factor"} <= {*attributes}  # it writes fills to Zarr 2
    if fill is None or not (fill or is_xarray):  # 0 is the default and may be a value
        fill = ()
    found = {"scale_factor": 1, "add_offset": 0, "missing_value": (), "_FillValue": fill}
    found |= attributes
    try:
        if kind == "i" and to_text(found.get("_Unsigned", "")).lower() == "true":
            raise ValueError("_Unsigned is true")
        (scale,), (offset,), missing, fills = (_numbers(found[name]) for name in PACKING[:4])
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{place_of(array)}: attributes of {array.name} can't be used: {error}; allowed: "
            "numbers for scale_factor, add_offset, _FillValue and missing_value, no _Unsigned"
        ) from None
    marks = fills + missing
    if kind == "f":  # as it is stored: 1e20 is another number in float32
        with np.errstate(over="ignore"):
            marks = np.array(marks, dtype=array.dtype).tolist()
    marks = dict.fromkeys(mark for mark in marks if mark == mark)  # NaN is NaN already
    return Packing(float(scale), float(offset), tuple(marks))


def _numbers(value: Any) -> list:
    """Numbers of an attribute; text is base64 of a float64, as xarray writes to Zarr 3."""
    values = np.ravel(value)
    if values.size and values.dtype.kind not in "iuf":
        values = np.frombuffer(base64.b64decode(to_text(values[0]), validate=True), "<f8")
    return values.tolist()


def sample_packing(dataset: h5py.Dataset) -> Packing:
    """Packing of a fibre's samples: also ``header/dataScale``, and least integers are missing."""
    packing, scale = packing_of(dataset), dataset.file.get("header/dataScale")
    if packing.scale == 1 and isinstance(scale, h5py.Dataset) and scale.shape in ((), (1,)):
        packing = packing._replace(scale=float(np.ravel(scale[()])[0]) or 1.0)
    if dataset.dtype.kind == "i" and dataset.dtype.itemsize > 1:
        least = int(np.iinfo(dataset.dtype).min)
        packing = packing._replace(missing=tuple(dict.fromkeys((*packing.missing, least))))
    return packing


def require_readable(dataset: h5py.Dataset) -> None:
    """DataError where HDF5 would fail, or read zeros in place of values that are not there."""
    if why := explain_missing_filter(dataset):
        why = f"needs another package: {why}"
    elif dataset.external and dataset.file.driver != "core":  # that of `_open_npy`
        why = "has its values in raw files; write them into one file with h5py"
    elif not dataset.size or (dataset.dtype.kind == "f" and np.isnan(dataset.fillvalue)):
        return  # what is missing is read as such
    elif dataset.is_virtual:
        why = _lacking_source(dataset)
    else:
        n, n_written = 1, int(bool(dataset.external or dataset.id.get_storage_size()))
        if dataset.chunks:
            n = math.prod(-(-x // y) for x, y in zip(dataset.shape, dataset.chunks, strict=True))
            n_written = dataset.id.get_num_chunks()
        if n_written < n:
            why = (
                f"{n - n_written:,} of {n:,} chunks were never written; wait until it is "
                "complete, copy it again, or write NaN to the rest"
            )
    if why:
        raise DataError(f"{place_of(dataset)}: {dataset.name.lstrip('/')}: {why}")


def _lacking_source(dataset: h5py.Dataset) -> str:
    """Which part of a virtual data set can't be read, and what to do; '' where all can."""
    n_mapped = 0
    for path, part in _sources(dataset):
        n, is_whole = part.vspace.get_select_npoints(), False
        n_mapped += n
        with contextlib.suppress(OSError, RuntimeError, KeyError), h5py.File(path, "r") as file:
            source, chosen = file[part.dset_name], part.src_space
            require_readable(source)
            is_whole = source.size >= n
            if chosen.get_select_type() != h5py.h5s.SEL_ALL:
                is_whole = (np.array(chosen.get_select_bounds()[1]) < source.shape).all()
        if not is_whole:
            return (
                f"source {part.file_name}:/{part.dset_name.lstrip('/')} is missing, damaged or too "
                "short; put it where it was, or write one file without sources"
            )
    is_mapped = n_mapped >= dataset.size
    return "" if is_mapped else "parts have no source; write one file without sources"


class StoredArray:
    """An array of an open file; `order` is its axis for each axis of `shape` and `chunks`."""

    def __init__(self, array: Any, order: Sequence[int] | None = None):
        self.array, self.order = array, tuple(range(array.ndim) if order is None else order)
        self.dtype, self.packing = np.dtype(array.dtype), packing_of(array)
        self.shape = tuple(array.shape[axis] for axis in self.order)
        self.chunks = array.chunks and tuple(array.chunks[axis] for axis in self.order)
        if isinstance(array, h5py.Dataset):
            require_readable(array)

    def read(self, what: str, *ranges: tuple[int, int | None]) -> np.ndarray:
        """Values, unpacked; `ranges` (start, stop) are along the first axes, `what` names them."""
        array, box = self.array, [slice(None)] * self.array.ndim
        for axis, part in zip(self.order, ranges, strict=False):
            box[axis] = slice(*part)
        with explain(place_of(array), f"{what} of {array.name.lstrip('/')}"):
            values = self.packing.unpack(np.asarray(array[tuple(box)]))
            in_folder = not isinstance(array, h5py.Dataset) and not hasattr(array.store, "fs")
            if in_folder and array.ndim > 2:  # zeros of short arrays may be true: Zarr omits them
                values = self._without_gaps(values, [part.start or 0 for part in box])
        return values.transpose(self.order)

    def _without_gaps(self, values: np.ndarray, starts: list[int]) -> np.ndarray:
        """Values from `starts` on, NaN in chunks of a Zarr folder that were never written."""
        sides = [*zip(starts, values.shape, self.array.shards or self.array.chunks, strict=True)]
        grid = (range(k // size, -(-(k + n) // size)) for k, n, size in sides)
        for cell in itertools.product(*grid):
            if not Path(place_of(self.array), self.array.metadata.encode_chunk_key(cell)).exists():
                values = np.array(values, np.result_type(values, np.float32))
                pairs = zip(cell, sides, strict=True)
                box = [slice(max(0, c * size - k), (c + 1) * size - k) for c, (k, _, size) in pairs]
                values[tuple(box)] = np.nan
        return values


def read_values(array: Any, *ranges: tuple[int, int | None]) -> np.ndarray:
    """All values of a coordinate or column, or a part; see `StoredArray.read`."""
    return StoredArray(array).read("values", *ranges)
