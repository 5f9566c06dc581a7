"""Which figures each stage draws, from what it has at hand, and where they go."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from ..config import Settings
from ..data.loading import SampleSet
from ..data.spectrograms import SpectrogramFile
from ..data.transforms import Preparation
from ..models.networks import AEC
from ..run import StageFolder
from . import figures
from .figures import SpectrogramAxes
from .selection import Criteria

GALLERY_COLUMNS = 8
EMBEDDED = 3000  # latents at most
SHOWN_RECONSTRUCTIONS = 6


def aec_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    model: AEC,
    validation: SampleSet,
    preparation: Preparation,
    variance: float,
) -> list[Path]:
    """Loss curves, and input, latent and reconstruction of validation samples."""
    history = read_history(stage.path / "history.csv")
    drawn = [("loss", figures.aec_history(history, variance))] if len(history["epoch"]) else []
    chosen = np.unique(np.linspace(0, len(validation) - 1, SHOWN_RECONSTRUCTIONS).astype(int))
    with torch.inference_mode():
        x = torch.cat([next(validation.in_order(i, i + 1, 1))[1] for i in chosen.tolist()])
        model.eval()
        reconstruction, z = model(x)
        images = [
            preparation.undo_standardize(part[:, 0]).cpu().numpy() for part in (x, reconstruction)
        ]
    titles = [f"sample {validation.index[i]}" for i in chosen]
    axes = SpectrogramAxes.of(file)
    figure = figures.reconstructions(axes, images[0], z.cpu().numpy(), images[1], titles)
    return save(stage, [*drawn, ("reconstructions", figure)])


def gmm_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    rows: list[Criteria],
    chosen: int,
    latents: np.ndarray,
    labels: np.ndarray,
    means: np.ndarray,
    settings: Settings,
) -> list[Path]:
    """Selection curves, gallery of each cluster, embedding."""
    curves = figures.selection_curves(rows, chosen, settings.gmm.select)
    rest = _cluster_figures(file, "Gaussian mixture", latents, labels, means, settings)
    return save(stage, [("selection", curves), *rest])


def dec_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    latents: np.ndarray,
    labels: np.ndarray,
    centroids: np.ndarray,
    settings: Settings,
) -> list[Path]:
    """Losses and label changes, gallery of each cluster, embedding."""
    history = read_history(stage.path / "history.csv")
    rest = _cluster_figures(file, "Deep embedded clustering", latents, labels, centroids, settings)
    return save(stage, [("history", figures.dec_history(history, settings.dec.tol)), *rest])


def _cluster_figures(
    file: SpectrogramFile,
    title: str,
    latents: np.ndarray,
    labels: np.ndarray,
    centroids: np.ndarray,
    settings: Settings,
) -> list[tuple[str, Figure]]:
    sizes = np.bincount(labels[labels >= 0], minlength=len(centroids))
    largest = np.sort(np.argsort(-sizes, kind="stable")[: figures.LARGEST_GALLERY])
    amplitude = Preparation(settings.data.amplitude, "sample_normalization")
    members = [
        _images(file, nearest(latents, labels, label, centroids[label]), amplitude)
        for label in largest
    ]
    cut = f", the {len(largest)} largest" if len(largest) < len(centroids) else ""
    heading = f"{title}: {len(centroids)} clusters{cut}, members nearest to each centroid"
    pages = figures.gallery(
        SpectrogramAxes.of(file),
        members,
        largest.tolist(),
        sizes[largest].tolist(),
        GALLERY_COLUMNS,
        heading,
    )
    points, chosen = embed(latents, labels, settings.run.seed)
    if not len(points):
        return [("gallery", pages)]
    caption = f"{title}: {len(chosen):,} of {int(sizes.sum()):,} latents"
    return [
        ("gallery", pages),
        ("embedding", figures.embedding(points, labels[chosen], sizes.tolist(), caption)),
    ]


def nearest(
    latents: np.ndarray, labels: np.ndarray, label: int, centroid: np.ndarray
) -> np.ndarray:
    """Indices of a cluster's members nearest to its centroid, nearest first, of different content.

    Exact duplicates in the latent space are shown once.
    """
    members = np.flatnonzero(labels == label)
    distance = np.linalg.norm(latents[members] - centroid, axis=1)
    order = members[np.argsort(distance, kind="stable")]
    _, first = np.unique(latents[order[: 4 * GALLERY_COLUMNS]], axis=0, return_index=True)
    return order[np.sort(first)][:GALLERY_COLUMNS]


def _images(file: SpectrogramFile, indices: Iterable[int], amplitude: Preparation) -> np.ndarray:
    rows = [file.read(int(index), int(index) + 1) for index in indices]
    if not rows:
        return np.empty((0, file.n_frequencies, file.n_times), dtype=np.float32)
    return amplitude(torch.from_numpy(np.concatenate(rows))).numpy()


def embed(latents: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """t-SNE of at most `EMBEDDED` usable latents.

    Returns
    -------
    ndarray, (n, 2)
        Empty where there are too few samples to embed.
    ndarray, (n,)
        Their indices.
    """
    usable = np.flatnonzero(labels >= 0)
    if len(usable) > EMBEDDED:
        usable = np.sort(np.random.default_rng(seed).choice(usable, EMBEDDED, replace=False))
    if len(usable) < 5:
        return np.empty((0, 2)), usable[:0]
    perplexity = min(30.0, (len(usable) - 1) / 3)
    scaled = latents[usable] / max(float(latents[usable].std()), 1e-12)
    points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)
    return points, usable


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Columns of a history.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    table = np.array(rows, dtype=float).reshape(-1, len(header))
    return dict(zip(header, table.T, strict=True))


def save(stage: StageFolder, drawn: list[tuple[str, Figure]]) -> list[Path]:
    """Write figures as ``figures/<stage>_<name>.png``; inside a sweep, beside the combination."""
    folder = stage.path / "figures" if stage.part else stage.figures
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn:
        path = folder / f"{stage.name}_{name}.png"
        partial = path.with_suffix(".partial")
        figure.savefig(partial, format="png")
        os.replace(partial, path)
        paths.append(path)
    return paths
