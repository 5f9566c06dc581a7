"""Headers of fibre records: what an HDF5 file of (time, channel) says of itself.

Every maker of interrogators has names of its own, so a quantity is looked for under all names
known for it: on the data set, on its groups outwards to the file, and in a group ``header``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import DataError
from ...sections import RecordsSettings

# Names without case, blanks, underscores and units in brackets. Of PRODML's two rates the one of
# the stored data stands first.
RATES = (
    "fs",
    "samplingrate",
    "samplerate",
    "samplingfrequency",
    "samplingfreq",
    "outputdatarate",
    "pulserate",
)
INTERVALS = ("dt", "delta", "dts", "samplinginterval", "sampleinterval")
STARTS = (
    "start",
    "starttime",
    "t0",
    "iso8601timestamp",
    "begintime",
    "partstarttime",
    "rawdatatime",
)
SPACINGS = (
    "dxm",
    "dx",
    "spatialsamplinginterval",
    "spatialresolution",
    "spatialinterval",
    "channelspacing",
)
UNITS = ("unit", "units", "rawdataunit")
DIMENSIONS = ("dims", "dimensions", "dimensionnames")
KNOWN = {*RATES, *INTERVALS, *STARTS, *SPACINGS, *UNITS, *DIMENSIONS}

COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant
ISO = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?)\d*\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)
# Numbers since 1970 tell their unit by their size: (below, nanoseconds each)
SINCE_1970 = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (float("inf"), 1))


class BadRecord(DataError):
    """A file that can't be used, which costs that file alone."""


@dataclass(frozen=True)
class RecordHeader:
    """What is known of one file before its samples are read.

    Attributes
    ----------
    path : Path
    dataset : str
        Name inside the file.
    shape : tuple of int
    time_axis : int or None
        0 or 1; None where the file does not say.
    sampling_rate : float
        Hz.
    start : int or None
        Nanoseconds since 1970, UTC.
    spacing : float or None
        Metres from channel to channel.
    unit : str
        Of the samples, empty where the file does not say.
    """

    path: Path
    dataset: str
    shape: tuple[int, int]
    time_axis: int | None
    sampling_rate: float
    start: int | None
    spacing: float | None
    unit: str


