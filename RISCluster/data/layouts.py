"""Files of N spectrograms of F frequency and T time bins: layouts, axes, columns, blocks of n."""

import contextlib
import hashlib
import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas

from ..errors import DataError
from ..io import as_path
from ..runtime import Progress, log
from ..settings import CubeSettings, DataSettings
from . import storage, times
from .measures import MEASURES
from .storage import Storage, StoredArray, text_attribute

SMALLEST = 4  # bins an axis, what the network takes
FINGERPRINT_SAMPLES = 64
READ_ROWS = 128  # samples read and prepared at a time, about: few enough to stay in cache
COLUMN_ROWS = 65536  # values of a column handled at a time
BINS = re.compile("1|none|index|dimensionless|(bin|count|step|sample)s?", re.IGNORECASE)  # no unit
LARGEST_GAP = 2**19  # unwanted bytes that are read through rather than jumped over
MAX_LISTED = 20  # names of arrays in a message

# Columns of one value a sample, and the value of a missing one
COLUMNS: dict[str, Any] = {
    "starttime": "", "trace_id": "", "event_id": -1, "labels": -1, "onset": "", "end": "",
    "peak_time": "", "peak_amplitude": np.nan, **dict.fromkeys(MEASURES, np.nan),
}  # fmt: skip
DETECTION = (*COLUMNS,)[4:]
TIMES = ("starttime", "onset", "end", "peak_time")
# Other names of a column in a file, and keys in the rows of a catalogue; the first there is counts
ALIASES = {
    "samples": {"trace_id": ("trace_id", "station")},
    "ris": {"starttime": ("starttime", "time"), "trace_id": ("trace_id", "station")},
}
CATALOGUE = {
    "starttime": ("starttime", "dt_start", "dt_on", "dt_peak"), "onset": ("dt_on",),
    "end": ("dt_off",), "peak_time": ("dt_peak",), "peak_amplitude": ("peak",), "unit": ("unit",),
}  # fmt: skip
TRACE_KEYS = ("network", "station", "location", "channel")


class Column(NamedTuple):
    """A column or the coordinate of an axis, unpacked, with its attributes."""

    name: str
    values: np.ndarray
    units: str = ""
    calendar: str = ""


def as_column(array: Any, *ranges: tuple[int, int | None]) -> Column:
    """An array, or a part of it, with its units and calendar."""
    about = (text_attribute(array, name) for name in ("units", "calendar"))
    return Column(array.name.lstrip("/"), storage.read_values(array, *ranges), *about)


def find_coordinate(store: Storage, array: Any, role: str, names: Sequence[str]) -> Column | None:
    """The coordinate of a role: that of its dimension, or one of `names`, first for channels."""
    of_dimension, roles = [], storage.roles_of(array)
    if role in roles:
        axis = roles.index(role)
        place = f"{array.name.rpartition('/')[0]}/{storage.dimension_names(array)[axis]}"
        ties, known = (store.get(f"{place}_{name}") for name in ("indices", "values"))
        if None not in (ties, known):  # tie points, as xdas writes them by section 8.3 of CF
            column, index = as_column(known), np.arange(array.shape[axis])
            after = (column.values - column.values[0]).astype(np.float64)
            dense = np.interp(index, storage.read_values(ties), after)
            if column.values.dtype.kind in "iu":
                dense = np.rint(dense).astype(np.int64)
            return column._replace(values=column.values[0] + dense)
        of_dimension = [*array.dims[axis].values()][:1] if isinstance(array, h5py.Dataset) else []
        of_dimension.append(store.get(place))
    others = [store.get(name) for name in names]
    for item in others + of_dimension if role == "channel" else of_dimension + others:
        if item is not None and storage.is_variable(item):
            return as_column(item)
    return None


