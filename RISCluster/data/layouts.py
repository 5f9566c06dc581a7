"""Layouts of spectrogram files: what is where, checked on opening, read in blocks.

Letters: N samples, F frequency bins, T time bins.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError

SMALLEST = 4  # bins an axis, what the network takes
FINGERPRINT_SAMPLES = 64


class SpectrogramFile:
    """An open file of spectrograms, whatever its layout.

    Attributes
    ----------
    path : Path
    layout : {"samples", "ris"}
    dataset : str
        Name of the spectrograms inside the file.
    n_samples, n_frequencies, n_times : int
    frequency, time : ndarray, (F,) and (T,), float64
        Axes, in `frequency_unit` and `time_unit`; bin numbers where the file has none.
    """

    layout = ""
    default_dataset = ""

    def __init__(self, path: Path, file: h5py.File, dataset: str):
        self.path, self.dataset, self._file = path, dataset, file
        self._spectrograms = self._find_spectrograms(dataset)
        self.n_samples = self._spectrograms.shape[0]
        self.n_frequencies, self.n_times = self._image_shape()
        self._check_shape()
        self.frequency, self.frequency_unit = self._frequency_axis()
        self.time, self.time_unit = self._time_axis()

    def __enter__(self) -> "SpectrogramFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def starttimes(self) -> list[str] | None:
        """Start of every sample in UTC, ISO 8601 with Z, or None where the file has no times."""
        return self._column(("starttime", "time"), _to_iso)

    def trace_ids(self) -> list[str] | None:
        """``NET.STA.LOC.CHA`` of every sample (what the file has of it), or None."""
        return self._column(("trace_id", "station"), _to_text)

    # ---- what they share ----

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` as stored: (n, F, T), float32.

        Raises
        ------
        DataError
            The bytes can't be read.
        """
        try:
            rows = self._spectrograms[start:stop]
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.path}: samples {start} to {stop - 1} of {self.dataset} can't be read "
                f"({error}); the file may have been cut short or damaged: copy it again"
            ) from None
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite: an unusable sample
            return np.ascontiguousarray(self._crop(rows), dtype=np.float32)

    @property
    def chunk_samples(self) -> int:
        """Samples a stored chunk; 1 where the data set is contiguous."""
        return self._spectrograms.chunks[0] if self._spectrograms.chunks else 1

    @property
    def amplitude_unit(self) -> str:
        """Unit of the stored values, empty where the file does not say."""
        attributes = self._spectrograms.attrs
        return _to_text(attributes.get("units", attributes.get("AmplUnits", "")))

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64, or None. For scoring only.

        Where the file names a single class there is nothing to score, and the answer is None.
        """
        found = self._beside("labels")
        if found is None or len(self.class_names()) == 1:
            return None
        values = found[:]
        if not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"{self.path}: /labels must hold whole numbers, not {values.dtype}")
        return values.astype(np.int64)

    def class_names(self) -> list[str]:
        """Names of the known classes, empty where the file has none."""
        if "labels" not in self._file:
            return []
        names = self._file["labels"].attrs.get("class_names", self._file.attrs.get("class_names"))
        return [] if names is None else [_to_text(name) for name in names]

    def fingerprint(self) -> str:
        """Identity of the content: shape, axes and 64 samples spread over the file, hashed."""
        digest = hashlib.sha256()
        shape = (self.n_samples, self.n_frequencies, self.n_times)
        digest.update(f"{self.layout} {shape} {self._spectrograms.dtype}".encode())
        digest.update(self.frequency.tobytes() + self.time.tobytes())
        for index in np.unique(np.linspace(0, self.n_samples - 1, FINGERPRINT_SAMPLES).astype(int)):
            digest.update(self.read(int(index), int(index) + 1).tobytes())
        return digest.hexdigest()[:32]

    def columns_fingerprint(self) -> str:
        """Identity of labels, start times and trace ids, which the results name.

        Raises
        ------
        DataError
            One of them does not fit the samples.
        """
        labels = self.labels()
        digest = hashlib.sha256(b"" if labels is None else labels.tobytes())
        for column in (self.starttimes(), self.trace_ids(), self.class_names()):
            digest.update("\n".join(column or ()).encode() + b"\0")
        return digest.hexdigest()[:32]

    def _beside(self, name: str) -> Any:
        """A data set with one value a sample, or None where it is not in the file."""
        found = self._file.get(name)
        if not isinstance(found, h5py.Dataset):
            return None
        if found.shape != (self.n_samples,):
            raise DataError(
                f"{self.path}: /{name} has shape {found.shape}, but {self.dataset} holds "
                f"{self.n_samples} samples; it needs one value a sample"
            )
        return found

    def _column(self, names: Sequence[str], convert: Any) -> list[str] | None:
        for name in names:
            found = self._file.get(name)
            if isinstance(found, h5py.Dataset) and found.shape == (self.n_samples,):
                return [convert(value) for value in found[:]]
        return None

    def _find_spectrograms(self, dataset: str) -> h5py.Dataset:
        found = self._file.get(dataset)
        if not isinstance(found, h5py.Dataset):
            raise DataError(
                f"{self.path}: no data set '{dataset}' in this file; it has "
                f"{', '.join(_datasets(self._file)) or 'none'}; set data.dataset to one of them"
            )
        return found

    def _check_shape(self) -> None:
        place = f"{self.path}: {self.dataset}"
        if self.n_samples == 0:
            raise DataError(f"{place} is empty: it holds no sample")
        if not np.issubdtype(self._spectrograms.dtype, np.number) or np.issubdtype(
            self._spectrograms.dtype, np.complexfloating
        ):
            raise DataError(f"{place} holds {self._spectrograms.dtype}; allowed: real numbers")
        if min(self.n_frequencies, self.n_times) < SMALLEST:
            raise DataError(
                f"{place} has samples of {self.n_frequencies} x {self.n_times} (frequency x time); "
                f"the network needs {SMALLEST} x {SMALLEST} or more"
            )

    def _check_axis(self, axis: np.ndarray, n: int, name: str) -> np.ndarray:
        try:
            axis = np.asarray(axis, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{self.path}: the {name} axis must hold numbers") from None
        if axis.shape != (n,):
            raise DataError(
                f"{self.path}: the {name} axis has shape {axis.shape}, but the samples have "
                f"{n} {name} bins"
            )
        if not np.isfinite(axis).all() or (n > 1 and not (np.diff(axis) > 0).all()):
            raise DataError(f"{self.path}: the {name} axis must be finite and ascending")
        return axis


class SamplesFile(SpectrogramFile):
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
        values = found[()] if isinstance(found, h5py.Dataset) else np.empty(0)
        return self._check_axis(values, n, name), unit

    def starttimes(self) -> list[str] | None:
        """Start of every sample in UTC, ISO 8601 with Z, or None where the file has no times."""
        return self._column(("starttime",), _to_iso)


class RisFile(SpectrogramFile):
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

    def starttimes(self) -> list[str] | None:
        """Onset of every sample in UTC, ISO 8601 with Z, or None where the file has no times."""
        rows = self._catalogue()
        if rows is None:
            return super().starttimes()
        for key in ("starttime", "dt_start", "dt_on", "dt_peak"):
            if all(key in row for row in rows):
                return [_to_iso(row[key]) for row in rows]
        return None

    def trace_ids(self) -> list[str] | None:
        """``NET.STA.LOC.CHA`` of every sample (what the file has of it), or None."""
        rows = self._catalogue()
        if rows is None:
            return super().trace_ids()
        if not all("station" in row for row in rows):
            return None
        keys = ("network", "station", "location", "channel")
        return [".".join(str(row.get(key) or "") for key in keys) for row in rows]

    def _catalogue(self) -> list[dict[str, Any]] | None:
        """Rows of the JSON catalogue beside the spectrograms, with keys in lower case."""
        name = f"{self.dataset.rpartition('/')[0]}/Catalogue"
        found = self._beside(name)
        if found is None:
            return None
        try:
            rows = [json.loads(_to_text(text)) for text in found[:]]
            return [{key.lower(): value for key, value in row.items()} for row in rows]
        except (ValueError, AttributeError):
            raise DataError(f"{self.path}: {name} must hold one JSON object a sample") from None


LAYOUTS: dict[str, type[SpectrogramFile]] = {"samples": SamplesFile, "ris": RisFile}


def open_spectrograms(
    path: str | Path, layout: str = "auto", dataset: str = "auto"
) -> SpectrogramFile:
    """Open a file of spectrograms and check what is in it.

    Parameters
    ----------
    path : path
    layout : {"auto", "samples", "ris"}
    dataset : str
        Name of the spectrograms inside the file, or ``auto``.

    Returns
    -------
    SpectrogramFile

    Raises
    ------
    DataError
        The file is missing, not HDF5 or cut short, or does not hold what the layout needs.
    """
    path = Path(path).expanduser()
    file = _open_hdf5(path)
    try:
        if layout == "auto":
            layout = _guess_layout(path, file, dataset)
        if dataset == "auto":
            dataset = _default_dataset(file, LAYOUTS[layout])
        opened = file.get(dataset)
        if isinstance(opened, h5py.Dataset) and opened.ndim != 3:
            raise DataError(
                f"{path}: {dataset} has {opened.ndim} dimensions, {opened.shape}; spectrograms "
                "need three: sample, frequency, time"
            )
        return LAYOUTS[layout](path, file, dataset)
    except BaseException:
        file.close()
        raise


def _open_hdf5(path: Path) -> h5py.File:
    if not path.exists():
        raise DataError(f"{path}: no such file; set data.file to your data set")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; data.file must be an HDF5 file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = str(error).rpartition("(")[2].rstrip(")")
        raise DataError(
            f"{path}: can't be opened as HDF5 ({reason}); it may be another kind of file, or cut "
            "short: copy or build it again"
        ) from None


def _guess_layout(path: Path, file: h5py.File, dataset: str) -> str:
    if _ris_dataset(file) and dataset in ("auto", _ris_dataset(file)):
        return "ris"
    if "spectrogram" in file or dataset != "auto":
        return "samples"
    raise DataError(
        f"{path}: neither 'spectrogram' (layout samples) nor '4.0/Spectrogram' (layout ris) is in "
        f"this file; it has {', '.join(_datasets(file)) or 'no data set'}; set data.dataset"
    )


def _ris_dataset(file: h5py.File) -> str | None:
    """``<seconds>/Spectrogram``, whatever length of window the group is named after."""
    for group in file:
        if group.replace(".", "", 1).isdecimal() and f"{group}/Spectrogram" in file:
            return f"{group}/Spectrogram"
    return None


def _default_dataset(file: h5py.File, kind: type[SpectrogramFile]) -> str:
    return (kind is RisFile and _ris_dataset(file)) or kind.default_dataset


def _datasets(file: h5py.File) -> list[str]:
    """Names of the data sets in a file, at most twenty."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(visit)
    return names[:20] + (["..."] if len(names) > 20 else [])


def _to_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _to_iso(value: Any) -> str:
    """Time as text or as seconds since 1970 to ISO 8601 in UTC with Z; empty if it is neither."""
    try:
        if isinstance(value, (bytes, str)):
            text = _to_text(value).strip().replace(" ", "T")
            for utc in ("Z", "+00:00", "+0000", "-00:00"):
                text = text.removesuffix(utc)
            if text[10:].count("+") or text[10:].count("-"):
                return ""  # other zones than UTC are not guessed at
            time = np.datetime64(text, "us")
        else:
            time = np.datetime64(round(float(value) * 1e6), "us")
    except (TypeError, ValueError, OverflowError):
        return ""
    return "" if np.isnat(time) else f"{time}Z"
