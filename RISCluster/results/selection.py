"""Choice of the number of clusters K: a row of criteria for each K, and the K that one selects.

Letters: N latents, D features, K clusters.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np
from sklearn.cluster import KMeans

from ..errors import DataError
from ..progress import log

GAP_REFERENCES = 10
GAP_INIT = 3  # restarts of k-means on each reference set


@dataclass(frozen=True)
class Criteria:
    """A row of selection.csv."""

    n_clusters: int
    bic: float
    aic: float
    silhouette: float
    inertia: float
    gap: float
    gap_std: float


HEADER = tuple(field.name for field in fields(Criteria))


def gap_statistic(
    latents: np.ndarray, n_clusters: int, inertia: float, seed: int
) -> tuple[float, float]:
    """Gap statistic and its standard error (Tibshirani et al. 2001, version b).

    Reference sets are uniform in the box of the latents' principal axes.

    Parameters
    ----------
    latents : ndarray, (N, D)
    n_clusters : int
    inertia : float
        Of the k-means fit to the latents.
    seed : int

    Returns
    -------
    float, float
        Gap(K), and s(K) = sd * sqrt(1 + 1 / number of reference sets).
    """
    rng = np.random.default_rng([seed, n_clusters])
    mean = latents.mean(axis=0)
    _, _, axes = np.linalg.svd(latents - mean, full_matrices=False)
    rotated = (latents - mean) @ axes.T
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    logs = []
    for _ in range(GAP_REFERENCES):
        reference = rng.uniform(low, high, rotated.shape)
        fit = KMeans(n_clusters, n_init=GAP_INIT, random_state=seed).fit(reference)
        logs.append(np.log(max(fit.inertia_, 1e-300)))
    gap = float(np.mean(logs) - np.log(max(inertia, 1e-300)))
    return gap, float(np.std(logs) * np.sqrt(1 + 1 / GAP_REFERENCES))


def select(rows: list[Criteria], criterion: str) -> int:
    """Number of clusters that a criterion selects.

    Parameters
    ----------
    rows : list of Criteria
        Ascending in the number of clusters.
    criterion : {"bic", "aic", "silhouette", "gap"}
        Lowest BIC or AIC; highest silhouette; smallest K whose gap is within one standard error
        of the next one's.

    Raises
    ------
    DataError
        The criterion has no value for any K.
    """
    if criterion == "gap":
        for row, following in zip(rows, rows[1:], strict=False):
            if row.gap >= following.gap - following.gap_std:
                return row.n_clusters
        if len(rows) > 1:
            log.warning(
                f"the gap statistic still rises at K = {rows[-1].n_clusters}, the last one fitted; "
                "fit larger ones (gmm.n_clusters) before you believe it"
            )
        return rows[-1].n_clusters
    sign = -1 if criterion == "silhouette" else 1
    scored = [(sign * getattr(row, criterion), row.n_clusters) for row in rows]
    scored = [pair for pair in scored if np.isfinite(pair[0])]
    if not scored:
        raise DataError(
            f"[gmm] select = {criterion} has no value for K = "
            f"{', '.join(str(row.n_clusters) for row in rows)}; a silhouette needs two clusters"
        )
    best = min(scored)[1]
    if len(rows) > 2 and criterion in ("bic", "aic") and best == rows[-1].n_clusters:
        log.warning(
            f"{criterion} is still falling at K = {best}, the last one fitted: it takes every bump "
            "of the latents for a cluster of its own; look at the other criteria too"
        )
    return best


def as_rows(rows: list[Criteria]) -> list[tuple]:
    """Rows of selection.csv, with ten digits."""
    return [
        tuple(f"{value:.10g}" if isinstance(value, float) else value for value in astuple(row))
        for row in rows
    ]
