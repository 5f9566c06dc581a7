"""Environmental series: read from a CSV file, averaged in bins, correlated at lags.

Letters: n rows (or bins in which both series have values), V series, B bins, L lags.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from scipy.signal import correlate
from scipy.stats import t as student

from ..data.tables import Table, is_gap, read_table, read_times
from ..data.times import NOT_A_TIME
from ..errors import DataError
from ..runtime import count
from .catalogue import Bins

FEWEST = 10  # bins at which both series must have values
CONFIDENCE = 0.95
MARKS = (-999.0, -9999.0, -99999.0, -999.9, 9999.0, 99999.0)  # of gaps


@dataclass(frozen=True)
class Environment:
    """Series of one file, by time (UTC, ascending, possibly repeated); NaN for gaps."""

    path: Path
    series: pandas.DataFrame  # (n, V)
    notes: list[str]  # what of the file was left out, a sentence each

    def averages(self, bins: Bins) -> np.ndarray:
        """Mean of each series in each bin, (B, V); NaN where it has no value."""
        groups = self.series.groupby(bins.index(self.series.index.to_numpy()))
        return groups.mean().reindex(range(bins.n)).to_numpy()


def read_environment(place: str | Path) -> Environment:
    """Read a table with a column of times (UTC if they have no offset) and columns of values.

    DataError for a file that is missing, is no such table, or has no time or no value.
    """
    path = Path(place).expanduser()
    try:
        table = read_table(path)
        times, used = read_times(table)
        columns = [column for column in table.cells if column not in used]
        return Environment(path, _series(table, times, columns), table.notes)
    except (OSError, ValueError) as error:
        raise DataError(
            f"report.environment: {path}: can't be read as a table: {error}; allowed: CSV with a "
            "column of times and columns of values"
        ) from None


def _series(table: Table, times: np.ndarray, columns: list[int]) -> pandas.DataFrame:
    """Columns that hold numbers, by time. Notes are added to the table."""
    stamps, known, series = times.view("M8[ns]").astype("M8[us]"), times != NOT_A_TIME, []
    for column in columns:
        name, cells, values = table.names[column], table.cells[column], table.numbers(column)
        bad = cells[np.isnan(values) & ~is_gap(cells)]
        values[np.isin(values, MARKS)] = np.nan
        if np.isnan(values[known]).all():
            table.notes.append(f"Column '{name}' holds no number and is left out.")
            continue
        if len(bad):
            table.notes.append(
                f"'{name}': {count(len(bad), 'cell')} without a finite number left out, the first "
                f"in line {bad.index[0]}: '{bad.iloc[0][:40]}'."
            )
        series.append(pandas.Series(values[known], stamps[known], name=name))
    if not series:
        raise ValueError("no column of numbers beside the times")
    return pandas.concat(series, axis=1).sort_index(kind="stable")


# ---- correlation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LagCorrelation:
    """Pearson's correlation of a response with a driver at lags."""

    lags: np.ndarray  # (L,), int64, bins, ascending; positive: the response follows the driver
    r: np.ndarray  # (L,); NaN for fewer than `FEWEST` common bins, or a constant series there
    n: np.ndarray  # (L,), int64
    effective: float = np.nan  # number of independent pairs at the best lag
    level_searched: float = np.nan  # the largest |r| stays below by chance, with 95 % probability

    @property
    def best(self) -> int | None:
        """Position of the largest |r|, of equal ones the shortest lag; None without any r."""
        if np.isnan(self.r).all():
            return None
        size = np.round(np.nan_to_num(np.abs(self.r), nan=-1.0), 12)
        return int(np.lexsort((np.abs(self.lags), -size))[0])


def correlate_at_lags(response: np.ndarray, driver: np.ndarray, largest_lag: int) -> LagCorrelation:
    """Pearson's r of series (B,), NaN for gaps, over lags in bins to both sides.

    The effective number of pairs is that of Pyper and Peterman (1998, eq. 1), 1/n* = 1/n +
    2/n sum_j (n - j)/n rho_x(j) rho_y(j) over the first fifth of the lags; the level is that of
    Student's t with two degrees of freedom less. Over the lags of a search, r changes as slowly as
    n/n* bins: they are worth 1 + (L - 1) n*/n independent ones, for which the level is raised as in
    Sidak (1967). Both are approximate.
    """
    largest = max(0, min(largest_lag, len(response) - FEWEST))
    lags = np.arange(-largest, largest + 1)
    x, y = (series - series.mean() for series in map(pandas.Series, (response, driver)))
    r = np.array([x.corr(y.shift(lag), min_periods=FEWEST) for lag in lags.tolist()])
    n = np.array([(x + y.shift(lag)).count() for lag in lags.tolist()])
    known = LagCorrelation(lags, r, n)
    if known.best is None:
        return known
    lag = int(lags[known.best])
    common = slice(max(lag, 0), len(x) + min(lag, 0))
    effective = effective_pairs(x[common].to_numpy(), y.shift(lag)[common].to_numpy())
    independent = 1 + (int(np.isfinite(r).sum()) - 1) * effective / int(n[known.best])
    return LagCorrelation(
        lags, r, n, effective, critical(effective, CONFIDENCE ** (1 / independent))
    )


def critical(effective: float, confidence: float) -> float:
    """Level below which |r| of so many independent pairs stays by chance, two-sided."""
    freedom = max(effective - 2, 1.0)
    t = student.ppf((1 + confidence) / 2, freedom)
    return float(t / np.sqrt(t**2 + freedom))


def effective_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Effective number of pairs of two series of mean zero with gaps: 3 to n."""
    both, most = np.isfinite(x) & np.isfinite(y), len(x) // 5
    n = int(both.sum())
    if n < 3 or most < 1:
        return float(n)
    product = _autocorrelation(x, most) * _autocorrelation(y, most)
    total = (1 + 2 / n * float(np.sum(_products(both, most) * product))) / n
    return float(np.clip(1 / total, 3, n)) if total > 0 else float(n)


def _autocorrelation(x: np.ndarray, most: int) -> np.ndarray:
    """At lags 1 to `most`; 0 for a lag without pairs."""
    pairs, filled = np.rint(_products(np.isfinite(x), most)), np.nan_to_num(x)
    variance, rho = np.nanmean(x**2), np.zeros(most)
    some = (pairs > 0) & (variance > 0)
    np.divide(_products(filled, most), pairs * variance, out=rho, where=some)
    return np.clip(rho, -1, 1)


def _products(a: np.ndarray, most: int) -> np.ndarray:
    """Sum over t of a(t) a(t - lag), for lags from 1 to `most`."""
    a = a.astype(np.float64)
    return correlate(a, a, method="fft")[len(a) : len(a) + most]
