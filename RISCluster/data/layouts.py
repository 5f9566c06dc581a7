"""Layouts of spectrogram files: what is where, checked on opening, read in blocks.

Letters: N samples, F frequency bins, T time bins.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, RISClusterError
from ..sections import CubeSettings
from .cubes.cubefile import CubeFile
from .cubes.storage import Storage, list_arrays, open_storage
from .spectrograms import DETECTION, READ_ROWS, SpectrogramFile
from .times import to_iso, to_text

# What h5py raises for damaged bytes, for links that lead nowhere, and where sizes are lies
DAMAGED = (KeyError, OSError, RuntimeError, MemoryError)
DETECTION_KEYS = dict(zip(DETECTION, ("dt_on", "dt_off", "dt_peak", "peak"), strict=True))
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

    def __init__(self, path: Path, file: h5py.File, dataset: str):
        self.path, self.dataset, self._file = path, dataset, file
        self._spectrograms = self._find_spectrograms(dataset)
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

    def _crop(self, rows: np.ndarray) -> np.ndarray:
        """Spectrograms out of rows of the data set: to (n, F, T)."""
        return rows

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.starttimes`."""
        return self._column(("starttime", "time"), to_iso, start, stop)

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.trace_ids`."""
        return self._column(("trace_id", "station"), to_text, start, stop)

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.detection`."""
        convert = to_number if name == "peak_amplitude" else to_iso
        return self._column((name,), convert, start, stop)

    @property
    def waveform_unit(self) -> str:
        """See `SpectrogramFile.waveform_unit`."""
        found = self._item("peak_amplitude")
        return "" if found is None else to_text(self._attributes(found).get("units", ""))

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
        try:
            rows = self._spectrograms[start:stop]
        except DAMAGED as error:
            raise DataError(
                f"{self.path}: samples {start} to {stop - 1} of {self.dataset} can't be read "
                f"({error}); the file may have been cut short or damaged: copy it again"
            ) from None
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite: an unusable sample
            return np.ascontiguousarray(self._crop(rows), dtype=np.float32)

    @property
    def amplitude_unit(self) -> str:
        """Unit of the stored values, empty where the file does not say."""
        attributes = self._attributes(self._spectrograms)
        return to_text(attributes.get("units", attributes.get("AmplUnits", "")))

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a stored chunk; None where the data set is contiguous."""
        return self._spectrograms.chunks

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file and the data set say about the spectrograms."""
        return self._attributes(self._file) | self._attributes(self._spectrograms)

    def _attributes(self, place: h5py.Group | h5py.Dataset) -> dict[str, Any]:
        try:
            return dict(place.attrs)
        except DAMAGED as error:
            raise DataError(f"{self.path}: attributes of {place.name}: {_damage(error)}") from None

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64, or None. For scoring only.

        Where the file names a single class there is nothing to score, and the answer is None.
        """
        found = self._beside("labels")
        if found is None or len(self.class_names()) == 1:
            return None
        values = self._values(found, 0, None)
        if not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"{self.path}: /labels must hold whole numbers, not {values.dtype}")
        return values.astype(np.int64)

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

    def _values(self, found: h5py.Dataset, start: int, stop: int | None) -> np.ndarray:
        try:
            return found[start:stop]
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
        for name in names:
            found = self._item(name)
            if isinstance(found, h5py.Dataset) and found.shape == (self.n_samples,):
                return [convert(value) for value in self._values(found, start, stop)]
        return None

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

    def _frequency_axis(self) -> tuple[np.ndarray, str]:
        return self._axis("frequency", self.n_frequencies, "Hz")

    def _time_axis(self) -> tuple[np.ndarray, str]:
        return self._axis("time", self.n_times, "s")

    def _axis(self, name: str, n: int, unit: str) -> tuple[np.ndarray, str]:
        if name not in self._file:
            return np.arange(n, dtype=np.float64), "bin"
        found = self._file[name]
        shape = (isinstance(found, h5py.Dataset) and found.shape) or (0,)
        # Of another shape it is refused, and not read: it may be of any size.
        values = found[()] if shape == (n,) else np.broadcast_to(0.0, shape)
        return self._check_axis(values, n, name), unit

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.starttimes`."""
        return self._column(("starttime",), to_iso, start, stop)


class RisFile(RowsFile):
    """What RISProcess and RISCluster wrote: ``/4.0/Spectrogram`` (N, F+1, T+1).

    Each row carries its axes: frequencies in ``[:F, 0]``, times in ``[F, 1:]``.
    """

    layout = "ris"
    default_dataset = "4.0/Spectrogram"

    def _image_shape(self) -> tuple[int, int]:
        return self._spectrograms.shape[1] - 1, self._spectrograms.shape[2] - 1

    def _frequency_axis(self) -> tuple[np.ndarray, str]:
        axis = self._spectrograms[0, : self.n_frequencies, 0]
        return self._check_axis(axis, self.n_frequencies, "frequency"), "Hz"

    def _time_axis(self) -> tuple[np.ndarray, str]:
        axis = self._spectrograms[0, self.n_frequencies, 1:]
        return self._check_axis(axis, self.n_times, "time"), "s"

    def _crop(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, :-1, 1:]

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """Onset of samples in UTC, ISO 8601 with Z, or None where the file has no times."""
        first = self._catalogue(0, 1)
        if first is None:
            return super().starttimes(start, stop)
        for key in ("starttime", "dt_start", "dt_on", "dt_peak"):
            if key in first[0]:
                return [to_iso(row.get(key)) for row in self._catalogue(start, stop)]
        return None

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.trace_ids`."""
        first = self._catalogue(0, 1)
        if first is None:
            return super().trace_ids(start, stop)
        if "station" not in first[0]:
            return None
        keys = ("network", "station", "location", "channel")
        rows = self._catalogue(start, stop)
        return [".".join(str(row.get(key) or "") for key in keys) for row in rows]

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.detection`."""
        first, key = self._catalogue(0, 1), DETECTION_KEYS[name]
        if first is None:
            return super().detection(name, start, stop)
        slid = to_text(self.attributes.get("build.method", "")) == "slide"
        if key not in first[0] or (slid and key in ("dt_on", "dt_off")):
            return None
        convert = to_number if name == "peak_amplitude" else to_iso
        return [convert(row.get(key)) for row in self._catalogue(start, stop)]

    @property
    def waveform_unit(self) -> str:
        """See `SpectrogramFile.waveform_unit`."""
        first = self._catalogue(0, 1)
        return super().waveform_unit if first is None else str(first[0].get("unit") or "")

    def _catalogue(self, start: int, stop: int | None) -> list[dict[str, Any]] | None:
        """Rows of the JSON catalogue beside the spectrograms, with keys in lower case."""
        name = f"{self.dataset.rpartition('/')[0]}/Catalogue"
        found = self._beside(name)
        if found is None:
            return None
        try:
            rows = [json.loads(to_text(text)) for text in self._values(found, start, stop)]
            return [{key.lower(): value for key, value in row.items()} for row in rows]
        except RISClusterError:
            raise
        except (ValueError, AttributeError, RecursionError):
            raise DataError(f"{self.path}: {name} must hold one JSON object a sample") from None


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
            layout = _guess_layout(path, storage, dataset)
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


def _guess_layout(path: Path, storage: Storage, dataset: str) -> str:
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
            "three: time, channel, frequency; set data.dataset if it is another data set"
        )
    raise DataError(
        f"{path}: neither 'spectrogram' (layout samples) nor '4.0/Spectrogram' (layout ris) nor "
        f"'data' (layout cube) is in this file; it has {list_arrays(file)}; set data.dataset"
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
