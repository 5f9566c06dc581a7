"""Axes and coordinates of arrays: which axis is which, units, and whether coordinates fit.

Letters: M time steps, C channels, F frequency bins.
"""

import math
import re
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..runtime import log
from .storage import Storage, dimension_names, is_variable, shape_of, text_attribute
from .stored_array import read_all
from .times import (
    NOT_A_TIME,
    count_unreadable,
    decode_times,
    epoch_unit,
    far_times,
    nanoseconds_to_iso,
    to_text,
    unit_length,
)

# ---- which axis is which ------------------------------------------------------------------------

# Names of dimensions, in lower case and without _coords
ROLES = {
    "time": ("time", "times", "t", "datetime", "start_time", "starttime", "time_bin", "times_bin"),
    "frequency": ("frequency", "frequencies", "freq", "freqs", "f", "frequency_bin"),
    "channel": (
        "channel", "channels", "distance", "distances", "location", "loc", "station", "stations",
        "receiver", "receivers", "sensor", "node", "fibre", "fiber", "locus",
        "depth", "offset", "position", "x", "space",
    ),
    "sample": ("sample", "samples", "event", "events", "detection", "detections", "example"),
}  # fmt: skip
CUBE = ("time", "channel", "frequency")
SAMPLES = ("sample", "frequency", "time")


def roles_of(array: Any) -> list[str]:
    """Role of each axis by the name of its dimension: a key of `ROLES`, or empty."""
    roles = []
    for name in dimension_names(array):
        name = re.sub("_(coords?|dim)$", "", name.lower())
        roles.append(next((role for role, names in ROLES.items() if name in names), ""))
    known = [role for role in roles if role]
    return roles if len(set(known)) == len(known) else [""] * len(roles)


def named_layout(array: Any) -> str | None:
    """Layout by the names of an array's dimensions: ``cube``, ``samples`` or None."""
    roles = set(roles_of(array)) if array.ndim == 3 else set()
    if not {"time", "frequency"} <= roles:
        return None
    return "cube" if "channel" in roles else "samples" if "sample" in roles else None


def axis_order(
    path: Path, array: Any, wanted: tuple[str, ...], lengths: dict[str, int]
) -> tuple[int, ...]:
    """Axis of the file for each axis of `wanted`; as stored where nothing speaks against it.

    Parameters
    ----------
    path : Path
        For messages.
    array : h5py.Dataset or zarr.Array
        Of three dimensions.
    wanted : tuple of str
        `CUBE` or `SAMPLES`.
    lengths : dict
        Of coordinates, by role.

    Raises
    ------
    DataError
        The dimensions are others than those wanted, or their order is not known.
    """
    names, roles = dimension_names(array), roles_of(array)
    label, needed = f"{path}: {array.name.lstrip('/')}", f"({', '.join(wanted)})"
    strange = [name for name, role in zip(names, roles, strict=True) if role and role not in wanted]
    if strange:
        raise DataError(
            f"{label} has the dimensions ({', '.join(names)}), and this layout needs {needed}; set "
            f"data.layout or data.dataset, or name {strange[0]} otherwise"
        )
    stored, shape = tuple(range(3)), array.shape
    at = {role: wanted.index(role) for role in wanted}
    named = {role: axis for axis, role in enumerate(roles) if role}
    orders = [
        order
        for order in permutations(stored)
        if all(order[at[role]] == axis for role, axis in named.items())
    ]
    fitting = [
        order for order in orders if all(shape[order[at[role]]] == n for role, n in lengths.items())
    ]
    if wanted is SAMPLES and not named:  # samples come first, unless names say otherwise
        fitting = [order for order in fitting if order[0] == 0] or fitting
    found = fitting or orders  # where no order fits, the coordinate is refused later on
    if stored in found:
        return stored
    if len(found) > 1 and not fitting:
        return found[0]
    if len(found) > 1:
        raise DataError(
            f"{label} has shape {tuple(shape)}, which does not fit its coordinates as {needed}, "
            "and the order of its axes is unknown; write it in this order, or name its dimensions"
        )
    order = ", ".join(wanted[found[0].index(axis)] for axis in stored)
    log.info(
        f"{label} is stored as ({order}) by its {'dimension names' if named else 'coordinates'}; "
        f"read as {needed}"
    )
    return found[0]


def dimension_of(array: Any, role: str) -> tuple[str, Any]:
    """Name of the dimension of a role, and its scale in HDF5 or None."""
    roles = roles_of(array)
    if role not in roles:
        return "", None
    axis, scale = roles.index(role), None
    if isinstance(array, h5py.Dataset) and len(array.dims[axis]):
        scale = array.dims[axis][0]
    return dimension_names(array)[axis], scale if scale is not None and is_variable(scale) else None


