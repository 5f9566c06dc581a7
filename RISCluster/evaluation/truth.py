"""Clusters against known classes, which are used for scoring alone.

Letters: N samples, K clusters, C classes, B bins of probability.
"""

from dataclasses import dataclass

import numpy as np

from ..runs.run import FinishedRun, FinishedStage
from .overlap import Overlap, overlap

BINS = 10


@dataclass(frozen=True)
class ClassScore:
    """Score of one class under the best one-to-one matching."""

    name: str
    size: int  # samples of the class that have a label
    cluster: int  # matched with it; -1 for none
    recall: float  # share of the class in that cluster; 0 without one, NaN without samples
    precision: float  # share of that cluster, among samples of known class; NaN without one


@dataclass(frozen=True)
class Reliability:
    """Calibration of probabilities; a label is right for the cluster's most frequent class."""

    edges: np.ndarray  # (B + 1,), of the bins of probability
    counts: np.ndarray  # (B,), int64
    probability: np.ndarray  # (B,), mean of each bin; NaN for an empty one
    right: np.ndarray  # (B,), share of right labels; NaN for an empty bin

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""
        return self._mean(np.abs(self.right - self.probability))

    @property
    def overconfidence(self) -> float:
        """Mean probability less the share of right labels; NaN without samples."""
        return self._mean(self.probability - self.right)

    def _mean(self, values: np.ndarray) -> float:
        there = self.counts > 0
        if not there.any():
            return float("nan")
        return float(np.average(values[there], weights=self.counts[there]))


def against_truth(run: FinishedRun, stage: FinishedStage) -> Overlap | None:
    """Clusters of a stage by known classes, (K, C); None where no sample has both."""
    if run.truth is None:
        return None
    table = overlap(stage.table.labels, run.truth, stage.n_clusters, len(run.class_names))
    return table if table.n else None


def class_scores(table: Overlap, names: list[str]) -> list[ClassScore]:
    """Recall and precision of every class, under the best one-to-one matching."""
    sizes, classes = table.counts.sum(1), table.counts.sum(0).tolist()
    cluster_of = {int(c): row for row, c in enumerate(table.matching) if c >= 0}
    scores = []
    for column, (name, size) in enumerate(zip(names, classes, strict=True)):
        row = cluster_of.get(column, -1)
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
    """Share of right labels by probability, in bins of equal width.

    Parameters
    ----------
    labels, truth : ndarray, (N,)
        Clusters and known classes; below 0 for samples that have none.
    probability : ndarray, (N,)
        Of the labels.
    table : Overlap
        Of labels by truth.
    n_bins : int
    """
    both = (labels >= 0) & (truth >= 0)
    value = probability[both]  # in its own precision, in which 0.9 is 0.9
    bins = np.minimum((value * n_bins).astype(np.int64), n_bins - 1)
    hit = table.counts.argmax(1)[labels[both]] == truth[both]
    counts = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, n_bins) / counts for values in (value, hit)]
    return Reliability(np.linspace(0, 1, n_bins + 1), counts, *means)
