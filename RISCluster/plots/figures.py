"""Static figures of a run, for print and papers: a table of functions, drawn and saved.

Letters: m samples of the map.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..catalogue.catalogue import count_occurrences
from ..clustering.initialisation import MAX_TREE_SIZE, Trees
from ..data.layouts import SpectrogramFile
from ..data.loading import Preparation
from ..data.sets import Split, draw_usable
from ..evaluation.samples import MAPS, mapped
from ..io import new_file, read_npz, sha256, write_npz
from ..models.checkpoint import load_model
from ..run_folder import StageFolder
from ..runs.cluster_map import read_cluster_map, read_means
from ..runs.labels import cluster_title, station_of
from ..runs.run import FinishedRun, FinishedStage
from ..settings import Settings
from . import latent, occurrence, places, samples, scores
from .results import METHODS, Results
from .style import frame, plain

COLUMNS = 8  # of the gallery
CHOSEN_COLUMNS = 6
RECONSTRUCTED = 6


# ---- files --------------------------------------------------------------------------------------


def image_of(results: Results, name: str) -> Image.Image | None:
    """A figure as an image, drawn and saved in ``figures/``; None where the run has nothing for it.

    A PNG that an earlier stage than the final one has drawn of its results is read.
    """
    path = results.folder / f"{name}.{results.settings.run.figure_format}"
    stage, is_png = results.run.stages.get(name[:3], results.stage), path.suffix == ".png"
    if is_png and path.is_file() and stage is not results.stage:
        drawn, made = (one.stat().st_mtime for one in (path, stage.path / "metrics.json"))
        if drawn > made:
            with Image.open(path) as image:
                return image.convert("RGB")
    if (figure := figures_of(results)[name](results)) is None:
        return None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, where Figure.savefig draws twice
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if results.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as target:
            if is_png:
                image.save(target, "PNG", dpi=(figure.dpi, figure.dpi))
            else:
                figure.savefig(target, format=path.suffix[1:])
    return image


def draw_stage(
    file: SpectrogramFile, folder: StageFolder, settings: Settings, metrics: Mapping[str, Any],
    drawn_map: Trees | None = None,
) -> list[Path]:  # fmt: skip
    """Draw the figures of a stage whose results are written.

    `drawn_map` is a t-SNE map of its latents, if there is one.
    """
    stage = FinishedStage(folder.name, folder.path, dict(metrics), {}, settings)
    results = Results(FinishedRun(folder.run_folder, settings, {stage.name: stage}, file), True)
    if drawn_map is not None:
        map_of(results, drawn_map)
    names = [name for name in figures_of(results) if name.startswith(stage.name)]
    drawn = [name for name in names if image_of(results, name) is not None]
    return [results.folder / f"{name}.{settings.run.figure_format}" for name in drawn]


def map_of(results: Results, drawn: Trees | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Index (m,) and places (m, 2) of at most `MAX_TREE_SIZE` latents by ``report.embedding``.

    Read from ``figures/`` if one of these latents is there, or computed and saved; `drawn` is a
    t-SNE map that exists. No places of too few latents.
    """
    stage, seed, method = results.mapped, results.settings.run.seed, results.report.embedding
    inputs = f"{method} {seed} {sha256(stage.path / 'latent.npy')}"
    for path in results.folder.glob("*_embedding.npz"):
        arrays = read_npz(path)
        if str(arrays["inputs"]) == inputs:
            return arrays["index"], arrays["points"]
    if drawn is not None and len(drawn.points) and method == "tsne":
        index, points = drawn.index, drawn.points
    else:
        index = draw_usable(stage.labels >= 0, MAX_TREE_SIZE, seed)
        points = mapped(stage.latents[index], method, seed)
    if results.writes:
        results.folder.mkdir(parents=True, exist_ok=True)
        path = results.folder / f"{stage.name}_embedding.npz"
        write_npz(path, inputs=np.array(inputs), index=index, points=points)
    return index, points


# ---- of a stage ---------------------------------------------------------------------------------


def _history(results: Results, name: str) -> Figure | None:
    """Losses of the AEC or the DEC stage over epochs."""
    stage = results.run.stages[name]
    history = pandas.read_csv(stage.path / "history.csv")
    if history.empty:
        return None
    if name == "DEC":
        return scores.dec_history(history, stage.metrics.get("tol", stage.settings.dec.tol))
    return scores.aec_history(history, stage.metrics.get("mse_of_mean_spectrogram") or 1.0)


