"""Results of a run, computed once, and its static figures, for print and papers.

Letters: N samples, D latent features, K clusters, m samples of a figure.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import __version__
from ..catalogue.catalogue import Catalogue, Span
from ..clustering.initialisation import MAX_TREE_SIZE, Trees
from ..clustering.selection import read_rows
from ..data.layouts import SpectrogramFile
from ..data.loading import Preparation
from ..data.sets import Split
from ..data.times import parse_times
from ..evaluation.comparison import refinement
from ..evaluation.metrics import MEASURED
from ..evaluation.performance import performance_of
from ..evaluation.samples import MAPS, mapped, representatives_of
from ..io import new_file, read_npz, sha256, write_npz
from ..models.checkpoint import load_model
from ..plots import latent, occurrence, samples, training
from ..plots.style import frame, plain
from ..run_folder import StageFolder
from ..runs.cluster_map import read_cluster_map, read_means
from ..runs.labels import cluster_title, station_of, usable_sample
from ..runs.run import FinishedRun, FinishedStage, model_of
from ..settings import Settings

METHODS = {"GMM": "Gaussian mixture", "DEC": "Deep embedded clustering"}
MODELS = {"AEC": "model.pt", "GMM": "model.npz", "DEC": "model.pt"}
INPUTS = "RISCluster inputs"  # key of the checksum in a PNG
GALLERY_COLUMNS = 8
LARGEST = 16  # clusters that figures draw
RECONSTRUCTED = 6
CHOSEN_COLUMNS = 6
Draw = Callable[[], Figure]


class Results:
    """A run, and results that several sections and figures need, computed once."""

    def __init__(self, run: FinishedRun, writes: bool = False):
        self.run, self.stage, self.file, self.settings = run, run.final, run.file, run.settings
        self.writes = writes  # whether figures and the map are saved
        self.folder = run.folder / "figures"
        self.mapped = self.stage  # whose latents make the map
        self.chosen = self.settings.report.samples or ()  # indices
        self.measured, self.look, self.data = None, [], {}  # of the page's samples, see `samples`

    names = cached_property(lambda self: self.run.names)  # of clusters by label, by the user
    performances = cached_property(lambda self: performance_of(self.run))  # the final stage last
    refinement = cached_property(lambda self: refinement(self.run))  # None without one
    representatives = cached_property(lambda self: representatives_of(self.run, self.stage))
    catalogue = cached_property(lambda self: Catalogue(self.stage))
    titles = cached_property(  # of the final stage's clusters, (K,)
        lambda self: [cluster_title(label, self.names) for label in range(self.stage.n_clusters)]
    )
    models = cached_property(  # networks of the stages that label
        lambda self: {stage.name: model_of(self.run, stage) for stage in self.run.labelling}
    )

    @cached_property
    def centroid_distances(self) -> np.ndarray:
        """Distances between the mean latents of clusters, (K, K); NaN for empty ones."""
        centroids = self.models[self.stage.name].centroids
        return np.linalg.norm(centroids[:, None] - centroids[None], axis=2)

    def facts(self, sample: int) -> dict[str, Any]:
        """Index, label, probability, time (UTC) and station of a sample, "" where not known."""
        row, time = self.stage.table.iloc[sample], self.catalogue.table.get("starttime")
        known = time is not None and pandas.notna(time[sample])
        return {
            "sample": sample, "label": int(row["label"]), "probability": float(row["probability"]),
            "time": f"{time[sample]:%Y-%m-%d %H:%M:%S}" if known else "",
            "station": station_of(row.get("trace_id") or ""),
        }  # fmt: skip

    @property
    def place(self) -> str:
        """What traces are of: stations, or channels of a cube."""
        return "channel" if self.file.layout == "cube" else "station"

    @cached_property
    def stations(self) -> list[str]:
        """Stations; channels of a cube with their distance."""
        at, file = {}, self.file
        if getattr(file, "distance", None) is not None:
            pairs = zip(file.channel_names(), file.distance, strict=True)
            at = {name: f" at {x:,.5g} {file.distance_unit}" for name, x in pairs}
        return [name + at.get(name, "") for name in self.catalogue.stations]

    @cached_property
    def span(self) -> Span:
        """First and last time by ``report.span``, or of the samples; only of data with times."""
        text = self.settings.report.span
        return self.catalogue.span if text is None else tuple(_utc(text.split("/")))

    @cached_property
    def moments(self) -> list[tuple[np.datetime64, str]]:
        """Times and names of ``report.moments``."""
        parts = (self.settings.report.moments or "").split(",")
        parts = [part.split(None, 1) for part in parts if part.strip()]
        return list(zip(_utc([part[0] for part in parts]), (p[-1] for p in parts), strict=True))

    @property
    def has_days(self) -> bool:
        """Whether the samples span a day or more."""
        span = self.catalogue.span
        return span is not None and span[1] - span[0] >= np.timedelta64(1, "D")

    @property
    def largest(self) -> list[int]:
        """The `LARGEST` largest clusters that are not empty, ascending."""
        order = np.argsort(-self.stage.sizes, kind="stable")[:LARGEST]
        return np.sort(order[self.stage.sizes[order] > 0]).tolist()


def _utc(texts: Sequence[str]) -> np.ndarray:
    times = parse_times(np.array([text.strip() for text in texts], str))
    return times.view("M8[ns]").astype("M8[us]")


# ---- files --------------------------------------------------------------------------------------


def image_of(results: Results, name: str, draw: Draw) -> Image.Image:
    """A figure as an image, drawn and saved in ``figures/``.

    A PNG of a stage that was drawn from the same inputs is read.
    """
    path = results.folder / f"{name}.{results.settings.run.figure_format}"
    stage, is_png, text = results.run.stages.get(name[:3]), path.suffix == ".png", PngInfo()
    inputs = "" if stage is None else _inputs_of(results, stage)
    if inputs and is_png and path.is_file():
        with Image.open(path) as image:
            if image.info.get(INPUTS) == inputs:
                return image.convert("RGB")
    figure = draw()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, where Figure.savefig draws twice
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if results.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        text.add_text(INPUTS, inputs)
        with new_file(path) as target:
            if is_png:
                image.save(target, "PNG", pnginfo=text, dpi=(figure.dpi, figure.dpi))
            else:
                figure.savefig(target, format=path.suffix[1:])
    return image


def _inputs_of(results: Results, stage: FinishedStage) -> str:
    """Checksum of the inputs of a stage's figures."""
    names = results.names if stage is results.stage else {}
    corrections = "" if stage.corrections is None else stage.corrections.to_csv()
    model, method = sha256(stage.path / MODELS[stage.name]), results.settings.report.embedding
    return hashlib.sha256(
        repr((__version__, model, names, corrections, method)).encode()
    ).hexdigest()


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
    drawn = stage_figures(results, stage)
    for name, draw in drawn.items():
        image_of(results, name, draw)
    return [results.folder / f"{name}.{settings.run.figure_format}" for name in drawn]


