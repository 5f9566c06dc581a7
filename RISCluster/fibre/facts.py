"""Named quantities in an HDF5 file, with their units, the nearest to a data set first."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..data.times import frequency_factor, to_metres, to_text, unit_length
from ..errors import DataError

MAX_GROUPS = 200  # searched in a file
MAX_WORDS = 8  # of an array of text, as names of dimensions
UNIT_NAMES = ("units", "unit", "uom")
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
        if isinstance(self.value, (str, bytes)):
            found = NUMBER.fullmatch(to_text(self.value))
            return found and (float(found[1]), (found[2] or self.unit).strip())
        if isinstance(self.value, (int, float, np.integer, np.floating)):
            return float(self.value), self.unit
        return None


Place = dict[str, Fact]  # by `normal` name


def normal(name: str) -> str:
    """A name in lower case without blanks, punctuation and a unit in brackets."""
    return re.sub(r"[\s_\-.:/]", "", IN_BRACKETS.sub("", name)).lower()


def places_of(dataset: h5py.Dataset) -> list[Place]:
    """Facts of a data set, of its groups outwards to the file, and of all other groups.

    Of groups, small data sets count as well as attributes.
    """
    groups = [dataset.parent]
    while groups[-1].name != "/":
        groups.append(groups[-1].parent)
    header = groups[-1].get("header")
    if isinstance(header, h5py.Group):
        groups.append(header)
    known = {group.name for group in groups}
    others: Place = {}
    found: list[h5py.Group] = []

    def visit(_: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Group) and item.name not in known:
            found.append(item)
        return True if len(found) >= MAX_GROUPS else None

    dataset.file.visititems(visit)
    for group in found:
        others = facts_of(group) | others
    return [facts_of(dataset), *map(facts_of, groups), others]


def facts_of(item: h5py.Dataset | h5py.Group) -> Place:
    """Attributes of a data set or group, and single values in a group."""
    values: dict[str, tuple[Any, str]] = {}
    for name in item if isinstance(item, h5py.Group) else ():
        child = dataset_in(item, name)
        if child is not None and _is_small(child):
            values[name] = _value(child, ()), unit_of(child)
    values |= {name: (_value(item.attrs, name), "") for name in item.attrs}
    found: Place = {}
    for name, (value, unit) in values.items():
        if value is not None:
            unit = unit or _unit_beside(name, values)
            found.setdefault(normal(name), Fact(name, value, unit))
    return found


def dataset_in(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """A data set by its name; None for a group, and for a broken link."""
    try:
        item = group[name]
    except (KeyError, OSError, RuntimeError):
        return None
    return item if isinstance(item, h5py.Dataset) else None


def unit_of(item: h5py.Dataset) -> str:
    """Unit in the attributes of a data set, empty where it has none."""
    values = [_value(item.attrs, name) for name in item.attrs if normal(name) in UNIT_NAMES]
    return next((to_text(value).strip() for value in values if _is_text(value)), "")


def _is_small(dataset: h5py.Dataset) -> bool:
    if dataset.dtype.kind in "SOU":
        return 0 < dataset.size <= MAX_WORDS
    return dataset.size == 1 and dataset.dtype.kind in "iufb"


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, bytes))


def _value(holder: Any, key: Any) -> Any:
    """Arrays of one value as that value; None for what is empty or can't be read."""
    try:
        value = holder[key]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError):
        return None
    if isinstance(value, h5py.Empty) or (isinstance(value, np.ndarray) and not value.size):
        return None
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _unit_beside(name: str, values: dict[str, tuple[Any, str]]) -> str:
    """Unit in brackets of the name, or in a companion as ``dxUnit`` or ``dx.uom``."""
    found = IN_BRACKETS.search(name)
    if found:
        return (found[1] or found[2] or "").strip()
    companions = {normal(name) + end for end in UNIT_NAMES}
    texts = [to_text(v).strip() for key, (v, _) in values.items()
             if _is_text(v) and normal(key) in companions]  # fmt: skip
    return texts[0] if texts else ""


# ---- looking up ---------------------------------------------------------------------------------


def look_up(
    places: Sequence[Place], names: Sequence[str], convert: Callable[[Fact], Any]
) -> Iterator[tuple[Any, Fact]]:
    """Values under any of some names that `convert` takes (not None), the nearest first."""
    for place in places:
        for name in names:
            value = convert(place[name]) if name in place else None
            if value is not None:
                yield value, place[name]


def first_of(
    places: Sequence[Place], names: Sequence[str], convert: Callable[[Fact], Any]
) -> tuple[Any, Fact] | tuple[None, None]:
    """The first that `look_up` finds."""
    return next(look_up(places, names, convert), (None, None))


def as_rate(fact: Fact) -> float | None:
    """Hz of a frequency."""
    value, unit = fact.number() or (None, "")
    try:
        scale = 1.0 if SAMPLES_PER_SECOND.fullmatch(unit) else frequency_factor("", unit)
    except DataError:
        return None
    return None if None in (value, scale) else _positive(value * scale)


def as_interval(fact: Fact) -> float | None:
    """Hz of an interval of time."""
    value, unit = fact.number() or (0.0, "")
    try:
        return _positive(1 / (value * (unit_length(unit) / 1e9 if unit else 1.0)))
    except (ValueError, ZeroDivisionError):
        return None


def as_length(fact: Fact) -> float | None:
    """Metres of a length, of either sign."""
    number = fact.number()
    return None if number is None else metres(np.float64(number[0]), number[1])


def metres(values: np.ndarray, unit: str) -> Any:
    """Lengths in metres, the unit where none is given; None for another or not finite."""
    found, unit = to_metres(values, unit or "m")
    return found if unit == "m" and np.isfinite(found).all() else None


def as_spacing(fact: Fact) -> float | None:
    """Metres of a length above 0."""
    return _positive(as_length(fact))


def as_plain(fact: Fact) -> float | None:
    """A number whatever its unit."""
    number = fact.number()
    return number[0] if number is not None and np.isfinite(number[0]) else None


def as_text(fact: Fact) -> str | None:
    """Text that is not empty."""
    return (to_text(fact.value).strip() if _is_text(fact.value) else "") or None


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0 < value < float("inf") else None