def is_descending(values: np.ndarray) -> bool:
    """Whether every value is below the one before it; not so for a single one."""
    return len(values) > 1 and bool((np.diff(values) < 0).all())


# ---- units ---------------------------------------------------------------------------------------

_PREFIXES = {
    "": 1.0, "k": 1e3, "K": 1e3, "kilo": 1e3, "M": 1e6, "mega": 1e6, "G": 1e9, "giga": 1e9,
    "m": 1e-3, "milli": 1e-3, "u": 1e-6, "µ": 1e-6, "micro": 1e-6, "n": 1e-9, "nano": 1e-9,
}  # fmt: skip
_HERTZ = re.compile(r"([a-zA-Zµ]*?)(?:[Hh]z|[Hh]ertz|HZ)")
_COUNT = r"(1|rad(?:ian)?s?|cyc(?:le)?s?|deg(?:ree)?s?|)"
_PER_TIME = [
    re.compile(rf"{_COUNT}\s*{form}", re.IGNORECASE)
    for form in (r"(?:/|per\b)\s*([a-zµ]+)", r"[.*\s]?\s*([a-zµ]+)\s*(?:\^|\*\*)?\s*-1")
]
_TURNS = {"r": 1 / (2 * math.pi), "d": 1 / 360}
METRES = {
    "m": 1.0, "meter": 1.0, "metre": 1.0, "km": 1e3, "kilometer": 1e3, "kilometre": 1e3,
    "cm": 1e-2, "centimeter": 1e-2, "centimetre": 1e-2, "mm": 1e-3, "millimeter": 1e-3,
    "millimetre": 1e-3, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us_survey_foot": 1200 / 3937,
    "us_survey_feet": 1200 / 3937, "yd": 0.9144, "yard": 0.9144, "mi": 1609.344, "mile": 1609.344,
    "nautical_mile": 1852.0, "nmi": 1852.0,
}  # fmt: skip
WITHOUT = ("1", "bin", "bins", "index", "none", "dimensionless", "count", "counts")


def frequency_factor(place: str, unit: str) -> float | None:
    """Hertz of a unit of frequency; 1 where none is given, None for numbers without one, as bins.

    Raises
    ------
    DataError
        It is not known as a unit of frequency; `place` is its file and axis.
    """
    text = unit.strip()
    if text.lower() in WITHOUT:
        return None
    if not text or text.lower() in ("cps", "hz"):
        return 1.0
    hertz = _HERTZ.fullmatch(text)
    if hertz and (prefix := hertz[1] if len(hertz[1]) < 2 else hertz[1].lower()) in _PREFIXES:
        return _PREFIXES[prefix]
    found = next((match for form in _PER_TIME if (match := form.fullmatch(text))), None)
    try:
        if found:
            return _TURNS.get(found[1][:1].lower(), 1.0) / unit_length(found[2]) * 1e9
    except ValueError:  # no unit of time
        pass
    raise DataError(
        f"{place} is in '{unit}', which is no known unit of frequency; allowed: Hz, kHz, mHz, "
        "rad/s and the like: convert it, or change its attribute units"
    )


def seconds_factor(unit: str) -> float | None:
    """Seconds of a unit of duration, 1 where none is given; None for numbers without a unit.

    Raises
    ------
    ValueError
        It is not known, or has no fixed length.
    """
    unit = unit.strip()
    if unit.lower() in (*WITHOUT, "step", "steps", "sample", "samples"):
        return None
    return unit_length(unit.partition(" since ")[0]) / 1e9 if unit else 1.0


def to_metres(values: np.ndarray, unit: str) -> tuple[np.ndarray, str]:
    """Lengths in metres with their unit; those in another unit, as degrees, unchanged."""
    name = "_".join(unit.lower().split())
    factor = METRES.get(name, METRES.get(name.removesuffix("s")))
    if factor is None:
        return values, unit
    return (values if factor == 1 else values * factor), "m"


# ---- coordinates of a cube ----------------------------------------------------------------------

