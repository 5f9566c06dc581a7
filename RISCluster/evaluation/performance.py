"""Measures of each cluster and of all, after Jenkins et al. (2021).

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
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True)
class Performance:
    """Measures of one stage's clusters; scores are labels and silhouettes of measured samples."""

    stage: str
    sizes: np.ndarray  # (K + 1,), int64; the last one is all
    measures: dict[str, Measure]  # by their names in TITLES
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    means: np.ndarray | None = None  # (K, F, T), of spectrograms; NaN where not measured


def performance_of(run: FinishedRun) -> list[Performance]:
    """Measures of every stage that labels, mixture first; without data those of the latents.

    All stages are measured on the same samples, drawn with ``run.seed``.
    """
    stages, seed = run.labelling, run.settings.run.seed
    if not stages:
        return []
    everywhere = np.minimum.reduce([stage.table.labels for stage in stages])
    index = usable_sample(everywhere, MEASURED, seed)
    labels = [stage.table.labels[index].astype(np.int64) for stage in stages]
    spaces: Sequence[Deviations | None] = [None] * len(stages)
    if run.file is not None and len(index):
        preparation = model_of(run, stages[-1]).preparation
        spaces = deviations(run.file, preparation, index, labels, seed)
    parts = zip(stages, labels, spaces, strict=True)
    return [_performance(stage, index, mine, space) for stage, mine, space in parts]


def _performance(
    stage: FinishedStage, index: np.ndarray, labels: np.ndarray, space: Deviations | None
) -> Performance:
    table, sizes = stage.table, stage.sizes
    scores = {"silhouette_latent": (labels, silhouettes(stage.latents[index], labels))}
    values = {"probability": (table.labels, table.probability.astype(np.float64))}
    means = None
    if space is not None:
        scores["silhouette_data"] = (labels[space.held], space.silhouettes)
        values |= {name: (labels, vars(space)[name]) for name in ("inner_product", "mse", "mae")}
        means = np.full((len(sizes), *space.means.shape[1:]), np.nan)
        means[: len(space.means)] = space.means
    measures = {name: measure(x, mine, sizes) for name, (mine, x) in (values | scores).items()}
    return Performance(stage.name, np.r_[sizes, sizes.sum()], measures, scores, means)


# ---- tables as dicts of title, header, rows, clusters and note -----------------------------------


def performance_table(performance: Performance, names: Mapping[int, str]) -> dict[str, Any]:
    """A row for each cluster and one for all; standard errors where samples were drawn."""
    sizes, measures = performance.sizes, performance.measures
    there = [name for name in TITLES if name in measures]
    k, n = len(sizes) - 1, int(sizes[-1])
    header = ["Cluster", "Size", "Share"]
    columns = [[*(title_of(label, names) for label in range(k)), "all"], sizes, sizes / max(1, n)]
    for name in there:
        header.append(TITLES[name])
        columns.append(measures[name].values)
        if (measures[name].errors > 0).any():
            header.append(PLUS_MINUS)
            columns.append(measures[name].errors)
    sampled = [f"{TITLES[name]}: {measures[name].n:,}" for name in there if measures[name].n < n]
    notes = []
    if sampled:
        notes.append(
            f"Measured on random samples of the {n:,}, {PLUS_MINUS} their standard errors "
            f"({'; '.join(sampled)}); the rest on all."
        )
    if "mse" in there:
        notes.append(
            "Data space: after data.amplitude and data.transform, without standardisation. Inner "
            "products are of unit vectors, 1 is the same."
        )
    return {
        "title": f"{performance.stage}: clusters",
        "header": header,
        "rows": [list(row) for row in zip(*map(_plain, columns), strict=True)],
        "clusters": [*range(k), None],
        "note": " ".join(notes),
        "digits": 3,
    }


def compare_stages(
    performances: Sequence[Performance], names: Mapping[int, str]
) -> dict[str, Any] | None:
    """Stages side by side, a column a stage for every measure; None for fewer than two."""
    if len(performances) < 2:
        return None
    there = [name for name in TITLES if all(name in one.measures for one in performances)]
    numbers = [len(one.sizes) - 1 for one in performances]
    k = max(numbers)
    header, columns = ["Cluster"], [[*(title_of(label, names) for label in range(k)), "all"]]
    for name in ("", *there):
        for one in performances:
            values = _plain(one.measures[name].values if name else one.sizes)
            header.append(f"{TITLES.get(name, 'Size')}, {one.stage}")
            columns.append([*values[:-1], *[None] * (k + 1 - len(values)), values[-1]])
    note = "The same number is the same cluster before and after refinement."
    if len(set(numbers)) > 1:
        note = "The stages have different numbers of clusters: equal labels mean nothing."
    return {
        "title": f"{' and '.join(one.stage for one in performances)} side by side",
        "header": header,
        "rows": [list(row) for row in zip(*columns, strict=True)],
        "clusters": [*range(k), None],
        "note": note,
        "digits": 3,
    }


def _plain(column: Sequence[Any]) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)
