"""Two ways to sort the same samples: counts of their overlap, and what follows from the counts.

Everything is computed from the table of counts, so that nothing grows with the samples but one
pass over them.

Letters: N samples, R rows (clusters of the one), C columns (clusters or classes of the other).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import mutual_info_score

BLOCK = 2**20  # samples counted at a time


@dataclass(frozen=True)
class Overlap:
    """Counts of samples by the labels of two labellings.

    Attributes
    ----------
    counts : ndarray, (R, C), int64
        Samples with a label of both.
    n_left_out : int
        Samples without a label of one or of both.
    """

    counts: np.ndarray
    n_left_out: int = 0

    @property
    def n(self) -> int:
        """Samples that are counted."""
        return int(self.counts.sum())

    @cached_property
    def matching(self) -> np.ndarray:
        """Column of each row under the best one-to-one matching, (R,); -1 where it has none.

        The matching with the most samples in common (Kuhn 1955); a pair without a sample in
        common is no pair.
        """
        column = np.full(len(self.counts), -1)
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        met = self.counts[rows, columns] > 0
        column[rows[met]] = columns[met]
        return column

    @property
    def n_matched(self) -> int:
        """Samples that agree under the best matching."""
        rows = np.flatnonzero(self.matching >= 0)
        return int(self.counts[rows, self.matching[rows]].sum())

    @property
    def accuracy(self) -> float:
        """Share of samples that agree under the best matching; NaN without samples."""
        return self.n_matched / self.n if self.n else float("nan")

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
        """Order of the rows in which the table is as diagonal as it can be, (R,).

        By the matched column, or the most frequent one; there the matched row first, then by
        size; rows without samples last.
        """
        sizes = self.counts.sum(1)
        matched = self.matching >= 0
        column = np.where(matched, self.matching, self.counts.argmax(1))
        column = np.where(sizes > 0, column, self.counts.shape[1])
        return np.lexsort((-sizes, ~matched, column))


def overlap(
    rows: np.ndarray, columns: np.ndarray, n_rows: int | None = None, n_columns: int | None = None
) -> Overlap:
    """Count samples by both of their labels, some samples at a time.

    Parameters
    ----------
    rows, columns : ndarray, (N,)
        Labels; below 0 for samples that have none.
    n_rows, n_columns : int, optional
        How many there are of each; without them, as many as occur.

    Raises
    ------
    ValueError
        The two are not labels of the same number of samples.
    """
    if len(rows) != len(columns):
        raise ValueError(f"{len(rows)} and {len(columns)} labels are not of the same samples")
    height, width = (
        (max(0, int(labels.max(initial=-1))) + 1) if n is None else n
        for labels, n in ((rows, n_rows), (columns, n_columns))
    )
    counts, n = np.zeros(height * width, dtype=np.int64), 0
    for row, column in _blocks(rows, columns):
        counts += np.bincount(row * width + column, minlength=len(counts))
        n += len(row)
    return Overlap(counts.reshape(height, width), len(rows) - n)


def _blocks(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels of the samples that have both, in blocks, as int64."""
    for start in range(0, len(rows), BLOCK):
        row, column = rows[start : start + BLOCK], columns[start : start + BLOCK]
        both = (row >= 0) & (column >= 0)
        yield row[both].astype(np.int64), column[both].astype(np.int64)


def _pairs(counts: np.ndarray) -> float:
    """Pairs of samples within the same cell; in floating point, as products of these overflow."""
    counts = counts.astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
