"""Choice of the number of clusters K: a row of criteria for each K, and the K that one selects.

Letters: N latents, D features, K clusters.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
from sklearn.cluster import KMeans

from ..errors import CheckpointError, DataError
from ..io import write_text

NAN = float("nan")
N_GAP_REFERENCES = 10
GAP_N_INIT = 1  # starts of k-means on each reference set
K_TOLERANCE = 1  # choices of K that differ by no more agree
TITLES = {  # gmm.select may be all of them but the inertia, which is only shown
    "bic": "BIC",
    "aic": "AIC",
    "silhouette": "silhouette",
    "gap": "gap statistic",
    "inertia": "knee of the inertia",
    "stability": "stability",
}
STABILITY_TOLERANCE = 0.02  # of the adjusted Rand index, within which K are equally stable


class Criteria(NamedTuple):
    """A row of selection.csv; NaN where not computed, also by an earlier version."""

    n_clusters: int
    bic: float = NAN  # of the mixture; lower is better
    aic: float = NAN  # likewise
    silhouette: float = NAN  # mean; NaN for one cluster
    inertia: float = NAN  # of k-means
    gap: float = NAN  # see `gap_statistic`
    gap_std: float = NAN
    stability: float = NAN  # see `clustering.fit`
    stability_std: float = NAN


def gap_statistic(
    latents: np.ndarray, n_clusters: int, inertia: float, seed: int, reference: str = "uniform"
) -> tuple[float, float]:
    """Gap statistic and its standard error (Tibshirani et al. 2001, version b).

    Reference sets are uniform in the box of the principal axes of the latents (N, D), whose
    k-means fit has this inertia, or Gaussian (``gaussian``) with their covariance. The error is
    sd * sqrt(1 + 1 / number of reference sets).
    """
    rng = np.random.default_rng([seed, n_clusters])
    mean = latents.mean(axis=0)
    _, _, axes = np.linalg.svd(latents - mean, full_matrices=False)
    rotated = (latents - mean) @ axes.T
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    logs = []
    for _ in range(N_GAP_REFERENCES):
        drawn = rng.uniform(low, high, rotated.shape)
        if reference == "gaussian":
            drawn = rng.normal(0, rotated.std(axis=0), rotated.shape)
        fit = KMeans(n_clusters, n_init=GAP_N_INIT, random_state=seed).fit(drawn)
        logs.append(np.log(max(fit.inertia_, 1e-300)))
    gap = float(np.mean(logs) - np.log(max(inertia, 1e-300)))
    return gap, float(np.std(logs) * np.sqrt(1 + 1 / N_GAP_REFERENCES))


def choose(rows: list[Criteria], criterion: str) -> int | None:
    """Number of clusters that a criterion selects, of rows ascending in K.

    Lowest BIC or AIC; highest silhouette; knee of the inertia, where the scaled curve is furthest
    below the chord between its ends (Satopaa et al. 2011, without smoothing); smallest K whose gap
    is within one standard error of the next one's (Tibshirani et al. 2001); largest K that is as
    stable as the most stable one within `STABILITY_TOLERANCE`, since merged clusters can be as
    repeatable as separate ones. None where there is no value or knee, or where the gap increases to
    the end.
    """
    if criterion == "inertia":
        k, y = np.array([(row.n_clusters, row.inertia) for row in rows]).T
        if len(rows) < 3 or y[0] <= y[-1]:
            return None
        below = 1 - (k - k[0]) / (k[-1] - k[0]) - (y - y[-1]) / (y[0] - y[-1])
        return rows[below.argmax()].n_clusters if below.max() > 1e-9 else None
    if criterion == "gap":
        pairs = zip(rows, rows[1:], strict=False)
        within = (a.n_clusters for a, b in pairs if a.gap >= b.gap - b.gap_std)
        return next(within, rows[0].n_clusters if len(rows) == 1 else None)
    scored = [row for row in rows if np.isfinite(getattr(row, criterion))]
    if not scored:
        return None
    if criterion == "stability":
        most = max(row.stability for row in scored)
        return max(row.n_clusters for row in scored if row.stability >= most - STABILITY_TOLERANCE)
    sign = -1 if criterion == "silhouette" else 1
    return min((sign * getattr(row, criterion), row.n_clusters) for row in scored)[1]


def select(rows: list[Criteria], criterion: str) -> int:
    """Number of clusters of a run: as `choose`, and the largest one where the gap takes none."""
    best = choose(rows, criterion)
    if best is None and criterion == "gap":
        return rows[-1].n_clusters
    if best is None:
        raise DataError(
            f"[gmm] select = {criterion} has no value for these K; silhouette and stability need "
            "two clusters, stability also twice as many samples and gmm.n_resamples"
        )
    return best


def contradictions(rows: list[Criteria], chosen: int, criterion: str) -> list[str]:
    """Reasons to doubt the K that a criterion has chosen of rows ascending in K, as sentences."""
    names = dict.fromkeys((criterion, "bic", "silhouette", "stability"))
    taken = {name: k for name in names if (k := choose(rows, name)) is not None}
    found = []
    if max(taken.values(), default=0) - min(taken.values(), default=0) > K_TOLERANCE:
        each = ", ".join(f"{TITLES[name]} takes K = {k}" for name, k in taken.items())
        found.append(
            f"the criteria contradict each other: {each}; the data may have no clear number of "
            "clusters: compare the galleries of these K (dec.n_clusters)"
        )
    first, last = rows[0].n_clusters, rows[-1].n_clusters
    if len(rows) > 2 and chosen in (first, last) and chosen > 1:
        numbers = f"{first}-{2 * last}" if chosen == last else f"1-{last}"
        found.append(
            f"K = {chosen}, selected by {TITLES[criterion]}, is at the edge of those that were "
            f"fitted: others may be better; fit them too (gmm.n_clusters = {numbers})"
        )
    return found


def write_rows(path: Path, rows: list[Criteria]) -> None:
    """Write a selection.csv, with ten digits."""
    table = pandas.DataFrame(rows)
    text = table.to_csv(index=False, float_format="%.10g", na_rep="nan", lineterminator="\n")
    write_text(path, text)


def read_rows(path: Path) -> list[Criteria]:
    """Read a selection.csv."""
    try:
        columns = Criteria._fields.__contains__  # earlier versions wrote one more
        table = pandas.read_csv(path, dtype=float, usecols=columns).astype({"n_clusters": int})
        return [Criteria(**row) for row in table.to_dict("records")]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: can't be read as a table of criteria: {' '.join(str(error).split())}; run "
            "GMM_centroids.py again"
        ) from None
