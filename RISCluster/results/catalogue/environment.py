"""Environmental series beside the catalogue: read from a CSV file, averaged in its bins.

Letters: n rows, V series, B bins.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ...errors import DataError
from .cells import Times, Trouble, microseconds, number
from .occurrence import Bins

TIME_NAMES = ("time", "datetime", "date_time", "timestamp", "date", "starttime")
MARKS = (-999.0, -9999.0, -99999.0, -999.9, 9999.0, 99999.0)  # that files often have for gaps
READ_ROWS = 65536


@dataclass(frozen=True)
class Environment:
    """Series of one file.

    Attributes
    ----------
    path : Path
    times : ndarray, (n,), datetime64[us]
        UTC, ascending; a time may come more than once.
    names : list of str
    values : ndarray, (n, V), float64
        NaN for gaps.
    notes : list of str
        What of the file was left out or interpreted, a sentence each.
    """

    path: Path
    times: np.ndarray
    names: list[str]
    values: np.ndarray
    notes: list[str]

    def averages(self, bins: Bins) -> np.ndarray:
        """Mean of each series in each bin, (B, V); NaN where it has no value."""
        index = bins.index(self.times)
        means = np.full((bins.n, len(self.names)), np.nan)
        for series, values in enumerate(self.values.T):
            known = (index >= 0) & np.isfinite(values)
            n = np.bincount(index[known], minlength=bins.n)
            sums = np.bincount(index[known], values[known], minlength=bins.n)
            np.divide(sums, n, out=means[:, series], where=n > 0)
        return means

    def step(self) -> float:
        """Median time from one row to the next, days; infinite for a single row."""
        steps = np.diff(np.unique(self.times)) / np.timedelta64(1, "D")
        return float(np.median(steps)) if len(steps) else float("inf")


@dataclass
class _Reading:
    """What is known of a file while it is read."""

    path: Path
    names: list[str]
    time_column: int
    columns: list[int]
    times: Times = field(default_factory=Times)
    long_rows: Trouble = field(default_factory=Trouble)
    texts: list[Trouble] = field(default_factory=list)


def read_environment(place: str | Path) -> Environment:
    """Read a CSV file with a column of times and columns of values.

    Parameters
    ----------
    place : path
        With a header; columns are parted by comma, semicolon or tab; lines before the header that
        are empty or begin with # are passed over. Times are ISO 8601; with another offset than
        UTC's they are converted, and without one they are taken for UTC.

    Raises
    ------
    DataError
        The file is missing, is no such table, or holds no time or no value.
    """
    path = Path(place).expanduser()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, file)
    except FileNotFoundError:
        raise DataError(
            f"report.environment: {path}: no such file; give another, or none"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"report.environment: {path}: can't be read as CSV: {error}; allowed: text in UTF-8"
        ) from None


def _read(path: Path, file: Iterator[str]) -> Environment:
    skipped, header = _header(path, file)
    delimiter = max(",;\t", key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    time_column = _time_column(path, names)
    columns = [column for column in range(len(names)) if column != time_column]
    if not columns:
        raise DataError(
            f"report.environment: {path}: no column of values beside the times; it needs one "
            "or more"
        )
    reading = _Reading(path, names, time_column, columns, texts=[Trouble() for _ in columns])
    rows = csv.reader(file, delimiter=delimiter)
    times, values = [], []
    while block := list(islice(((skipped + rows.line_num, row) for row in rows), READ_ROWS)):
        part = _block([pair for pair in block if any(map(str.strip, pair[1]))], reading)
        times.append(part[0])
        values.append(part[1])
    if not sum(map(len, times)):
        first = reading.times.bad
        said = f"; line {first.line} has '{first.text}'" if first.count else ""
        raise DataError(
            f"report.environment: {path}: no time can be read in column "
            f"'{names[time_column]}'{said}; allowed: ISO 8601, as 2016-01-31T12:00:00Z"
        )
    return _ordered(reading, np.concatenate(times), np.concatenate(values))


def _header(path: Path, file: Iterator[str]) -> tuple[int, str]:
    """Lines up to the header and with it, and the header."""
    for place, line in enumerate(file, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            return place, line
    raise DataError(
        f"report.environment: {path}: is empty; it needs a column of times and columns of values"
    )


def _time_column(path: Path, names: Sequence[str]) -> int:
    """The first column with a name for times; a unit in brackets does not count."""
    plain = [re.sub(r"[(\[].*", "", name).strip().lower().replace(" ", "_") for name in names]
    for name in TIME_NAMES:
        if name in plain:
            return plain.index(name)
    raise DataError(
        f"report.environment: {path}: no column of times; it has {', '.join(names[:10])}; one must "
        f"be called {', '.join(TIME_NAMES[:-1])} or {TIME_NAMES[-1]}"
    )


def _block(
    block: Sequence[tuple[int, list[str]]], reading: _Reading
) -> tuple[np.ndarray, np.ndarray]:
    """Times, (n,) int64 in us since 1970, and values, (n, V), of rows with their line numbers."""
    times, values = [], []
    for line, row in block:
        if len(row) > len(reading.names):
            reading.long_rows.add(line, row[-1])
            continue
        text = row[reading.time_column] if len(row) > reading.time_column else ""
        time = microseconds(text.strip(), line, reading.times)
        if time is None:
            continue
        times.append(time)
        values.append(
            [
                number(row[column], line, trouble) if column < len(row) else np.nan
                for column, trouble in zip(reading.columns, reading.texts, strict=True)
            ]
        )
    shape = len(values), len(reading.columns)
    return np.array(times, dtype=np.int64), np.array(values, dtype=np.float64).reshape(shape)


def _ordered(reading: _Reading, times: np.ndarray, values: np.ndarray) -> Environment:
    """Rows by time, columns that hold numbers, and notes on the rest."""
    notes = _notes(reading)
    if (np.diff(times) < 0).any():
        notes.append("Its rows are not in order of time; they were sorted.")
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    repeated = int((np.diff(times) == 0).sum())
    if repeated:
        notes.append(f"{repeated:,} rows have a time that came before; values are averaged.")
    kept = np.isfinite(values).any(axis=0)
    if not kept.any():
        raise DataError(
            f"report.environment: {reading.path}: no column holds numbers; it needs one or more"
        )
    names = [reading.names[column] for column in reading.columns]
    for series, (name, trouble) in enumerate(zip(names, reading.texts, strict=True)):
        notes.extend(_series_notes(name, trouble, values[:, series], kept[series]))
    chosen = [name for name, keep in zip(names, kept, strict=True) if keep]
    stamps = times.astype("datetime64[us]")
    return Environment(reading.path, stamps, chosen, values[:, kept], notes)


def _notes(reading: _Reading) -> list[str]:
    notes = []
    bad, naive, shifted, long = (
        reading.times.bad, reading.times.naive, reading.times.shifted, reading.long_rows,
    )  # fmt: skip
    if bad.count:
        notes.append(
            f"{bad.count:,} rows whose time can't be read are left out, the first in line "
            f"{bad.line}: '{bad.text}'; times are ISO 8601, as 2016-01-31T12:00:00Z."
        )
    if long.count:
        notes.append(
            f"{long.count:,} rows with more cells than the header are left out, the first in line "
            f"{long.line}."
        )
    if naive.count:
        notes.append(
            f"{naive.count:,} times have no offset from UTC and were taken for UTC, the first in "
            f"line {naive.line}: '{naive.text}'."
        )
    if shifted.count:
        notes.append(
            f"{shifted.count:,} times have an offset and were converted to UTC, the first in line "
            f"{shifted.line}: '{shifted.text}'."
        )
    return notes


def _series_notes(name: str, trouble: Trouble, values: np.ndarray, kept: bool) -> list[str]:
    """What is to be said of one column."""
    if not kept:
        return [f"Column '{name}' holds no number and is left out."]
    notes = []
    if trouble.count:
        notes.append(
            f"'{name}': {trouble.count:,} cells that are no finite number are left out, the first "
            f"in line {trouble.line}: '{trouble.text}'."
        )
    for mark in MARKS:
        count = int((values == mark).sum())
        if count:
            notes.append(
                f"'{name}' is {mark:g} in {count:,} rows, and taken as it is; if that marks a gap, "
                "empty these cells."
            )
    return notes
