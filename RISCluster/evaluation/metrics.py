"""Metrics of a clustering: agreement with another labelling, silhouettes, calibration.

Letters: N samples, D features, K clusters, R rows and C columns of a table, B bins.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score, silhouette_samples

from ..data.layouts import SpectrogramFile
from ..data.sets import draw_usable
from ..io import row_blocks
from ..runs.labels import Labelling, station_of
from ..runs.run import FinishedRun, FinishedStage

MEASURED = 5000  # samples drawn at random that are measured; all, if there are no more
BINS = 10
SHUFFLES = 20
OF_COLUMNS = ("accuracy", "nmi", "ari", "n_events", "event_agreement")
OF_COLUMNS += ("event_agreement_by_chance", "event_agreement_excess")


@dataclass(frozen=True)
class Overlap:
    """Contingency table of two labellings of the same samples; scores are NaN without samples."""

    counts: np.ndarray  # (R, C), int64
    n_left_out: int  # samples that lack one of the labels

    n = property(lambda self: int(self.counts.sum()), doc="Number of samples with both labels.")

    @cached_property
    def matching(self) -> np.ndarray:
        """Column of each row (R,) in the one-to-one matching with most common samples, or -1."""
        column = np.full(len(self.counts), -1)
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        met = self.counts[rows, columns] > 0
        column[rows[met]] = columns[met]
        return column

    @property
    def accuracy(self) -> float:
        """Share of samples that agree under the best matching."""
        rows = np.flatnonzero(self.matching >= 0)
        return self.share(self.counts[rows, self.matching[rows]].sum())

    @property
    def purity(self) -> float:
        """Share of samples in the most frequent column of their row."""
        return self.share(self.counts.max(1).sum())

    def share(self, n: int) -> float:
        """Fraction that `n` samples are of all with both labels; NaN without any."""
        return int(n) / self.n if self.n else float("nan")

    @cached_property
    def ari(self) -> float:
        """Adjusted Rand index (Hubert and Arabie 1985): 0 is chance, 1 the same partition."""
        sides = self.counts, self.counts.sum(1), self.counts.sum(0), self.n
        both, rows, columns, every = (float((np.square(x, dtype="f8") - x).sum()) for x in sides)
        by_chance, most = rows * columns / (every or np.nan), (rows + columns) / 2
        # One sample, and one group or groups of one in both, are the same partition.
        same = 1.0 if self.n else float("nan")
        return same if both == rows == columns else (both - by_chance) / (most - by_chance)

    @cached_property
    def nmi(self) -> float:
        """Mutual information over the mean of both entropies; 1 where both are one group."""
        if not self.n:
            return float("nan")
        mean = (entropy(self.counts.sum(1)) + entropy(self.counts.sum(0))) / 2
        return float(mutual_info_score(None, None, contingency=self.counts) / mean) if mean else 1.0

    def order(self) -> np.ndarray:
        """Order of rows (R,) by the matched or else the most frequent column; empty ones last."""
        sizes, matched = self.counts.sum(1), self.matching >= 0
        column = np.where(matched, self.matching, self.counts.argmax(1))
        column = np.where(sizes > 0, column, self.counts.shape[1])
        return np.lexsort((-sizes, ~matched, column))

    def is_right(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether samples (n,) are in the most frequent column of their row, (n,) bool."""
        return self.counts.argmax(1)[rows] == columns


def overlap(
    rows: np.ndarray, columns: np.ndarray, n_rows: int | None = None, n_columns: int | None = None
) -> Overlap:
    """Count samples by both of their labels (N,), which are negative for samples without one."""
    height = n_rows or int(rows.max(initial=0)) + 1
    width = n_columns or int(columns.max(initial=0)) + 1
    counts = np.zeros(height * width, np.int64)
    for start, row in row_blocks(rows):
        row, column = row.astype(np.int64), columns[start : start + len(row)]
        has_both = (row >= 0) & (column >= 0)
        cells = row[has_both] * width + column[has_both]
        counts += np.bincount(cells, minlength=len(counts))
    return Overlap(counts.reshape(height, width), len(rows) - int(counts.sum()))


def agreement(labels: np.ndarray, truth: np.ndarray | None) -> dict[str, float]:
    """Accuracy, NMI and ARI against known classes of any numbers; empty without common samples."""
    if truth is None:
        return {}
    numbers = np.unique(pandas.unique(truth))
    numbers = numbers[numbers >= 0]
    classes = np.empty(len(truth), np.int32)
    for start, block in row_blocks(truth):
        number = np.where(block < 0, -1, np.searchsorted(numbers, block))
        classes[start : start + len(block)] = number
    table = overlap(labels, classes)
    return {"accuracy": table.accuracy, "nmi": table.nmi, "ari": table.ari} if table.n else {}


