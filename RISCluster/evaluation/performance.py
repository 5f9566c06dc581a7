"""Measures of each cluster and of all samples, after Jenkins et al. (2021).

Data space is that of the samples after `data.amplitude` and `data.transform`, without
standardisation. With the mean c of a cluster's members x, each of B bins:

    MSE to the mean            sum((x - c)^2) / B
    MAE to the mean            sum(|x - c|) / B
    inner product with it      sum(x c) / (|x| |c|), 1 for the same shape

Letters: N samples of the file, m of them measured, K clusters, F x T bins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch
from sklearn.metrics.pairwise import euclidean_distances

from ..data.layouts import READ_ROWS, SpectrogramFile
from ..data.loading import Reader, SampleSet
from ..data.split import subsample
from ..data.transforms import Preparation
from ..runs.labels import usable_sample
from ..runs.names import cluster_title
from ..runs.run import FinishedRun, FinishedStage, model_of
from .metrics import MEASURED, silhouettes

TITLES = {
    "probability": "Mean probability",
    "inner_product": "Inner product with mean",
    "mse": "MSE to mean",
    "mae": "MAE to mean",
    "silhouette_latent": "Silhouette, latent space",
    "silhouette_data": "Silhouette, data space",
}
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
HELD = 100e6  # bytes of samples in memory for silhouettes; computing them takes half as much again
MAX_DATA_SILHOUETTES = 1500  # samples in data space: the cost is their number squared


class Measure(NamedTuple):
    """Mean of a quantity over the measured members of each cluster, and last over all samples."""

    values: np.ndarray  # (K + 1,); NaN where no member was measured
    errors: np.ndarray  # (K + 1,), standard errors: 0 if all were measured, NaN if too few
    n: int  # samples that were measured


def measure(values: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> Measure:
    """Means of a random sample (m,) by cluster, with their standard errors.

    NaN, and labels below 0, are left out. With the sizes (K,) of the clusters the error is
    sd / sqrt(n) sqrt(1 - n / size), 0 where all were measured (Cochran 1977, eq. 2.20).
    """
    known = ~np.isnan(values) & (labels >= 0)
    values, labels = pandas.Series(values[known]), labels[known]
    clusters = values.groupby(labels).agg(["mean", "std", "count"]).reindex(range(len(sizes)))
    rows = np.vstack([clusters, values.agg(["mean", "std", "count"])])
    mean, deviation, n = rows.T
    every, n = np.r_[sizes, sizes.sum()], np.nan_to_num(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = deviation / np.sqrt(n) * np.sqrt(np.maximum(0, 1 - n / every))
    return Measure(mean, np.where((n > 0) & (n >= every), 0.0, errors), len(values))


# ---- data space ---------------------------------------------------------------------------------


def calinski_harabasz(samples: SampleSet, labels: np.ndarray, n_clusters: int) -> float:
    """Variance between clusters over variance within, each per degree of freedom.

    In data space, at constant memory; standardisation does not change it. `labels` (N,) are those
    of every sample of the file. NaN for fewer than two clusters, or no variance within them.
    """

    def blocks() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for positions, x in samples.in_order(0, len(samples), READ_ROWS):
            index = samples.index[positions.cpu().numpy()]
            yield labels[index], x.flatten(1).double().cpu().numpy()

    totals, counts = 0.0, np.zeros(n_clusters)
    for members, x in blocks():
        counts += np.bincount(members, minlength=n_clusters)
        totals = totals + np.eye(n_clusters)[members].T @ x
    means = totals / np.maximum(counts, 1)[:, None]
    within = sum(float(np.square(x - means[member]).sum()) for member, x in blocks())
    n, k = counts.sum(), np.count_nonzero(counts)
    if k < 2 or n <= k or within == 0:
        return float("nan")
    between = float((counts * np.square(means - totals.sum(0) / n).sum(1)).sum())
    return between / (k - 1) / (within / (n - k))


def deviations(
    file: SpectrogramFile,
    preparation: Preparation,
    index: np.ndarray,
    labellings: Sequence[tuple[np.ndarray, int]],
    seed: int | None = None,
) -> list[tuple[np.ndarray, pandas.DataFrame]]:
    """Compare the samples `index` (m,), ascending, with the means of their clusters.

    `labellings` are labels (m,) and K. Returns for each of them the means (K, [C,] F, T), and mse,
    mae, inner_product of each sample; with a seed also silhouette_data, of as many random samples
    as can be in memory. NaN for what is not known.
    """
    own = Preparation(preparation.amplitude, preparation.transform)  # without mean and scale
    reader = Reader(file, own, torch.device("cpu"))
    reader.skip_negative = True

    def blocks(wanted: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for found, x in reader.blocks(wanted):
            yield np.searchsorted(index, found), x.flatten(1).double().numpy()

    known, n_bins = np.zeros(len(index), bool), math.prod(file.shape)
    totals = [np.zeros((k, n_bins)) for _, k in labellings]
    for at, x in blocks(index):
        known[at] = True
        for total, (labels, k) in zip(totals, labellings, strict=True):
            total += np.eye(k)[labels[at]].T @ x
    means, values = [], np.full((len(labellings), len(index), 4), np.nan)
    with np.errstate(invalid="ignore"):
        for total, (labels, k) in zip(totals, labellings, strict=True):
            means.append(total / np.bincount(labels[known], minlength=k)[:, None])
    for at, x in blocks(index):
        norm = np.linalg.norm(x, axis=1)
        for one, mean, (labels, _) in zip(values, means, labellings, strict=True):
            own_mean = mean[labels[at]]
            length, away = norm * np.linalg.norm(mean, axis=1)[labels[at]], x - own_mean
            product = np.einsum("ij,ij->i", x, own_mean) / np.maximum(length, 1e-300)
            one[at, 0] = np.einsum("ij,ij->i", away, away) / x.shape[1]
            one[at, 1:3] = np.stack([np.abs(away, out=away).mean(1), product], axis=1)
    names = ["mse", "mae", "inner_product"]
    if seed is not None:
        most = min(MAX_DATA_SILHOUETTES, int(HELD / (4 * n_bins)))
        drawn = subsample(len(index), max(2, most), seed)
        if found := [(at, x.astype(np.float32)) for at, x in blocks(index[drawn])]:
            at, x = map(np.concatenate, zip(*found, strict=True))
            distances = euclidean_distances(x)
            np.fill_diagonal(distances, 0)
            for one, (labels, _) in zip(values, labellings, strict=True):
                one[at, 3] = silhouettes(distances, labels[at], "precomputed")
        names.append("silhouette_data")
    frames = [pandas.DataFrame(one[:, : len(names)], columns=names) for one in values]
    return [
        (mean.reshape(-1, *file.shape), frame) for mean, frame in zip(means, frames, strict=True)
    ]


# ---- of a run -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Performance:
    """Measures of one stage's clusters; scores are labels and silhouettes of measured samples."""

    stage: str
    sizes: np.ndarray  # (K + 1,), int64; the last one is all
    measures: dict[str, Measure]  # by their names in TITLES
    scores: dict[str, tuple[np.ndarray, np.ndarray]]
    means: np.ndarray | None  # (K, F, T), of spectrograms; NaN where not measured