def read_header(path: Path, settings: RecordsSettings) -> RecordHeader:
    """Header of one file.

    Parameters
    ----------
    path : Path
    settings : RecordsSettings
        What is not ``auto`` there is not looked for.

    Raises
    ------
    BadRecord
        The file can't be opened, or holds no such data set.
    DataError
        It is not clear what is meant: settings can help.
    """
    try:
        with h5py.File(path, "r") as file:
            dataset = _find_dataset(path, file, settings.dataset)
            return _header(path, dataset, settings)
    except (OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise BadRecord(f"{path}: can't be read as HDF5 ({reason}): copy it again") from None


def _header(path: Path, dataset: h5py.Dataset, settings: RecordsSettings) -> RecordHeader:
    facts = [_facts(place) for place in _places(dataset)]
    start, unit = _first(facts, STARTS), _first(facts, UNITS)
    since_1970 = None if start is None else nanoseconds(start)
    if start is not None and since_1970 is None and settings.starttime == "auto":
        raise DataError(
            f"{path}: its start '{_text(start)}' is neither ISO 8601 nor a number since 1970; set "
            "records.starttime"
        )
    return RecordHeader(
        path=path,
        dataset=dataset.name.lstrip("/"),
        shape=dataset.shape,
        time_axis=_time_axis(facts, settings.order),
        sampling_rate=_sampling_rate(path, dataset, facts, settings.sampling_rate),
        start=since_1970,
        spacing=_number(facts, SPACINGS)
        if settings.channel_spacing == "auto"
        else settings.channel_spacing,
        unit="" if unit is None or isinstance(unit, np.ndarray) else _text(unit),
    )


def nanoseconds(value: Any) -> int | None:
    """A time as nanoseconds since 1970, UTC.

    Parameters
    ----------
    value : str, bytes or number
        ISO 8601, in UTC where it names no zone, or seconds, milli-, micro- or nanoseconds since
        1970, told apart by size.

    Returns
    -------
    int or None
        None for anything else.
    """
    if isinstance(value, (str, bytes)):
        text = _text(value).strip()
        found = ISO.fullmatch(text)
        if found:
            return _from_iso(*found.groups())
        try:
            value = float(text)
        except ValueError:
            return None
    if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
        return None
    unit = next(unit for below, unit in SINCE_1970 if abs(value) < below)
    if isinstance(value, (int, np.integer)):
        return int(value) * unit
    whole, rest = divmod(float(value), 1.0)  # apart, for a product loses digits
    return int(whole) * unit + round(rest * unit)


def _from_iso(time: str, zone: str | None) -> int | None:
    try:
        since = int(np.datetime64(time.replace(" ", "T"), "ns").astype(np.int64))
    except ValueError:
        return None
    if zone in (None, "Z", "UTC"):
        return since
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return since - (minutes if zone[0] == "+" else -minutes) * 60 * 10**9


# ---- the data set -------------------------------------------------------------------------------


def _find_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    found = _two_dimensional(file)
    listed = ", ".join(f"{item.name.lstrip('/')} {item.shape}" for item in found[:10])
    if name != "auto":
        chosen = file.get(name)
        if chosen in found:
            return chosen
        raise BadRecord(
            f"{path}: '{name}' is no data set of (time, channel) in this file; it has "
            f"{listed or 'none'}; set records.dataset"
        )
    if not found:
        raise BadRecord(
            f"{path}: no numeric data set with two dimensions in this file; a record needs one of "
            "(time, channel)"
        )
    if len(found) > 1 and found[1].size >= COMPARABLE * found[0].size:
        raise DataError(f"{path}: which data set is meant? set records.dataset to one of {listed}")
    return found[0]


def _two_dimensional(file: h5py.File) -> list[h5py.Dataset]:
    """Real, not empty, the largest first."""
    found: list[h5py.Dataset] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim == 2:
            found.append(item)

    file.visititems(visit)
    return sorted((item for item in found if item.size), key=lambda item: (-item.size, item.name))


# ---- what is written on it ----------------------------------------------------------------------


def _places(dataset: h5py.Dataset) -> Iterator[h5py.Dataset | h5py.Group]:
    """The data set, its groups outwards to the file, and a group of headers."""
    yield dataset
    group = dataset.parent
    while group.name != "/":
        yield group
        group = group.parent
    yield group
    header = group.get("header")
    if isinstance(header, h5py.Group):
        yield header


def _facts(place: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Values with a known name: of attributes, and in a group of small data sets as well."""
    found = {}
    if isinstance(place, h5py.Group):
        for name in place:
            if _normal(name) in KNOWN and isinstance(place[name], h5py.Dataset):
                found[_normal(name)] = _first_value(place[name])
    for name in place.attrs:
        if _normal(name) in KNOWN:
            found[_normal(name)] = _plain(place.attrs[name])
    return found


def _normal(name: str) -> str:
    return re.sub(r"\[.*?\]|\(.*?\)|[\s_\-]", "", name).lower()


def _first_value(dataset: h5py.Dataset) -> Any:
    if dataset.size == 0 or dataset.ndim > 1:
        return None
    return _plain(dataset[()] if dataset.ndim == 0 else dataset[0])


def _plain(value: Any) -> Any:
    """Arrays of one value as that value."""
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _first(facts: Sequence[dict[str, Any]], names: Sequence[str]) -> Any:
    """The nearest place that has one of the names, by the order of names there."""
    for place in facts:
        for name in names:
            if place.get(name) is not None:
                return place[name]
    return None


def _number(facts: Sequence[dict[str, Any]], names: Sequence[str]) -> float | None:
    """The nearest that is a number above 0."""
    for place in facts:
        for name in names:
            try:
                value = float(_text(place.get(name)))
            except ValueError:
                continue
            if 0 < value < float("inf"):
                return value
    return None


def _sampling_rate(
    path: Path, dataset: h5py.Dataset, facts: Sequence[dict[str, Any]], setting: Any
) -> float:
    if setting != "auto":
        return float(setting)
    rate = _number(facts, RATES)
    interval = _number(facts, INTERVALS)
    if rate is None and interval is not None:
        rate = 1.0 / interval
    if rate is not None:
        return rate
    names = [name for place in _places(dataset) for name in place.attrs]
    raise DataError(
        f"{path}: no attribute of {dataset.name.lstrip('/')} or of its groups is a sampling rate; "
        f"there are {', '.join(dict.fromkeys(names)) or 'none'}; set records.sampling_rate"
    )


def _time_axis(facts: Sequence[dict[str, Any]], setting: str) -> int | None:
    if setting != "auto":
        return 0 if setting == "time,channel" else 1
    value = _first(facts, DIMENSIONS)
    if value is None:
        return None
    words = value if isinstance(value, np.ndarray) else re.split(r"[\s,;x]+", _text(value))
    names = [_text(word).strip(" '\"()[]").lower() for word in words]
    axes = [axis for axis, name in enumerate(names) if name.startswith("time") or name == "t"]
    return axes[0] if len(names) == 2 and len(axes) == 1 else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
