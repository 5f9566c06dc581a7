"""Environmental series: read from a CSV file, averaged in bins, correlated at lags.

Letters: n rows (or bins in which both series have values), V series, B bins, L lags.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from scipy.signal import correlate
from scipy.stats import t as student

from ..data.tables import SHOWN, Table, read_table, read_times
from ..data.times import NOT_A_TIME, far_times, to_iso
from ..errors import DataError
from ..runtime import count
from .catalogue import Bins

FEWEST = 10  # bins at which both series must have values
CONFIDENCE = 0.95
TINY = 1e-9  # variance, of series of variance one, below which a series is constant
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
        groups = pandas.DataFrame(self.values).groupby(bins.index(self.times))
        return groups.mean().reindex(range(bins.n)).to_numpy()

    def step(self) -> float:
        """Median time from one row to the next, days; infinite for a single row."""
        steps = np.diff(np.unique(self.times)) / np.timedelta64(1, "D")
        return float(np.median(steps)) if len(steps) else float("inf")


def read_environment(place: str | Path) -> Environment:
    """Read a table with a column of times and columns of values.

    Times are ISO 8601, UTC where they have no offset.

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


# ---- correlation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LagCorrelation:
    """Pearson's correlation of a response with a driver at lags.

    Attributes
    ----------
    lags : ndarray, (L,), int64
        Bins, ascending. At a positive lag the response follows the driver.
    r : ndarray, (L,)
        NaN where fewer than `FEWEST` bins have both, or one of the series is constant there.
    n : ndarray, (L,), int64
    effective : float
        Number of independent pairs at the best lag.
    level : float
        Below which |r| at one lag chosen beforehand stays by chance with a probability of 95 %.
    level_searched : float
        The same for the largest |r| over all these lags.
    """

    lags: np.ndarray
    r: np.ndarray
    n: np.ndarray
    effective: float
    level: float
    level_searched: float

    @property
    def best(self) -> int | None:
        """Where |r| is largest, of equal ones the shortest lag; None where no r is known."""
        if not np.isfinite(self.r).any():
            return None
        size = np.round(np.where(np.isfinite(self.r), np.abs(self.r), -1.0), 12)
        return int(np.lexsort((np.abs(self.lags), -size))[0])

    @property
    def at_zero(self) -> float:
        """Value of r without a lag."""
        return float(self.r[np.searchsorted(self.lags, 0)])


def correlate_at_lags(response: np.ndarray, driver: np.ndarray, largest_lag: int) -> LagCorrelation:
    """Pearson's r over lags, at the bins where both series, (B,), have values.

    The effective number of pairs is that of Pyper and Peterman (1998, eq. 1; after Bartlett 1946),
    1/n* = 1/n + 2/n sum_j (n - j)/n rho_x(j) rho_y(j) over the first fifth of the lags, at most n;
    the level is that of Student's t with n* - 2 degrees of freedom. Over the lags of a search, r
    changes as slowly as n/n* bins, so they are worth 1 + (L - 1) n*/n independent ones, for
    which the level is raised as in Sidak (1967). Both are approximate.

    Parameters
    ----------
    response, driver : ndarray, (B,)
        NaN for gaps.
    largest_lag : int
        Bins, to both sides; no more than leave `FEWEST` bins.
    """
    largest = max(0, min(largest_lag, len(response) - FEWEST))
    lags = np.arange(-largest, largest + 1)
    x, y = _standard(response), _standard(driver)
    n, r = _pearson(x, y, largest)
    known = LagCorrelation(lags, r, n, np.nan, np.nan, np.nan)
    if known.best is None:
        return known
    pairs = int(n[known.best])
    effective = effective_pairs(*_aligned(x, y, int(lags[known.best])))
    independent = 1 + (int(np.isfinite(r).sum()) - 1) * effective / pairs
    share = CONFIDENCE ** (1 / independent)
    levels = critical(effective, CONFIDENCE), critical(effective, share)
    return LagCorrelation(lags, r, n, effective, *levels)


def critical(effective: float, confidence: float) -> float:
    """Level below which |r| of so many independent pairs stays by chance, two-sided."""
    freedom = max(effective - 2, 1.0)
    t = student.ppf((1 + confidence) / 2, freedom)
    return float(t / np.sqrt(t**2 + freedom))


def effective_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Effective number of pairs of two series, (B,), with gaps: 3 to n; see `correlate_at_lags`."""
    both = np.isfinite(x) & np.isfinite(y)
    n, most = int(both.sum()), len(x) // 5
    if n < 3 or most < 1:
        return float(n)
    apart = np.rint(_products(both.astype(float), both.astype(float), most)[most + 1 :])
    product = _autocorrelation(x, most) * _autocorrelation(y, most)
    total = (1 + 2 / n * float(np.sum(apart * product))) / n
    return float(np.clip(1 / total, 3, n)) if total > 0 else float(n)


def _aligned(x: np.ndarray, y: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two series that overlap at a lag."""
    n = len(x) - abs(lag)
    return (x[lag:], y[:n]) if lag >= 0 else (x[:n], y[-lag:])


def _standard(series: np.ndarray) -> np.ndarray:
    """Standardised series, which keeps the sums below exact; gaps stay NaN."""
    known = series[np.isfinite(series)]
    if not len(known):
        return np.full(len(series), np.nan)
    scale = known.std()
    return (series - known.mean()) / (scale if scale > 0 else 1.0)


def _products(a: np.ndarray, b: np.ndarray, largest: int) -> np.ndarray:
    """Sum over t of a(t) b(t - lag), for lags from -largest to largest, (L,)."""
    middle = len(b) - 1
    whole = correlate(a, b, mode="full", method="fft")
    return whole[middle - largest : middle + largest + 1]


def _pearson(x: np.ndarray, y: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of pairs and Pearson's r at each lag, means and variances over the pairs alone."""
    in_x, in_y = np.isfinite(x).astype(float), np.isfinite(y).astype(float)
    x, y = np.nan_to_num(x), np.nan_to_num(y)
    n = np.rint(_products(in_x, in_y, largest)).astype(np.int64)
    some = np.maximum(n, 1)
    mean_x, mean_y = _products(x, in_y, largest) / some, _products(in_x, y, largest) / some
    var_x = _products(x**2, in_y, largest) / some - mean_x**2
    var_y = _products(in_x, y**2, largest) / some - mean_y**2
    together = _products(x, y, largest) / some - mean_x * mean_y
    good = (n >= FEWEST) & (var_x > TINY) & (var_y > TINY)
    r = np.full(len(n), np.nan)
    r[good] = np.clip(together[good] / np.sqrt(var_x[good] * var_y[good]), -1, 1)
    return n, r


def _autocorrelation(x: np.ndarray, most: int) -> np.ndarray:
    """Of a series of mean zero, at lags 1 to `most`, by the pairs there are; 0 where none are."""
    known, filled = np.isfinite(x).astype(float), np.nan_to_num(x)
    variance = np.sum(filled**2) / max(1.0, known.sum())
    most_here = min(most, len(x) - 1)
    pairs = np.rint(_products(known, known, most_here)[most_here + 1 :])
    sums = _products(filled, filled, most_here)[most_here + 1 :]
    rho = np.zeros(most)
    if variance > 0:
        np.divide(sums, pairs * variance, out=rho[:most_here], where=pairs > 0)
    return np.clip(rho, -1, 1)
