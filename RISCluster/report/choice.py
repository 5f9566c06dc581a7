"""Which number of clusters each criterion selects, with a sentence on it.

Letters: K clusters.
"""

from dataclasses import dataclass

import numpy as np

from ..clustering.selection import K_TOLERANCE, STABILITY_TOLERANCE, TITLES, Criteria, choose

REPEATABLE = 0.75  # stability below which clusters depend on the samples drawn
COMPACT = 0.5  # mean silhouette of compact, separate clusters (Rousseeuw 1987, and others)
CRITERIA = ("bic", "aic", "silhouette", "gap", "inertia", "stability")
WITHOUT_VALUE = {
    "bic": "BIC has no value.",
    "aic": "AIC has no value.",
    "silhouette": "The silhouette has no value: it needs two clusters.",
    "gap": "The gap statistic still rises by more than its standard error at K = {last}, the last "
    "one fitted, and takes none.",
    "inertia": "The inertia of k-means has no knee.",
    "stability": "Stability was not computed for this run (gmm.n_resamples).",
}
SENTENCES = {
    "bic": "BIC is lowest at K = {k}: one more Gaussian is not worth its parameters.",
    "aic": "AIC is lowest at K = {k}: it asks less of a cluster than BIC, and takes more.",
    "falling": "{title} is still falling at K = {k}, the last one fitted: it has found no number "
    "of clusters that is enough, as happens where clusters are not Gaussian.",
    "silhouette": "The silhouette is highest at K = {k}, {row.silhouette:.2f}: {shape}.",
    "gap": "The gap statistic takes K = {k}, the first whose gap is within one standard error of "
    "the next one's.",
    "inertia": "The inertia of k-means has its knee at K = {k}, furthest below the chord between "
    "the ends of its curve; it depends on the range of K that was fitted, here {first} to {last}.",
    "stability": "K = {k} is the largest of the most stable: mixtures of half-samples give the "
    "same clusters with an adjusted Rand index of {row.stability:.2f} (standard deviation "
    "{row.stability_std:.2f}, between pairs of half-samples).",
    "unstable": "No K is stable: fits to half-samples agree at best with an adjusted Rand index of "
    "{most:.2f} (K = {k} is the largest within {near:g} of it), so that clusters of any number "
    "depend on which samples were drawn.",
}


@dataclass(frozen=True)
class Verdict:
    """A criterion by its column and title, the K that it selects (None: none), and a sentence."""

    name: str
    title: str
    n_clusters: int | None
    sentence: str


def verdicts(rows: list[Criteria]) -> list[Verdict]:
    """Selection by each criterion, from rows ascending in K."""
    found = []
    for name in CRITERIA:
        k = choose(rows, name)
        found.append(Verdict(name, TITLES[name], k, _sentence(rows, name, k)))
    return found


def _sentence(rows: list[Criteria], name: str, k: int | None) -> str:
    first, last = rows[0].n_clusters, rows[-1].n_clusters
    if k is None:
        return WITHOUT_VALUE[name].format(last=last)
    row = next(row for row in rows if row.n_clusters == k)
    stabilities = [row.stability for row in rows if np.isfinite(row.stability)]
    most = max(stabilities, default=np.nan)
    key = name
    if name in ("bic", "aic") and k == last and len(rows) > 2:
        key = "falling"
    elif name == "stability" and most < REPEATABLE:
        key = "unstable"
    shape = (
        "compact clusters, well apart"
        if row.silhouette >= COMPACT
        else "clusters that touch or are long, for which it is a weak guide"
    )
    return SENTENCES[key].format(
        k=k, title=TITLES[name], row=row, shape=shape, first=first, last=last, most=most,
        near=STABILITY_TOLERANCE,
    )  # fmt: skip


def summary(found: list[Verdict], chosen: int, criterion: str) -> str:
    """Which K was selected by which criterion, which others agree, what the rest would select."""
    others = [one for one in found if one.name != criterion and one.n_clusters is not None]
    near = [one.title for one in others if abs(one.n_clusters - chosen) <= K_TOLERANCE]
    far = [f"{one.title} {one.n_clusters}" for one in others if one.title not in near]
    text = f"K = {chosen} was selected by {TITLES[criterion]}. "
    text += (
        f"Within {K_TOLERANCE} of it: {', '.join(near)}."
        if near
        else "No other criterion is near it."
    )
    return text + (f" Others would take: {', '.join(far)}." if far else "")
