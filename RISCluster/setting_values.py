"""Values of settings and their text: what is allowed follows from a key's type and limits."""

import math
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

YES = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class Band(NamedTuple):
    """A range of frequencies, Hz."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"

    @classmethod
    def parse(cls, text: str) -> "Band":
        """``low-high``."""
        low, _, high = text.partition("-")
        value = cls(float(low), float(high))
        _require(0 <= value.low < value.high < math.inf)
        return value


class Corners(NamedTuple):
    """Four frequencies of a cosine taper, Hz: no pass, pass, pass, no pass."""

    f1: float
    f2: float
    f3: float
    f4: float

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self)

    @classmethod
    def parse(cls, text: str) -> "Corners":
        """Four ascending numbers."""
        parts = [float(part) for part in text.split(",")]
        _require(len(parts) == 4 and parts[0] >= 0 and parts[3] < math.inf)
        _require(parts[0] < parts[1] < parts[2] < parts[3])
        return cls(*parts)


class AxisSlice(NamedTuple):
    """Part of an axis, as Python's slices: from `start` to before `stop`, every `step`-th."""

    start: int | None
    stop: int | None
    step: int | None

    def __str__(self) -> str:
        parts = ["" if value is None else str(value) for value in self]
        return ":".join(parts if self.step is not None else parts[:2])

    @classmethod
    def parse(cls, text: str) -> "AxisSlice":
        """``start:stop:step``, each of which may be left out."""
        parts = text.split(":")
        _require(2 <= len(parts) <= 3)
        numbers = [int(part) if part.strip() else None for part in parts] + [None]
        _require(numbers[2] is None or numbers[2] >= 1)
        return cls(*numbers[:3])


class Months(NamedTuple):
    """A season: from one month to another, both within it, 1 to 12; may go over the new year."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, month: object) -> bool:
        if self.first <= self.last:
            return self.first <= month <= self.last
        return month >= self.first or month <= self.last


class ClusterNumbers(tuple[int, ...]):
    """Ascending numbers of clusters."""

    def __str__(self) -> str:
        whole = len(self) > 2 and self == tuple(range(self[0], self[-1] + 1))
        return f"{self[0]}-{self[-1]}" if whole else ", ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "ClusterNumbers":
        """``2-20``, ``8`` or ``4, 6, 8``."""
        numbers: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            _require(1 <= low <= high <= 1000)
            numbers.update(range(low, high + 1))
        return cls(sorted(numbers))


class Seasons(tuple[Months, ...]):
    """Seasons that share no month."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Seasons":
        """Each ``first-last``, with commas."""
        seasons = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            seasons.append(Months(int(first), int(last if dash else first)))
        _require(all(1 <= month <= 12 for season in seasons for month in tuple(season)))
        _require(all(sum(month in season for season in seasons) <= 1 for month in range(1, 13)))
        return cls(seasons)


class RunName(str):
    """Name of a folder; none that a command would take for an option or a home folder."""

    @classmethod
    def parse(cls, text: str) -> "RunName":
        """A name."""
        _require(text not in (".", "..") and not any(char in '/\\:*?"<>|' for char in text))
        _require(text.isprintable() and not text.startswith(("-", "~")))
        return cls(text)


class Device(str):
    """A device as PyTorch names it."""

    @classmethod
    def parse(cls, text: str) -> "Device":
        """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
        number = text.removeprefix("cuda:")
        _require(text in ("auto", "cpu", "cuda") or (number != text and number.isdecimal()))
        return cls(text)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


class Limits(NamedTuple):
    """Ends of the range of a number; `above` and `below` are not within it."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: object) -> bool:
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def describe(self, kind: type) -> str:
        """As an error message has it."""
        if kind is int:
            end = " or more" if self.high is None else f" to {self.high:,}"
            return f"a whole number, {self.low:,}{end}"
        text = (
            f"a number from {self.low:g}"
            if self.above is None
            else f"a number above {self.above:g}"
        )
        if self.high is not None:
            text += f" to {self.high:g}"
        return text if self.below is None else f"{text} to below {self.below:g}"


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Types in a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def takes_sweep(kind: Any) -> bool:
    """Whether several values with commas are a sweep."""
    return any(get_origin(one) is tuple for one in alternatives(kind))


def parse_value(text: str, kind: Any, limits: Limits) -> Any:
    """Text to a value of a type.

    Parameters
    ----------
    text : str
    kind : type
        ``bool``, ``int``, ``float``, ``str``, a ``Literal``, a class with a method ``parse``, or a
        union of these, in which None is ``none`` and a tuple is a sweep.
    limits : Limits
        Of a number.

    Raises
    ------
    ValueError
        The text is not allowed.
    """
    if takes_sweep(kind) and "," in text:
        values = dict.fromkeys(parse_value(part.strip(), kind, limits) for part in text.split(","))
        return tuple(values) if len(values) > 1 else next(iter(values))
    others = []
    for one in alternatives(kind):
        if (get_origin(one) is Literal and text in get_args(one)) or (
            one is NoneType and text == "none"
        ):
            return None if one is NoneType else text
        others += [one] if isinstance(one, type) and one is not NoneType else []
    _require(bool(others) and bool(text))
    return _read(text, others[0], limits)


def _read(text: str, kind: type, limits: Limits) -> Any:
    if kind is bool:
        _require(text.lower() in YES)
        return YES[text.lower()]
    if kind in (int, float):
        value = kind(text)
        _require(value in limits)
        return value
    return text if kind is str else kind.parse(text)


def describe(kind: Any, limits: Limits, allowed: str) -> str:
    """What `parse_value` takes, for people; `allowed` describes texts and classes."""
    words, rest = [], []
    for one in alternatives(kind):
        if get_origin(one) is Literal:
            words += get_args(one)
        elif one is NoneType:
            words.append("none")
        elif isinstance(one, type):
            number = one in (int, float)
            rest.append("yes | no" if one is bool else limits.describe(one) if number else allowed)
    return ", or ".join([" | ".join(words)] * bool(words) + rest)


def as_text(value: Any) -> str:
    """A value as config.ini has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if type(value) is tuple:
        return ", ".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