def reconstructions(results: Results) -> Figure:
    """Some validation samples of the AEC stage, spread over the file, through its network."""
    file, path = results.file, results.run.stages["AEC"].path
    trained = load_model(path / "model.pt", "AEC")
    validation = Split.load(path / "split.npz").validation
    chosen = np.linspace(0, len(validation) - 1, RECONSTRUCTED).astype(int)
    index = validation[np.unique(chosen)]
    images = np.concatenate([rows for _, rows in file.read_blocks(index)])
    model, preparation = trained.model.eval(), trained.preparation
    with torch.inference_mode():
        x = preparation(torch.from_numpy(images))
        reconstruction, z = model(x if x.ndim == 4 else x[:, None])
        inputs, outputs = map(preparation.undo_standardize, (x, reconstruction.squeeze(1)))
    titles = [f"sample {i}" for i in index]
    return samples.reconstructions(file, inputs.numpy(), z.numpy(), outputs.numpy(), titles)


# ---- of the final clusters ----------------------------------------------------------------------


def _sized(results: Results) -> list[str]:
    """Titles of all clusters with their sizes."""
    pairs = zip(results.titles, results.stage.sizes, strict=True)
    return [f"{plain(title)}  ({size:,})" for title, size in pairs]


def gallery(results: Results) -> Figure:
    """Typical members of the largest clusters, a row each, with a peak of 1."""
    file, labels, members, k = results.file, results.largest, [], results.stage.n_clusters
    prepare = Preparation(results.settings.data.amplitude, "sample_normalization")
    for label in labels:
        chosen = results.representatives.typical[label]["sample"].tolist()[:COLUMNS]
        rows = np.concatenate([file.read(i, i + 1) for i in chosen])
        members.append(prepare(torch.from_numpy(rows)).numpy())
    cut = f", the {len(labels)} largest" if len(labels) < k else ""
    title = f"{METHODS[results.stage.name]}: {k} clusters{cut}, typical members"
    titles = [_sized(results)[label] for label in labels]
    return samples.gallery(file, members, labels, titles, COLUMNS, title)


def _embedding(results: Results) -> Figure:
    """Map of the latents, see `map_of`."""
    (index, points), stage = map_of(results), results.stage
    title = f"{METHODS[stage.name]}: {len(points):,} of {stage.sizes.sum():,} latents"
    labels, method = stage.labels[index[: len(points)]], MAPS[results.report.embedding]
    return latent.embedding(points, labels, _sized(results), title, method)


def label_map(results: Results) -> Figure | None:
    """Labels of a cube over time and along the channels."""
    if not (path := results.label_image).exists():
        return None
    return places.cluster_map(read_cluster_map(path), _sized(results), METHODS[results.stage.name])


def _section(results: Results) -> Figure | None:
    """Mean values of a cube over time and along the channels, and with the labels."""
    if not (path := results.label_image).exists():
        return None
    means, unit = read_means(results.file), results.file.amplitude_unit
    if np.nanmin(means) >= 0:  # power
        unit = f"dB re 1 {unit}" if unit else "dB"
        smallest = np.min(means, where=means > 0, initial=1.0)
        means = 10 * np.log10(np.maximum(means, smallest))
    image, titles = read_cluster_map(path), _sized(results)
    return places.cluster_section(image, means, titles, unit or "as stored")


def chosen(results: Results) -> Figure:
    """The samples of ``report.samples``, framed in the colours of their clusters."""
    panels, table = [], results.stage.table
    for i in results.chosen:
        row, lines = table.loc[i], [f"sample {i}"]
        if row["label"] >= 0:
            lines.append(f"cluster {row['label']}, p {row['probability']:.2f}")
        if pandas.notna(row.get("starttime")):
            lines.append(f"{row['starttime']:%Y-%m-%d %H:%M:%S}")
        lines.append(plain(station_of(row.get("trace_id") or "")))
        panels.append((results.file.read(i, i + 1)[0], "\n".join(lines)))
    rows = [("", panels[at : at + CHOSEN_COLUMNS]) for at in range(0, len(panels), CHOSEN_COLUMNS)]
    figure = samples.sample_overview(results.file, rows, "Chosen samples")
    for axes, label in zip(figure.axes, table["label"][[*results.chosen]], strict=False):
        frame(axes, label)
    return figure