def column_times(path: Path, parts: Iterable[Column]) -> np.ndarray | None:
    """Times of a column, (n,) int64 ns since 1970; None, with a warning, in unknown units.

    `parts` of the column are decoded one after the other: texts take much more memory than times.
    """
    found, bad = [], []
    for column in parts:
        place = f"{path}: {column.name}"
        try:
            found.append(times.decode_times(column.values, column.units, column.calendar))
        except ValueError as error:
            log.warning(f"{place}: {error}: its times are not used; change its units")
            return None
        unknown = column.values[found[-1] == times.NOT_A_TIME]
        texts = (times.to_text(value).strip(" \0") for value in unknown)
        bad += [text for text in texts if text.lower() not in ("", "nan", "nat", "none")]
    times_found = np.concatenate(found)
    if bad:
        log.warning(
            f"{place}: {len(bad):,} of {len(times_found):,} values are no times from 1678 to 2261, "
            f"and count as missing (first: {bad[0][:40]!r})"
        )
    return times_found


def size_text(shape: Sequence[int]) -> str:
    """``87 x 100``, or ``3 components of 87 x 100``, of the shape of a sample."""
    *n, f, t = shape
    return f"{n[0]} components of {f} x {t}" if n and n[0] > 1 else f"{f} x {t}"


def side_by_side(x: np.ndarray, n_components: int, axis: int = -3) -> np.ndarray:
    """Components along `axis` one after the other along the last axis: (..., F, C * T)."""
    return x if n_components == 1 else np.concatenate(np.moveaxis(x, axis, 0), axis=-1)


