"""Stages of a run, and runs, compared: settings, metrics, agreement of labels.

Letters: M runs, K clusters.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..errors import RunError
from ..runs.run import STAGES, FinishedRun, FinishedStage
from ..settings import invalidates
from .metrics import Overlap, overlap

CONFIDENT, DOUBTFUL = 0.9, 0.5  # labels of at least, and of less than this posterior probability
METRICS = {
    "n_samples": "samples",
    "n_unusable": "unusable samples",
    "n_clusters": "clusters",
    "mse": "loss of reconstruction, training",
    "validation_mse": "loss of reconstruction, validation",
    "silhouette_latent": "silhouette in latent space",
    "neighbour_agreement_of_gmm": "neighbour agreement before refinement",
    "neighbour_agreement": "neighbour agreement",
    "refined": "refinement accepted",
    "label_change_from_gmm": "share of labels changed from the mixture's",
    "calinski_harabasz_data": "Calinski-Harabasz index in data space",
    "n_events": "events at two and more stations",
    "event_agreement": "share of an event's samples with its most frequent label",
    "event_agreement_by_chance": "the same with labels shuffled within stations",
    "event_agreement_excess": "agreement within events beyond chance",
    "accuracy": "accuracy against known classes",
    "nmi": "NMI with known classes",
    "ari": "ARI with known classes",
}
# What runs must have in common for a metric to be compared: settings, data, number of clusters
SPACE = ("data.file", "data.amplitude", "data.transform")
LATENT = ("aec.n_features", "aec.n_components", "aec.align_times")
NEEDS = {
    **dict.fromkeys(("mse", "validation_mse"), (*SPACE, "data.standardize")),
    "silhouette_latent": (*SPACE, *LATENT, "n_clusters"),
    **dict.fromkeys(("neighbour_agreement_of_gmm", "neighbour_agreement"), SPACE),
    "calinski_harabasz_data": (*SPACE, "n_clusters"),
    "accuracy": ("data.file", "n_clusters"),
    **dict.fromkeys(("nmi", "ari"), ("data.file",)),
    **{key: ("data.file",) for key in METRICS if "event_agreement" in key},
}


class Refinement(NamedTuple):
    """Labels of the mixture compared with the refined ones."""

    table: Overlap  # clusters of the GMM stage by clusters of the DEC stage, (K, K)
    moved: np.ndarray  # share of each of the mixture's clusters, (K,); NaN for empty ones
    share_moved: float  # of all samples; NaN without any
    before: dict[str, float]  # see `certainty`
    after: dict[str, float]


def refinement(run: FinishedRun) -> Refinement | None:
    """Compare the two stages that label; None without one, or with other numbers of clusters."""
    gmm, dec = run.stages.get("GMM"), run.stages.get("DEC")
    if gmm is None or dec is None or gmm.n_clusters != dec.n_clusters:
        return None
    table = overlap(gmm.labels, dec.labels, gmm.n_clusters, dec.n_clusters)
    with np.errstate(invalid="ignore"):
        moved = 1 - np.diag(table.counts) / table.counts.sum(1)
    moved_in_all = 1 - table.share(np.trace(table.counts))
    return Refinement(table, moved, moved_in_all, certainty(gmm), certainty(dec))


def certainty(stage: FinishedStage) -> dict[str, float]:
    """Shares of confident and of doubtful labels of a stage; NaN without labels."""
    known = stage.table["probability"][stage.labels >= 0]
    shares = {"confident": known >= CONFIDENT, "doubtful": known < DOUBTFUL}
    return {name: float(mask.mean()) for name, mask in shares.items()}


def metrics_of(stage: FinishedStage) -> dict[str, Any]:
    """Metrics of a stage that it has, by their key in `METRICS`, in its order."""
    return {key: stage.metrics[key] for key in METRICS if stage.metrics.get(key) is not None}


def side_by_side(run: FinishedRun) -> list[tuple[str, Any, Any]]:
    """Title of each metric, its value in the GMM and in the DEC stage; None where it has none."""
    gmm, dec = (metrics_of(run.stages[name]) for name in ("GMM", "DEC"))
    if "neighbour_agreement_of_gmm" in dec:
        gmm["neighbour_agreement"] = dec.pop("neighbour_agreement_of_gmm")
    keys = [key for key in METRICS if key in gmm or key in dec]
    return [(METRICS[key], gmm.get(key), dec.get(key)) for key in keys]


# ---- several runs -------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """Runs side by side."""

    names: list[str]  # (M,)
    data: list[str]  # data files, (M,)
    same_data: bool  # whether all label the same samples
    settings: list[tuple[str, list[Any]]]  # that differ, such as aec.lr; None for no stage
    metrics: list[tuple[str, list[Any]]]  # as DEC nmi; None for no stage
    differences: list[str | None]  # that forbid to compare each metric; None of one value alone
    ari: np.ndarray | None  # between final labels, (M, M); None where the data differ
    pair: Overlap | None  # final clusters of two runs on the same data


def compare(runs: Sequence[FinishedRun]) -> Comparison:
    """Compare two runs or more; RunError for one without labels."""
    for run in runs:
        if run.final is None:
            raise RunError(
                f"{run.folder}: has no complete stage that labels; run GMM_centroids.py first"
            )
    finals = [run.final for run in runs]
    # The fingerprint of a cube includes the definition of a sample.
    contents = [one.provenance.get("fingerprint", str(one.path)) for one in finals]
    same_data = len({*zip(contents, (one.latents.shape[0] for one in finals), strict=True)}) == 1
    ari, pair = None, None
    if same_data:
        ari = np.eye(len(runs))
        for i, j in combinations(range(len(runs)), 2):
            one, two = finals[i], finals[j]
            pair = overlap(one.labels, two.labels, one.n_clusters, two.n_clusters)
            ari[i, j] = ari[j, i] = pair.ari
    files = [one.settings.data.file for one in finals]
    names = [run.folder.resolve().name for run in runs]
    if len({*names}) < len(names):
        names = [str(run.folder) for run in runs]
    settings = ([] if same_data else [("data.file", files)]) + _differing_settings(runs)
    stages = [{name: metrics_of(stage) for name, stage in run.stages.items()} for run in runs]
    metrics = [
        (f"{name} {key}", [one.get(name, {}).get(key) for one in stages])
        for name in STAGES
        for key in METRICS
    ]
    metrics = [row for row in metrics if any(value is not None for value in row[1])]
    pair = pair if len(runs) == 2 else None
    differences = _differences({name for name, _ in settings}, metrics)
    return Comparison(names, files, same_data, settings, metrics, differences, ari, pair)


def _differences(settings: set[str], metrics: Sequence[tuple[str, list[Any]]]) -> list[str | None]:
    """Of what a metric needs to be compared, that which differs between the runs."""
    values, found = {name: [x for x in row if x is not None] for name, row in metrics}, []
    for name, known in values.items():
        stage, key = name.split(" ")
        same_k = len({*values.get(f"{stage} n_clusters", ())}) < 2
        differ = settings if same_k else {*settings, "n_clusters"}
        text = ", ".join(need for need in NEEDS.get(key, ()) if need in differ)
        found.append(text if len(known) > 1 else None)
    return found


def _differing_settings(runs: Sequence[FinishedRun]) -> list[tuple[str, list[Any]]]:
    """Settings that change results and differ between the stages that use them."""
    found = []
    for section in ("run", "data", "cube", "aec", "gmm", "dec"):
        name = section.upper()
        stages = [run.stages.get(name) if name in STAGES else run.final for run in runs]
        parts = [stage and stage.settings.values(section) for stage in stages]
        known = [part for part in parts if part]
        for key in known[0] if known else ():
            differs = any(part[key] != known[0][key] for part in known)
            if differs and invalidates(key) != "nothing":
                found.append((key, [part and part[key] for part in parts]))
    return found
