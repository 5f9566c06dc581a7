"""A file of spectrograms as the rest of the program sees it, whatever its layout.

Letters: N samples, F frequency bins, T time bins, n samples of a block.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .storage import Storage, notes_of, text_attribute
from .stored_array import StoredArray

SMALLEST = 4  # bins an axis, what the network takes
FINGERPRINT_SAMPLES = 64
READ_ROWS = 128  # samples read and prepared at a time, about: few enough to stay in cache
COLUMN_ROWS = 65536  # values of a column handled at a time
DETECTION = ("onset", "end", "peak_time", "peak_amplitude")  # columns of a detection


class SpectrogramFile:
    """An open file of spectrograms, whatever its layout.

    Attributes
    ----------
    path : Path
    layout : {"samples", "ris", "cube"}
    dataset : str
        Name of the spectrograms inside the file.
    n_samples, n_frequencies, n_times : int
    frequency, time : ndarray, (F,) and (T,), float64
        Axes, in `frequency_unit` and `time_unit`; bin numbers where the file has none.
    stored : StoredArray
        The spectrograms as they are in the file.
    """

    layout = ""
    path: Path
    dataset: str
    stored: StoredArray
    n_samples: int
    n_frequencies: int
    n_times: int
    frequency: np.ndarray
    time: np.ndarray
    frequency_unit: str
    time_unit: str
    _storage: Storage

    def __enter__(self) -> "SpectrogramFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._storage.close()

    # ---- what a layout defines ----

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Samples `index` (ascending), in blocks that suit how they are stored.

        Yields
        ------
        ndarray (n,), ndarray (n, F, T) float32
            Indices, ascending, and the samples as stored.

        Raises
        ------
        DataError
            The bytes can't be read.
        """
        raise NotImplementedError

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """Start of samples in UTC, ISO 8601 with Z, or None where the file has no times."""
        raise NotImplementedError

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """``NET.STA.LOC.CHA`` of samples (what the file has of it), or None."""
        raise NotImplementedError

    def detection(self, name: str, start: int = 0, stop: int | None = None) -> list[str] | None:
        """One of `DETECTION` of what samples are cut about, or None where the file has none.

        Times are in UTC, ISO 8601 with Z; what is not known is empty.
        """
        return None

    @property
    def waveform_unit(self) -> str:
        """Unit of peak amplitudes, empty where the file does not name it."""
        return ""

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the spectrograms."""
        return notes_of(self.stored.array)

    def labels(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64, or None. For scoring only."""
        return None

    def class_names(self) -> list[str]:
        """Names of the known classes, empty where the file has none."""
        return []

    # ---- what they share ----

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values."""
        return self.stored.dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a stored chunk; None where the data set is contiguous."""
        return self.stored.chunks

    @property
    def missing(self) -> list[str]:
        """Why values may be missing: fill values, missing sources and chunks."""
        return self.stored.causes

    @property
    def amplitude_unit(self) -> str:
        """Unit of the stored values, empty where the file does not name it."""
        array = self.stored.array
        return text_attribute(array, "units") or text_attribute(array, "AmplUnits")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` as stored: (n, F, T), float32."""
        index = np.arange(start, min(stop, self.n_samples))
        parts = [rows for _, rows in self.read_blocks(index)]
        if not parts:
            return np.empty((0, self.n_frequencies, self.n_times), dtype=np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

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
