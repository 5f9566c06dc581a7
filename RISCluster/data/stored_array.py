"""Arrays as their file describes them: unpacked, axes in the order needed, NaN for missing values.

Packing follows the conventions of CF and netCDF, which xarray writes into HDF5 and Zarr.
"""

import base64
import binascii
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..runtime import log
from .missing import Box, MissingParts, unwritten_zarr_chunks
from .storage import (
    attributes_of,
    joined,
    place_of,
    reason_of,
    require_filters,
    text_attribute,
)
from .times import to_text

SHOWN_CAUSES = 3  # in a log line

# ---- packing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """How stored numbers become values.

    Attributes
    ----------
    scale, offset : float
        A value is stored * scale + offset.
    missing : tuple of float or int
        Stored numbers that stand for missing values.
    low, high : float
        Stored numbers below and above are missing too.
    unsigned : bool
        Signed integers stand for unsigned ones of the same size.
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple = ()
    low: float = -np.inf
    high: float = np.inf
    unsigned: bool = False

    def unpack(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers to values, float64 with NaN for missing ones where anything changes."""
        if self == Packing():
            return values
        if self.unsigned and values.dtype.kind == "i":
            values = values.view(values.dtype.str.replace("i", "u"))
        gaps = np.isin(values, np.array(self.missing)) if self.missing else np.False_
        if self.low > -np.inf or self.high < np.inf:
            gaps = gaps | (values < self.low) | (values > self.high)
        if (self.scale, self.offset) != (1, 0):
            values = values * np.float64(self.scale) + self.offset
        if gaps.any():
            values = np.where(gaps, np.nan, values.astype(np.float64, copy=False))
        return values


def packing_of(array: Any) -> Packing:
    """Packing of an array by its attributes; DataError where one of them is no number."""
    dtype = array.dtype
    if dtype.kind not in "iuf":
        return Packing()
    attributes = attributes_of(array)
    found = {
        name: _numbers(array, name, attributes[name])
        for name in ("scale_factor", "add_offset", "_FillValue", "missing_value", "valid_range",
                     "valid_min", "valid_max")
        if name in attributes
    }  # fmt: skip
    scale, offset = found.pop("scale_factor", [1.0]), found.pop("add_offset", [0.0])
    if len(scale) != 1 or len(offset) != 1:
        raise DataError(
            f"{place_of(array)}: scale_factor and add_offset of {array.name} must be one number "
            "each; unpack the values and write them again"
        )
    found.setdefault("_FillValue", _declared_fill(array, attributes))
    unsigned = dtype.kind == "i" and text_attribute(array, "_Unsigned").lower() == "true"
    if unsigned:
        size = 2 ** (8 * dtype.itemsize)
        found = {name: [int(x) % size for x in numbers] for name, numbers in found.items()}
    limits = found.get("valid_range", [])
    low, high = limits if len(limits) == 2 else (-np.inf, np.inf)
    low, high = (found.get("valid_min") or [low])[0], (found.get("valid_max") or [high])[0]
    is_packed = dtype.kind in "iu" and not attributes.keys().isdisjoint(_SCALING)
    if is_packed and any(isinstance(end, float) and np.isfinite(end) for end in (low, high)):
        ends = [(end - offset[0]) / scale[0] for end in (low, high)]  # given as values
        low, high = min(ends), max(ends)
    marks = (*found["_FillValue"], *found.get("missing_value", ()))
    if dtype.kind == "f":  # as it is stored: 1e20 is another number in float32
        with np.errstate(over="ignore"):
            marks = np.array(marks, dtype=dtype).tolist()
    missing = tuple(dict.fromkeys(mark for mark in marks if mark == mark))  # NaN is NaN already
    return Packing(float(scale[0]), float(offset[0]), missing, low, high, unsigned)


def sample_packing(dataset: h5py.Dataset) -> Packing:
    """Packing of a fibre's samples: also a scale in the group ``header``, and the least integer."""
    packing = packing_of(dataset)
    header = dataset.file.get("header")
    if packing.scale == 1.0 and isinstance(header, h5py.Group):
        packing = replace(packing, scale=_header_scale(header))
    if dataset.dtype.kind == "i" and dataset.dtype.itemsize > 1 and not packing.unsigned:
        marks = (*packing.missing, int(np.iinfo(dataset.dtype).min))
        packing = replace(packing, missing=tuple(dict.fromkeys(marks)))
    return packing


def _header_scale(header: h5py.Group) -> float:
    for place in (header.attrs, header):
        for name in place:
            if name.lower().replace("_", "") == "datascale":
                value = np.ravel(place[name][()] if place is header else place[name])
                if value.size == 1 and value.dtype.kind in "iuf" and np.isfinite(value[0]):
                    return float(value[0]) or 1.0
    return 1.0


_SCALING = ("scale_factor", "add_offset")


def _declared_fill(array: Any, attributes: dict[str, Any]) -> list:
    """Fill value without an attribute, as netCDF declares it to HDF5 and xarray to Zarr 2.

    0 is the default of both and may be a value.
    """
    if isinstance(array, h5py.Dataset):
        properties = array.id.get_create_plist()
        declared = properties.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
        return [array.fillvalue.item()] if declared and array.fillvalue != 0 else []
    fill = array.fill_value
    is_packed = not attributes.keys().isdisjoint(_SCALING)
    if "_ARRAY_DIMENSIONS" not in attributes or fill is None or (fill == 0 and not is_packed):
        return []
    return np.ravel(fill).tolist()


def _numbers(array: Any, name: str, value: Any) -> list:
    if isinstance(value, (str, bytes)) and name in ("_FillValue", "missing_value"):
        value = _from_text(to_text(value))  # of another text no number is missing
    try:
        numbers = np.ravel(value)
        if numbers.dtype.kind not in "iuf":
            numbers = numbers.astype(np.float64)
        return numbers.tolist()
    except (TypeError, ValueError):
        raise DataError(
            f"{place_of(array)}: attribute {name} of {array.name} must be a number, not "
            f"{str(value)[:40]!r}; change or delete it"
        ) from None


def _from_text(text: str) -> list[float]:
    """A number as text, or as xarray writes one of Zarr: base64 of a float64."""
    try:
        return [float(text)]
    except ValueError:
        pass
    try:
        return list(struct.unpack("<d", base64.b64decode(text)))
    except (binascii.Error, struct.error):
        return []


# ---- reading ------------------------------------------------------------------------------------


class StoredArray:
    """An array of an open file, read in boxes.

    `order` is the axis of the file for each axis as it is used, and `flipped` tells which of the
    latter are stored in descending order.

    Attributes
    ----------
    shape, chunks : tuple of int
        Of the axes as used; chunks are None where the array is contiguous.
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
        order: Sequence[int] = (0, 1, 2),
        flipped: Sequence[bool] = (False, False, False),
    ):
        self.path, self.array, self.name = path, array, array.name
        self.order, self.flipped = tuple(order), tuple(flipped)
        self.dtype = np.dtype(array.dtype)
        self.shape = tuple(array.shape[axis] for axis in self.order)
        chunks = getattr(array, "chunks", None)
        self.chunks = None if chunks is None else tuple(chunks[axis] for axis in self.order)
        self.packing = packing_of(array)
        marks = ", ".join(map(str, self.packing.missing))
        self.causes = [f"the fill value {marks}"] if marks else []
        self._missing: MissingParts | None = None  # of HDF5
        require_filters(array)
        if isinstance(array, h5py.Dataset):
            self._missing = MissingParts(array)
            if why := self._missing.why_empty:
                raise DataError(f"{path}: {why}; wait until it is whole, or copy it again")
            self._report_missing(self._missing.causes)

    def _report_missing(self, causes: list[str]) -> None:
        if not causes or causes[0] in self.causes:
            return
        n = len(causes) - SHOWN_CAUSES
        log.warning(
            f"{self.path}: {self.name}: missing: {', '.join(causes[:SHOWN_CAUSES])}"
            f"{f' and {n} more' if n > 0 else ''}; these parts are read as missing values (NaN)"
        )
        self.causes += causes

    def read(self, what: str, *ranges: tuple[int, int]) -> np.ndarray:
        """Values of a part: as stored, or float with NaN where values are packed or missing.

        Parameters
        ----------
        what : str
            The part in words, for messages.
        *ranges : (int, int)
            Start and end along the first axes; all of the others.

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
            damaged = [] if self._missing is None else self._missing.damaged
            gap = next((gap for gap in damaged if _overlap(gap, box)), None)
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
        if self._missing is not None:
            holes = self._missing.mask(box)
        else:
            holes = unwritten_zarr_chunks(self.array, box)
            if holes is not None:
                self._report_missing([f"chunks of {self.name} that were never written"])
        if holes is None:
            return values
        values = values.astype(np.float64 if values.dtype != np.float32 else np.float32)
        values[holes] = np.nan
        return values


def _overlap(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))


def read_all(array: Any) -> np.ndarray:
    """A small array as a whole, unpacked; DataError where it is damaged or not complete."""
    require_filters(array)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            in_parts = isinstance(array, h5py.Dataset) and (array.chunks or array.is_virtual)
            causes = MissingParts(array).causes if in_parts else []
            values = np.asarray(array[()])
    except Exception as error:  # zarr and its codecs raise many kinds
        raise DataError(
            f"{place_of(array)}: {array.name} can't be read ({reason_of(error)}); "
            "copy or make it again"
        ) from None
    if causes:
        raise DataError(
            f"{place_of(array)}: values of {array.name} are missing: {causes[0]}; copy it again, "
            "with the files that it is read from"
        )
    return packing_of(array).unpack(joined(values))
