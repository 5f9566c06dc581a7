"""Choice of the number of clusters K: a row of criteria for each K, and the K that one selects.

Letters: N latents, D features, K clusters.
"""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from ..data.tables import read_numbers
from ..errors import CheckpointError, DataError

N_GAP_REFERENCES = 10
GAP_N_INIT = 1  # starts of k-means on each reference set
K_TOLERANCE = 1  # choices of K that differ by no more agree
TITLES = {
    "bic": "BIC",
    "aic": "AIC",
    "silhouette": "silhouette",
    "gap": "gap statistic",
    "inertia": "knee of the inertia",
    "stability": "stability",
    "agreement": "agreement of views",
}
STABILITY_TOLERANCE = 0.02  # of the adjusted Rand index, within which K are equally stable


@dataclass(frozen=True)
class Criteria:
    """A row of selection.csv."""

    n_clusters: int
    bic: float  # of the mixture; lower is better
    aic: float  # likewise
    silhouette: float  # mean; NaN for one cluster
    inertia: float  # of k-means
    gap: float  # see `gap_statistic`
    gap_std: float
    stability: float = float("nan")  # see `clustering.stability`; NaN where not computed
    stability_std: float = float("nan")
    agreement: float = float("nan")  # see `Trees.agreement`; NaN where not computed


HEADER = tuple(field.name for field in fields(Criteria))


def gap_statistic(
    latents: np.ndarray, n_clusters: int, inertia: float, seed: int
) -> tuple[float, float]:
    """Gap statistic and its standard error (Tibshirani et al. 2001, version b).

    Reference sets are uniform in the box of the principal axes of the latents (N, D), whose
    k-means fit has this inertia. The error is sd * sqrt(1 + 1 / number of reference sets).
    """
    rng = np.random.default_rng([seed, n_clusters])
    mean = latents.mean(axis=0)
    _, _, axes = np.linalg.svd(latents - mean, full_matrices=False)
    rotated = (latents - mean) @ axes.T
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    logs = []
    for _ in range(N_GAP_REFERENCES):
        reference = rng.uniform(low, high, rotated.shape)
        fit = KMeans(n_clusters, n_init=GAP_N_INIT, random_state=seed).fit(reference)
        logs.append(np.log(max(fit.inertia_, 1e-300)))
    gap = float(np.mean(logs) - np.log(max(inertia, 1e-300)))
    return gap, float(np.std(logs) * np.sqrt(1 + 1 / N_GAP_REFERENCES))


def knee(rows: list[Criteria]) -> int | None:
    """K at the knee of the inertia of k-means (Satopaa et al. 2011, without smoothing).

    Where the curve, scaled from 0 to 1, is furthest below the chord between its ends; None for
    fewer than three K, or a curve that is nowhere below its chord.
    """
    k = np.array([row.n_clusters for row in rows], dtype=float)
    inertia = np.array([row.inertia for row in rows])
    if len(rows) < 3 or not np.isfinite(inertia).all() or inertia[0] <= inertia[-1]:
        return None
    across = (k - k[0]) / (k[-1] - k[0])
    down = (inertia - inertia[-1]) / (inertia[0] - inertia[-1])
    below = 1 - across - down
    best = int(below.argmax())
    return rows[best].n_clusters if below[best] > 1e-9 else None


def choose(rows: list[Criteria], criterion: str) -> int | None:
    """Number of clusters that a criterion selects, of rows ascending in K.

    Lowest BIC or AIC; highest silhouette; smallest K whose gap is within one standard error of the
    next one's (Tibshirani et al. 2001); largest K that is as stable as the most stable one within
    `STABILITY_TOLERANCE`, since merged clusters can be as repeatable as separate ones; `knee` of
    the inertia; highest agreement of the views. None where there is no value, or where the gap
    increases to the end.
    """
    if criterion == "inertia":
        return knee(rows)
    if criterion == "gap":
        return _first_within_one_error(rows)
    scored = [row for row in rows if np.isfinite(getattr(row, criterion))]
    if not scored:
        return None
    if criterion == "stability":
        most = max(row.stability for row in scored)
        return max(row.n_clusters for row in scored if row.stability >= most - STABILITY_TOLERANCE)
    sign = -1 if criterion in ("silhouette", "agreement") else 1
    return min((sign * getattr(row, criterion), row.n_clusters) for row in scored)[1]


def _first_within_one_error(rows: list[Criteria]) -> int | None:
    for row, following in zip(rows, rows[1:], strict=False):
        if row.gap >= following.gap - following.gap_std:
            return row.n_clusters
    return rows[0].n_clusters if len(rows) == 1 else None


def select(rows: list[Criteria], criterion: str) -> int:
    """Number of clusters of a run: as `choose`, and the largest one where the gap takes none."""
    best = choose(rows, criterion)
    if best is None and criterion == "gap":
        return rows[-1].n_clusters
    if best is None:
        raise DataError(
            f"[gmm] select = {criterion} has no value for K = "
            f"{', '.join(str(row.n_clusters) for row in rows)}; silhouette, stability and "
            "agreement need two clusters, stability also twice as many samples, agreement also "
            "gmm.init = consensus"
        )
    return best


def contradictions(rows: list[Criteria], chosen: int, criterion: str) -> list[str]:
    """Reasons to doubt the K that a criterion has chosen of rows ascending in K, a sentence each.

    The criteria select K that differ by more than `K_TOLERANCE`, or the selected K is the smallest
    (above 1) or the largest of three or more.
    """
    if len(rows) < 2:
        return []
    names = dict.fromkeys((criterion, "bic", "silhouette", "stability", "agreement"))
    taken = {name: k for name in names if (k := choose(rows, name)) is not None}
    found = []
    if max(taken.values(), default=0) - min(taken.values(), default=0) > K_TOLERANCE:
        each = ", ".join(f"{TITLES[name]} takes K = {k}" for name, k in taken.items())
        found.append(
            f"the criteria contradict each other: {each}; the data may have no clear number of "
            "clusters: compare the galleries of these K (dec.n_clusters) before you settle on one"
        )
    first, last = rows[0].n_clusters, rows[-1].n_clusters
    if len(rows) > 2 and chosen == last:
        found.append(
            f"K = {chosen}, selected by {TITLES[criterion]}, is the largest that was fitted: more "
            f"clusters may be better; fit them too (gmm.n_clusters = {first}-{2 * last})"
        )
    if len(rows) > 2 and chosen == first > 1:
        found.append(
            f"K = {chosen}, selected by {TITLES[criterion]}, is the smallest that was fitted: "
            f"fewer clusters may be better; fit them too (gmm.n_clusters = 1-{last})"
        )
    return found


def as_rows(rows: list[Criteria]) -> list[tuple]:
    """Rows of selection.csv, ten digits."""
    return [
        tuple(f"{value:.10g}" if isinstance(value, float) else value for value in astuple(row))
        for row in rows
    ]


def read_rows(path: Path) -> list[Criteria]:
    """Read a selection.csv; older ones have no stability and agreement."""
    try:
        columns = read_numbers(path)
        lacking = [name for name in HEADER[:-3] if name not in columns]
        if lacking:
            raise ValueError(f"no column {lacking[0]}")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: can't be read as a table of criteria: {error}; run GMM_centroids.py again"
        ) from None
    table = zip(*(columns[name].tolist() for name in HEADER if name in columns), strict=True)
    rows = [Criteria(int(k), *values) for k, *values in table]
    if not rows:
        raise CheckpointError(f"{path}: holds no K; run GMM_centroids.py again")
    return rows
