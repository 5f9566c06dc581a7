"""How good each cluster is, as Jenkins et al. (2021) measure it: by cluster and in all.

Letters: N samples of the file, m of them measured, K clusters, F x T bins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..runs.labels import usable_sample
from ..runs.models import model_of
from ..runs.names import title_of
from ..runs.run import FinishedRun, FinishedStage
from .data_space import Deviations, deviations
from .metrics import MEASURED, Measure, measure, silhouettes

TITLES = {
    "probability": "Mean probability",
    "inner_product": "Inner product with mean",
    "mse": "MSE to mean",
    "mae": "MAE to mean",
    "silhouette_latent": "Silhouette, latent space",
    "silhouette_data": "Silhouette, data space",
}
BLOCK = 2**20  # rows of a table handled at a time


@dataclass(frozen=True)
class Performance:
    """Measures of one stage's clusters.

    Attributes
    ----------
    stage : str
    sizes : ndarray, (K + 1,), int64
        The last one is all.
    measures : dict of str to Measure
        By their names in `TITLES`; those in data space only where the data can be read.
    scores : dict of str to (ndarray, ndarray)
        Labels and silhouettes of the measured samples, as ``silhouette_latent`` and
        ``silhouette_data``.
    means : ndarray, (K, F, T), or None
        Mean spectrogram of each cluster in data space; NaN where no member was measured.
    """

    stage: str
    sizes: np.ndarray
    measures: dict[str, Measure]
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    means: np.ndarray | None = None


def performance_of(run: FinishedRun) -> list[Performance]:
    """Measures of every stage that labels, mixture first; without data those of the latents.

    All stages are measured on the same samples, drawn with ``run.seed``.
    """
    stages = run.labelling
    if not stages:
        return []
    everywhere = np.minimum.reduce([stage.table.labels for stage in stages])
    index = usable_sample(everywhere, MEASURED, run.settings.run.seed)
    labels = [stage.table.labels[index].astype(np.int64) for stage in stages]
    found = [_of_latents(stage, index, mine) for stage, mine in zip(stages, labels, strict=True)]
    if run.file is None or not len(index):
        return found
    preparation = model_of(run, stages[-1]).preparation
    spaces = deviations(run.file, preparation, index, labels, run.settings.run.seed)
    return [
        _with_data(known, space, stage.sizes, mine)
        for known, space, stage, mine in zip(found, spaces, stages, labels, strict=True)
    ]


def _of_latents(stage: FinishedStage, index: np.ndarray, labels: np.ndarray) -> Performance:
    scores = silhouettes(stage.latents[index], labels)
    measures = {
        "probability": mean_probability(stage),
        "silhouette_latent": measure(scores, labels, stage.sizes),
    }
    sizes = np.r_[stage.sizes, stage.sizes.sum()]
    return Performance(stage.name, sizes, measures, {"silhouette_latent": (labels, scores)})


def _with_data(
    known: Performance, space: Deviations, sizes: np.ndarray, labels: np.ndarray
) -> Performance:
    held = labels[space.held]
    measures = {
        "inner_product": measure(space.inner_product, labels, sizes),
        "mse": measure(space.mse, labels, sizes),
        "mae": measure(space.mae, labels, sizes),
        "silhouette_data": measure(space.silhouettes, held, sizes),
    }
    scores = {"silhouette_data": (held, space.silhouettes)}
    means = np.full((len(sizes), *space.means.shape[1:]), np.nan)
    means[: len(space.means)] = space.means
    return Performance(
        known.stage, known.sizes, known.measures | measures, known.scores | scores, means
    )


def mean_probability(stage: FinishedStage) -> Measure:
    """Probability of the label, over all samples."""
    k, table = stage.n_clusters, stage.table
    totals, counts = np.zeros(k), np.zeros(k)
    for start in range(0, len(table.labels), BLOCK):
        labels = table.labels[start : start + BLOCK].astype(np.int64)
        known = labels >= 0
        probability = table.probability[start : start + BLOCK][known]
        totals += np.bincount(labels[known], probability, k)
        counts += np.bincount(labels[known], minlength=k)
    with np.errstate(invalid="ignore"):
        values = np.r_[totals, totals.sum()] / np.r_[counts, counts.sum()]
    return Measure(values, np.where(np.isnan(values), np.nan, 0.0), int(counts.sum()))


# ---- tables -------------------------------------------------------------------------------------


def performance_table(performance: Performance, names: Mapping[int, str]) -> dict[str, Any]:
    """A row a cluster, and one of all; standard errors where samples were drawn."""
    there = [name for name in TITLES if name in performance.measures]
    sampled = [name for name in there if (performance.measures[name].errors > 0).any()]
    header = ["Cluster", "Size", "Share"]
    for name in there:
        header += [TITLES[name]] + (["\N{PLUS-MINUS SIGN}"] if name in sampled else [])
    k = len(performance.sizes) - 1
    rows = []
    for place, size in enumerate(performance.sizes.tolist()):
        row = [_title(place, k, names), size, size / max(1, int(performance.sizes[-1]))]
        for name in there:
            found = performance.measures[name]
            row += [found.values[place]] + ([found.errors[place]] if name in sampled else [])
        rows.append(row)
    return {
        "title": f"{performance.stage}: clusters",
        "header": header,
        "rows": rows,
        "clusters": [*range(k), None],
        "note": _how_measured(performance, there),
        "digits": 3,
    }


def compare_stages(
    performances: Sequence[Performance], names: Mapping[int, str]
) -> dict[str, Any] | None:
    """Stages side by side: a row a cluster, for every measure a column a stage.

    Returns
    -------
    dict or None
        None where fewer than two stages have labelled.
    """
    if len(performances) < 2:
        return None
    there = [name for name in TITLES if all(name in found.measures for found in performances)]
    header = ["Cluster", *(f"Size, {found.stage}" for found in performances)]
    header += [f"{TITLES[name]}, {found.stage}" for name in there for found in performances]
    numbers = [len(found.sizes) - 1 for found in performances]
    rows = []
    for place in [*range(max(numbers)), -1]:
        known = [place < k for k in numbers]
        row = ["all" if place < 0 else title_of(place, names)]
        row += _cells([found.sizes for found in performances], place, known)
        for name in there:
            row += _cells([found.measures[name].values for found in performances], place, known)
        rows.append(row)
    note = "The same number is the same cluster before and after refinement."
    if len(set(numbers)) > 1:
        note = "The stages have different numbers of clusters: equal labels mean nothing."
    return {
        "title": f"{' and '.join(found.stage for found in performances)} side by side",
        "header": header,
        "rows": rows,
        "clusters": [*range(max(numbers)), None],
        "note": note,
        "digits": 3,
    }


def _cells(columns: Sequence[np.ndarray], place: int, known: Sequence[bool]) -> list:
    return [
        column[place].item() if there else None
        for column, there in zip(columns, known, strict=True)
    ]


def _title(place: int, k: int, names: Mapping[int, str]) -> str:
    return "all" if place == k else title_of(place, names)


def _how_measured(performance: Performance, there: Sequence[str]) -> str:
    """Of how many samples, and in which space."""
    total = int(performance.sizes[-1])
    measures = performance.measures
    parts = []
    for name in there:
        if measures[name].n < total:
            parts.append(f"{TITLES[name]}: {measures[name].n:,}")
    note = ""
    if parts:
        note = (
            f"Measured on random samples of the {total:,}, \N{PLUS-MINUS SIGN} their standard "
            f"errors ({'; '.join(parts)}); the rest on all. "
        )
    if "mse" in there:
        note += (
            "Data space: after data.amplitude and data.transform, without standardisation. Inner "
            "products are of unit vectors, 1 is the same."
        )
    return note.strip()
