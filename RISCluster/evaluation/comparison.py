"""The mixture's labels against the refined ones, inside a run.

Letters: N samples, K clusters of the mixture, L of refinement (mostly as many).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runs.run import FinishedRun, FinishedStage
from .overlap import Overlap, overlap

CONFIDENT, DOUBTFUL = 0.9, 0.5  # posterior probability from and below which a label is so called
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Certainty:
    """How sure a stage is of its labels.

    Attributes
    ----------
    quantiles : ndarray
        Of the labels' probability, at `QUANTILES`; NaN without labels.
    confident, doubtful : float
        Shares of samples with a probability of `CONFIDENT` and more, and below `DOUBTFUL`.
    """

    quantiles: np.ndarray
    confident: float
    doubtful: float


@dataclass(frozen=True)
class Refinement:
    """What refinement did to the mixture's labels.

    Attributes
    ----------
    table : Overlap
        Clusters of the GMM stage by clusters of the DEC stage, (K, L).
    match : ndarray, (K,)
        The refined cluster that each of the mixture's became; -1 where there is none.
    by_label : bool
        Whether they correspond by label, since refinement started from these clusters; else, where
        it started from a mixture of another number of clusters, by the best matching.
    before, after : Certainty
    """

    table: Overlap
    match: np.ndarray
    by_label: bool
    before: Certainty
    after: Certainty

    @property
    def stayed(self) -> np.ndarray:
        """Samples of each of the mixture's clusters that are in its counterpart, (K,)."""
        there = self.match >= 0
        kept = np.zeros(len(self.match), dtype=np.int64)
        kept[there] = self.table.counts[there, self.match[there]]
        return kept

    @property
    def moved(self) -> np.ndarray:
        """Share of each of the mixture's clusters that has moved, (K,); NaN for empty ones."""
        sizes = self.table.counts.sum(1)
        with np.errstate(invalid="ignore"):
            return 1 - self.stayed / sizes

    @property
    def share_moved(self) -> float:
        """Share of all samples that have moved; NaN without samples."""
        n = self.table.n
        return 1 - int(self.stayed.sum()) / n if n else float("nan")

    def destinations(self, label: int, most: int = 3) -> list[tuple[int, int]]:
        """Refined clusters that a cluster's moved samples are in, and how many, most first."""
        counts = self.table.counts[label].copy()
        if self.match[label] >= 0:
            counts[self.match[label]] = 0
        order = np.argsort(-counts, kind="stable")[:most]
        return [(int(to), int(counts[to])) for to in order if counts[to]]


def refinement(run: FinishedRun) -> Refinement | None:
    """Compare the two stages that label; None where one of them is missing."""
    gmm, dec = run.stages.get("GMM"), run.stages.get("DEC")
    if gmm is None or dec is None:
        return None
    table = overlap(gmm.table.labels, dec.table.labels, gmm.n_clusters, dec.n_clusters)
    by_label = gmm.n_clusters == dec.n_clusters
    match = np.arange(gmm.n_clusters) if by_label else table.matching
    return Refinement(table, match, by_label, certainty(gmm), certainty(dec))


def certainty(stage: FinishedStage) -> Certainty:
    """Quantiles and shares of the probability of a stage's labels."""
    table = stage.table
    known = table.probability[table.labels >= 0]
    if not len(known):
        return Certainty(np.full(len(QUANTILES), np.nan), float("nan"), float("nan"))
    confident, doubtful = (known >= CONFIDENT).mean(), (known < DOUBTFUL).mean()
    quantiles = np.quantile(known, QUANTILES, overwrite_input=True)
    return Certainty(quantiles.astype(np.float64), float(confident), float(doubtful))


METRICS = {
    "n_samples": "samples",
    "n_unusable": "unusable samples",
    "n_clusters": "clusters",
    "mse": "loss of reconstruction, training",
    "validation_mse": "loss of reconstruction, validation",
    "silhouette_latent": "silhouette in latent space",
    "neighbour_agreement_of_gmm": "neighbour agreement before refinement",
    "neighbour_agreement": "neighbour agreement",
    "refined": "refinement kept",
    "label_change_from_gmm": "share of labels changed from the mixture's",
    "calinski_harabasz_data": "Calinski-Harabasz index in data space",
    "accuracy": "accuracy against known classes",
    "nmi": "NMI with known classes",
    "ari": "ARI with known classes",
}


def metrics_of(stage: FinishedStage) -> dict[str, Any]:
    """Figures of merit of a stage, by their key in `METRICS`, in its order; those that it has."""
    return {key: stage.metrics[key] for key in METRICS if stage.metrics.get(key) is not None}


def side_by_side(run: FinishedRun) -> list[tuple[str, Any, Any]]:
    """What it is, its value in the GMM stage, and in the DEC stage; None where there is none.

    The agreement of neighbours before refinement is the mixture's.
    """
    gmm, dec = (metrics_of(run.stages[name]) for name in ("GMM", "DEC"))
    before = dec.pop("neighbour_agreement_of_gmm", None)
    if before is not None:
        gmm["neighbour_agreement"] = before
    keys = [key for key in METRICS if key in gmm or key in dec]
    return [(METRICS[key], gmm.get(key), dec.get(key)) for key in keys]