def as_float32(x: np.ndarray) -> np.ndarray:
    """Contiguous float32; numbers beyond it become infinite, which makes a sample unusable."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, dtype=np.float32)


def as_texts(values: Any) -> Any:
    """Values of a column for a table: numbers with seven digits and '' for NaN, others as is."""
    is_number = isinstance(values, np.ndarray) and values.dtype.kind == "f"
    return [f"{x:.7g}" if x == x else "" for x in values] if is_number else values


class SpectrogramFile(contextlib.AbstractContextManager):
    """An open file of spectrograms, whatever its layout.

    `paths` are its files, and `dataset` is the name of the spectrograms inside. A sample has the
    `shape` (F, T), or (C, F, T) with several `components`, which have names such as Z, N, E. Axes
    are `frequency` (F,) and `time` (T,), float64; numbers of bins where the file has none.

    A layout calls `__init__`, sets the attributes below and defines `read_blocks` and `column`.
    """

    layout: str = ""
    components: tuple[str, ...] = ("",)
    waveform_unit: str = ""
    amplitude_unit: str
    attributes: dict[str, Any]  # of the data set of the spectrograms
    dtype: np.dtype  # as stored
    chunks: tuple[int, ...] | None
    n_samples: int
    n_frequencies: int
    n_times: int
    frequency: np.ndarray
    frequency_unit: str  # Hz or bin
    time: np.ndarray
    time_unit: str  # s, bin, or step of a cube without times

    def __init__(
        self, store: Storage, dataset: str, wanted: tuple[str, ...], names: dict[str, list[str]]
    ):
        """Open a data set of axes `wanted`, in any order if named; `names` of coordinates."""
        path, array = store.path, store.get(dataset)
        self.path, self.paths, self._store, self.dataset = path, [path], store, dataset
        roles, label = storage.roles_of(array), f"{path}: {dataset}"
        if set(roles) - {"", *wanted} or len(roles) != len(wanted):
            raise DataError(
                f"{label}: has the dimensions ({', '.join(storage.dimension_names(array))}); "
                f"allowed: ({', '.join(wanted)}); set data.layout or data.dataset"
            )
        unnamed = iter([role for role in wanted if role not in roles])
        roles = [role or next(unnamed) for role in roles]
        self._axes: dict[str, Column] = {}  # coordinates by role
        for role in names:
            column = find_coordinate(store, array, role, names[role])
            if column is not None and column.values.shape != (array.shape[roles.index(role)],):
                raise DataError(
                    f"{label}: has shape {tuple(array.shape)}, and the coordinate {column.name} "
                    f"{column.values.shape}; allowed: one value a step of its axis in "
                    f"({', '.join(roles)}): if the order is another, name the dimensions"
                )
            self._axes |= {} if column is None else {role: column}
        self.stored = StoredArray(array, [roles.index(role) for role in wanted])
        self.dtype, self.chunks = self.stored.dtype, self.stored.chunks
        self.attributes = storage.attributes_of(array)
        units = (text_attribute(array, name) for name in ("units", "AmplUnits"))
        self.amplitude_unit = next(filter(None, units), "")

    def __exit__(self, *_: object) -> None:
        self._store.close()

    @abstractmethod
    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices (n,) and samples (n, *shape), float32, as stored, of an ascending index."""

    @abstractmethod
    def column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """One of `COLUMNS` of samples `start` to `stop`, or None where the file does not have it.

        Times (ISO 8601 UTC with Z) and trace ids are a list of str, '' where unknown; others an
        array, float64 with NaN, or int64 with -1 for none.
        """

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` as stored: (n, *shape), float32."""
        index = np.arange(start, min(stop, self.n_samples))
        empty = np.empty((0, *self.shape), dtype=np.float32)
        return np.concatenate([empty, *(rows for _, rows in self.read_blocks(index))])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample: (F, T), or (C, F, T)."""
        n = len(self.components)
        return (*[n] * (n > 1), self.n_frequencies, self.n_times)

    def fingerprint(self, n_samples: int = FINGERPRINT_SAMPLES) -> str:
        """Identity of the content: shape, axes and some samples spread over the file, hashed."""
        digest = hashlib.sha256()
        shape = (self.n_samples, self.n_frequencies, self.n_times)
        digest.update(f"{self.layout} {shape} {self.dtype}".encode())
        digest.update(self.frequency.tobytes() + self.time.tobytes())
        for index in np.unique(np.linspace(0, self.n_samples - 1, n_samples).astype(int)):
            digest.update(self.read(int(index), int(index) + 1).tobytes())
        return digest.hexdigest()[:32]

    def _check_values(self) -> None:
        """Refuse files without samples, without numbers, or of too few bins."""
        what = f"{self.n_samples:,} samples of {self.n_frequencies} x {self.n_times}"
        is_small = min(self.n_frequencies, self.n_times) < SMALLEST
        if self.n_samples == 0 or is_small or self.dtype.kind not in "iuf":
            raise DataError(
                f"{self.path}: {self.dataset} holds {what} (frequency x time), {self.dtype}; "
                f"allowed: real numbers, samples of {SMALLEST} x {SMALLEST} or more"
            )

    def _axis(self, name: str, n: int) -> tuple[np.ndarray, str]:
        """The axis of frequency or time, in Hz or s; bins where it has no such unit."""
        column, unit = self._axes.get(name), "Hz" if name == "frequency" else "s"
        if column is None or BINS.fullmatch(column.units):
            return np.arange(n, dtype=np.float64), "bin"
        try:
            factor = times.unit_factor(name, column.units.partition(" since ")[0] or unit)
            axis = column.values.astype(np.float64)
            if not np.isfinite(axis).all() or not (np.diff(axis) > 0).all():
                raise ValueError("it does not ascend from bin to bin")
        except ValueError as error:
            raise DataError(
                f"{self.path}: the {name} axis: {error}; allowed: numbers that ascend (reverse it "
                "and the spectrograms), with their unit as attribute units"
            ) from None
        return axis * (factor / times.SECOND if unit == "s" else factor), unit

    def origins(self, start: int = 0, stop: int | None = None) -> dict[str, list] | None:
        """``file`` and ``file_index`` of samples, of a set of several files or a part of one."""
        return None

    def traces(self, index: Sequence[int]) -> tuple[np.ndarray, float, str] | None:
        """Waveforms (n, [C,] S) of samples (``build.traces``), rate in Hz and unit; or None."""
        return None

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,) int64, for scoring only; None for a single class."""
        return self.column("labels") if self._has_classes() else None

    def _has_classes(self) -> bool:
        if self.column("labels", 0, 1) is None:
            return False
        return len(self.class_names()) != 1 or len(np.unique(self.column("labels"))) > 1

    def class_names(self) -> list[str]:
        """Names of the known classes: texts, or a list as one text in JSON."""
        if (found := self._store.get("labels")) is None:
            return []
        notes = self.attributes | storage.attributes_of(found)
        names = [times.to_text(name) for name in np.ravel(notes.get("class_names", []))]
        with contextlib.suppress(ValueError, TypeError, IndexError):
            names = [str(name) for name in json.loads(names[0])] if len(names) == 1 else names
        return names

    def component_ids(self) -> dict[str, list[str]]:
        """Trace ids of all components by that of the first, as `build` has them; or none."""
        found = None
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self.attributes.get("component_ids", "null"))
        if not isinstance(found, dict):
            return {}
        n = len(self.components)
        return {x: ids for x, ids in found.items() if isinstance(ids, list) and len(ids) == n}

    def columns_fingerprint(self) -> str:
        """Identity of labels, start times, trace ids and onsets; DataError where one is wrong."""
        digest, names, n = hashlib.sha256(), ["starttime", "trace_id"], self.n_samples
        blocks = [(start, min(start + COLUMN_ROWS, n)) for start in range(0, n, COLUMN_ROWS)]
        if self._has_classes():
            for block in blocks:
                digest.update(self.column("labels", *block))
        digest.update("\n".join(self.class_names()).encode())
        if self.column("onset", 0, 1) is not None:
            names.append("onset")
        with Progress("Identifying", len(names) * n, "values") as progress:
            for name in names:
                digest.update(b"\0")
                for start, stop in blocks:
                    values = self.column(name, start, stop)
                    digest.update(b"" if values is None else "\n".join(values).encode() + b"\n")
                    progress.add(stop - start)
        return digest.hexdigest()[:32]


class RowsFile(SpectrogramFile):
    """A row a sample, (N, F, T) or (N, C, F, T), with columns beside it.

    In layout ``ris``, of RISProcess and the first RISCluster, rows are (F+1, T+1) with frequencies
    in ``[:F, 0]`` and times in ``[F, 1:]``, and ``Catalogue`` beside them has a JSON object each.
    """

    def __init__(self, store: Storage, layout: str, dataset: str):
        wanted = storage.SAMPLES if store.get(dataset).ndim == 3 else storage.WITH_COMPONENTS
        in_row = int(layout == "ris")  # axes in a row
        names = {} if in_row else {name: [name] for name in ("frequency", "time")}
        super().__init__(store, dataset, wanted, names)
        self.layout = layout
        self.attributes = storage.attributes_of(store.root) | self.attributes
        self._decoded: dict[str, np.ndarray | None] = {}  # times by column
        self.n_samples, *n, n_rows, n_columns = self.stored.shape
        self.n_frequencies, self.n_times = n_rows - in_row, n_columns - in_row
        self._crop = slice(self.n_frequencies), slice(in_row, None)
        if n and n[0] > 1:
            names = np.ravel(self.attributes.get("components", []))
            names = names if len(names) == n[0] else range(1, n[0] + 1)
            self.components = tuple(map(times.to_text, names))
        self._check_values()
        if in_row:
            row = self.stored.read("sample 0", (0, 1))[0]
            self._axes["frequency"] = Column("", row[:-1, 0])
            self._axes["time"] = Column("", row[-1, 1:])
        self.frequency, self.frequency_unit = self._axis("frequency", self.n_frequencies)
        self.time, self.time_unit = self._axis("time", self.n_times)

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile`; whole chunks, each read once."""
        chunk = self.chunks[0] if self.chunks else 1
        size = max(1, READ_ROWS // chunk) * chunk
        gap = max(1, LARGEST_GAP // (self.dtype.itemsize * math.prod(self.shape)))
        ends = np.flatnonzero((np.diff(index) > gap) | (np.diff(index // size) > 0)) + 1
        for part in np.split(index, ends) if len(index) else ():
            first, last = int(part[0]), int(part[-1])
            rows = self.stored.read(f"samples {first} to {last}", (first, last + 1))
            rows = as_float32(rows[..., *self._crop]).reshape(-1, *self.shape)
            yield part, rows if len(rows) == len(part) else rows[part - first]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """See `SpectrogramFile`."""
        if name in ("onset", "end") and self.attributes.get("build.method") == "slide":
            return None
        if name in TIMES:
            if name not in self._decoded:
                has = self._column(name, 0, 1) is not None
                self._decoded[name] = column_times(self.path, self._parts(name)) if has else None
            found = self._decoded[name]
            return None if found is None else times.nanoseconds_to_iso(found[start:stop])
        if (column := self._column(name, start, stop)) is None:
            return None
        if name == "trace_id":
            return [times.to_text(value) for value in column.values]
        numbers = pandas.to_numeric(pandas.Series(column.values), errors="coerce")
        if COLUMNS[name] != -1:
            return numbers.astype(np.float64).replace([np.inf, -np.inf], np.nan).to_numpy()
        if column.values.dtype.kind not in "iuf" or (numbers.dropna() % 1 != 0).any():
            raise DataError(
                f"{self.path}: {column.name} must hold whole numbers, not {column.values.dtype}"
            )
        return numbers.fillna(-1).to_numpy(np.int64)

    def _parts(self, name: str) -> Iterator[Column]:
        """A column in parts of `COLUMN_ROWS`."""
        with Progress(f"Reading {name}", self.n_samples) as progress:
            for start in range(0, self.n_samples, COLUMN_ROWS):
                column = self._column(name, start, start + COLUMN_ROWS)
                yield column
                progress.add(len(column.values))

    def _column(self, name: str, start: int = 0, stop: int | None = None) -> Column | None:
        """A column as stored, of the catalogue or beside the spectrograms; None without one."""
        if name != "labels" and (rows := self._catalogue) is not None:
            values = rows[name].to_numpy()[start:stop] if name in rows else None
            return None if values is None else Column(f"{name} of the catalogue", values)
        for item in map(self._beside, ALIASES[self.layout].get(name, (name,))):
            if item is not None:
                return as_column(item, (start, stop))
        return None

    def _beside(self, name: str) -> Any:
        """An array of one value a sample, or None where it is not in the file."""
        found = self._store.get(name)
        if found is None or found.shape == ():
            return None
        if found.shape != (self.n_samples,):
            raise DataError(
                f"{self.path}: /{name} has shape {found.shape}, but {self.dataset} holds "
                f"{self.n_samples} samples; it needs one value a sample"
            )
        return found

    @cached_property
    def _catalogue(self) -> pandas.DataFrame | None:
        """Columns of the catalogue that are used, by our names; None without one."""
        name = f"{self.dataset.rpartition('/')[0]}/Catalogue"
        if self.layout != "ris" or (found := self._beside(name)) is None:
            return None
        try:
            rows = [json.loads(times.to_text(text)) for text in storage.read_values(found)]
            rows = [{key.lower(): value for key, value in row.items()} for row in rows]
        except (ValueError, AttributeError):
            raise DataError(f"{self.path}: {name} must hold one JSON object a sample") from None
        rows = pandas.DataFrame(rows, dtype=object).fillna("")
        found = {name: [key for key in keys if key in rows] for name, keys in CATALOGUE.items()}
        table = pandas.DataFrame({name: rows[keys[0]] for name, keys in found.items() if keys})
        if "station" in rows:
            codes = rows.reindex(columns=TRACE_KEYS, fill_value="")
            table["trace_id"] = codes.map(lambda code: str(code or "")).agg(".".join, axis=1)
        return table

    @cached_property
    def waveform_unit(self) -> str:
        """Unit of peak amplitudes, empty where the file does not give it."""
        if self._catalogue is not None:
            return str(self._catalogue["unit"].iloc[0]) if "unit" in self._catalogue else ""
        found = self._beside("peak_amplitude")
        return "" if found is None else text_attribute(found, "units")

    def traces(self, index: Sequence[int]) -> tuple[np.ndarray, float, str] | None:
        """See `SpectrogramFile`."""
        group = self.dataset.rpartition("/")[0]
        found = self._store.get(f"{group}/{'Trace' if self.layout == 'ris' else 'trace'}")
        if found is None or found.ndim < 2 or len(found) != self.n_samples:
            return None
        try:  # the group's name is the length of the window in seconds
            rate = float(found.attrs.get("sampling_rate") or found.shape[-1] / float(group))
        except (ValueError, ZeroDivisionError):
            return None
        unit = text_attribute(found, "units") or text_attribute(found, "AmplUnits")
        return np.array([found[int(i)] for i in index], np.float64), rate, unit


def open_spectrograms(
    path: str | Path, layout: str = "auto", dataset: str = "auto",
    cube: CubeSettings | None = None, npy: DataSettings | None = None,
) -> SpectrogramFile:  # fmt: skip
    """Open a file of spectrograms, named `dataset` inside; `npy` has the axes of ``.npy``."""
    from .cube_file import CubeFile  # which is a SpectrogramFile

    path = as_path(path)
    store = storage.open_storage(path, "data.file", npy)
    try:
        with storage.explain(path, "its content"):
            layout, dataset = choose_dataset(store, layout, dataset)
            if layout == "cube":
                return CubeFile(store, dataset, cube or CubeSettings())
            return RowsFile(store, layout, dataset)
    except BaseException:
        store.close()
        raise


def choose_dataset(store: Storage, layout: str, dataset: str) -> tuple[str, str]:
    """Layout and data set: by the names of dimensions, or else by those of data sets."""
    is_given, dataset = dataset != "auto", dataset.strip("/") or "/"
    arrays = {name: array for name, array in store.arrays.items() if array.ndim in (3, 4)}
    found = {name: _layout_of(name, {*storage.roles_of(x)}) for name, x in arrays.items()}
    names = [name for name, own in found.items() if own and layout in ("auto", own)]
    names = [name for name in ("spectrogram", "data") if name in names][:1] or names
    names = [name for name in found if name == dataset] if is_given else names
    if len(names) != 1:
        what = f"data set '{dataset}'" if is_given else "single data set"
        there = [f"{name} {array.shape}" for name, array in store.arrays.items()][:MAX_LISTED]
        raise DataError(
            f"{store.path}: no {what} of three dimensions, such as 'spectrogram' (layout samples), "
            f"'4.0/Spectrogram' (ris) or 'data' (cube); the file has {', '.join(there) or 'none'}; "
            "set data.dataset and data.layout, or make spectrograms with the commands build or cube"
        )
    usual = "samples" if isinstance(store.root, h5py.File) else "cube"
    return layout if layout != "auto" else found[names[0]] or usual, names[0]


def _layout_of(name: str, roles: set[str]) -> str:
    """Layout by the names of dimensions, or of a data set; empty where neither says it."""
    if {"time", "frequency"} < roles and {"channel", "sample"} & roles:
        return "cube" if "channel" in roles else "samples"
    is_ris = re.fullmatch(r"\d*\.?\d+/Spectrogram", name)
    return "ris" if is_ris else {"spectrogram": "samples", "data": "cube"}.get(name, "")
