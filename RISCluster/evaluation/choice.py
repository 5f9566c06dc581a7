"""Why this number of clusters: what each criterion takes, and what is to be said of it.

Letters: K clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..clustering.selection import K_TOLERANCE, STABILITY_TOLERANCE, TITLES, Criteria, choose

REPEATABLE = 0.75  # stability below which clusters are said to depend on the samples drawn
PLAIN = (
    0.5  # mean silhouette from which clusters are compact and apart (Rousseeuw 1987, and others)
)


@dataclass(frozen=True)
class Verdict:
    """What one criterion says.

    Attributes
    ----------
    name : str
        Of its column, as ``bic``.
    title : str
    n_clusters : int or None
        None where it takes none.
    sentence : str
        Which K it takes, and how far that is to be believed.
    """

    name: str
    title: str
    n_clusters: int | None
    sentence: str


def verdicts(rows: list[Criteria]) -> list[Verdict]:
    """What each criterion says.

    Parameters
    ----------
    rows : list of Criteria
        Ascending in the number of clusters.
    """
    found = []
    for name, words in WORDS.items():
        taken = choose(rows, name)
        found.append(Verdict(name, TITLES[name], taken, words(rows, taken)))
    return found


def summary(found: list[Verdict], chosen: int, criterion: str) -> str:
    """Which K was selected by what, which criteria agree, and what the others would take."""
    others = [verdict for verdict in found if verdict.name != criterion]
    near = [
        verdict.title
        for verdict in others
        if verdict.n_clusters is not None and abs(verdict.n_clusters - chosen) <= K_TOLERANCE
    ]
    far = [
        f"{verdict.title} {verdict.n_clusters}"
        for verdict in others
        if verdict.n_clusters is not None and verdict.title not in near
    ]
    text = f"K = {chosen} was selected by {TITLES[criterion]}. "
    text += (
        f"Within {K_TOLERANCE} of it: {', '.join(near)}. "
        if near
        else "No other criterion is near it. "
    )
    text += f"Others would take: {', '.join(far)}. " if far else ""
    return text.rstrip()


# ---- a sentence each ----------------------------------------------------------------------------


def _information(name: str, penalty: str) -> Callable[[list[Criteria], int | None], str]:
    def words(rows: list[Criteria], taken: int | None) -> str:
        if taken is None:
            return f"{name} has no value."
        if taken == rows[-1].n_clusters and len(rows) > 2:
            return (
                f"{name} is still falling at K = {taken}, the last one fitted: it has found no "
                "number of clusters that is enough, as happens where clusters are not Gaussian."
            )
        return f"{name} is lowest at K = {taken}: {penalty}."

    return words


def _silhouette(rows: list[Criteria], taken: int | None) -> str:
    if taken is None:
        return "The silhouette has no value: it needs two clusters."
    value = next(row.silhouette for row in rows if row.n_clusters == taken)
    worth = (
        "compact clusters, well apart"
        if value >= PLAIN
        else "clusters that touch or are long, for which it is a weak guide"
    )
    return f"The silhouette is highest at K = {taken}, {value:.2f}: {worth}."


def _gap(rows: list[Criteria], taken: int | None) -> str:
    if taken is None:
        return (
            f"The gap statistic still rises by more than its standard error at K = "
            f"{rows[-1].n_clusters}, the last one fitted, and takes none."
        )
    return (
        f"The gap statistic takes K = {taken}, the first whose gap is within one standard error "
        "of the next one's."
    )


def _knee(rows: list[Criteria], taken: int | None) -> str:
    if taken is None:
        return "The inertia of k-means has no knee."
    return (
        f"The inertia of k-means has its knee at K = {taken}, furthest below the chord between "
        f"the ends of its curve; it depends on the range of K that was fitted, here "
        f"{rows[0].n_clusters} to {rows[-1].n_clusters}."
    )


def _stability(rows: list[Criteria], taken: int | None) -> str:
    if taken is None:
        return "Stability was not computed for this run (gmm.n_resamples)."
    most = max(row.stability for row in rows if np.isfinite(row.stability))
    row = next(row for row in rows if row.n_clusters == taken)
    if most < REPEATABLE:
        return (
            f"No K is stable: fits to half-samples agree at best with an adjusted Rand index of "
            f"{most:.2f} (K = {taken} is the largest within {STABILITY_TOLERANCE:g} of it), so "
            "that clusters of any number depend on which samples were drawn."
        )
    return (
        f"K = {taken} is the largest of the most stable: mixtures of half-samples give the same "
        f"clusters with an adjusted Rand index of {row.stability:.2f} (standard deviation "
        f"{row.stability_std:.2f}, between pairs of half-samples)."
    )


WORDS: dict[str, Callable[[list[Criteria], int | None], str]] = {
    "bic": _information("BIC", "one more Gaussian is not worth its parameters"),
    "aic": _information("AIC", "it asks less of a cluster than BIC, and takes more"),
    "silhouette": _silhouette,
    "gap": _gap,
    "inertia": _knee,
    "stability": _stability,
}
