"""Which figures each stage draws, from what it has at hand, and where they go."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots as figures
from ..clustering.neighbours import MAPPED, NeighbourMap, neighbour_map
from ..clustering.selection import Criteria
from ..data.cube_file import CubeFile
from ..data.loading import SampleSet
from ..data.spectrograms import SpectrogramFile
from ..data.tables import read_numbers
from ..data.transforms import Preparation
from ..errors import CheckpointError
from ..io import new_file, row_blocks
from ..models.autoencoder import AEC
from ..run_folder import StageFolder
from ..runs.cluster_map import read_cluster_map
from ..runs.labels import Labelling, usable_sample
from ..settings import Settings
from . import SpectrogramAxes

GALLERY_COLUMNS = 8
SHOWN_RECONSTRUCTIONS = 6


def aec_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    model: AEC,
    validation: SampleSet,
    preparation: Preparation,
    variance: float,
    figure_format: str,
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
    return save(stage, [*drawn, ("reconstructions", figure)], figure_format)


def gmm_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    rows: list[Criteria],
    latents: np.ndarray,
    labelling: Labelling,
    means: np.ndarray,
    settings: Settings,
    mapped: NeighbourMap | None,
) -> list[Path]:
    """Selection curves, gallery of each cluster, embedding; of a cube also the cluster map."""
    curves = figures.selection_curves(rows, labelling.n_clusters, settings.gmm.select)
    rest = _cluster_figures(
        file, stage, "Gaussian mixture", latents, labelling, means, settings, mapped
    )
    return save(stage, [("selection", curves), *rest], settings.run.figure_format)


def dec_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    latents: np.ndarray,
    labelling: Labelling,
    centroids: np.ndarray,
    settings: Settings,
) -> list[Path]:
    """Losses and label changes, gallery of each cluster, embedding, of a cube the cluster map."""
    history = read_history(stage.path / "history.csv")
    rest = _cluster_figures(
        file, stage, "Deep embedded clustering", latents, labelling, centroids, settings
    )
    history_figure = figures.dec_history(history, settings.dec.tol)
    return save(stage, [("history", history_figure), *rest], settings.run.figure_format)


def _cluster_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    title: str,
    latents: np.ndarray,
    labelling: Labelling,
    centroids: np.ndarray,
    settings: Settings,
    mapped: NeighbourMap | None = None,
) -> list[tuple[str, Figure]]:
    labels, sizes = labelling.labels, labelling.sizes
    largest = np.sort(np.argsort(-sizes, kind="stable")[: figures.LARGEST_GALLERY])
    amplitude = Preparation(settings.data.amplitude, "sample_normalization")
    near = nearest(latents, labels, centroids)
    members = [_images(file, near[label], amplitude) for label in largest]
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
    drawn = [("gallery", pages)]
    if mapped is None:
        mapped = embed(latents, labels, settings.run.seed)
    points, chosen = mapped.points, mapped.index
    if len(points):
        caption = f"{title}: {len(chosen):,} of {labelling.n_usable:,} latents"
        drawn.append(
            ("embedding", figures.embedding(points, labels[chosen], sizes.tolist(), caption))
        )
    if isinstance(file, CubeFile):
        image = read_cluster_map(stage.path / "labels.h5")
        drawn.append(("map", figures.cluster_map(image, sizes.tolist(), title)))
    return drawn


def nearest(latents: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> list[np.ndarray]:
    """Indices of each cluster's members nearest to its centroid, nearest first.

    Exact duplicates in the latent space are shown once.
    """
    candidates = 4 * GALLERY_COLUMNS
    index = [np.empty(0, dtype=np.int64) for _ in centroids]
    distance = [np.empty(0) for _ in centroids]
    for start, block in row_blocks(latents):
        mine = labels[start : start + len(block)]
        for label in np.unique(mine[mine >= 0]):
            members = np.flatnonzero(mine == label)
            away = np.linalg.norm(block[members] - centroids[label], axis=1)
            away = np.r_[distance[label], away]
            order = np.argsort(away, kind="stable")[:candidates]
            index[label] = np.r_[index[label], members + start][order]
            distance[label] = away[order]
    return [_distinct(latents, members) for members in index]


def _distinct(latents: np.ndarray, members: np.ndarray) -> np.ndarray:
    ascending = np.argsort(members)
    rows = np.empty((len(members), latents.shape[1]), dtype=np.float32)
    rows[ascending] = latents[members[ascending]]
    _, first = np.unique(rows, axis=0, return_index=True)
    return members[np.sort(first)][:GALLERY_COLUMNS]


def _images(file: SpectrogramFile, indices: Iterable[int], amplitude: Preparation) -> np.ndarray:
    rows = [file.read(int(index), int(index) + 1) for index in indices]
    if not rows:
        return np.empty((0, file.n_frequencies, file.n_times), dtype=np.float32)
    return amplitude(torch.from_numpy(np.concatenate(rows))).numpy()


def embed(latents: np.ndarray, labels: np.ndarray, seed: int) -> NeighbourMap:
    """Map of at most `MAPPED` usable latents; its index is into the file."""
    usable = usable_sample(labels, MAPPED, seed)
    mapped = neighbour_map(latents[usable], seed)
    return replace(mapped, index=usable[mapped.index])


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Columns of a history.csv.

    Raises
    ------
    CheckpointError
        It is missing or damaged.
    """
    try:
        columns = read_numbers(path)
        if "epoch" not in columns:
            raise ValueError("no column epoch")
        return columns
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged, can't be read: {error}; run its stage again"
        ) from None


def save(stage: StageFolder, drawn: list[tuple[str, Figure]], figure_format: str) -> list[Path]:
    """Write figures as ``figures/<stage>_<name>.<figure_format>``.

    Inside a sweep they go beside the combination.
    """
    folder = stage.path / "figures" if stage.part else stage.figures
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn:
        path = folder / f"{stage.name}_{name}.{figure_format}"
        with new_file(path) as partial:
            figure.savefig(partial, format=figure_format)
        paths.append(path)
    return paths
