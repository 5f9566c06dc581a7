"""Kinds of values that a setting can have: how each is read from text, and what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Kind:
    """How one kind of value is read from text.

    Attributes
    ----------
    parse : callable
        str to value; raises ValueError for anything not allowed.
    allowed : str
        What is allowed, as an error message and config.ini put it.
    """

    parse: Callable[[str], Any]
    allowed: str


def one_of(*options: str) -> Kind:
    """One of the words."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError
        return text

    return Kind(parse, " | ".join(options))


def integer(low: int, high: int = 2**31 - 1) -> Kind:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    top = f" to {high:,}" if high < 2**31 - 1 else " or more"
    return Kind(parse, f"a whole number, {low:,}{top}")


def real(
    low: float, high: float = float("inf"), *, above: bool = False, below: bool = False
) -> Kind:
    """Finite number from `low` to `high`; `above` and `below` leave the ends out."""

    def parse(text: str) -> float:
        value = float(text)
        inside = (value > low if above else value >= low) and (
            value < high if below else value <= high
        )
        if not inside or value in (float("inf"), float("-inf")):
            raise ValueError
        return value

    words = f"a number {'above' if above else 'from'} {low:g}"
    if high != float("inf"):
        words += f" {'to below' if below else 'to'} {high:g}"
    return Kind(parse, words)


def auto_or(kind: Kind) -> Kind:
    """``auto``, or a value of another kind."""
    return Kind(
        lambda text: "auto" if text == "auto" else kind.parse(text), f"auto, or {kind.allowed}"
    )


def yes_no() -> Kind:
    """``yes`` or ``no``."""
    words = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Kind(parse, "yes | no")


def any_text(allowed: str) -> Kind:
    """Any text but none."""

    def parse(text: str) -> str:
        if not text:
            raise ValueError
        return text

    return Kind(parse, allowed)


def none_or(kind: Kind) -> Kind:
    """``none`` for None, or a value of another kind."""
    return Kind(
        lambda text: None if text == "none" else kind.parse(text), f"none, or {kind.allowed}"
    )


class Band(NamedTuple):
    """A range of frequencies, Hz."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


def band() -> Kind:
    """``low-high`` in Hz."""

    def parse(text: str) -> Band:
        low, _, high = text.partition("-")
        value = Band(float(low), float(high))
        if not 0 <= value.low < value.high < float("inf"):
            raise ValueError
        return value

    return Kind(parse, "low-high in Hz, as 3-20")


class Corners(NamedTuple):
    """Four frequencies of a cosine taper, Hz: no pass, pass, pass, no pass."""

    f1: float
    f2: float
    f3: float
    f4: float

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self)


def corners() -> Kind:
    """Four ascending frequencies."""

    def parse(text: str) -> Corners:
        value = Corners(*(float(part) for part in text.split(",", 3)))
        if not 0 <= value.f1 < value.f2 < value.f3 < value.f4 < float("inf"):
            raise ValueError
        return value

    return Kind(lambda text: _wrong_count(parse, text), "four ascending frequencies in Hz")


def _wrong_count(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except TypeError:  # of a tuple that got too few
        raise ValueError from None


class AxisSlice(NamedTuple):
    """Part of an axis, as Python's slices: from `start` to before `stop`, every `step`-th."""

    start: int | None
    stop: int | None
    step: int | None

    def __str__(self) -> str:
        parts = ["" if value is None else str(value) for value in self]
        return ":".join(parts if self.step is not None else parts[:2])


def axis_slice() -> Kind:
    """``start:stop:step``, each of which may be left out."""

    def parse(text: str) -> AxisSlice:
        parts = text.split(":")
        if not 2 <= len(parts) <= 3:
            raise ValueError
        numbers = [int(part) if part.strip() else None for part in parts] + [None]
        value = AxisSlice(*numbers[:3])
        if value.step is not None and value.step < 1:
            raise ValueError
        return value

    return Kind(parse, "start:stop:step with a step of 1 or more, or : for all")


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


def months() -> Kind:
    """Seasons that share no month, each ``first-last``."""

    def parse(text: str) -> tuple[Months, ...]:
        seasons = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            seasons.append(Months(int(first), int(last if dash else first)))
        covered = [month for month in range(1, 13) for season in seasons if month in season]
        inside = all(1 <= month <= 12 for season in seasons for month in tuple(season))
        if not inside or len(covered) != len(set(covered)):
            raise ValueError
        return tuple(seasons)

    return Kind(parse, "seasons without a month in common, as 12-2, 3-5, 6-8, 9-11")


def parse_run_name(text: str) -> str:
    """Name of a folder."""
    if not text or text in (".", "..") or any(char in '/\\:*?"<>|' for char in text):
        raise ValueError
    if not text.isprintable() or text.startswith(("-", "~")):  # words of commands, home folders
        raise ValueError
    return text


def parse_device(text: str) -> str:
    """A device as PyTorch names it."""
    number = text.removeprefix("cuda:")
    if text not in ("auto", "cpu", "cuda") and not (number != text and number.isdecimal()):
        raise ValueError
    return text


def parse_cluster_range(text: str) -> tuple[int, ...]:
    """``2-20``, ``8`` or ``4, 6, 8`` to ascending numbers of clusters."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if not 1 <= low <= high <= 1000:
            raise ValueError
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def list_of(kind: Kind) -> Kind:
    """One value, or several with commas: a sweep."""

    def parse(text: str) -> Any:
        values = tuple(dict.fromkeys(kind.parse(part.strip()) for part in text.split(",")))
        return values if len(values) > 1 else values[0]

    return Kind(parse, f"{kind.allowed}; several with commas are a sweep")
