"""Values as the attributes of their array describe them: scale, offset, missing values.

The conventions are those of CF and netCDF, which xarray writes into HDF5 and Zarr.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from .storage import attributes_of, place_of, text_attribute
from .times import to_text


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
    """Packing of an array of HDF5 or Zarr, by its attributes.

    Raises
    ------
    DataError
        An attribute of packing is no number.
    """
    dtype = array.dtype
    if dtype.kind not in "iuf":
        return Packing()
    attributes = attributes_of(array)
    unsigned = dtype.kind == "i" and text_attribute(array, "_Unsigned").lower() == "true"
    if not isinstance(array, h5py.Dataset) and (fill := _fill_of_zarr(array, attributes)):
        attributes = {"_FillValue": fill} | attributes
    found = {
        name: _numbers(array, name, attributes[name])
        for name in ("scale_factor", "add_offset", "_FillValue", "missing_value", "valid_range",
                     "valid_min", "valid_max")
        if name in attributes
    }  # fmt: skip
    if unsigned:
        found = {
            name: [int(x) % 2 ** (8 * dtype.itemsize) for x in numbers]
            if name not in ("scale_factor", "add_offset")
            else numbers
            for name, numbers in found.items()
        }
    scale, offset = found.get("scale_factor", [1.0]), found.get("add_offset", [0.0])
    if len(scale) != 1 or len(offset) != 1:
        raise DataError(
            f"{place_of(array)}: scale_factor and add_offset of {array.name} must be one number "
            "each; unpack the values and write them again"
        )
    limits = found.get("valid_range", [])
    low, high = limits if len(limits) == 2 else (-np.inf, np.inf)
    low, high = (found.get("valid_min") or [low])[0], (found.get("valid_max") or [high])[0]
    unpacked = dtype.kind in "iu" and ("scale_factor" in found or "add_offset" in found)
    if unpacked and any(isinstance(end, float) and np.isfinite(end) for end in (low, high)):
        ends = [(end - offset[0]) / scale[0] for end in (low, high)]  # given as values
        low, high = min(ends), max(ends)
    marks = (*found.get("_FillValue", ()), *found.get("missing_value", ()), *_declared(array))
    if dtype.kind == "f":  # as it is stored: 1e20 is another number in float32
        with np.errstate(over="ignore"):
            marks = np.array(marks, dtype=dtype).tolist()
    missing = tuple(dict.fromkeys(mark for mark in marks if mark == mark))  # NaN is NaN already
    return Packing(float(scale[0]), float(offset[0]), missing, low, high, unsigned)


def _declared(array: Any) -> list:
    """Fill value that was declared to HDF5, as netCDF does without an attribute."""
    if not isinstance(array, h5py.Dataset):
        return []
    properties = array.id.get_create_plist()
    declared = properties.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    return [array.fillvalue.item()] if declared and array.fillvalue != 0 else []  # 0 may be a value


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


def _fill_of_zarr(array: Any, attributes: dict[str, Any]) -> Any:
    """Fill value by which xarray marks missing values in Zarr's second format."""
    packed = "scale_factor" in attributes or "add_offset" in attributes
    fill = array.fill_value
    if "_ARRAY_DIMENSIONS" not in attributes or fill is None or (fill == 0 and not packed):
        return None  # 0 is Zarr's own, and no mark
    return np.ravel(fill)