# Names beside the cube: CryoCube's first, then those that xarray users give.
NAMES = {
    "time": ("metadata/time_coords", "time", "times", "metadata/time"),
    "channel": (
        "metadata/loc_coords", "distance", "channel", "channels", "location", "metadata/distance",
    ),
    "frequency": ("metadata/freq_coords", "frequency", "frequencies", "freq", "metadata/frequency"),
}  # fmt: skip
CHANNEL_NAMES = ("metadata/channel_names", "channel_names", "trace_id", "station", "channel")
EPOCH = (1e8, 1e10)  # s since 1970: from 1973 on


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of a cube.

    Attributes
    ----------
    times, seconds : ndarray, (M,), int64 and float64, or None
        Start of each time step: ns since 1970 UTC, and seconds from the first.
    distance : ndarray, (C,), float64, or None
        Of each channel, in `distance_unit`.
    names : list of str or None
        Of the channels.
    frequency : ndarray, (F,), float64, or None
        Hz.
    order : tuple of int
        Axis of the file that is time, channel and frequency.
    flipped : tuple of bool
        Which of these are stored in descending order; the coordinates here all ascend.
    """

    times: np.ndarray | None
    seconds: np.ndarray | None
    distance: np.ndarray | None
    distance_unit: str
    names: list[str] | None
    frequency: np.ndarray | None
    order: tuple[int, ...] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)


@dataclass(frozen=True)
class _Found:
    """A coordinate as stored: (n,) values, and attributes."""

    name: str
    values: np.ndarray
    units: str
    calendar: str

    @property
    def is_text(self) -> bool:
        """Whether it holds names or dates rather than numbers."""
        return self.values.dtype.kind in "SUOT"


def read_coordinates(path: Path, storage: Storage, dataset: str, cube: Any) -> Coordinates:
    """Coordinates of a cube (h5py.Dataset or zarr.Array of three dimensions) at `dataset`.

    Raises
    ------
    DataError
        One does not match the shape, or holds what can't be one.
    """
    found = {axis: _find(path, storage, dataset, cube, axis) for axis in CUBE}
    lengths = {axis: len(one.values) for axis, one in found.items() if one}
    order = axis_order(path, cube, CUBE, lengths)
    shape = dict(zip(CUBE, (cube.shape[axis] for axis in order), strict=True))
    for axis, one in found.items():
        if one:
            _require_length(path, dataset, one.name, one.values.shape, axis, shape[axis])
    times, seconds, backwards = _times(path, found["time"])
    distance, unit = _distance(path, found["channel"])
    names = _channel_names(path, storage, dataset, found["channel"], shape["channel"])
    frequency, descends = _frequency(path, found["frequency"])
    flipped = (backwards, False, descends)
    return Coordinates(times, seconds, distance, unit, names, frequency, order, flipped)


def _full(dataset: str, name: str) -> str:
    group = dataset.rpartition("/")[0]
    return f"{group}/{name}" if group else name


def _find(path: Path, storage: Storage, dataset: str, cube: Any, axis: str) -> _Found | None:
    """The coordinate of an axis: that of its dimension, or else one of the usual names."""
    own, scale = dimension_of(cube, axis)
    if scale is not None and axis != "channel":
        return _read(path, dataset, cube, axis, scale.name.lstrip("/"), scale)
    tied = own and _interpolate(storage, dataset, cube, own)
    if tied:
        return tied
    names = [own, *NAMES[axis]] if axis != "channel" else [*NAMES[axis], own]
    for name in filter(None, names):
        array = storage.get(_full(dataset, name))
        if array is not None and is_variable(array):
            return _read(path, dataset, cube, axis, _full(dataset, name), array)
    return None


def _read(path: Path, dataset: str, cube: Any, axis: str, name: str, array: Any) -> _Found:
    shape = shape_of(array)
    if len(shape) != 1 or shape[0] not in cube.shape:  # and is not read: it may be of any size
        _require_length(path, dataset, name, shape, axis, cube.shape[CUBE.index(axis)])
    units, calendar = (text_attribute(array, key) for key in ("units", "calendar"))
    return _Found(name, read_all(array), units, calendar)


def _interpolate(storage: Storage, dataset: str, cube: Any, own: str) -> _Found | None:
    """A coordinate that is kept as tie points, as xdas does by the CF conventions (section 8.3)."""
    indices, values = (
        storage.get(_full(dataset, f"{own}_{part}")) for part in ("indices", "values")
    )
    if indices is None or values is None or len(indices.shape) != 1 or not indices.shape[0]:
        return None
    n = cube.shape[dimension_names(cube).index(own)]
    ties, known = read_all(indices), read_all(values)
    if known.shape != ties.shape or known.dtype.kind not in "iuf":
        return None
    dense = np.interp(np.arange(n), ties, (known - known[0]).astype(np.float64))
    if known.dtype.kind in "iu":
        dense = np.rint(dense).astype(np.int64)
    units, calendar = (text_attribute(values, key) for key in ("units", "calendar"))
    return _Found(_full(dataset, f"{own}_values"), known[0] + dense, units, calendar)


def _require_length(path: Path, dataset: str, name: str, shape: tuple, axis: str, n: int) -> None:
    if shape != (n,):
        raise DataError(
            f"{path}: {name} has shape {shape}, but {dataset} has {n} {axis} steps along that "
            "axis; a coordinate needs one value a step"
        )


def _numbers(path: Path, found: _Found) -> np.ndarray:
    values = found.values
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path}: {found.name} must hold numbers, not {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {found.name} must hold finite numbers")
    return values


def _frequency(path: Path, found: _Found | None) -> tuple[np.ndarray | None, bool]:
    """Ascending frequencies in Hz, and whether they are stored in descending order."""
    factor = found and frequency_factor(f"{path}: {found.name}", found.units)
    if factor is None:
        return None, False
    values = _numbers(path, found)
    values = values if factor == 1 else values * factor
    descends = is_descending(values)
    return (values[::-1] if descends else values), descends


def _distance(path: Path, found: _Found | None) -> tuple[np.ndarray | None, str]:
    """Distances in metres, or in another unit that is no length."""
    if found is None or found.is_text:
        return None, ""
    metres = found.name.endswith(("loc_coords", "distance", "distance_values"))
    return to_metres(_numbers(path, found), found.units or ("m" if metres else ""))


def _channel_names(
    path: Path, storage: Storage, dataset: str, channel: _Found | None, n: int
) -> list[str] | None:
    """Names of the channels: of an array of names, or of a coordinate of texts."""
    names = [to_text(x) for x in channel.values] if channel and channel.is_text else None
    for name in CHANNEL_NAMES:
        array = storage.get(_full(dataset, name))
        if array is None:
            continue
        is_of_names = name in CHANNEL_NAMES[:3]
        if is_of_names:
            _require_length(path, dataset, _full(dataset, name), shape_of(array), "channel", n)
        if is_of_names or (array.dtype.kind in "SUOT" and shape_of(array) == (n,)):
            names = [to_text(value) for value in read_all(array)]
            break
    if names and len(set(names)) < len(names):
        log.warning(f"{path}: names of channels are not unique: channels are numbered instead")
        return None
    return names


def _times(path: Path, found: _Found | None) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Ascending absolute times, seconds from the first, and whether they are stored descending."""
    times = seconds = None
    why = ""
    try:
        if found is not None:
            times, seconds = _decode(path, found)
    except DataError:
        raise
    except ValueError as error:
        why = f"{error}; change its attributes units and calendar"
    if times is not None:
        if (times == NOT_A_TIME).any():
            why = count_unreadable(found.values, times) or "some times are missing"
        elif (far := far_times(times)).any():
            first = nanoseconds_to_iso(times[far][:1])[0]
            why = f"{first} is far from its other times, as of a clock that is wrong"
        seconds = (times - times[0]) / 1e9
    if why:
        log.warning(
            f"{path}: {found.name}: {why}: its times are not used, and time steps are counted"
        )
    if why or seconds is None:
        return None, None, False
    if is_descending(seconds):
        seconds = (seconds - seconds[-1])[::-1]
        return None if times is None else times[::-1], seconds, True
    if not (np.diff(seconds) > 0).all():
        log.warning(
            f"{path}: {found.name} does not ascend from step to step, as where only days were "
            "kept: time steps are counted instead"
        )
        return None, None, False
    return times, seconds, False


