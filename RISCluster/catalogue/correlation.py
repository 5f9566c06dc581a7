"""Correlation at lag of two series with gaps, and the level that chance reaches.

Letters: B bins, L lags, n bins at which both series have values.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate
from scipy.stats import t as student

FEWEST = 10  # bins at which both series must have values
CONFIDENCE = 0.95
TINY = 1e-9  # variance, of series of variance one, below which a series is constant


@dataclass(frozen=True)
class LagCorrelation:
    """Pearson's correlation of a response with a driver at lags.

    Attributes
    ----------
    lags : ndarray, (L,), int64
        Bins, ascending. At a positive lag the response follows the driver: its values are set
        beside the driver's of that many bins before.
    r : ndarray, (L,)
        NaN where fewer than `FEWEST` bins have both, or one of the series is constant there.
    n : ndarray, (L,), int64
    effective : float
        Number of independent pairs that the pairs at the best lag are worth.
    level : float
        What |r| at one lag chosen beforehand stays below by chance with a probability of 95 %.
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
    """Pearson's r over lags, at the bins where both series have values.

    The effective number of pairs is that of Pyper and Peterman (1998, eq. 1; after Bartlett 1946),
    1/n* = 1/n + 2/n sum_j (n - j)/n rho_x(j) rho_y(j) over the first fifth of the lags, at most n;
    the level is that of Student's t with n* - 2 degrees of freedom. Over the lags of a search, r
    changes as slowly as n/n* bins, so they are worth 1 + (L - 1) n*/n independent ones, for
    which the level is raised as Sidak (1967) has it. Both are approximate.

    Parameters
    ----------
    response, driver : ndarray, (B,)
        NaN for gaps.
    largest_lag : int
        Bins, to both sides; no more than leave `FEWEST` bins.

    Returns
    -------
    LagCorrelation
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
    """What |r| of so many independent pairs stays below by chance, two-sided (Student's t)."""
    freedom = max(effective - 2, 1.0)
    t = student.ppf((1 + confidence) / 2, freedom)
    return float(t / np.sqrt(t**2 + freedom))


def effective_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Independent pairs that the pairs of two series, (B,), are worth: 3 to n.

    Means, autocorrelations and numbers of pairs are those of the values there are; without gaps
    this is the formula of `correlate_at_lags`.
    """
    both = np.isfinite(x) & np.isfinite(y)
    n, most = int(both.sum()), len(x) // 5
    if n < 3 or most < 1:
        return float(n)
    apart = np.rint(_products(both.astype(float), both.astype(float), most)[most + 1 :])
    product = _autocorrelation(x, most) * _autocorrelation(y, most)
    total = (1 + 2 / n * float(np.sum(apart * product))) / n
    return float(np.clip(1 / total, 3, n)) if total > 0 else float(n)


def _aligned(x: np.ndarray, y: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two series that a lag sets beside each other."""
    n = len(x) - abs(lag)
    return (x[lag:], y[:n]) if lag >= 0 else (x[:n], y[-lag:])


def _standard(series: np.ndarray) -> np.ndarray:
    """To mean zero and variance one, which keeps the sums below exact; gaps stay NaN."""
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
