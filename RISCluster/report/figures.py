"""Static figures of a run by file name: drawn by a stage or the report, for print and papers.

A PNG in ``figures/`` holds a checksum of its inputs; the report reads it if these are unchanged.

Letters: N samples, D latent features, K clusters, m samples of a figure.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import __version__
from ..catalogue.catalogue import Catalogue, Span, catalogue_of
from ..clustering.initialisation import MAX_TREE_SIZE, Trees
from ..clustering.selection import read_rows
from ..data.layouts import SpectrogramFile
from ..data.split import Split
from ..data.tables import read_numbers
from ..data.times import parse_times
from ..data.transforms import Preparation
from ..errors import CheckpointError
from ..evaluation.mapping import TITLES, mapped
from ..evaluation.metrics import MEASURED
from ..evaluation.performance import Performance, performance_of
from ..evaluation.representatives import Representatives, representatives_of
from ..io import new_file, read_npz, sha256, write_npz
from ..models.checkpoint import load_model
from ..plots import latent, occurrence, samples, training
from ..run_folder import StageFolder
from ..runs.cluster_map import read_cluster_map
from ..runs.labels import usable_sample
from ..runs.names import cluster_title, read_names
from ..runs.run import FinishedRun, FinishedStage, StageModel, model_of
from ..settings import Settings

METHODS = {"GMM": "Gaussian mixture", "DEC": "Deep embedded clustering"}
MODELS = {"AEC": "model.pt", "GMM": "model.npz", "DEC": "model.pt"}
INPUTS = "RISCluster inputs"  # key of the checksum in a PNG
GALLERY_COLUMNS = 8
LARGEST = 24  # clusters that figures draw
RECONSTRUCTED = 6
Draw = Callable[[], Figure]


class Results:
    """A run, and results that several sections and figures need, computed once."""

    def __init__(self, run: FinishedRun, writes: bool = False):
        self.writes = writes  # whether figures are saved
        self.measured, self.look, self.data = None, [], {}  # of the page's samples, see `samples`
        self.run, self.stage, self.file, self.settings = run, run.final, run.file, run.settings
        self.mapped = self.stage  # whose latents make the map

    @cached_property
    def names(self) -> dict[int, str]:
        """Names of clusters by label, given by the user."""
        return read_names(self.run)

    @cached_property
    def titles(self) -> dict[int, str | None]:
        """Titles of the final stage's clusters by label; None for -1."""
        labels = range(self.stage.n_clusters)
        return {-1: None} | {label: cluster_title(label, self.names) for label in labels}

    @cached_property
    def performances(self) -> list[Performance]:
        """Of all stages that label, the final one last."""
        return performance_of(self.run)

    @cached_property
    def representatives(self) -> Representatives:
        """Samples to look at."""
        return representatives_of(self.run, self.stage)

    @cached_property
    def models(self) -> dict[str, StageModel]:
        """Networks of the stages that label."""
        return {stage.name: model_of(self.run, stage) for stage in self.run.labelling}

    @property
    def folder(self) -> Path:
        """Where figures and the map are."""
        return self.run.folder / "figures"

    @property
    def place(self) -> str:
        """What traces are of: stations, or channels of a cube."""
        return "channel" if (self.run.final.path / "labels.h5").exists() else "station"

    def stage_figures(self, stage: FinishedStage) -> dict[str, "Draw"]:
        """Figures of a stage by file name."""
        return stage_figures(self, stage, self.folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Times and stations of the final labels."""
        return catalogue_of(self.stage)

    @cached_property
    def stations(self) -> list[str]:
        """Stations; channels of a cube with their distance."""
        names, distance = self.catalogue.stations, getattr(self.file, "distance", None)
        if distance is None:
            return names
        texts = [f"{x:,.5g} {self.file.distance_unit}" for x in distance]
        at = dict(zip(self.file.channel_names(), texts, strict=True))
        return [f"{name} at {at[name]}" if name in at else name for name in names]

    @cached_property
    def span(self) -> Span:
        """First and last time by ``report.span``, or of the samples; only of data with times."""
        text = self.settings.report.span
        return self.catalogue.span if text is None else tuple(_utc(text.split("/")))

    @cached_property
    def moments(self) -> list[tuple[np.datetime64, str]]:
        """Times and names of ``report.moments``."""
        parts = [part.split(None, 1) for part in (self.settings.report.moments or "").split(",")]
        parts = [part for part in parts if part]
        return list(zip(_utc([part[0] for part in parts]), (p[-1] for p in parts), strict=True))

    @property
    def has_days(self) -> bool:
        """Whether the samples span a day or more."""
        span = self.catalogue.span
        return span is not None and span[1] - span[0] >= np.timedelta64(1, "D")

    @property
    def index(self) -> np.ndarray:
        """Samples whose latents are drawn, (m,), ascending."""
        return usable_sample(self.stage.labels, MEASURED, self.settings.run.seed)

    @property
    def largest(self) -> list[int]:
        """The `LARGEST` largest clusters that are not empty, ascending."""
        order = np.argsort(-self.stage.sizes, kind="stable")[:LARGEST]
        return np.sort(order[self.stage.sizes[order] > 0]).tolist()


def _utc(texts: Sequence[str]) -> np.ndarray:
    return (
        parse_times(np.array([text.strip() for text in texts], str)).view("M8[ns]").astype("M8[us]")
    )


# ---- files --------------------------------------------------------------------------------------


def inputs_of(stages: Sequence[FinishedStage], names: Mapping[int, str], *more: Any) -> str:
    """Checksum of the inputs of figures: models, corrections, names of clusters, further values."""
    models = [sha256(stage.path / MODELS[stage.name]) for stage in stages]
    corrected = [one.corrections.to_csv() for one in stages if one.corrections is not None]
    text = json.dumps([__version__, models, corrected, sorted(names.items()), more], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def png_of(path: Path, inputs: str, draw: Draw, writes: bool = True) -> bytes:
    """A figure as PNG: read from its file if that has these inputs, or else drawn and saved."""
    is_png = path.suffix == ".png"
    if is_png and path.is_file():
        with Image.open(path) as image:
            if image.info.get(INPUTS) == inputs:
                return path.read_bytes()
    figure, buffer, text = draw(), BytesIO(), PngInfo()
    text.add_text(INPUTS, inputs)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, where Figure.savefig draws twice
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.save(buffer, "PNG", pnginfo=text, dpi=(figure.dpi, figure.dpi))
    if writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as target:
            if is_png:
                target.write_bytes(buffer.getvalue())
            else:
                figure.savefig(target, format=path.suffix[1:])
    figure.clear()
    return buffer.getvalue()


def draw_stage(
    file: SpectrogramFile,
    folder: StageFolder,
    settings: Settings,
    metrics: Mapping[str, Any],
    drawn_map: Trees | None = None,
) -> list[Path]:
    """Draw the figures of a stage whose results are written; those of a sweep in its folder.

    `drawn_map` is a t-SNE map of its latents, if there is one.
    """
    stage = FinishedStage(folder.name, folder.path, dict(metrics), {}, settings)
    run = FinishedRun(folder.run_folder, settings, {stage.name: stage}, file)
    results = Results(run, writes=True)
    figures = folder.path / "figures" if folder.part else folder.figures
    inputs, paths = inputs_of([stage], results.names, settings.report.embedding), []
    for name, draw in stage_figures(results, stage, figures, drawn_map).items():
        paths.append(figures / f"{name}.{settings.run.figure_format}")
        paths[-1].unlink(missing_ok=True)
        png_of(paths[-1], inputs, draw)
    return paths


def map_of(
    results: Results, stage: FinishedStage, figures: Path | None, drawn: Trees | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Index (m,) and places (m, 2) of at most `MAX_TREE_SIZE` latents by ``report.embedding``.

    Read from the folder `figures` if they are there, or computed and saved. No places of too few.
    """
    method, seed = results.settings.report.embedding, results.settings.run.seed
    name, place = stage.name, stage.path
    if name == "DEC" and stage.metrics.get("refined") is False:  # latents are those of the mixture
        name, place = "GMM", results.run.folder / "GMM"
    made = FinishedStage(name, place, {}, {}, stage.settings)  # without corrections
    inputs = np.frombuffer(bytes.fromhex(inputs_of([made], {}, method, seed)), np.uint8)
    path = figures and figures / f"{name}_embedding.npz"
    if path is not None and path.is_file():
        arrays = read_npz(path)
        if np.array_equal(arrays["inputs"], inputs):
            return arrays["index"], arrays["points"]
    if drawn is not None and len(drawn.points) and method == "tsne":
        index, points = drawn.index, drawn.points
    else:
        index = usable_sample(stage.labels, MAX_TREE_SIZE, seed)
        points = mapped(stage.latents[index], method, seed)
    if path is not None and results.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, inputs=inputs, index=index, points=points)
    return index, points


