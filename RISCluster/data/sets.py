"""Data sets of several files, or of samples that are chosen or drawn at random."""

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..io import find_paths, new_file, read_npz, require_room
from ..runtime import Progress, count, log
from ..settings import Settings, as_text
from . import layouts
from .layouts import COLUMN_ROWS, COLUMNS, SpectrogramFile
from .measures import MEASURES
from .storage import DIMENSIONS, PACKING
from .times import nanoseconds_to_iso, parse_time

MAX_OPEN = 64  # files at a time
# Settings that choose samples: the value that chooses all, and the column that they need
CHOICE = {
    "stations": ("*", "trace_id"),
    "after": (None, "starttime"),
    "before": (None, "starttime"),
    "min_amplitude": (None, "peak_amplitude"),
}
WHOLE = [f"data.{key}={as_text(all_of)}" for key, (all_of, _) in CHOICE.items()]
# What files of a set have in common, their axes to a hundredth of a bin
ALIKE = (
    "layout", "shape", "components", "frequency_unit", "frequency", "time_unit", "time",
    "amplitude_unit", "waveform_unit", "class_names",
)  # fmt: skip
OWN = {*PACKING, *DIMENSIONS, "class_names", "coordinates", "units"}  # attributes not copied


def open_data(settings: Settings, text: str | None = None) -> SpectrogramFile:
    """The data set of the settings, or of other files: one, several with commas, or a pattern.

    Of these the samples that [data] chooses; a single file with all of its samples is open itself.
    """
    data, paths = settings.data, find_paths(text or settings.data.file)
    values = data.stations, data.after, data.before, data.min_amplitude
    wanted = {key: x for key, x in zip(CHOICE, values, strict=True) if x != CHOICE[key][0]}

    def reopen(path: Path) -> SpectrogramFile:
        return layouts.open_spectrograms(path, data.layout, data.dataset, settings.cube, data)

    if len(paths) == 1 and not wanted:
        return reopen(paths[0])
    found = DataSet(paths, reopen)
    if wanted:
        found.choose(wanted)
    return found if found.rows is not None or len(paths) > 1 else reopen(paths[0])