def silhouettes(x: np.ndarray, labels: np.ndarray, metric: str = "euclidean") -> np.ndarray:
    """Silhouettes (N,) of samples (N, D), or by metric "precomputed" of their distances (N, N).

    NaN where there is one cluster, or as many as samples.
    """
    if not 1 < len(np.unique(labels)) < len(x):
        return np.full(len(x), np.nan)
    return silhouette_samples(x, labels, metric=metric)


def label_metrics(
    file: SpectrogramFile, latents: np.ndarray, labelling: Labelling, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Metrics of every stage that labels, of a file and its latents (N, D).

    The first value are indices of at most `MEASURED` samples with a label, at random, and their
    silhouettes in latent space.
    """
    labels, index = labelling.labels, draw_usable(labelling.labels >= 0, MEASURED, seed)
    scores = silhouettes(latents[index], labels[index])
    summary = {
        "n_samples": len(labels),
        "n_unusable": len(labels) - labelling.n_usable,
        "n_clusters": labelling.n_clusters,
        "cluster_sizes": labelling.sizes.tolist(),
        "mean_probability": labelling.overall_probability,
        "silhouette_latent": float(np.mean(scores)) if len(scores) else float("nan"),
    }
    return (index, scores), summary | column_metrics(file, labels, seed)


def column_metrics(file: SpectrogramFile, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Agreement of labels with known classes and within events, where the file has them."""
    events, found = file.column("event_id"), agreement(labels, file.labels())
    traces = None if events is None else file.column("trace_id")  # texts take much memory
    if traces is None:
        return found
    stations = np.array([station_of(name) for name in traces])
    return found | event_agreement(labels, events, stations, seed)


def event_agreement(
    labels: np.ndarray, event_ids: np.ndarray, stations: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Agreement of labels between the stations of an event, beyond chance; empty without events.

    The share of samples with the most frequent label of their event, the mean of the same after
    the labels of each station were shuffled, and their difference. All arrays are (N,); negative
    labels and event ids do not count, and of repeated samples of a station only the first.
    """
    table = pandas.DataFrame({"label": labels, "event": event_ids, "station": stations})
    table = table[(labels >= 0) & (event_ids >= 0)].drop_duplicates(["event", "station"])
    table = table[table.groupby("event")["label"].transform("size") > 1]
    if table.empty:
        return {}
    event, ids = pandas.factorize(table["event"])
    station, own = pandas.factorize(table["station"])[0], table["label"].to_numpy(dtype=np.int64)
    k, n, rng = int(own.max()) + 1, len(own), np.random.default_rng(seed)

    def share(values: np.ndarray) -> float:
        counts = np.bincount(event * k + values, minlength=len(ids) * k)
        return int(counts.reshape(-1, k).max(axis=1).sum()) / n

    by_station, shuffled, chance = np.argsort(station, kind="stable"), own.copy(), []
    for _ in range(SHUFFLES):
        shuffled[by_station] = own[np.lexsort((rng.random(n), station))]
        chance.append(share(shuffled))
    found, by_chance = share(own), float(np.mean(chance))
    return {
        "n_events": len(ids),
        "event_agreement": found,
        "event_agreement_by_chance": by_chance,
        "event_agreement_excess": found - by_chance,
    }


# ---- known classes ------------------------------------------------------------------------------


def against_truth(run: FinishedRun, stage: FinishedStage) -> Overlap | None:
    """Clusters of a stage by known classes, (K, C); None where no sample has both."""
    if run.truth is None:
        return None
    table = overlap(stage.labels, run.truth, stage.n_clusters, len(run.class_names))
    return table if table.n else None


class Reliability(NamedTuple):
    """Calibration of probabilities; a label is right for the cluster's most frequent class."""

    edges: np.ndarray  # (B + 1,), of the bins of probability
    counts: np.ndarray  # (B,), int64
    probability: np.ndarray  # (B,), mean of each bin; NaN for an empty one
    right: np.ndarray  # (B,), share of right labels; NaN for an empty bin
    error: float  # expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3)
    overconfidence: float  # mean probability minus share of right labels; NaN without samples


def reliability(right: np.ndarray, probability: np.ndarray, n_bins: int = BINS) -> Reliability:
    """Share of right labels (n,), bool, by their probabilities (n,)."""
    # In the precision of the probabilities, in which 0.9 is 0.9.
    bins = np.minimum((probability * n_bins).astype(np.int64), n_bins - 1)
    samples = pandas.DataFrame({"probability": probability.astype(np.float64), "right": right})
    groups = samples.groupby(bins)
    means = groups.mean().reindex(range(n_bins)).to_numpy(dtype=np.float64)
    counts = groups.size().reindex(range(n_bins), fill_value=0).to_numpy()
    away = means[:, 0] - means[:, 1]
    both = np.nansum([np.abs(away) * counts, away * counts], axis=1) / (len(right) or np.nan)
    return Reliability(np.linspace(0, 1, n_bins + 1), counts, *means.T, *both.tolist())
