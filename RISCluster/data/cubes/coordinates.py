"""Coordinates of a cube: where they are in a file, what unit they have, whether they fit.

Letters: M time steps, C channels, F frequency bins.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...progress import log
from ..times import to_text
from .storage import Storage, attributes_of, read_all

# Names beside the cube: CryoCube's first, then those that xarray users give.
NAMES = {
    "time": ("metadata/time_coords", "time", "times", "metadata/time"),
    "channel": (
        "metadata/loc_coords", "distance", "channel", "channels", "location", "metadata/distance",
    ),
    "frequency": ("metadata/freq_coords", "frequency", "frequencies", "freq", "metadata/frequency"),
}  # fmt: skip
CHANNEL_NAMES = ("metadata/channel_names", "channel_names", "trace_id")
UNITS = {"s": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3, "us": 1e-6, "microsecond": 1e-6,
         "ns": 1e-9, "nanosecond": 1e-9, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
         "d": 86400.0, "day": 86400.0}  # fmt: skip

EPOCH = (1e8, 1e10)  # s since 1970: from 1973 on


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of a cube.

    Attributes
    ----------
    times : ndarray, (M,), int64, or None
        Start of each time step, ns since 1970 UTC; None where unknown.
    seconds : ndarray, (M,), float64, or None
        Seconds from the first time step; None where unknown.
    distance : ndarray, (C,), float64, or None
        Of each channel, in `distance_unit`.
    names : list of str or None
        Of the channels.
    frequency : ndarray, (F,), float64, or None
        Hz.
    """

    times: np.ndarray | None
    seconds: np.ndarray | None
    distance: np.ndarray | None
    distance_unit: str
    names: list[str] | None
    frequency: np.ndarray | None


def read_coordinates(path: Path, storage: Storage, dataset: str, shape: tuple) -> Coordinates:
    """Coordinates that lie beside a cube.

    Parameters
    ----------
    path : Path
        For messages.
    storage : Storage
    dataset : str
        The cube's path inside.
    shape : (M, C, F)

    Raises
    ------
    DataError
        One does not match the shape, or holds what can't be one.
    """
    found = {
        axis: _find(path, storage, dataset, NAMES[axis], axis, n)
        for axis, n in zip(("time", "channel", "frequency"), shape, strict=True)
    }
    times, seconds = _times(path, found["time"])
    distance, unit, names = _channels(path, found["channel"])
    named = _find(path, storage, dataset, CHANNEL_NAMES, "channel", shape[1])
    if named is not None:
        names = [to_text(value) for value in read_all(named[1])]
    frequency = None
    if found["frequency"] is not None:
        frequency = _numbers(path, *found["frequency"])
    return Coordinates(times, seconds, distance, unit, names, frequency)


def _find(
    path: Path, storage: Storage, dataset: str, names: tuple, axis: str, n: int
) -> tuple[str, Any] | None:
    group = dataset.rpartition("/")[0]
    for name in names:
        full = f"{group}/{name}" if group else name
        array = storage.get(full)
        if array is None:
            continue
        shape = tuple(array.shape or ())  # none at all where it is declared as empty
        if shape != (n,):
            raise DataError(
                f"{path}: {full} has shape {shape}, but {dataset} has {n} "
                f"{axis} steps along that axis; a coordinate needs one value a step"
            )
        return full, array
    return None


def _numbers(path: Path, name: str, array: Any) -> np.ndarray:
    values = read_all(array)
    if not np.issubdtype(values.dtype, np.number) or np.issubdtype(
        values.dtype, np.complexfloating
    ):
        raise DataError(f"{path}: {name} must hold numbers, not {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {name} must hold finite numbers")
    return values


def _channels(
    path: Path, found: tuple[str, Any] | None
) -> tuple[np.ndarray | None, str, list[str] | None]:
    if found is None:
        return None, "", None
    name, array = found
    if array.dtype.kind in "SUOT":
        return None, "", [to_text(value) for value in read_all(array)]
    metres = name.endswith(("loc_coords", "distance"))
    unit = to_text(attributes_of(array).get("units", "m" if metres else ""))
    return _numbers(path, name, array), unit, None


def _times(
    path: Path, found: tuple[str, Any] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Absolute times and seconds from the first, where they are known and ascend."""
    if found is None:
        return None, None
    name, array = found
    times, seconds = None, None
    values = read_all(array)
    if values.dtype.kind in "SUOT":
        times = _from_text(path, name, values)
    elif values.dtype.kind == "M":
        times = values.astype("datetime64[ns]").astype(np.int64)
    else:
        attributes = attributes_of(array)
        factor, origin = _unit(to_text(attributes.get("units", "")))
        numbers = _numbers(path, name, array) * factor
        if (
            origin is None
            and "units" not in attributes
            and EPOCH[0] <= numbers.min() <= numbers.max() < EPOCH[1]
        ):
            origin = 0  # nothing else than a date has such numbers
        if origin is not None:
            whole = np.floor(numbers)  # apart, for nanoseconds do not fit a float64
            times = origin + whole.astype(np.int64) * 10**9
            times += np.round((numbers - whole) * 1e9).astype(np.int64)
        else:
            seconds = numbers - numbers[0]
    if times is not None:
        seconds = (times - times[0]) / 1e9
    if len(seconds) > 1 and not (np.diff(seconds) > 0).all():
        log.warning(
            f"{path}: {name} does not ascend from step to step, as where only days were kept: "
            "time steps are counted instead"
        )
        return None, None
    return times, seconds


def _from_text(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    try:
        texts = [to_text(value).strip().removesuffix("Z").replace(" ", "T") for value in values]
        return np.array(texts, dtype="datetime64[ns]").astype(np.int64)
    except ValueError:
        raise DataError(f"{path}: {name} must hold times as 2020-07-24T00:00:00, in UTC") from None


def _unit(text: str) -> tuple[float, int | None]:
    """Seconds of a unit such as ``seconds since 1970-01-01``, and its origin, ns since 1970."""
    match = re.match(r"\s*([A-Za-z]+)\s+since\s+(.+)", text)
    name = (match.group(1) if match else text.strip()).lower()
    factor = UNITS.get(name, UNITS.get(name.removesuffix("s"), 1.0))
    if not match:
        return factor, None
    origin = match.group(2).strip().removesuffix("Z").removesuffix("+00:00").replace(" ", "T")
    try:
        return factor, int(np.datetime64(origin, "ns").astype(np.int64))
    except ValueError:
        return factor, None
