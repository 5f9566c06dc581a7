"""Environmental series beside the catalogue: read from a CSV file, averaged in its bins.

Letters: n rows, V series, B bins.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.tables import SHOWN, Table, read_table, read_times
from ..data.times import NOT_A_TIME, far_times, to_iso
from ..errors import DataError
from ..runtime import count
from .occurrence import Bins

MARKS = (-999.0, -9999.0, -99999.0, -999.9, 9999.0, 99999.0)  # that files often have for gaps


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


def read_environment(place: str | Path) -> Environment:
    """Read a table with a column of times and columns of values.

    Parameters
    ----------
    place : path
        See `data.tables.read_table`. Times are ISO 8601; with another offset than UTC's they are
        converted, and without one they are taken for UTC.

    Raises
    ------
    DataError
        The file is missing, is no such table, or holds no time or no value.
    """
    path = Path(place).expanduser()
    try:
        table = read_table(path)
        times, used = read_times(table)
        return _environment(path, table, times, used)
    except FileNotFoundError:
        raise DataError(
            f"report.environment: {path}: no such file; give another, or none"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"report.environment: {path}: can't be read as a table: {error}; allowed: CSV with a "
            "column of times and columns of values"
        ) from None


def _environment(path: Path, table: Table, times: np.ndarray, used: set[int]) -> Environment:
    """Rows by time, and columns that hold numbers."""
    far = far_times(times)
    if far.any():
        table.notes.append(
            f"{count(int(far.sum()), 'time')} years away from all others left out, the first in "
            f"line {table.lines[far.argmax()]}: {to_iso(times[far].view('M8[ns]')[0])}."
        )
    rows = np.flatnonzero((times != NOT_A_TIME) & ~far)
    if (np.diff(times[rows]) < 0).any():
        table.notes.append("Its rows are not in order of time; they were sorted.")
        rows = rows[np.argsort(times[rows], kind="stable")]
    stamps = times[rows].view("M8[ns]").astype("M8[us]")
    repeated = int((np.diff(stamps) == np.timedelta64(0)).sum())
    if repeated:
        table.notes.append(
            f"{count(repeated, 'row')} with a time that came before; values are averaged."
        )
    columns = [column for column in range(len(table.names)) if column not in used]
    series = {column: _series(table, column, rows) for column in columns}
    kept = {column: values for column, values in series.items() if values is not None}
    if not kept:
        raise ValueError("no column of values beside the times" + " holds numbers" * bool(columns))
    names = [table.names[column] for column in kept]
    return Environment(path, stamps, names, np.stack(list(kept.values()), axis=1), table.notes)


def _series(table: Table, column: int, rows: np.ndarray) -> np.ndarray | None:
    """Values of one column at some rows; None where none is a number."""
    name, before = table.names[column], len(table.notes)
    values, wrong = table.numbers(column)
    if not np.isfinite(values[rows]).any():
        table.notes[before:] = [f"Column '{name}' holds no number and is left out."]
        return None
    if wrong.any():
        first = int(wrong.argmax())
        table.notes.append(
            f"'{name}': {count(int(wrong.sum()), 'cell')} without a finite number left out, the "
            f"first in line {table.lines[first]}: '{table.cells[column][first].strip()[:SHOWN]}'."
        )
    for mark in MARKS:
        marked = int((values[rows] == mark).sum())
        if marked:
            table.notes.append(
                f"'{name}' is {mark:g} in {count(marked, 'row')}, and taken as it is; if that "
                "marks a gap, empty these cells."
            )
    return values[rows]
