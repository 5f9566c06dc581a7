"""Files of spectrograms: what is where in each layout, checked on opening, read in blocks.

Letters: N samples of a file, F frequency bins, T time bins, n samples of a block.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas

from ..errors import DataError, RISClusterError
from ..runtime import log
from ..settings import CubeSettings
from .storage import (
    SAMPLES,
    Storage,
    StoredArray,
    axis_order,
    dimension_names,
    dimension_of,
    is_variable,
    named_layout,
    notes_of,
    open_storage,
    read_values,
    reason_of,
    shape_of,
    text_attribute,
)
from .times import (
    count_unreadable,
    decode_times,
    frequency_factor,
    log_assumed_epoch,
    nanoseconds_to_iso,
    seconds_factor,
    to_text,
)

SMALLEST = 4  # bins an axis, what the network takes
FINGERPRINT_SAMPLES = 64
READ_ROWS = 128  # samples read and prepared at a time, about: few enough to stay in cache
COLUMN_ROWS = 65536  # values of a column handled at a time
LARGEST_GAP = 2**19  # unwanted bytes that are read through rather than jumped over
DETECTION = ("onset", "end", "peak_time", "peak_amplitude")  # columns of a detection
# Keys of a catalogue's rows for each column, the first that is there counts
CATALOGUE = {
    "starttime": ("starttime", "dt_start", "dt_on", "dt_peak"),
    "onset": ("dt_on",),
    "end": ("dt_off",),
    "peak_time": ("dt_peak",),
    "peak_amplitude": ("peak",),
    "unit": ("unit",),
}
TRACE_KEYS = ("network", "station", "location", "channel")
# What h5py raises for damaged bytes, for links that lead nowhere, and where sizes are wrong
DAMAGED = (KeyError, OSError, RuntimeError, MemoryError)


class Column(NamedTuple):
    """A column or the coordinate of an axis, unpacked, with its attributes."""

    name: str
    values: np.ndarray
    units: str = ""
    calendar: str = ""

    @property
    def descends(self) -> bool:
        """Whether every number is below the one before it; not so for a single one."""
        values = self.values
        is_number = values.dtype.kind in "iuf" and len(values) > 1
        return is_number and bool((values[1:] < values[:-1]).all())


def _column(array: Any, values: np.ndarray) -> Column:
    units = (text_attribute(array, name) for name in ("units", "calendar"))
    return Column(array.name.lstrip("/"), values, *units)


def find_coordinate(
    path: Path, storage: Storage, array: Any, role: str, names: Sequence[str]
) -> Column | None:
    """The coordinate of the axis of a role: that of its dimension, or else one of `names`.

    DataError where it has not the length of any axis of `array`; it is not read then.
    """
    own, scale = dimension_of(array, role)
    group = array.name.lstrip("/").rpartition("/")[0]
    if scale is None and own and (tied := _interpolate(storage, array, own, f"{group}/{own}")):
        return tied
    own = [f"{group}/{own}"] if own else []
    names = [*names, *own] if role == "channel" else [*own, *names]
    for item in [scale] if scale is not None and role != "channel" else map(storage.get, names):
        if item is not None and is_variable(item):
            if len(shape_of(item)) != 1 or shape_of(item)[0] not in array.shape:
                raise DataError(
                    f"{path}: {item.name.lstrip('/')} has shape {shape_of(item)}, and {array.name} "
                    f"{array.shape}; the coordinate of its {role} axis needs one value a step"
                )
            return _column(item, read_values(item, complete=True))
    return None


def _interpolate(storage: Storage, array: Any, own: str, name: str) -> Column | None:
    """A coordinate stored as tie points, as xdas does by the CF conventions (section 8.3)."""
    indices, values = storage.get(f"{name}_indices"), storage.get(f"{name}_values")
    if indices is None or values is None or len(indices.shape) != 1 or not indices.shape[0]:
        return None
    ties, known = read_values(indices, complete=True), read_values(values, complete=True)
    if known.shape != ties.shape or known.dtype.kind not in "iuf":
        return None
    steps = np.arange(array.shape[dimension_names(array).index(own)])
    dense = np.interp(steps, ties, (known - known[0]).astype(np.float64))
    if known.dtype.kind in "iu":
        dense = np.rint(dense).astype(np.int64)
    return _column(values, known[0] + dense)


class SpectrogramFile:
    """An open file of spectrograms, whatever its layout.

    Attributes
    ----------
    dataset : str
        Name of the spectrograms inside the file, `stored` as a `StoredArray`, with `dtype` and
        `chunks`; `missing` is why values of it may be missing.
    n_samples, n_frequencies, n_times : int
    frequency, time : ndarray, (F,) and (T,), float64
        Axes, in `frequency_unit` and `time_unit`; bin numbers where the file has none.

    A layout defines `read_blocks(index)`, which yields indices (n,) and samples (n, F, T) float32
    as stored of `index` (ascending) in blocks; and `starttimes` and `trace_ids`.
    """

    layout = ""
    waveform_unit = ""  # of peak amplitudes, where the file gives it

    def __init__(self, path: Path, storage: Storage, dataset: str, stored: StoredArray):
        self.path, self._storage, self.dataset, self.stored = path, storage, dataset, stored
        self.dtype, self.chunks, self.missing = stored.dtype, stored.chunks, stored.causes
        self.attributes = notes_of(stored.array)
        units = (text_attribute(stored.array, name) for name in ("units", "AmplUnits"))
        self.amplitude_unit = next(filter(None, units), "")

    def __enter__(self) -> "SpectrogramFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._storage.close()

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """One of `DETECTION`: times as in `starttimes`, '' where unknown; None without them."""
        return None

    def event_ids(self, start: int = 0, stop: int | None = None) -> np.ndarray | None:
        """Number of the event of each sample, int64, -1 for none; None where no one knows."""
        return None

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64, or None. For scoring only."""
        return None

    def class_names(self) -> list[str]:
        """Names of the known classes, empty where the file has none."""
        return []

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` as stored: (n, F, T), float32."""
        index = np.arange(start, min(stop, self.n_samples))
        empty = np.empty((0, self.n_frequencies, self.n_times), dtype=np.float32)
        return np.concatenate([empty, *(rows for _, rows in self.read_blocks(index))])

    def fingerprint(self) -> str:
        """Identity of the content: shape, axes and 64 samples spread over the file, hashed."""
        digest = hashlib.sha256()
        shape = (self.n_samples, self.n_frequencies, self.n_times)
        digest.update(f"{self.layout} {shape} {self.dtype}".encode())
        digest.update(self.frequency.tobytes() + self.time.tobytes())
        for index in np.unique(np.linspace(0, self.n_samples - 1, FINGERPRINT_SAMPLES).astype(int)):
            digest.update(self.read(int(index), int(index) + 1).tobytes())
        return digest.hexdigest()[:32]

    def columns_fingerprint(self) -> str:
        """Identity of labels, start times, trace ids and onsets; DataError where one is wrong."""
        labels = self.labels()
        digest = hashlib.sha256(b"" if labels is None else labels.tobytes())
        digest.update("\n".join(self.class_names()).encode())
        columns = [self.starttimes, self.trace_ids]
        # Catalogues of `ris` had onsets before results named them.
        if self.layout != "ris" and self.detection("onset", 0, 1) is not None:
            columns.append(partial(self.detection, "onset"))
        for column in columns:
            digest.update(b"\0")
            for start in range(0, self.n_samples, COLUMN_ROWS):
                values = column(start, min(start + COLUMN_ROWS, self.n_samples))
                if values is None:
                    break
                digest.update("\n".join(values).encode() + b"\n")
        return digest.hexdigest()[:32]

    def _check_values(self) -> None:
        """Refuse files without samples, without numbers, or of too few bins."""
        place = f"{self.path}: {self.dataset}"
        if self.n_samples == 0:
            raise DataError(f"{place} is empty: it holds no sample; training needs three or more")
        if self.dtype.kind not in "iuf":
            raise DataError(f"{place} holds {self.dtype}; allowed: real numbers")
        if min(self.n_frequencies, self.n_times) < SMALLEST:
            raise DataError(
                f"{place} has samples of {self.n_frequencies} x {self.n_times} (frequency x time); "
                f"the network needs {SMALLEST} x {SMALLEST} or more"
            )

    def _check_axis(self, axis: np.ndarray, n: int, name: str) -> np.ndarray:
        """An axis as float64, refused where it does not fit."""
        try:
            axis = np.asarray(axis, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{self.path}: the {name} axis must hold numbers") from None
        if axis.shape != (n,):
            raise DataError(
                f"{self.path}: the {name} axis has shape {axis.shape}, but the samples have "
                f"{n} {name} bins; it needs one value a bin"
            )
        if not np.isfinite(axis).all() or (n > 1 and not (np.diff(axis) > 0).all()):
            raise DataError(f"{self.path}: the {name} axis must be finite and ascending")
        return axis


class RowsFile(SpectrogramFile):
    """An open HDF5 file with a row a sample; `dataset` is the name of the spectrograms inside."""

    default_dataset = ""
    time_names = ("starttime", "time")
    crop = slice(None), slice(None)  # frequency and time bins of a row

    def __init__(self, path: Path, storage: Storage, dataset: str):
        found = storage.get(dataset)
        if found is None or found.ndim != 3:
            raise DataError(
                f"{path}: no data set '{dataset}' of three dimensions (sample, frequency, time) in "
                f"this file; it has {storage.listed()}; set data.dataset to one of them"
            )
        self.path, self._storage = path, storage
        super().__init__(path, storage, dataset, self._stored(found))
        self.attributes = notes_of(storage.root) | self.attributes
        n, *bins = self.stored.shape
        bins = (len(range(size)[part]) for size, part in zip(bins, self.crop, strict=True))
        self.n_samples, self.n_frequencies, self.n_times = n, *bins
        self._check_values()
        self.frequency, self.frequency_unit = self._axis("frequency", self.n_frequencies)
        self.time, self.time_unit = self._axis("time", self.n_times)
        self._decoded: dict[str, np.ndarray | None] = {}  # times by column

    def _stored(self, dataset: Any) -> StoredArray:
        return StoredArray(self.path, dataset)

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile`; whole chunks, each read once."""
        chunk = self.stored.chunks[0] if self.stored.chunks else 1
        size = max(1, READ_ROWS // chunk) * chunk
        gap = max(1, LARGEST_GAP // (self.dtype.itemsize * self.n_frequencies * self.n_times))
        ends = np.flatnonzero((np.diff(index) > gap) | (np.diff(index // size) > 0)) + 1
        for part in np.split(index, ends) if len(index) else ():
            first = int(part[0])
            rows = self._read_rows(first, int(part[-1]) + 1)
            yield part, rows if len(rows) == len(part) else rows[part - first]

    def _read_rows(self, start: int, stop: int) -> np.ndarray:
        rows = self.stored.read(f"samples {start} to {stop - 1}", (start, stop))
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite: an unusable sample
            return np.ascontiguousarray(rows[:, *self.crop], dtype=np.float32)

    # ---- columns ----

    def _find(self, name: str, start: int, stop: int | None) -> Column | None:
        """A column, of one value a sample, or None where the file has none."""
        found = self._storage.get(name)
        if found is None or shape_of(found) not in ((self.n_samples,), (self.n_samples, 1)):
            return None
        return _column(found, self._values(found, start, stop))

    def _values(self, found: Any, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A part of a column, unpacked, with NaN for missing values."""
        return read_values(found, start, stop).reshape(-1)

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile`."""
        return self._times("starttime", start, stop)

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile`."""
        columns = (self._find(name, start, stop) for name in ("trace_id", "station"))
        column = next(filter(None, columns), None)
        return None if column is None else [to_text(value) for value in column.values]

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile`."""
        if name != "peak_amplitude":
            return self._times(name, start, stop)
        if (column := self._find(name, start, stop)) is None:
            return None
        numbers = pandas.to_numeric(pandas.Series(column.values), errors="coerce")
        return [f"{x:.7g}" if np.isfinite(x) else "" for x in numbers.astype(np.float64)]

    def event_ids(self, start: int = 0, stop: int | None = None) -> np.ndarray | None:
        """See `SpectrogramFile`."""
        found = self._beside("event_id")
        if found is None or found.dtype.kind not in "iu":
            return None
        return self._values(found, start, stop).astype(np.int64)

    @property
    def waveform_unit(self) -> str:
        """Unit of peak amplitudes, empty where the file does not give it."""
        found = self._storage.get("peak_amplitude")
        return "" if found is None else text_attribute(found, "units")

    def labels(self) -> np.ndarray | None:
        """See `SpectrogramFile`; None for a file of a single class, which scores nothing."""
        found = self._beside("labels")
        if found is None:
            return None
        values = self._values(found)
        if len(self.class_names()) == 1 and len(np.unique(values)) < 2:
            return None
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), -1, values)
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values % 1).any():
            raise DataError(f"{self.path}: /labels must hold whole numbers, not {values.dtype}")
        return values.astype(np.int64)

    def class_names(self) -> list[str]:
        """See `SpectrogramFile.class_names`: texts, or a list as one text in JSON."""
        found = self._storage.get("labels")
        notes = {} if found is None else self.attributes | notes_of(found)
        names = [to_text(name) for name in np.ravel(notes.get("class_names", []))]
        if len(names) == 1:
            with contextlib.suppress(ValueError):
                listed = json.loads(names[0])
                names = [str(name) for name in listed] if isinstance(listed, list) else names
        return names

    def _beside(self, name: str) -> Any:
        """A data set with one value a sample, or None where it is not in the file."""
        found = self._storage.get(name)
        if found is not None and found.shape != (self.n_samples,):
            raise DataError(
                f"{self.path}: /{name} has shape {found.shape}, but {self.dataset} holds "
                f"{self.n_samples} samples; it needs one value a sample"
            )
        return found

    def _times(self, name: str, start: int, stop: int | None) -> list[str] | None:
        """Times of a column in UTC, ISO 8601 with Z; empty where unknown."""
        if name not in self._decoded:
            self._decoded[name] = self._decode(name)
        times = self._decoded[name]
        return None if times is None else nanoseconds_to_iso(times[start:stop])

    def _decode(self, name: str) -> np.ndarray | None:
        """Times of a column, (N,) int64, ns since 1970; unreadable ones are logged."""
        names = self.time_names if name == "starttime" else (name,)
        column = next(filter(None, (self._find(x, 0, None) for x in names)), None)
        if column is None:
            if (wrong := self._storage.get(names[0])) is not None:
                log.warning(
                    f"{self.path}: /{names[0]} has shape {wrong.shape} and is not used: it needs "
                    f"one value a sample, of which there are {self.n_samples:,}"
                )
            return None
        place, values, units, calendar = column
        if values.dtype.kind in "iuf" and not units and np.isfinite(values).any():
            log_assumed_epoch(self.path, place, np.nanmax(values))
        try:
            times = decode_times(values, units, calendar)
        except ValueError as error:
            log.warning(
                f"{self.path}: {place}: {error}: its times are not used; change its attributes "
                "units and calendar"
            )
            return None
        if unreadable := count_unreadable(values, times):
            log.warning(f"{self.path}: {place}: {unreadable}; these have no time")
        return times