class DataSet(SpectrogramFile):
    """Samples of several files, one after the other, or chosen ones.

    `reopen` opens one of `paths`. `rows` are the chosen samples among all of the files, ascending;
    None for all. DataError where files differ in layout or axes.
    """

    def __init__(self, paths: list[Path], reopen: Callable[[Path], SpectrogramFile]):
        self.file = lru_cache(MAX_OPEN)(lambda number: reopen(paths[number]))
        first = self.file(0)
        vars(self).update(vars(first))  # its axes, units and attributes
        self.distance = None  # of channels of one cube
        self.layout, self.waveform_unit = first.layout, first.waveform_unit
        self.paths, self.rows, self._columns = paths, None, set()
        sizes, n_events, ids = [0], [0], {}
        for file in map(self.file, range(len(paths))):
            for name in ALIKE:
                value, expected = getattr(file, name), getattr(first, name)
                if isinstance(value, np.ndarray):
                    bin_width = expected[1] - expected[0]
                    if np.allclose(value, expected, rtol=0, atol=0.01 * bin_width):
                        continue
                    axes = value, expected
                    value, expected = (f"{axis[0]:.6g} to {axis[-1]:.6g}" for axis in axes)
                elif name == "class_names":
                    value, expected = value(), expected()
                if value != expected:
                    raise DataError(
                        f"{file.path}: {name} is {value or 'unknown'}, and of {first.path} "
                        f"{expected or 'unknown'}; files of a set need the same {', '.join(ALIKE)}"
                    )
            self._columns |= {name for name in COLUMNS if file.column(name, 0, 1) is not None}
            events = file.column("event_id")
            n_events.append(0 if events is None else int(events.max()) + 1)
            sizes.append(file.n_samples)
            ids |= file.component_ids()
        self.attributes = self.attributes | ({"component_ids": json.dumps(ids)} if ids else {})
        # Numbers of the first sample and event of each file in the set
        self._starts, self._first_event = np.cumsum(sizes), np.cumsum(n_events)
        self.n_samples = int(self._starts[-1])
        if len(paths) > 1:
            self.path = Path(f"{paths[0]} and {count(len(paths) - 1, 'more file')}")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.file.cache_clear()  # closes the others

    def _split(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Ascending numbers of samples of the set as number of the file and indices in it."""
        rows = rows if self.rows is None else self.rows[rows]
        number = np.searchsorted(self._starts, rows, side="right") - 1
        for one in np.unique(number).tolist():
            yield one, rows[number == one] - self._starts[one]

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile`."""
        n = 0
        for number, rows in self._split(index):
            for found, x in self.file(number).read_blocks(rows):
                yield index[n : n + len(found)], x
                n += len(found)

    def fingerprint(self, n_samples: int = layouts.FINGERPRINT_SAMPLES) -> str:
        """See `SpectrogramFile`; of all files, in their order, and of which samples are chosen."""
        digest = hashlib.sha256(b"" if self.rows is None else self.rows.tobytes())
        for number in range(len(self.paths)):
            each = max(2, n_samples // len(self.paths))
            digest.update(self.file(number).fingerprint(each).encode())
        return digest.hexdigest()[:32]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """See `SpectrogramFile`; events are numbered on from file to file."""
        if name not in self._columns:
            return None
        missing = COLUMNS[name]
        dtype = object if missing == "" else type(missing)
        parts = [np.array([], dtype)]
        for number, rows in self._split(np.arange(*slice(start, stop).indices(self.n_samples))):
            first, last = int(rows[0]), int(rows[-1])
            values = self.file(number).column(name, first, last + 1)
            if values is None:
                values = [missing] * (last + 1 - first)
            values = np.array(values, dtype)[rows - first]
            if name == "event_id":
                values[values >= 0] += self._first_event[number]
            parts.append(values)
        values = np.concatenate(parts)
        return values.tolist() if missing == "" else values

    def origins(self, start: int = 0, stop: int | None = None) -> dict[str, list] | None:
        """See `SpectrogramFile`."""
        found: dict[str, list] = {"file": [], "file_index": []}
        for number, rows in self._split(np.arange(*slice(start, stop).indices(self.n_samples))):
            found["file"] += [str(self.paths[number])] * len(rows)
            found["file_index"] += rows.tolist()
        return found

    def traces(self, index: Sequence[int]) -> tuple[np.ndarray, float, str] | None:
        """See `SpectrogramFile`."""
        found = []
        for i in index:
            [(number, rows)] = self._split(np.array([i]))
            found.append(self.file(number).traces(rows))
        if not found or any(x is None or x[0].shape != found[0][0].shape for x in found):
            return None
        return np.concatenate([x[0] for x in found]), *found[0][1:]

    def choose(self, wanted: dict[str, Any]) -> None:
        """Leave out samples by values of the keys of `CHOICE`; DataError where none is left."""
        n, rows = self.n_samples, [np.array([], dtype=int)]
        for start in range(0, n, COLUMN_ROWS):
            fits = [self._fits(key, value, start) for key, value in wanted.items()]
            rows.append(start + np.flatnonzero(np.all(fits, axis=0)))
        rows = np.concatenate(rows)
        words = ", ".join(f"data.{key} = {as_text(value)}" for key, value in wanted.items())
        if not len(rows):
            raise DataError(
                f"{self.path}: none of {count(n, 'sample')} has {words}; allowed: wider limits"
            )
        log.info(f"{self.path}: {len(rows):,} of {count(n, 'sample')} have {words}")
        if len(rows) < n:
            self.rows, self.n_samples = rows, len(rows)

    def _fits(self, key: str, value: Any, start: int) -> np.ndarray:
        """Which of `COLUMN_ROWS` samples one setting chooses, (n,) bool."""
        all_of, name = CHOICE[key]
        if (found := self.column(name, start, start + COLUMN_ROWS)) is None:
            raise DataError(
                f"{self.path}: has no column {name} for data.{key}; allowed: {as_text(all_of)}"
            )
        values = np.array(found)
        if key == "min_amplitude":
            return values >= value
        if key != "stations":
            limit = nanoseconds_to_iso([parse_time(value)])[0]
            return (values >= limit if key == "after" else values < limit) & (values != "")
        ids, number = np.unique(values, return_inverse=True)
        is_chosen = []
        for trace_id in ids:  # as it is, as NET.STA or as station code
            codes = trace_id.split(".")
            names = [trace_id, ".".join(codes[:2]), *(codes[1:2] if len(codes) == 4 else ())]
            patterns = map(str.strip, value.split(","))
            is_chosen.append(any(fnmatch.filter(names, pattern) for pattern in patterns))
        return np.array(is_chosen)[number]


def write_samples(file: SpectrogramFile, target: Path) -> None:
    """Write all samples of an open set, with their columns, in the layout ``samples``."""
    n, shape = file.n_samples, file.shape
    require_room(target, 4 * n * int(np.prod(shape)))
    columns = {name: file.column(name) for name in COLUMNS} | (file.origins() or {})
    with new_file(target) as partial, h5py.File(partial, "w") as out:
        for name, value in file.attributes.items():
            if name not in OWN and np.asarray(value).dtype.kind in "iufbUS":
                out.attrs[name] = value
        chunks = (min(n, layouts.READ_ROWS), *shape)
        data = out.create_dataset("spectrogram", (n, *shape), "f4", chunks=chunks)
        with Progress("Writing", n) as progress:
            for index, rows in file.read_blocks(np.arange(n)):
                data[index[0] : index[-1] + 1] = rows
                progress.add(len(index))
        if file.amplitude_unit:
            data.attrs["units"] = file.amplitude_unit
        if len(shape) == 3:
            data.attrs["components"] = file.components
        for axis, unit in (("frequency", file.frequency_unit), ("time", file.time_unit)):
            if unit in ("Hz", "s"):
                out[axis] = getattr(file, axis)
                out[axis].attrs["units"] = unit
        for name, values in columns.items():
            if values is not None:
                is_text = isinstance(values[0], str)
                out[name] = [value.encode() for value in values] if is_text else values
        if "labels" in out:
            out["labels"].attrs["class_names"] = file.class_names()
        for name in {"peak_amplitude", *MEASURES} & {*out}:
            out[name].attrs["units"] = MEASURES.get(name, ("",))[0] or file.waveform_unit
        if (found := file.traces([0])) is not None:
            traces = out.create_dataset("trace", (n, *found[0].shape[1:]), "f4")
            traces.attrs.update(sampling_rate=found[1], units=found[2])
            for start in range(0, n, layouts.READ_ROWS):
                rows = range(start, min(start + layouts.READ_ROWS, n))
                traces[rows.start : rows.stop] = file.traces(rows)[0]


@dataclass(frozen=True)
class Split:
    """Ascending indices into the file: for training, for validation, and unusable ones."""

    train: np.ndarray
    validation: np.ndarray
    unusable: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Train and validation together, ascending."""
        return np.sort(np.concatenate([self.train, self.validation]))

    def without(self, unusable: np.ndarray) -> "Split":
        """The split without `unusable` (indices into the file)."""
        train, validation = (np.setdiff1d(x, unusable) for x in (self.train, self.validation))
        return Split(train, validation, np.union1d(self.unusable, unusable))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read the arrays of a split from ``.npz``."""
        return cls(**read_npz(path))


def subsample(n: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of the indices 0 to n - 1, drawn at random, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def draw_usable(is_usable: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` indices at which a mask (N,) holds, drawn as by `subsample`."""
    usable = np.flatnonzero(is_usable)
    return usable[subsample(len(usable), most, seed)]


def draw_split(n_samples: int, train_samples: int, validation_fraction: float, seed: int) -> Split:
    """Draw `train_samples` of a file (0 for all), of which a fraction, at least one, validates."""
    n_drawn = min(train_samples or n_samples, n_samples)
    if n_drawn < 2:
        raise DataError(
            f"[data] train_samples = {train_samples}: of {n_samples} samples; allowed: two at "
            "least, for training and validation"
        )
    rng = np.random.default_rng(seed)
    is_all = n_drawn == n_samples  # of a large file, without a list of all its samples
    drawn = rng.permutation(n_samples) if is_all else rng.choice(n_samples, n_drawn, replace=False)
    n_validation = min(max(1, round(n_drawn * validation_fraction)), n_drawn - 1)
    empty = np.array([], dtype=np.int64)
    return Split(np.sort(drawn[n_validation:]), np.sort(drawn[:n_validation]), empty)
