"""Named quantities in an HDF5 file, with their units, the nearest to a data set first."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..data.coordinates import frequency_factor, to_metres
from ..data.times import to_text, unit_length
from ..errors import DataError

MOST_GROUPS = 200  # that are looked into
MOST_WORDS = 8  # of an array of text, as names of dimensions
SAMPLES_PER_SECOND = re.compile(r"(s|samples?|sa)/s(ec|econd)?|sps", re.IGNORECASE)
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ'%][^\d:]*?)?\s*")
IN_BRACKETS = re.compile(r"\[(.*?)\]|\((.*?)\)")


@dataclass(frozen=True)
class Fact:
    """A value of a file: its name there, and its unit, empty where none is given."""

    name: str
    value: Any
    unit: str = ""

    def number(self) -> tuple[float, str] | None:
        """Value and unit of a number, also of text as ``2 m``."""
        value = self.value
        if isinstance(value, (str, bytes)):
            found = NUMBER.fullmatch(to_text(value))
            if found is None:
                return None
            return float(found[1]), (found[2] or self.unit).strip()
        if isinstance(value, (int, float, np.integer, np.floating)):
            return float(value), self.unit
        return None


Place = dict[str, Fact]  # by `normal` name


def normal(name: str) -> str:
    """A name without case, blanks, signs and a unit in brackets."""
    return re.sub(r"[\s_\-.:/]", "", IN_BRACKETS.sub("", name)).lower()


def places_of(dataset: h5py.Dataset, file: h5py.File) -> list[Place]:
    """What is written on a data set, on its groups outwards to the file, and in all other groups.

    Of groups, small data sets count as well as attributes.
    """
    groups, group = [], dataset.parent
    while group.name != "/":
        groups.append(group)
        group = group.parent
    groups.append(group)
    header = group.get("header")
    if isinstance(header, h5py.Group):
        groups.append(header)
    others: Place = {}
    for other in _other_groups(file, {item.name for item in groups}):
        for name, fact in facts_of(other).items():
            others.setdefault(name, fact)
    return [facts_of(dataset), *(facts_of(item) for item in groups), others]


def _other_groups(file: h5py.File, known: set[str]) -> Iterator[h5py.Group]:
    found: list[h5py.Group] = []

    def visit(_: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Group) and item.name not in known:
            found.append(item)
        return True if len(found) >= MOST_GROUPS else None

    file.visititems(visit)
    yield from found


def facts_of(item: h5py.Dataset | h5py.Group) -> Place:
    """Attributes of one data set or group, and single values in a group."""
    values: dict[str, tuple[Any, str]] = {}
    if isinstance(item, h5py.Group):
        for name in item:
            child = dataset_in(item, name)
            if child is not None and _is_small(child):
                values[name] = _value(lambda child=child: child[()]), _unit_on(child)
    for name in item.attrs:
        values[name] = _value(lambda name=name: item.attrs[name]), ""
    found: Place = {}
    for name, (value, unit) in values.items():
        if value is not None:
            found.setdefault(normal(name), Fact(name, value, unit or _unit_of(name, values)))
    return found


def dataset_in(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """A data set by its name; None for a group, and for a link to nowhere."""
    try:
        item = group[name]
    except (KeyError, OSError, RuntimeError):
        return None
    return item if isinstance(item, h5py.Dataset) else None


def _is_small(dataset: h5py.Dataset) -> bool:
    if dataset.dtype.kind in "SOU":
        return 0 < dataset.size <= MOST_WORDS
    return dataset.size == 1 and dataset.dtype.kind in "iufb"


def _value(read: Callable[[], Any]) -> Any:
    """Arrays of one value as that value; None for what is empty or can't be read."""
    try:
        value = read()
    except (OSError, RuntimeError, TypeError, ValueError, KeyError):
        return None
    if isinstance(value, h5py.Empty) or (isinstance(value, np.ndarray) and not value.size):
        return None
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _unit_on(dataset: h5py.Dataset) -> str:
    for name in dataset.attrs:
        if normal(name) in ("unit", "units", "uom"):
            return to_text(_value(lambda name=name: dataset.attrs[name]) or "")
    return ""


def _unit_of(name: str, values: dict[str, tuple[Any, str]]) -> str:
    """Unit in brackets of the name, or in a companion as ``dxUnit`` or ``dx.uom``."""
    found = IN_BRACKETS.search(name)
    if found:
        return (found[1] or found[2] or "").strip()
    companions = {normal(name) + end for end in ("unit", "units", "uom")}
    for other, (value, _) in values.items():
        if normal(other) in companions and isinstance(value, (str, bytes)):
            return to_text(value).strip()
    return ""


# ---- looking up ---------------------------------------------------------------------------------


def look_up(
    places: Sequence[Place],
    names: Sequence[str],
    convert: Callable[[Fact], Any],
) -> Iterator[tuple[Any, Fact]]:
    """Values under any of some names that `convert` takes (not None), the nearest first."""
    for place in places:
        for name in names:
            fact = place.get(name)
            value = None if fact is None else convert(fact)
            if value is not None:
                yield value, fact


def as_rate(fact: Fact) -> float | None:
    """Hz of a frequency."""
    number = fact.number()
    if number is None:
        return None
    value, unit = number
    try:
        scale = 1.0 if SAMPLES_PER_SECOND.fullmatch(unit) else frequency_factor("", unit)
    except DataError:
        return None
    return _positive(None if scale is None else value * scale)


def as_interval(fact: Fact) -> float | None:
    """Hz of an interval of time."""
    number = fact.number()
    if number is None or not number[0] > 0:
        return None
    try:
        seconds = 1.0 if not number[1] else unit_length(number[1]) / 1e9
    except ValueError:
        return None
    return _positive(1 / (number[0] * seconds))


def as_length(fact: Fact) -> float | None:
    """Metres of a length, of either sign."""
    number = fact.number()
    return None if number is None else metres(np.float64(number[0]), number[1])


def metres(values: np.ndarray, unit: str) -> Any:
    """Numbers in a unit of length, metres where none is given; None for another or not finite."""
    found, unit = to_metres(values, unit or "m")
    return found if unit == "m" and np.isfinite(found).all() else None


def as_spacing(fact: Fact) -> float | None:
    """Metres of a length above 0."""
    return _positive(as_length(fact))


def as_plain(fact: Fact) -> float | None:
    """A number whatever its unit."""
    number = fact.number()
    return None if number is None or not np.isfinite(number[0]) else number[0]


def as_text(fact: Fact) -> str | None:
    """Text that is not empty."""
    text = to_text(fact.value).strip() if isinstance(fact.value, (str, bytes)) else ""
    return text or None


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0 < value < float("inf") else None