def _decode(path: Path, found: _Found) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Absolute times, or seconds from the first step where only those are known; or neither."""
    values, units = found.values, found.units
    if values.dtype.kind == "m":
        seconds = values.astype("m8[ns]").astype(np.int64) / 1e9
        return None, seconds - seconds[0]
    if values.dtype.kind not in "iuf" or re.search(r"\s(since|after|from|ref|@)\s|\[", units, re.I):
        return decode_times(values, units, found.calendar), None
    numbers = _numbers(path, found)
    factor = seconds_factor(units) if units else epoch_unit(numbers.max()) / 1e9
    if factor is None:
        return None, None
    if EPOCH[0] <= numbers.min() * factor <= numbers.max() * factor < EPOCH[1]:
        unit = {1.0: "s", 1e-3: "ms", 1e-6: "us", 1e-9: "ns"}.get(factor, units)
        log_assumed_epoch(path, found.name, unit)
        return decode_times(values, f"{unit} since 1970-01-01"), None
    return None, (numbers - numbers[0]) * (factor if units else 1.0)


def log_assumed_epoch(path: Path, name: str, unit: str) -> None:
    """Log that numbers without a reference time are taken as times since 1970."""
    log.info(
        f"{path}: {name} is taken as {unit} since 1970 in UTC, by the size of its numbers; its "
        f"attribute units changes this, as '{unit} since 2020-01-01'"
    )
