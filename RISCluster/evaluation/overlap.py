"""Contingency table of two labellings of the same samples, and scores that follow from it.

Letters: N samples, R rows (clusters of the one), C columns (clusters or classes of the other).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import mutual_info_score


@dataclass(frozen=True)
class Overlap:
    """Counts of samples with a label of both, (R, C), int64, and how many lack one of them."""

    counts: np.ndarray
    n_left_out: int = 0

    @property
    def n(self) -> int:
        """Samples that are counted."""
        return int(self.counts.sum())

    @cached_property
    def matching(self) -> np.ndarray:
        """Column of each row under the best one-to-one matching, (R,); -1 where it has none.

        The matching with the most samples in common (Kuhn 1955); pairs without a common sample
        are left out.
        """
        column = np.full(len(self.counts), -1)
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        met = self.counts[rows, columns] > 0
        column[rows[met]] = columns[met]
        return column

    def in_match(self, match: np.ndarray) -> np.ndarray:
        """Samples of each row in its column of `match` (R,); 0 where that is -1."""
        counts = self.counts[np.arange(len(match)), match] if self.counts.size else 0 * match
        return np.where(match >= 0, counts, 0)

    def share_moved(self, match: np.ndarray) -> float:
        """Share of samples in other columns than those of `match` (R,); NaN without samples."""
        return (self.n - int(self.in_match(match).sum())) / self.n if self.n else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of samples that agree under the best matching; NaN without samples."""
        return int(self.in_match(self.matching).sum()) / self.n if self.n else float("nan")

    @property
    def purity(self) -> float:
        """Share of samples in the most frequent column of their row; NaN without samples."""
        return int(self.counts.max(1).sum()) / self.n if self.n else float("nan")

    @property
    def ari(self) -> float:
        """Adjusted Rand index (Hubert and Arabie 1985): 0 is chance, 1 the same partition."""
        if not self.n:
            return float("nan")
        both, rows, columns, every = (
            _pairs(part)
            for part in (self.counts, self.counts.sum(1), self.counts.sum(0), np.array([self.n]))
        )
        expected = rows * columns / every if every else 0.0
        largest = (rows + columns) / 2
        return float((both - expected) / (largest - expected)) if largest != expected else 1.0

    @property
    def nmi(self) -> float:
        """Mutual information over the mean of both entropies; 1 where both are one group."""
        if not self.n:
            return float("nan")
        entropy = (_entropy(self.counts.sum(1)) + _entropy(self.counts.sum(0))) / 2
        if entropy == 0:
            return 1.0
        shared = mutual_info_score(None, None, contingency=self.counts.astype(np.float64))
        return float(np.clip(shared / entropy, 0, 1))  # rounding can lead out of the range

    def order(self) -> np.ndarray:
        """Order of the rows that makes the table most diagonal, (R,).

        By the matched or else the most frequent column, the matched row first, then by size; rows
        without samples last.
        """
        sizes, matched = self.counts.sum(1), self.matching >= 0
        column = np.where(matched, self.matching, self.counts.argmax(1))
        column = np.where(sizes > 0, column, self.counts.shape[1])
        return np.lexsort((-sizes, ~matched, column))


def overlap(
    rows: np.ndarray, columns: np.ndarray, n_rows: int | None = None, n_columns: int | None = None
) -> Overlap:
    """Count samples by both of their labels.

    Parameters
    ----------
    rows, columns : ndarray, (N,)
        Labels; below 0 for samples that have none.
    n_rows, n_columns : int, optional
        Numbers of labels; without them, as many as occur.

    Raises
    ------
    ValueError
        The two are not labels of the same number of samples.
    """
    if len(rows) != len(columns):
        raise ValueError(f"{len(rows)} and {len(columns)} labels are not of the same samples")
    height, width = (
        max(0, int(labels.max(initial=-1))) + 1 if n is None else n
        for labels, n in ((rows, n_rows), (columns, n_columns))
    )
    both = (rows >= 0) & (columns >= 0)
    cells = rows[both].astype(np.int64) * width + columns[both]
    counts = np.bincount(cells, minlength=height * width).reshape(height, width)
    return Overlap(counts, len(rows) - len(cells))


def _pairs(counts: np.ndarray) -> float:
    """Pairs of samples within the same cell; in floating point, as products of these overflow."""
    counts = counts.astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