def map_of(results: Results, drawn: Trees | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Index (m,) and places (m, 2) of at most `MAX_TREE_SIZE` latents by ``report.embedding``.

    Read from ``figures/`` if one of these latents is there, or computed and saved; `drawn` is a
    t-SNE map that exists. No places of too few latents.
    """
    stage, seed = results.mapped, results.settings.run.seed
    method = results.settings.report.embedding
    inputs = f"{method} {seed} {sha256(stage.path / 'latent.npy')}"
    for path in results.folder.glob("*_embedding.npz"):
        arrays = read_npz(path)
        if arrays["inputs"].tobytes() == inputs.encode():
            return arrays["index"], arrays["points"]
    if drawn is not None and len(drawn.points) and method == "tsne":
        index, points = drawn.index, drawn.points
    else:
        index = usable_sample(stage.labels, MAX_TREE_SIZE, seed)
        points = mapped(stage.latents[index], method, seed)
    if results.writes:
        results.folder.mkdir(parents=True, exist_ok=True)
        inputs = np.frombuffer(inputs.encode(), np.uint8)
        path = results.folder / f"{stage.name}_embedding.npz"
        write_npz(path, inputs=inputs, index=index, points=points)
    return index, points


# ---- of a stage ---------------------------------------------------------------------------------


def stage_figures(results: Results, stage: FinishedStage) -> dict[str, Draw]:
    """Figures of a stage by file name; those of labels only of the final stage."""
    name, path, settings, figures = stage.name, stage.path, stage.settings, {}
    if name == "GMM":
        rows, k = read_rows(path / "selection.csv"), stage.n_clusters
        figures["GMM_selection"] = partial(training.selection_curves, rows, k, settings.gmm.select)
    elif len(history := pandas.read_csv(path / "history.csv")) and name == "AEC":
        mse = stage.metrics.get("mse_of_mean_spectrogram") or 1.0
        figures["AEC_loss"] = partial(training.aec_history, history, mse)
    elif len(history):
        tol = np.ravel(settings.dec.tol)[0]
        figures["DEC_history"] = partial(training.dec_history, history, tol)
    if name == "AEC":
        figures["AEC_reconstructions"] = partial(reconstructions, results)
    elif stage is results.stage:
        figures[f"{name}_gallery"] = partial(gallery, results)
        figures[f"{name}_embedding"] = partial(embedding, results)
        if (path / "labels.h5").exists():
            figures[f"{name}_map"] = partial(label_map, results, path / "labels.h5", METHODS[name])
            figures[f"{name}_section"] = partial(section, results, path / "labels.h5")
    return figures


def label_map(results: Results, path: Path, title: str) -> Figure:
    """Labels of a cube over time and along the channels."""
    sizes = results.stage.sizes.tolist()
    return occurrence.cluster_map(read_cluster_map(path), sizes, title, results.names)


def section(results: Results, path: Path) -> Figure:
    """Mean values of a cube over time and along the channels, and with the labels."""
    means, file = read_means(results.file), results.file
    unit = file.amplitude_unit or "as stored"
    if np.nanmin(means) >= 0:  # power
        unit = "dB" + f" re 1 {file.amplitude_unit}" * bool(file.amplitude_unit)
        smallest = np.min(means, where=means > 0, initial=1.0)
        means = 10 * np.log10(np.maximum(means, smallest))
    sizes = results.stage.sizes.tolist()
    return occurrence.cluster_section(read_cluster_map(path), means, sizes, unit, results.names)


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


def gallery(results: Results) -> Figure:
    """Typical members of the largest clusters, a row each, with a peak of 1."""
    stage, file, labels, members = results.stage, results.file, results.largest, []
    prepare = Preparation(results.settings.data.amplitude, "sample_normalization")
    for label in labels:
        chosen = results.representatives.typical[label]["sample"].tolist()[:GALLERY_COLUMNS]
        rows = np.concatenate([file.read(i, i + 1) for i in chosen])
        members.append(prepare(torch.from_numpy(rows)).numpy())
    k, sizes = stage.n_clusters, stage.sizes[labels].tolist()
    cut = f", the {len(labels)} largest" if len(labels) < k else ""
    title = f"{METHODS[stage.name]}: {k} clusters{cut}, typical members"
    return samples.gallery(file, members, labels, sizes, GALLERY_COLUMNS, title)


def chosen(results: Results) -> Figure:
    """The samples of ``report.samples``, framed in the colours of their clusters."""
    facts, panels = [results.facts(sample) for sample in results.chosen], []
    for one in facts:
        label = f"cluster {one['label']}, p {one['probability']:.2f}" if one["label"] >= 0 else ""
        lines = f"sample {one['sample']}", label, one["time"], plain(one["station"])
        image = results.file.read(one["sample"], one["sample"] + 1)[0]
        panels.append((image, "\n".join(filter(None, lines))))
    rows = [("", panels[at : at + CHOSEN_COLUMNS]) for at in range(0, len(panels), CHOSEN_COLUMNS)]
    figure = samples.sample_overview(results.file, rows, "Chosen samples")
    for axes, one in zip(figure.axes, facts, strict=False):
        frame(axes, one["label"])
    return figure


def embedding(results: Results) -> Figure:
    """Map of the latents, see `map_of`."""
    index, points = map_of(results)
    labels, sizes = results.stage.labels[index[: len(points)]], results.stage.sizes
    title = f"{METHODS[results.stage.name]}: {len(points):,} of {sizes.sum():,} latents"
    method = MAPS[results.settings.report.embedding]
    return latent.embedding(points, labels, sizes.tolist(), title, results.names, method)


# ---- of the final clusters ----------------------------------------------------------------------


def means(results: Results) -> Figure:
    """Mean spectrograms of the largest clusters, and their decoded centroids."""
    model, labels = results.models[results.stage.name], results.largest
    unit = f"amplitude {model.preparation.amplitude}, {model.preparation.transform}"
    images = results.performances[-1].means[labels], model.decode(model.centroids)[labels]
    sizes = results.stage.sizes[labels].tolist()
    return samples.means_and_centroids(results.file, *images, labels, sizes, unit, results.names)


def distances(results: Results) -> Figure:
    """Distances from the centroids, for every stage that labels."""
    drawn, panels = usable_sample(results.stage.labels, MEASURED, results.settings.run.seed), []
    for stage in results.run.labelling:
        index = drawn[stage.labels[drawn] >= 0]
        labels = stage.labels[index].astype(np.int64)
        away = stage.latents[index] - results.models[stage.name].centroids[labels]
        panels.append((stage.name, labels, np.linalg.norm(away, axis=1)))
    k = max(stage.n_clusters for stage in results.run.labelling)
    return latent.distance_curves(panels, k, results.names)
