"""Measures of each cluster and of all samples, after Jenkins et al. (2021).

Data space is that of the samples after `data.amplitude` and `data.transform`, without
standardisation. With the mean c of a cluster's members x, each of B bins:

    MSE to the mean            sum((x - c)^2) / B
    inner product with it      sum(x c) / (|x| |c|), 1 for the same shape

Letters: N samples of the file, m of them measured, K clusters, F x T bins.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch
from sklearn.metrics import calinski_harabasz_score
from sklearn.metrics.pairwise import euclidean_distances

from ..data.layouts import READ_ROWS, SpectrogramFile
from ..data.loading import Preparation, Reader, SampleSet
from ..data.sets import draw_usable, subsample
from ..io import write_text
from ..runs.labels import Labelling, cluster_title
from ..runs.run import FinishedRun, model_of
from .metrics import MEASURED, silhouettes

TITLES = {
    "probability": "Mean probability",
    "inner_product": "Inner product with mean",
    "mse": "MSE to mean",
    "silhouette_latent": "Silhouette, latent space",
    "silhouette_data": "Silhouette, data space",
}
HELD = 200e6  # bytes of samples in memory; of larger samples fewer are measured in data space
MAX_DATA_SILHOUETTES = 1500  # samples in data space: the cost is their number squared


def measure(values: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Means of samples (m,) by cluster and, last, of all, (K + 1,); NaN without any.

    NaN, and labels below 0, are left out.
    """
    known = ~np.isnan(values) & (labels >= 0)
    values = pandas.Series(values[known])
    means = values.groupby(labels[known]).mean().reindex(range(n_clusters))
    return np.r_[means, values.mean()]


def calinski_harabasz(samples: SampleSet, labels: np.ndarray, n_bins: int) -> float:
    """Calinski-Harabasz index in data space of at most `HELD` bytes of samples, drawn at random.

    `labels` (N,) are those of every sample of the file. NaN for fewer than two clusters, or as many
    as samples.
    """
    positions = subsample(len(samples), max(3, int(HELD / (8 * n_bins))), 0)
    some = samples.take(samples.index[positions])
    parts = [x.flatten(1).double().cpu() for _, x in some.in_order(0, len(some), READ_ROWS)]
    members = labels[some.index]
    if not 1 < len(np.unique(members)) < len(members):
        return float("nan")
    return float(calinski_harabasz_score(torch.cat(parts).numpy(), members))


def deviations(
    file: SpectrogramFile, preparation: Preparation, index: np.ndarray,
    labellings: Sequence[tuple[np.ndarray, int]], seed: int = 0,
) -> list[tuple[np.ndarray, pandas.DataFrame]]:  # fmt: skip
    """Compare the samples `index` (m,), ascending, with the means of their clusters.

    `labellings` are labels (m,) and K. Returns for each of them the means (K, [C,] F, T), and mse,
    inner_product and silhouette_data of each sample, the last one of few; NaN for what is not
    known.
    """
    unscaled = Preparation(preparation.amplitude, preparation.transform)
    reader, n_bins = Reader(file, unscaled, torch.device("cpu")), math.prod(file.shape)
    reader.skip_negative = True
    held = index[subsample(len(index), max(2, int(HELD / (4 * n_bins))), seed)]
    found, x = np.empty(0, np.int64), np.empty((0, n_bins), np.float32)
    if parts := [(one, values.flatten(1).numpy()) for one, values in reader.blocks(held)]:
        found, x = map(np.concatenate, zip(*parts, strict=True))
    at = np.searchsorted(index, found)
    few = np.isin(at, subsample(len(index), MAX_DATA_SILHOUETTES, seed))
    distances = euclidean_distances(x[few]) if few.any() else np.zeros((0, 0))
    np.fill_diagonal(distances, 0)
    results = []
    for labels, k in labellings:
        means, values = np.full((k, n_bins), np.nan), np.full((len(index), 3), np.nan)
        for label in np.unique(labels[at]):
            members = labels[at] == label
            x_members = x[members].astype(np.float64)
            mean = means[label] = x_members.mean(0)
            lengths = np.linalg.norm(x_members, axis=1) * np.linalg.norm(mean)
            values[at[members], 1] = x_members @ mean / np.maximum(lengths, 1e-300)
            values[at[members], 0] = np.square(x_members - mean).mean(1)
        values[at[few], 2] = silhouettes(distances, labels[at[few]], "precomputed")
        frame = pandas.DataFrame(values, columns=["mse", "inner_product", "silhouette_data"])
        results.append((means.reshape(-1, *file.shape), frame))
    return results


