"""Layouts of spectrogram files: what is where, checked on opening, read in blocks.

Letters: N samples, F frequency bins, T time bins.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, RISClusterError
from ..runtime import log
from ..settings import CubeSettings
from .axes import SAMPLES, axis_order, dimension_of, is_descending, named_layout
from .cube_file import CubeFile
from .packing import packing_of
from .spectrograms import DETECTION, READ_ROWS, SpectrogramFile
from .storage import (
    Storage,
    is_variable,
    joined,
    list_arrays,
    notes_of,
    open_storage,
    require_filters,
    shape_of,
    text_attribute,
)
from .stored import StoredArray, read_all
from .times import SECOND, count_unreadable, decode_times, epoch_unit, nanoseconds_to_iso, to_text
from .units import frequency_factor, seconds_factor

# What h5py raises for damaged bytes, for links that lead nowhere, and where sizes are lies
DAMAGED = (KeyError, OSError, RuntimeError, MemoryError)
DETECTION_KEYS = dict(zip(DETECTION, ("dt_on", "dt_off", "dt_peak", "peak"), strict=True))
TIME_KEYS = ("starttime", "dt_start", "dt_on", "dt_peak")  # of a catalogue's rows
LARGEST_GAP = 2**19  # unwanted bytes that are read through rather than jumped over


class RowsFile(SpectrogramFile):
    """A file of HDF5 with a row a sample.

    Parameters
    ----------
    path : Path
    file : h5py.File
        Open; closed with this object.
    dataset : str
        Name of the spectrograms inside the file.

    Raises
    ------
    DataError
        It does not hold what the layout needs.
    """

    default_dataset = ""
    time_columns = ("starttime", "time")

    def __init__(self, path: Path, file: h5py.File, dataset: str):
        self.path, self.dataset, self._file = path, dataset, file
        self._decoded: dict[tuple[str, ...], np.ndarray | None] = {}  # times by column
        self._spectrograms = self._stored(self._find_spectrograms(dataset))
        self.dtype = self._spectrograms.dtype
        self.n_samples = self._spectrograms.shape[0]
        self.n_frequencies, self.n_times = self._image_shape()
        self._check_values(self.dtype)
        self.frequency, self.frequency_unit = self._frequency_axis()
        self.time, self.time_unit = self._time_axis()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # ---- what a layout defines ----

    def _image_shape(self) -> tuple[int, int]:
        return self._spectrograms.shape[1:]

    def _frequency_axis(self) -> tuple[np.ndarray, str]:
        raise NotImplementedError

    def _time_axis(self) -> tuple[np.ndarray, str]:
        raise NotImplementedError

    def _stored(self, dataset: h5py.Dataset) -> StoredArray:
        return StoredArray(self.path, dataset)

    def _crop(self, rows: np.ndarray) -> np.ndarray:
        """Spectrograms out of rows of the data set: to (n, F, T)."""
        return rows

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.starttimes`."""
        return self._times(self.time_columns, start, stop)

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.trace_ids`."""
        return self._column(("trace_id", "station"), to_text, start, stop)

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.detection`."""
        if name == "peak_amplitude":
            return self._column((name,), to_number, start, stop)
        return self._times((name,), start, stop)

    @property
    def waveform_unit(self) -> str:
        """See `SpectrogramFile.waveform_unit`."""
        found = self._item("peak_amplitude")
        return "" if found is None else text_attribute(found, "units")

    # ---- what they share ----

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile.read_blocks`; whole chunks, each read once."""
        chunk = self._spectrograms.chunks[0] if self._spectrograms.chunks else 1
        gap = LARGEST_GAP // (self.dtype.itemsize * self.n_frequencies * self.n_times)
        for part in _segments(index, max(1, READ_ROWS // chunk) * chunk, max(1, gap)):
            first = int(part[0])
            rows = self._read_rows(first, int(part[-1]) + 1)
            yield part, rows if len(rows) == len(part) else rows[part - first]

    def _read_rows(self, start: int, stop: int) -> np.ndarray:
        rows = self._spectrograms.read(f"samples {start} to {stop - 1}", (start, stop))
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite: an unusable sample
            return np.ascontiguousarray(self._crop(rows), dtype=np.float32)

    @property
    def missing(self) -> list[str]:
        """See `SpectrogramFile.missing`."""
        return self._spectrograms.causes

    @property
    def amplitude_unit(self) -> str:
        """Unit of the stored values, empty where the file does not say."""
        array = self._spectrograms.array
        return text_attribute(array, "units") or text_attribute(array, "AmplUnits")

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a stored chunk; None where the data set is contiguous."""
        return self._spectrograms.chunks

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file and the data set say about the spectrograms."""
        return notes_of(self._file) | notes_of(self._spectrograms.array)

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64, or None. For scoring only.

        Where the file names a single class there is nothing to score, and the answer is None.
        """
        found = self._beside("labels")
        if found is None or len(self.class_names()) == 1:
            return None
        values = self._values(found)
        unknown = np.isnan(values) if values.dtype.kind == "f" else np.False_
        if (
            values.dtype.kind not in "iuf"
            or not (unknown | (np.isfinite(values) & (values == np.round(values)))).all()
        ):
            raise DataError(f"{self.path}: /labels must hold whole numbers, not {values.dtype}")
        return np.where(unknown, -1, values).astype(np.int64)

    def class_names(self) -> list[str]:
        """Names of the known classes, empty where the file has none."""
        labels = self._item("labels")
        if labels is None:
            return []
        try:
            names = labels.attrs.get("class_names", self._file.attrs.get("class_names"))
        except DAMAGED as error:
            raise DataError(f"{self.path}: class_names: {_damage(error)}") from None
        return [] if names is None else [to_text(name) for name in np.ravel(names)]

    def _item(self, name: str) -> Any:
        """What has a name in the file, or None."""
        try:
            return self._file.get(name)
        except DAMAGED as error:
            raise DataError(f"{self.path}: /{name}: {_damage(error)}") from None

    def _values(self, found: h5py.Dataset, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A part of a column, unpacked, with NaN for missing values."""
        require_filters(found)
        try:
            return packing_of(found).unpack(joined(found[start:stop]).reshape(-1))
        except DAMAGED as error:
            raise DataError(f"{self.path}: {found.name}: {_damage(error)}") from None

    def _beside(self, name: str) -> Any:
        """A data set with one value a sample, or None where it is not in the file."""
        found = self._item(name)
        if not isinstance(found, h5py.Dataset):
            return None
        if found.shape != (self.n_samples,):
            raise DataError(
                f"{self.path}: /{name} has shape {found.shape}, but {self.dataset} holds "
                f"{self.n_samples} samples; it needs one value a sample"
            )
        return found

    def _column(
        self, names: Sequence[str], convert: Any, start: int, stop: int | None
    ) -> list[str] | None:
        found = self._first_of(names)
        if found is None:
            return None
        return [convert(value) for value in self._values(found, start, stop)]

    def _first_of(self, names: Sequence[str]) -> h5py.Dataset | None:
        """The first of these columns that the file has with one value a sample."""
        shapes = (self.n_samples,), (self.n_samples, 1)
        for name in names:
            found = self._item(name)
            if isinstance(found, h5py.Dataset) and shape_of(found) in shapes:
                return found
        return None

    def _times(self, names: tuple[str, ...], start: int, stop: int | None) -> list[str] | None:
        """Times of the first of these columns, in UTC, ISO 8601 with Z; empty for what is none."""
        if names not in self._decoded:
            self._decoded[names] = self._decode_times(names)
        times = self._decoded[names]
        return None if times is None else nanoseconds_to_iso(times[start:stop])

    def _decode_times(self, names: tuple[str, ...]) -> np.ndarray | None:
        """Times of a column, (N,) int64, ns since 1970; what can't be read is said."""
        name, values, units, calendar = self._time_values(names)
        if values is None:
            self._say_wrong_shape(names[0])
            return None
        if values.dtype.kind in "iuf" and not units and np.isfinite(values).any():
            unit = {1: "ns", 10**3: "us", 10**6: "ms", SECOND: "s"}[epoch_unit(np.nanmax(values))]
            log.info(
                f"{self.path}: {name} is taken as {unit} since 1970 in UTC, by the size of its "
                f"numbers; its attribute units changes this, as '{unit} since 2020-01-01'"
            )
        try:
            times = decode_times(values, units, calendar)
        except ValueError as error:
            log.warning(
                f"{self.path}: {name}: {error}: its times are not used; change its attributes "
                "units and calendar"
            )
            return None
        said = count_unreadable(values, times)
        if said:
            log.warning(f"{self.path}: {name}: {said}; these have no time")
        return times

    def _say_wrong_shape(self, name: str) -> None:
        found = self._item(name)
        if isinstance(found, h5py.Dataset):
            log.warning(
                f"{self.path}: /{name} has shape {found.shape} and is not used: it needs one value "
                f"a sample, of which there are {self.n_samples:,}"
            )

    def _time_values(self, names: tuple[str, ...]) -> tuple[str, np.ndarray | None, str, str]:
        """Name, values, units and calendar of a column of times."""
        found = self._first_of(names)
        if found is None:
            return "", None, "", ""
        units, calendar = (text_attribute(found, key) for key in ("units", "calendar"))
        return found.name, self._values(found), units, calendar

    def _find_spectrograms(self, dataset: str) -> h5py.Dataset:
        found = self._file.get(dataset)
        if not isinstance(found, h5py.Dataset):
            raise DataError(
                f"{self.path}: no data set '{dataset}' in this file; it has "
                f"{list_arrays(self._file)}; set data.dataset to one of them"
            )
        return found


class SamplesFile(RowsFile):
    """``/spectrogram`` (N, F, T) with ``/frequency`` (Hz), ``/time`` (s) and columns beside it."""

    layout = "samples"
    default_dataset = "spectrogram"

    time_columns = ("starttime",)

    def _stored(self, dataset: h5py.Dataset) -> StoredArray:
        self._axes = {name: self._find_axis(dataset, name) for name in ("frequency", "time")}
        lengths = {
            name: found.shape[0]
            for name, found in self._axes.items()
            if found is not None and len(found.shape or ()) == 1
        }
        order = axis_order(self.path, dataset, SAMPLES, lengths)
        flipped = [False, *(self._descends(name, dataset.shape[order[axis]])
                            for axis, name in ((1, "frequency"), (2, "time")))]  # fmt: skip
        return StoredArray(self.path, dataset, order, flipped)

    def _find_axis(self, dataset: h5py.Dataset, name: str) -> h5py.Dataset | None:
        _, scale = dimension_of(dataset, name)
        found = scale if scale is not None else self._item(name)
        if isinstance(found, h5py.Dataset) and not is_variable(found):
            return None
        linked = found is not None or self._file.get(name, getlink=True) is not None
        if linked and not isinstance(found, h5py.Dataset):
            raise DataError(f"{self.path}: the {name} axis must be a data set of numbers")
        return found

    def _descends(self, name: str, n: int) -> bool:
        found = self._axes[name]
        if found is None or found.shape != (n,) or found.dtype.kind not in "iuf":
            return False
        return is_descending(read_all(found))

    def _frequency_axis(self) -> tuple[np.ndarray, str]:
        found = self._axes["frequency"]
        unit = "" if found is None else text_attribute(found, "units")
        factor = frequency_factor(f"{self.path}: the frequency axis", unit)
        return self._axis("frequency", 1, factor, "Hz")

    def _time_axis(self) -> tuple[np.ndarray, str]:
        found = self._axes["time"]
        try:
            factor = None if found is None else seconds_factor(text_attribute(found, "units"))
        except ValueError as error:
            factor = None
            log.warning(
                f"{self.path}: the time axis: {error}: time bins are counted; change its "
                "attribute units"
            )
        return self._axis("time", 2, factor, "s")

    def _axis(
        self, name: str, axis: int, factor: float | None, unit: str
    ) -> tuple[np.ndarray, str]:
        n, found = self._spectrograms.shape[axis], self._axes[name]
        if found is None or factor is None:
            return np.arange(n, dtype=np.float64), "bin"
        # Of another shape it is refused, and not read: it may be of any size.
        shape = found.shape or (0,)
        values = read_all(found) if shape == (n,) else np.broadcast_to(0.0, shape)
        if self._spectrograms.flipped[axis]:
            values = values[::-1]
        values = self._check_axis(values, n, name)
        return (values if factor == 1 else values * factor), unit


class RisFile(RowsFile):
    """What RISProcess and RISCluster wrote: ``/4.0/Spectrogram`` (N, F+1, T+1).

    Each row carries its axes: frequencies in ``[:F, 0]``, times in ``[F, 1:]``.
    """

    layout = "ris"
    default_dataset = "4.0/Spectrogram"

    def _image_shape(self) -> tuple[int, int]:
        return self._spectrograms.shape[1] - 1, self._spectrograms.shape[2] - 1

    def _frequency_axis(self) -> tuple[np.ndarray, str]:
        axis = self._first_row()[: self.n_frequencies, 0]
        return self._check_axis(axis, self.n_frequencies, "frequency"), "Hz"

    def _time_axis(self) -> tuple[np.ndarray, str]:
        axis = self._first_row()[self.n_frequencies, 1:]
        return self._check_axis(axis, self.n_times, "time"), "s"

    def _first_row(self) -> np.ndarray:
        return self._spectrograms.read("sample 0", (0, 1))[0]

    def _stored(self, dataset: h5py.Dataset) -> StoredArray:
        return StoredArray(self.path, dataset)

    def _crop(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, :-1, 1:]

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """Onset of samples in UTC, ISO 8601 with Z, or None where the file has no times."""
        if self._keys is None:
            return super().starttimes(start, stop)
        key = next((key for key in TIME_KEYS if key in self._keys), None)
        return None if key is None else self._times((key,), start, stop)

    def _time_values(self, names: tuple[str, ...]) -> tuple[str, np.ndarray | None, str, str]:
        rows = self._catalogue(0, None)
        if rows is None:
            return super()._time_values(names)
        found = [row.get(names[0]) for row in rows]
        texts = [x if isinstance(x, (str, int, float)) else str(x or "") for x in found]
        return f"{names[0]} of the catalogue", np.array(texts, dtype=object), "", ""

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.trace_ids`."""
        if self._keys is None:
            return super().trace_ids(start, stop)
        if "station" not in self._keys:
            return None
        keys = ("network", "station", "location", "channel")
        rows = self._catalogue(start, stop)
        return [".".join(str(row.get(key) or "") for key in keys) for row in rows]

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.detection`."""
        key = DETECTION_KEYS[name]
        if self._keys is None:
            return super().detection(name, start, stop)
        slid = to_text(self.attributes.get("build.method", "")) == "slide"
        if key not in self._keys or (slid and key in ("dt_on", "dt_off")):
            return None
        if name != "peak_amplitude":
            return self._times((key,), start, stop)
        return [to_number(row.get(key)) for row in self._catalogue(start, stop)]

    @property
    def waveform_unit(self) -> str:
        """See `SpectrogramFile.waveform_unit`."""
        first = self._catalogue(0, 1)
        return super().waveform_unit if first is None else str(first[0].get("unit") or "")

    @cached_property
    def _keys(self) -> frozenset[str] | None:
        """What any row of the catalogue has, for the first may lack some; None without one."""
        rows = self._catalogue(0, None)
        return None if rows is None else frozenset().union(*rows)

    def _catalogue(self, start: int, stop: int | None) -> list[dict[str, Any]] | None:
        """Rows of the JSON catalogue beside the spectrograms, with keys in lower case."""
        name = f"{self.dataset.rpartition('/')[0]}/Catalogue"
        found = self._beside(name)
        if found is None:
            return None
        rows = []
        try:
            for text in self._values(found, start, stop):
                row = json.loads(to_text(text))
                rows.append({key.lower(): value for key, value in row.items()})
        except RISClusterError:
            raise
        except (ValueError, AttributeError, RecursionError):
            raise DataError(
                f"{self.path}: {name} must hold one JSON object a sample, and that of sample "
                f"{start + len(rows)} is none"
            ) from None
        return rows


ROWS_LAYOUTS: dict[str, type[RowsFile]] = {"samples": SamplesFile, "ris": RisFile}


def open_spectrograms(
    path: str | Path,
    layout: str = "auto",
    dataset: str = "auto",
    cube: CubeSettings | None = None,
) -> SpectrogramFile:
    """Open a file of spectrograms and check what is in it.

    Parameters
    ----------
    path : path
    layout : {"auto", "samples", "ris", "cube"}
    dataset : str
        Name of the spectrograms inside the file, or ``auto``.
    cube : CubeSettings, optional
        What a sample of a cube is.

    Returns
    -------
    SpectrogramFile

    Raises
    ------
    DataError
        The file is missing, neither HDF5 nor Zarr or cut short, or does not hold what the layout
        needs.
    """
    path = Path(path).expanduser()
    storage = open_storage(path, "data.file")
    try:
        if layout == "auto":
            layout, dataset = _guess_layout(storage, dataset)
        if layout == "cube":
            return CubeFile(path, storage, dataset, cube or CubeSettings())
        return _open_rows(path, storage, layout, dataset)
    except BaseException as error:
        storage.close()
        if isinstance(error, DAMAGED) and not isinstance(error, RISClusterError):
            raise DataError(f"{path}: {_damage(error)}") from None
        raise


def _open_rows(path: Path, storage: Storage, layout: str, dataset: str) -> RowsFile:
    file = storage.root
    if not isinstance(file, h5py.File):
        raise DataError(
            f"{path}: is Zarr, and layout {layout} is read from HDF5; allowed for Zarr: cube"
        )
    kind = ROWS_LAYOUTS[layout]
    if dataset == "auto":
        dataset = (layout == "ris" and _ris_dataset(file)) or kind.default_dataset
    opened = file.get(dataset)
    if isinstance(opened, h5py.Dataset) and opened.ndim != 3:
        raise DataError(
            f"{path}: {dataset} has {opened.ndim} dimensions, {opened.shape}; spectrograms "
            "need three: sample, frequency, time; set data.dataset if it is another data set"
        )
    return kind(path, file, dataset)


def _guess_layout(storage: Storage, dataset: str) -> tuple[str, str]:
    """Layout and data set: by the names of dimensions, or else by those of data sets."""
    if dataset != "auto":
        found = storage.get(dataset)
        named = {dataset: named_layout(found)} if found is not None else {}
    else:
        named = {name: named_layout(array) for name, array in storage.arrays()}
        named = {name: layout for name, layout in named.items() if layout}
        usual = [name for name in ("spectrogram", "data") if name in named]
        named = {name: named[name] for name in usual[:1]} or named
    if len(named) == 1 and (layout := next(iter(named.values()))):
        return layout, next(iter(named))
    return _usual_layout(storage, dataset), dataset


def _usual_layout(storage: Storage, dataset: str) -> str:
    path = storage.path
    if storage.is_zarr or storage.is_cube:
        return "cube"
    file = storage.root
    if _ris_dataset(file) and dataset in ("auto", _ris_dataset(file)):
        return "ris"
    if "spectrogram" in file or dataset != "auto":
        return "samples"
    data = storage.get("data")
    if data is not None:
        shape = data.shape or ()  # none at all where it is declared as empty
        raise DataError(
            f"{path}: 'data' has {len(shape)} dimensions, {tuple(shape)}; a cube has "
            "three: time, channel, frequency; set data.dataset if it is another data set, or "
            "make a cube of a fibre record with: python -m RISCluster cube"
        )
    raise DataError(
        f"{path}: neither 'spectrogram' (layout samples) nor '4.0/Spectrogram' (layout ris) nor "
        f"'data' (layout cube) is in this file; it has {list_arrays(file)}; set data.dataset, "
        "or make spectrograms with python -m RISCluster build, of a fibre record with cube"
    )


def _ris_dataset(file: h5py.File) -> str | None:
    """``<seconds>/Spectrogram``, whatever length of window the group is named after."""
    try:
        groups = list(file)
    except TypeError as error:  # of h5py, where the file's root is damaged
        raise DataError(f"{file.filename}: {_damage(error)}") from None
    for group in groups:
        if group.replace(".", "", 1).isdecimal() and f"{group}/Spectrogram" in file:
            return f"{group}/Spectrogram"
    return None


def _damage(error: BaseException) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"can't be read ({reason}); it may be damaged, or a link to nowhere: copy it again"


def to_number(value: Any) -> str:
    """A finite number as text; empty if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    return f"{number:.7g}" if np.isfinite(number) else ""


def _segments(index: np.ndarray, rows: int, gap: int) -> Iterator[np.ndarray]:
    """Ascending indices in runs that one read covers, ending at multiples of `rows`."""
    jumps = np.flatnonzero(np.diff(index) > gap) + 1
    for run in np.split(index, jumps):
        start = 0
        while start < len(run):
            stop = int(np.searchsorted(run, (run[start] // rows + 1) * rows))
            yield run[start:stop]
            start = stop