def performance_of(run: FinishedRun) -> list[Performance]:
    """Measures of every stage that labels, mixture first; without data those of the latents.

    All stages are measured on the same samples, drawn with ``run.seed``.
    """
    stages = run.labelling
    if not stages:
        return []
    everywhere = np.minimum.reduce([stage.labels for stage in stages])
    index, seed = usable_sample(everywhere, MEASURED, run.settings.run.seed), run.settings.run.seed
    labels = [stage.labels[index].astype(np.int64) for stage in stages]
    space: list = [(None, None)] * len(stages)
    if run.file is not None and len(index):
        labellings = [(one, len(stage.sizes)) for one, stage in zip(labels, stages, strict=True)]
        preparation = model_of(run, stages[-1]).preparation
        space = deviations(run.file, preparation, index, labellings, seed)
    return [
        _performance(stage, index, one, *found)
        for stage, one, found in zip(stages, labels, space, strict=True)
    ]


def _performance(
    stage: FinishedStage,
    index: np.ndarray,
    labels: np.ndarray,
    means: np.ndarray | None,
    found: pandas.DataFrame | None,
) -> Performance:
    frame = pandas.DataFrame({"silhouette_latent": silhouettes(stage.latents[index], labels)})
    frame, sizes = frame if found is None else frame.join(found), stage.sizes
    probability = stage.table["probability"].to_numpy(dtype=np.float64)
    measures = {"probability": measure(probability, stage.labels, sizes)}
    measures |= {name: measure(frame[name].to_numpy(), labels, sizes) for name in frame}
    scores = {}
    for name in [name for name in frame if name.startswith("silhouette")]:
        known = frame[name].notna().to_numpy()
        scores[name] = labels[known], frame[name].to_numpy()[known]
    return Performance(stage.name, np.r_[sizes, sizes.sum()], measures, scores, means)


