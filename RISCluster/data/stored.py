"""An array of numbers as its file describes it, whatever the layout.

Axes in the order that is needed and ascending, packed numbers as values, and NaN for what is
missing: fill values, sources of virtual data sets that are gone, chunks that were never written.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..runtime import log
from .packing import packing_of
from .storage import (
    Box,
    joined,
    missing_boxes,
    place_of,
    reason_of,
    require_filters,
    unwritten_chunks,
    why_hardly_written,
)


class StoredArray:
    """An array of an open file, read in boxes.

    Parameters
    ----------
    path : Path
        For messages.
    array : h5py.Dataset or zarr.Array
    order : sequence of int
        Axis of the file for each axis as it is used.
    flipped : sequence of bool
        Which of the axes, as they are used, are stored in descending order.

    Attributes
    ----------
    shape, chunks : tuple of int
        Of the axes as they are used; chunks are None where the array is contiguous.
    causes : list of str
        Why values may be missing, as far as known.

    Raises
    ------
    DataError
        It is compressed with a filter that is not installed, or its packing can't be understood.
    """

    def __init__(
        self,
        path: Path,
        array: Any,
        order: Sequence[int] | None = None,
        flipped: Sequence[bool] | None = None,
    ):
        self.path, self.array, self.name = path, array, array.name
        self.order = tuple(order or range(array.ndim))
        self.flipped = tuple(flipped or [False] * array.ndim)
        self.dtype = np.dtype(array.dtype)
        self.shape = tuple(array.shape[axis] for axis in self.order)
        chunks = getattr(array, "chunks", None)
        self.chunks = None if chunks is None else tuple(chunks[axis] for axis in self.order)
        self.packing = packing_of(array)
        marks = ", ".join(map(str, self.packing.missing))
        self.causes = [f"the fill value {marks}"] if marks else []
        self._gaps: list[Box] = []
        self._sparse = not isinstance(array, h5py.Dataset)
        require_filters(array)
        if isinstance(array, h5py.Dataset):
            self._look_for_gaps(array)

    def _look_for_gaps(self, dataset: h5py.Dataset) -> None:
        reason = why_hardly_written(dataset)
        if reason:
            raise DataError(f"{self.path}: {reason}; wait until it is whole, or copy it again")
        found = missing_boxes(dataset)
        self._gaps = [box for _, box in found if box]
        self._sparse = len(self._gaps) < len(found)
        causes = list(dict.fromkeys(cause for cause, _ in found))
        if causes:
            more = f" and {len(causes) - 3} more" if len(causes) > 3 else ""
            log.warning(
                f"{self.path}: {self.name}: missing: {', '.join(causes[:3])}{more}; these parts "
                "are read as missing values (NaN)"
            )
            self.causes += causes

    def read(self, what: str, *ranges: tuple[int, int]) -> np.ndarray:
        """Values of a part.

        Parameters
        ----------
        what : str
            The part in words, for messages.
        *ranges : (int, int)
            Start and end along the first axes; all of the others.

        Returns
        -------
        ndarray
            As stored where nothing is packed or missing, and else float64 with NaN.

        Raises
        ------
        DataError
            The bytes can't be read.
        """
        box = [(0, n) for n in self.array.shape]
        for axis, (start, stop) in enumerate(ranges):
            n = self.shape[axis]
            box[self.order[axis]] = (n - stop, n - start) if self.flipped[axis] else (start, stop)
        try:
            values = self._with_gaps(self._read_box(tuple(box)), tuple(box))
        except Exception as error:  # h5py, zarr and its codecs raise many kinds for damaged bytes
            raise DataError(
                f"{self.path}: {what} of {self.name.lstrip('/')} can't be read "
                f"({reason_of(error)}); the file may have been cut short or damaged: copy or make "
                "it again"
            ) from None
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return values.transpose(self.order)[steps]

    def _read_box(self, box: Box) -> np.ndarray:
        """Values of a box in the order of the file; HDF5 fails where a source is damaged."""
        try:
            return self.packing.unpack(np.asarray(self.array[tuple(slice(*p) for p in box)]))
        except Exception:
            gap = next((gap for gap in self._gaps if _overlap(gap, box)), None)
            if gap is None:
                raise
        for axis, ((start, stop), ends) in enumerate(zip(box, gap, strict=True)):
            for cut in ends:
                if start < cut < stop:  # what lies outside of the gap is read alone
                    halves = [
                        self._read_box((*box[:axis], part, *box[axis + 1 :]))
                        for part in ((start, cut), (cut, stop))
                    ]
                    return np.concatenate(halves, axis)
        return np.full([stop - start for start, stop in box], np.nan)

    def _with_gaps(self, values: np.ndarray, box: Box) -> np.ndarray:
        """Values of a box, in the order of the file, with NaN for parts that are missing."""
        gaps = [gap for gap in self._gaps if _overlap(gap, box)]
        if self._sparse and self.array.chunks:
            unwritten = list(unwritten_chunks(self.array, box))
            if unwritten and not isinstance(self.array, h5py.Dataset):
                self._say_unwritten(unwritten[0])
            gaps += unwritten
        if not gaps:
            return values
        values = values.astype(np.float64 if values.dtype != np.float32 else np.float32)
        for gap in gaps:
            values[
                tuple(
                    slice(max(a - start, 0), max(b - start, 0))
                    for (a, b), (start, _) in zip(gap, box, strict=True)
                )
            ] = np.nan
        return values

    def _say_unwritten(self, chunk: Box) -> None:
        cause = f"chunks of {self.name} that were never written"
        if cause not in self.causes:
            self.causes.append(cause)
            log.warning(
                f"{self.path}: {cause}, as that from {', '.join(str(a) for a, _ in chunk)}: they "
                "are read as missing values (NaN)"
            )


def _overlap(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))


def read_all(array: Any) -> np.ndarray:
    """A small array as a whole, unpacked, with NaN for missing values.

    Raises
    ------
    DataError
        It is damaged, or what it is read from is missing.
    """
    require_filters(array)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            causes = missing_boxes(array) if isinstance(array, h5py.Dataset) else []
            values = np.asarray(array[()] if array.ndim == 0 else array[:])
    except Exception as error:  # zarr and its codecs raise many kinds
        raise DataError(
            f"{place_of(array)}: {array.name} can't be read ({reason_of(error)}); "
            "copy or make it again"
        ) from None
    if causes:
        raise DataError(
            f"{place_of(array)}: {array.name} is read from {causes[0][0]}, which is "
            "missing; copy it here too"
        )
    return packing_of(array).unpack(joined(values))
