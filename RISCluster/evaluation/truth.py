"""Clusters against known classes; these are for scoring alone, nothing of a run has seen them.

Letters: N samples, K clusters, C classes, B bins of probability.
"""

from dataclasses import dataclass

import numpy as np

from ..runs.run import FinishedRun, FinishedStage
from .overlap import BLOCK, Overlap, overlap

BINS = 10


@dataclass(frozen=True)
class ClassScore:
    """How well one class was found.

    Attributes
    ----------
    name : str
    size : int
        Samples of the class that have a label.
    cluster : int
        Matched with it one-to-one; -1 where none is left for it.
    recall : float
        Share of the class that is in that cluster; 0 without one, NaN for a class without samples.
    precision : float
        Share of that cluster's samples of known class that are of the class; NaN without one.
    """

    name: str
    size: int
    cluster: int
    recall: float
    precision: float


@dataclass(frozen=True)
class Reliability:
    """Whether probabilities mean what they say.

    A sample counts as right if its class is the most frequent one of its cluster.

    Attributes
    ----------
    edges : ndarray, (B + 1,)
        Of the bins of probability; the last one holds its upper edge too.
    counts : ndarray, (B,), int64
    probability, right : ndarray, (B,)
        Mean probability, and share of right ones, of the samples of each bin; NaN for empty ones.
    """

    edges: np.ndarray
    counts: np.ndarray
    probability: np.ndarray
    right: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3).

        Mean of the distances of `right` from `probability`, weighted by `counts`.
        """
        there = self.counts > 0
        if not there.any():
            return float("nan")
        away = np.abs(self.right[there] - self.probability[there])
        return float(np.average(away, weights=self.counts[there]))

    @property
    def overconfidence(self) -> float:
        """Mean probability less the share of right ones; NaN without samples."""
        there = self.counts > 0
        if not there.any():
            return float("nan")
        away = self.probability[there] - self.right[there]
        return float(np.average(away, weights=self.counts[there]))


def class_names(run: FinishedRun) -> list[str]:
    """A name for every class that occurs or is named."""
    largest = int(run.truth.max(initial=-1))
    names = list(run.class_names)
    return names + [f"class {number}" for number in range(len(names), largest + 1)]


def against_truth(run: FinishedRun, stage: FinishedStage) -> Overlap | None:
    """Clusters of a stage by known classes, (K, C); None where no sample has both."""
    if run.truth is None:
        return None
    table = overlap(stage.table.labels, run.truth, stage.n_clusters, len(class_names(run)))
    return table if table.n else None


def class_scores(table: Overlap, names: list[str]) -> list[ClassScore]:
    """Recall and precision of every class, under the best one-to-one matching."""
    sizes, classes = table.counts.sum(1), table.counts.sum(0)
    cluster_of = {int(c): row for row, c in enumerate(table.matching) if c >= 0}
    scores = []
    for column, name in enumerate(names):
        row, size = cluster_of.get(column, -1), int(classes[column])
        found = int(table.counts[row, column]) if row >= 0 else 0
        recall = found / size if size else float("nan")
        precision = found / int(sizes[row]) if row >= 0 else float("nan")
        scores.append(ClassScore(name, size, row, recall, precision))
    return scores


def reliability(
    labels: np.ndarray,
    probability: np.ndarray,
    truth: np.ndarray,
    table: Overlap,
    n_bins: int = BINS,
) -> Reliability:
    """Share of right labels by probability, in bins of equal width, some samples at a time.

    Parameters
    ----------
    labels : ndarray, (N,)
        Below 0 for samples that have none.
    probability : ndarray, (N,)
        Of the labels.
    truth : ndarray, (N,)
        Known classes; below 0 for samples that have none.
    table : Overlap
        Of labels by truth.
    n_bins : int
    """
    majority = table.counts.argmax(1)
    counts = np.zeros(n_bins, dtype=np.int64)
    sums, right = np.zeros(n_bins), np.zeros(n_bins)
    for start in range(0, len(labels), BLOCK):
        part = slice(start, start + BLOCK)
        both = (labels[part] >= 0) & (truth[part] >= 0)
        value = probability[part][both]  # in its own precision, in which 0.9 is 0.9
        bins = np.minimum((value * n_bins).astype(np.int64), n_bins - 1)
        counts += np.bincount(bins, minlength=n_bins)
        sums += np.bincount(bins, value, n_bins)
        hit = majority[labels[part][both]] == truth[part][both]
        right += np.bincount(bins, hit, n_bins)
    with np.errstate(invalid="ignore"):
        return Reliability(np.linspace(0, 1, n_bins + 1), counts, sums / counts, right / counts)