class SamplesFile(RowsFile):
    """``/spectrogram`` (N, F, T) with ``/frequency`` (Hz), ``/time`` (s) and columns beside it."""

    layout = "samples"
    default_dataset = "spectrogram"
    time_names = ("starttime",)

    def _stored(self, dataset: Any) -> StoredArray:
        find = partial(find_coordinate, self.path, self._storage, dataset)
        self._axes = {name: find(name, (name,)) for name in SAMPLES[1:]}
        for name, found in self._axes.items():
            is_there = self._storage.root.get(name, getlink=True) is not None
            if found is None and is_there and self._storage.get(name) is None:
                raise DataError(f"{self.path}: the {name} axis must be a data set of numbers")
        lengths = {name: len(found.values) for name, found in self._axes.items() if found}
        order = axis_order(self.path, dataset, SAMPLES, lengths)
        flipped = [False, *(bool(found) and found.descends for found in self._axes.values())]
        return StoredArray(self.path, dataset, order, flipped)

    def _axis(self, name: str, n: int) -> tuple[np.ndarray, str]:
        found, place = self._axes[name], f"{self.path}: the {name} axis"
        if found is None:
            return np.arange(n, dtype=np.float64), "bin"
        try:
            is_time, units = name == "time", found.units
            factor = seconds_factor(units) if is_time else frequency_factor(place, units)
        except DataError:
            raise
        except ValueError as error:
            factor = None
            log.warning(f"{place}: {error}: time bins are counted; change its attribute units")
        if factor is None:
            return np.arange(n, dtype=np.float64), "bin"
        values = self._check_axis(found.values[:: -1 if found.descends else 1], n, name)
        return (values if factor == 1 else values * factor), "s" if is_time else "Hz"