# ---- tables as dicts of title, header, rows, clusters and note -----------------------------------


def performance_table(performance: Performance, names: Mapping[int, str]) -> dict[str, Any]:
    """A row for each cluster and one for all; standard errors where samples were drawn."""
    sizes, measures = performance.sizes, performance.measures
    known, n = [name for name in TITLES if name in measures], int(sizes[-1])
    columns = [("Size", sizes.tolist()), ("Share", (sizes / max(1, n)).tolist())]
    for name in known:
        columns.append((TITLES[name], measures[name].values.tolist()))
        if (measures[name].errors > 0).any():
            columns.append((PLUS_MINUS, measures[name].errors.tolist()))
    sampled = [f"{TITLES[name]}: {measures[name].n:,}" for name in known if measures[name].n < n]
    notes = []
    if sampled:
        notes.append(
            f"Measured on random samples of the {n:,}, {PLUS_MINUS} their standard errors "
            f"({'; '.join(sampled)}); the rest on all."
        )
    if "mse" in known:
        notes.append(
            "Data space: after data.amplitude and data.transform, without standardisation. Inner "
            "products are of unit vectors, 1 is the same."
        )
    return _table(f"{performance.stage}: clusters", len(sizes) - 1, columns, names, notes)


def compare_stages(
    performances: Sequence[Performance], names: Mapping[int, str]
) -> dict[str, Any] | None:
    """Stages side by side, a column per stage for every measure; None for fewer than two."""
    if len(performances) < 2:
        return None
    numbers, columns = [len(one.sizes) - 1 for one in performances], []
    known = [name for name in TITLES if all(name in one.measures for one in performances)]
    for name in ("", *known):
        for one in performances:
            *values, every = (one.measures[name].values if name else one.sizes).tolist()
            missing = [None] * (max(numbers) - len(values))
            columns.append((f"{TITLES.get(name, 'Size')}, {one.stage}", [*values, *missing, every]))
    note = "The same number is the same cluster before and after refinement."
    if len(set(numbers)) > 1:
        note = "The stages have different numbers of clusters: equal labels mean nothing."
    title = f"{' and '.join(one.stage for one in performances)} side by side"
    return _table(title, max(numbers), columns, names, [note])


def _table(
    title: str, k: int, columns: Sequence[tuple], names: Mapping[int, str], notes: list[str]
) -> dict[str, Any]:
    header, values = zip(*columns, strict=True)
    titles = [*(cluster_title(label, names) for label in range(k)), "all"]
    return {
        "title": title,
        "header": ["Cluster", *header],
        "rows": [list(row) for row in zip(titles, *values, strict=True)],
        "clusters": [*range(k), None],
        "note": " ".join(notes),
        "digits": 3,
    }