def _means(results: Results) -> Figure:
    """Mean spectrograms of the largest clusters, and their decoded centroids."""
    model, labels = results.model, results.largest
    unit = f"amplitude {model.preparation.amplitude}, {model.preparation.transform}"
    images = results.performances[-1].means[labels], model.decode(model.centroids)[labels]
    titles = [_sized(results)[label] for label in labels]
    return samples.means_and_centroids(results.file, *images, labels, titles, unit)


def _silhouettes(results: Results) -> Figure:
    most = max(stage.n_clusters for stage in results.run.labelling)
    titles = [plain(cluster_title(label, results.names)) for label in range(most)]
    return latent.silhouette_profiles(results.performances, titles)


# ---- where and when -----------------------------------------------------------------------------


def _station_map(results: Results) -> Figure | None:
    """Clusters at the stations whose coordinates are known."""
    at = results.located[0]
    known = np.flatnonzero(np.isfinite(at[:, 0]))
    if not len(known):
        return None
    names = [plain(results.catalogue.stations[row]) for row in known]
    return places.station_map(
        names, at[known], results.catalogue.by_station()[known], _sized(results)
    )


def _occurrence(results: Results) -> Figure:
    """Samples of the large clusters over time, and environmental series."""
    bins, series, titles = results.bins, results.environment[0], _sized(results)
    counts, recording = count_occurrences(results.catalogue, bins)
    means = series.groupby(bins.index(series.index.to_numpy("M8[us]"))).mean()
    means = means.reindex(range(len(recording))).to_numpy()
    panels = [(titles[label], counts[:, label], label) for label in results.largest]
    first, last = bins.edges[[0, -1]]
    return occurrence.occurrence_series(
        bins.edges, panels, recording > 0, bins.interval,
        list(zip(map(plain, series), means.T, strict=True)),
        [one for one in results.moments if first <= one[0] <= last], results.report.log_axis,
    )  # fmt: skip


def _profiles(results: Results) -> Figure:
    """Hours and months in which the large clusters occur."""
    hours, months = results.catalogue.by_hour(), results.catalogue.by_month()
    totals, labels = (hours.sum(axis=1), months.sum(axis=1)), results.largest
    titles = [_sized(results)[label] for label in labels]
    return occurrence.profiles(hours[:, labels], months[:, labels], labels, titles, totals)


def _confusion(results: Results) -> Figure:
    """The final clusters by known class."""
    stage, table, _ = results.scores[-1]
    order, present = table.order().tolist(), np.flatnonzero(table.counts.sum(0))
    classes = [results.run.class_names[column] for column in present]
    title = f"{stage.name}: accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}"
    counts, titles = table.counts[order][:, present], [results.titles[label] for label in order]
    return scores.known_classes(counts, order, titles, classes, title)


# Functions that draw, by file name; of the final stage, "final" stands for its name.
FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "AEC_loss": partial(_history, name="AEC"),
    "AEC_reconstructions": reconstructions,
    "GMM_selection": lambda x: scores.selection_curves(
        x.choice["rows"], x.choice["k"], x.choice["criterion"]
    ),
    "DEC_history": partial(_history, name="DEC"),
    "final_gallery": gallery,
    "final_embedding": _embedding,
    "final_map": label_map,
    "final_section": _section,
    "report_samples": chosen,
    "report_station_map": _station_map,
    "report_occurrence": _occurrence,
    "report_profiles": _profiles,
    "report_tree": lambda x: latent.centroid_tree(x.centroid_distances, [*map(plain, x.titles)]),
    "report_confusion": _confusion,
    "report_reliability": lambda x: scores.reliability_curve([(a.name, b) for a, _, b in x.scores]),
    "report_means": _means,
    "report_silhouettes": _silhouettes,
}


def figures_of(results: Results) -> dict[str, Callable[[Results], Figure | None]]:
    """Functions that draw the figures of a run, by file name."""
    final = results.stage.name if results.stage else "final"
    return {name.replace("final", final): draw for name, draw in FIGURES.items()}
