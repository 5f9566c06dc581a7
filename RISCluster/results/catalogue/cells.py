"""Cells of a table of environmental series: times and numbers, and what can't be taken for them."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

GAPS = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "--"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Trouble:
    """Cells or rows of one kind that can't be taken: how many, and the first."""

    count: int = 0
    line: int = 0
    text: str = ""

    def add(self, line: int, text: str) -> None:
        """Count one more."""
        if not self.count:
            self.line, self.text = line, text.strip()[:40]
        self.count += 1


@dataclass
class Times:
    """Times that can't be read, that have no offset from UTC, and that have another than none."""

    bad: Trouble = field(default_factory=Trouble)
    naive: Trouble = field(default_factory=Trouble)
    shifted: Trouble = field(default_factory=Trouble)


def microseconds(text: str, line: int, times: Times) -> int | None:
    """Time as text to us since 1970 UTC; None, and counted, where it can't be read."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        if not re.fullmatch(r"\d{4}-\d{2}", text):  # a month alone
            times.bad.add(line, text)
            return None
        try:
            time = datetime.fromisoformat(f"{text}-01")
        except ValueError:
            times.bad.add(line, text)
            return None
    if time.tzinfo is None:
        times.naive.add(line, text)
        time = time.replace(tzinfo=UTC)
    elif time.utcoffset():
        times.shifted.add(line, text)
    since = time - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def number(text: str, line: int, trouble: Trouble) -> float:
    """A value; NaN for a gap, and, counted, for what is no number."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
        if text.strip().lower() not in GAPS:
            trouble.add(line, text)
    if np.isinf(value):
        trouble.add(line, text)
        return np.nan
    return value