class RisFile(RowsFile):
    """Layout of RISProcess and the first RISCluster: ``/4.0/Spectrogram`` (N, F+1, T+1).

    Each row carries its axes: frequencies in ``[:F, 0]``, times in ``[F, 1:]``. A JSON object a
    sample is in ``/4.0/Catalogue``.
    """

    layout = "ris"
    default_dataset = "4.0/Spectrogram"
    crop = slice(None, -1), slice(1, None)

    def _axis(self, name: str, n: int) -> tuple[np.ndarray, str]:
        row = self.stored.read("sample 0", (0, 1))[0]
        values, unit = (row[:-1, 0], "Hz") if name == "frequency" else (row[-1, 1:], "s")
        return self._check_axis(values, n, name), unit

    def _find(self, name: str, start: int, stop: int | None) -> Column | None:
        if (rows := self._catalogue) is None:
            return super()._find(name, start, stop)
        keys = CATALOGUE.get(name, ())
        if to_text(self.attributes.get("build.method", "")) == "slide" and name in ("onset", "end"):
            return None
        key = next((key for key in keys if key in rows), None)
        values = None if key is None else rows[key].to_numpy()[start:stop]
        return None if key is None else Column(f"{key} of the catalogue", values)

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile`."""
        if (rows := self._catalogue) is None:
            return super().trace_ids(start, stop)
        codes = rows.reindex(columns=TRACE_KEYS, fill_value="").iloc[start:stop]
        codes = codes.map(lambda code: str(code or "")).to_numpy()
        return None if "station" not in rows else [".".join(parts) for parts in codes]

    @property
    def waveform_unit(self) -> str:
        """See `RowsFile`."""
        if self._catalogue is None:
            return super().waveform_unit
        column = self._find("unit", 0, 1)
        return "" if column is None else str(column.values[0])

    @cached_property
    def _catalogue(self) -> pandas.DataFrame | None:
        """Columns of the catalogue that are used, with keys in lower case; None without one."""
        name = f"{self.dataset.rpartition('/')[0]}/Catalogue"
        if (found := self._beside(name)) is None:
            return None
        used, rows = {*TRACE_KEYS}.union(*CATALOGUE.values()), []
        for number, text in enumerate(self._values(found)):
            try:
                items = json.loads(to_text(text)).items()
            except (ValueError, AttributeError, RecursionError):
                raise DataError(
                    f"{self.path}: {name} must hold one JSON object a sample, and that of sample "
                    f"{number} is none"
                ) from None
            items = [(key.lower(), value) for key, value in items]
            rows.append({key: value for key, value in items if key in used})
        table = pandas.DataFrame(rows, dtype=object)
        return table.where(table.notna(), "")


def open_spectrograms(
    path: str | Path,
    layout: str = "auto",
    dataset: str = "auto",
    cube: CubeSettings | None = None,
) -> SpectrogramFile:
    """Open a file of spectrograms and check what is in it.

    `layout` is ``auto``, ``samples``, ``ris`` or ``cube``, `dataset` the name of the spectrograms
    inside, or ``auto``, and `cube` what a sample of a cube is. DataError where the file is missing,
    neither HDF5 nor Zarr or cut short, or does not hold what the layout needs.
    """
    from .cube_file import CubeFile  # which is a SpectrogramFile

    path = Path(path).expanduser()
    storage = open_storage(path, "data.file")
    try:
        if layout == "auto":
            layout, dataset = _guess_layout(storage, dataset)
        if layout == "cube":
            return CubeFile(path, storage, dataset, cube or CubeSettings())
        if storage.is_zarr:
            raise DataError(
                f"{path}: is Zarr, and layout {layout} is read from HDF5; allowed for Zarr: cube"
            )
        kind = RisFile if layout == "ris" else SamplesFile
        if dataset == "auto":
            dataset = (layout == "ris" and _ris_dataset(storage)) or kind.default_dataset
        return kind(path, storage, dataset)
    except BaseException as error:
        storage.close()
        if isinstance(error, DAMAGED) and not isinstance(error, RISClusterError):
            raise DataError(f"{path}: {_damage(error)}") from None
        raise


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
    data, ris = storage.get("data"), _ris_dataset(storage)
    has_spectrogram = storage.get("spectrogram") is not None
    if storage.is_zarr or (data is not None and data.ndim == 3 and not has_spectrogram):
        return "cube", dataset
    if ris and dataset in ("auto", ris):
        return "ris", dataset
    if has_spectrogram or "spectrogram" in storage.root or dataset != "auto":
        return "samples", dataset
    raise DataError(
        f"{storage.path}: no 'spectrogram' of three dimensions (layout samples), "
        f"'4.0/Spectrogram' (layout ris) or 'data' (layout cube) in this file; it has "
        f"{storage.listed()}; set data.dataset, or make spectrograms with python -m RISCluster "
        "build, of a fibre record with cube"
    )


def _ris_dataset(storage: Storage) -> str | None:
    """``<seconds>/Spectrogram``, whatever length of window the group is named after."""
    if storage.is_zarr:
        return None
    try:
        groups = [name for name in storage.root if name.replace(".", "", 1).isdecimal()]
    except TypeError as error:  # of h5py, where the file's root is damaged
        raise DataError(f"{storage.path}: {_damage(error)}") from None
    return next((f"{x}/Spectrogram" for x in groups if f"{x}/Spectrogram" in storage.root), None)


def _damage(error: BaseException) -> str:
    reason = reason_of(error)
    return f"can't be read ({reason}); it may be damaged, or a link to nowhere: copy it again"
