"""The mixture's labels against the refined ones, inside a run.

Letters: N samples, K clusters of the mixture, L of refinement (mostly as many).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runs.run import FinishedRun, FinishedStage
from .overlap import Overlap, overlap

CONFIDENT, DOUBTFUL = 0.9, 0.5  # labels of at least, and of less than this posterior probability
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
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


@dataclass(frozen=True)
class Certainty:
    """Probabilities of a stage's labels: values at `QUANTILES`, shares confident and doubtful."""

    quantiles: np.ndarray
    confident: float
    doubtful: float


@dataclass(frozen=True)
class Refinement:
    """Labels of the mixture compared with the refined ones."""

    table: Overlap  # clusters of the GMM stage by clusters of the DEC stage, (K, L)
    match: np.ndarray  # (K,), the refined cluster of each of the mixture's; -1 for none
    by_label: bool  # matched by label; otherwise K is not L, and the matching the best one
    before: Certainty
    after: Certainty

    @property
    def moved(self) -> np.ndarray:
        """Share of each of the mixture's clusters that has moved, (K,); NaN for empty ones."""
        with np.errstate(invalid="ignore"):
            return 1 - self.table.in_match(self.match) / self.table.counts.sum(1)

    @property
    def share_moved(self) -> float:
        """Share of all samples that have moved; NaN without samples."""
        return self.table.share_moved(self.match)

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
    """Quantiles and shares of the probability of a stage's labels; NaN without labels."""
    known = stage.table.probability[stage.table.labels >= 0]
    if not len(known):
        return Certainty(np.full(len(QUANTILES), np.nan), float("nan"), float("nan"))
    confident, doubtful = (known >= CONFIDENT).mean(), (known < DOUBTFUL).mean()
    quantiles = np.quantile(known, QUANTILES).astype(np.float64)
    return Certainty(quantiles, float(confident), float(doubtful))


def metrics_of(stage: FinishedStage) -> dict[str, Any]:
    """Metrics of a stage that it has, by their key in `METRICS`, in its order."""
    return {key: stage.metrics[key] for key in METRICS if stage.metrics.get(key) is not None}


def side_by_side(run: FinishedRun) -> list[tuple[str, Any, Any]]:
    """Title of each metric, its value in the GMM and in the DEC stage; None where it has none.

    Neighbour agreement before refinement is the mixture's.
    """
    gmm, dec = (metrics_of(run.stages[name]) for name in ("GMM", "DEC"))
    if "neighbour_agreement_of_gmm" in dec:
        gmm["neighbour_agreement"] = dec.pop("neighbour_agreement_of_gmm")
    keys = [key for key in METRICS if key in gmm or key in dec]
    return [(METRICS[key], gmm.get(key), dec.get(key)) for key in keys]