def write_performance(
    path: Path, file: SpectrogramFile, preparation: Preparation, labelling: Labelling,
    index: np.ndarray, silhouettes: np.ndarray,
) -> None:  # fmt: skip
    """Write a row for each cluster and one for all; `silhouettes` are of the samples `index`."""
    k, sizes, labels = labelling.n_clusters, labelling.sizes, labelling.labels[index].astype("i8")
    [(_, space)] = deviations(file, preparation, index, [(labels, k)])
    values = {"silhouette_latent": silhouettes, "mse_to_mean": space["mse"].to_numpy()}
    values["inner_product_with_mean"] = space["inner_product"].to_numpy()
    table = pandas.DataFrame({
        "label": [*range(k), "all"],
        "size": [*sizes.tolist(), labelling.n_usable],
        "share": np.r_[sizes / labelling.n_usable, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        **{name: measure(x, labels, k) for name, x in values.items()},
    })  # fmt: skip
    text = table.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    write_text(path, text)


class Performance(NamedTuple):
    """Measures of one stage's clusters; scores are labels and silhouettes of measured samples."""

    stage: str
    sizes: np.ndarray  # (K + 1,), int64; the last one is all
    measures: dict[str, np.ndarray]  # see `measure`, by their names in TITLES
    scores: dict[str, tuple[np.ndarray, np.ndarray]]
    means: np.ndarray  # (K, F, T), of spectrograms; NaN where not measured


def performance_of(run: FinishedRun) -> list[Performance]:
    """Measures of every stage that labels, mixture first, of a run whose data are known.

    All stages are measured on the same samples, drawn with ``run.seed``.
    """
    stages, seed, performances = run.labelling, run.settings.run.seed, []
    is_usable = np.logical_and.reduce([one.labels >= 0 for one in stages])
    index = draw_usable(is_usable, MEASURED, seed)
    every = [(stage.labels[index].astype(np.int64), stage.n_clusters) for stage in stages]
    preparation = model_of(run, stages[-1]).preparation
    space = deviations(run.file, preparation, index, every, seed)
    for stage, (labels, k), (means, frame) in zip(stages, every, space, strict=True):
        frame.insert(0, "silhouette_latent", silhouettes(stage.latents[index], labels))
        probability = stage.table["probability"].to_numpy(dtype=np.float64)
        measures = {"probability": measure(probability, stage.labels, k)}
        measures |= {name: measure(frame[name].to_numpy(), labels, k) for name in frame}
        scores = {}
        for name in ("silhouette_latent", "silhouette_data"):
            known = frame[name].notna().to_numpy()
            scores[name] = labels[known], frame[name].to_numpy()[known]
        sizes = np.r_[stage.sizes, stage.sizes.sum()]
        performances.append(Performance(stage.name, sizes, measures, scores, means))
    return performances


def performance_table(performance: Performance, names: Mapping[int, str]) -> dict[str, Any]:
    """A row for each cluster and one for all, of a page."""
    sizes, measures, k = performance.sizes, performance.measures, len(performance.sizes) - 1
    columns = {"Cluster": [*(cluster_title(label, names) for label in range(k)), "all"]}
    columns |= {"Size": sizes.tolist(), "Share": (sizes / max(1, sizes[-1])).tolist()}
    columns |= {TITLES[name]: measures[name].tolist() for name in TITLES if name in measures}
    return {
        "title": f"{performance.stage}: clusters",
        "header": [*columns],
        "rows": [list(row) for row in zip(*columns.values(), strict=True)],
        "clusters": [*range(k), None],
        "note": f"All but probabilities are of at most {MEASURED:,} samples, drawn at random. Data "
        "space: after data.amplitude and data.transform, without standardisation.",
        "digits": 3,
    }