# ---- of a stage ---------------------------------------------------------------------------------


def stage_figures(
    results: Results, stage: FinishedStage, folder: Path | None, drawn_map: Trees | None = None
) -> dict[str, Draw]:
    """Figures of a stage by file name."""
    name, path, settings, figures = stage.name, stage.path, stage.settings, {}
    if name == "GMM":
        rows, k = read_rows(path / "selection.csv"), stage.n_clusters
        figures["GMM_selection"] = partial(training.selection_curves, rows, k, settings.gmm.select)
    elif len((history := read_history(path / "history.csv"))["epoch"]) and name == "AEC":
        mse = stage.metrics.get("mse_of_mean_spectrogram") or 1.0
        figures["AEC_loss"] = partial(training.aec_history, history, mse)
    elif len(history["epoch"]):
        tol = np.ravel(settings.dec.tol)[0]
        figures["DEC_history"] = partial(training.dec_history, history, tol)
    if name == "AEC":
        return figures | {"AEC_reconstructions": partial(reconstructions, results.file, stage)}
    figures[f"{name}_gallery"] = partial(gallery, results, stage)
    figures[f"{name}_embedding"] = partial(embedding, results, stage, folder, drawn_map)
    if (path / "labels.h5").exists():
        figures[f"{name}_map"] = lambda: occurrence.cluster_map(
            read_cluster_map(path / "labels.h5"), stage.sizes.tolist(), METHODS[name], results.names
        )
    return figures


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Columns of a history.csv; raises CheckpointError if it is missing or damaged."""
    try:
        columns = read_numbers(path)
        if "epoch" not in columns:
            raise ValueError("no column epoch")
        return columns
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged, can't be read: {error}; run its stage again"
        ) from None


def reconstructions(file: SpectrogramFile, stage: FinishedStage) -> Figure:
    """Some validation samples of the AEC stage, spread over the file, through its network."""
    trained = load_model(stage.path / "model.pt", "AEC")
    validation = Split.load(stage.path / "split.npz").validation
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


def gallery(results: Results, stage: FinishedStage) -> Figure:
    """Typical members of the largest clusters, a row each, with a peak of 1."""
    k, sizes, file, members = stage.n_clusters, stage.sizes, results.file, []
    largest = np.sort(np.argsort(-sizes, kind="stable")[:LARGEST]).tolist()
    prepare = Preparation(results.settings.data.amplitude, "sample_normalization")
    empty = np.empty((0, *file.shape), dtype=np.float32)
    for label in largest:
        chosen = results.representatives.typical[label]["sample"].tolist()[:GALLERY_COLUMNS]
        rows = np.concatenate([empty, *(file.read(i, i + 1) for i in chosen)])
        members.append(prepare(torch.from_numpy(rows)).numpy())
    cut = f", the {len(largest)} largest" if len(largest) < k else ""
    title, shown = f"{METHODS[stage.name]}: {k} clusters{cut}, typical members", sizes[largest]
    return samples.gallery(file, members, largest, shown.tolist(), GALLERY_COLUMNS, title)


def embedding(
    results: Results, stage: FinishedStage, folder: Path | None, drawn_map: Trees | None = None
) -> Figure:
    """Map of the latents, see `map_of`."""
    index, points = map_of(results, stage, folder, drawn_map)
    labels, sizes = stage.labels[index[: len(points)]], stage.sizes
    title = f"{METHODS[stage.name]}: {len(points):,} of {sizes.sum():,} latents"
    method = TITLES[results.settings.report.embedding]
    return latent.embedding(points, labels, sizes.tolist(), title, results.names, method)


# ---- of the final clusters ----------------------------------------------------------------------


def means(results: Results) -> Figure:
    """Mean spectrograms of the largest clusters, and their decoded centroids."""
    model, labels = results.models[results.stage.name], results.largest
    unit = f"amplitude {model.preparation.amplitude}, {model.preparation.transform}"
    images = results.performances[-1].means[labels], model.decode(model.centroids)[labels]
    sizes = results.stage.sizes[labels].tolist()
    return samples.means_and_centroids(results.file, *images, labels, sizes, unit, results.names)


def latent_pairs(results: Results) -> Figure:
    """Latents of the final stage in pairs of those features that separate clusters most."""
    index, stage = results.index, results.stage
    labels, centroids = stage.labels[index].astype(np.int64), results.models[stage.name].centroids
    n, most = stage.latents.shape[1], latent.PAIRED
    cut = f"the {most} of {n} with most variance between clusters" if n > most else f"all {n}"
    title = f"{METHODS[stage.name]}: latents in pairs of features, {cut}"
    names = results.run.feature_names
    return latent.latent_pairs(stage.latents[index], labels, centroids, title, names, results.names)


def distances(results: Results) -> Figure:
    """Distances from the centroids, for every stage that labels."""
    panels = []
    for stage in results.run.labelling:
        index = results.index[stage.labels[results.index] >= 0]
        labels = stage.labels[index].astype(np.int64)
        away = stage.latents[index] - results.models[stage.name].centroids[labels]
        panels.append((stage.name, labels, np.linalg.norm(away, axis=1)))
    k = max(stage.n_clusters for stage in results.run.labelling)
    return latent.distance_curves(panels, k, results.names)


def centroid_distances(results: Results) -> np.ndarray:
    """Distances between the mean latents of clusters, (K, K); NaN for empty ones."""
    centroids = results.models[results.stage.name].centroids
    return np.linalg.norm(centroids[:, None] - centroids[None], axis=2)
