"""The figures of the stages, which the report draws again with the names of the clusters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots
from ..clustering.initialisation import MAX_MAP_SIZE, NeighbourMap
from ..clustering.selection import Criteria
from ..data.cube_file import CubeFile
from ..data.layouts import SpectrogramFile
from ..data.loading import SampleSet
from ..data.tables import read_numbers
from ..data.transforms import Preparation
from ..errors import CheckpointError
from ..evaluation.mapping import TITLES, mapped
from ..evaluation.representatives import CANDIDATES, drawn_members, medoids
from ..io import new_file
from ..models.autoencoder import AEC
from ..plots import SpectrogramAxes
from ..run_folder import StageFolder
from ..runs.cluster_map import read_cluster_map
from ..runs.labels import Labelling, usable_sample
from ..settings import Settings

STAGE_METHODS = {"GMM": "Gaussian mixture", "DEC": "Deep embedded clustering"}
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
    """Draw ``AEC_loss`` and ``AEC_reconstructions``."""
    history = read_history(stage.path / "history.csv")
    drawn = [("loss", plots.aec_history(history, variance))] if len(history["epoch"]) else []
    figure = reconstructions(file, model, preparation, validation.index)
    return _save(stage, [*drawn, ("reconstructions", figure)], figure_format)


def gmm_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    rows: list[Criteria],
    latents: np.ndarray,
    labelling: Labelling,
    settings: Settings,
    drawn_map: NeighbourMap | None,
) -> list[Path]:
    """Draw ``GMM_selection``, ``GMM_gallery``, ``GMM_embedding`` and, of a cube, ``GMM_map``."""
    curves = plots.selection_curves(rows, labelling.n_clusters, settings.gmm.select)
    rest = _cluster_figures(file, stage, latents, labelling, settings, drawn_map)
    return _save(stage, [("selection", curves), *rest], settings.run.figure_format)


def dec_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    latents: np.ndarray,
    labelling: Labelling,
    settings: Settings,
) -> list[Path]:
    """Draw ``DEC_history``, ``DEC_gallery``, ``DEC_embedding`` and, of a cube, ``DEC_map``."""
    history = plots.dec_history(read_history(stage.path / "history.csv"), settings.dec.tol)
    rest = _cluster_figures(file, stage, latents, labelling, settings, None)
    return _save(stage, [("history", history), *rest], settings.run.figure_format)


def _cluster_figures(
    file: SpectrogramFile,
    stage: StageFolder,
    latents: np.ndarray,
    labelling: Labelling,
    settings: Settings,
    drawn_map: NeighbourMap | None,
) -> list[tuple[str, Figure]]:
    drawn = [("gallery", gallery(file, stage.name, latents, labelling, settings))]
    found = None if drawn_map is None else (drawn_map.points, drawn_map.index)
    figure = embedding(stage.name, latents, labelling.labels, labelling.sizes, settings, {}, found)
    drawn.append(("embedding", figure))
    if isinstance(file, CubeFile):
        drawn.append(("map", cluster_map(stage.path, stage.name, labelling.sizes)))
    return drawn


def reconstructions(
    file: SpectrogramFile, model: AEC, preparation: Preparation, validation: np.ndarray
) -> Figure:
    """Some of the validation samples (their indices into the file), spread over the file."""
    chosen = np.linspace(0, len(validation) - 1, SHOWN_RECONSTRUCTIONS).astype(int)
    index = validation[np.unique(chosen)]
    samples = np.concatenate([rows for _, rows in file.read_blocks(index)])
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        x = preparation(torch.from_numpy(samples).to(device))[:, None]
        reconstruction, z = model(x)
        inputs, outputs = (
            preparation.undo_standardize(y[:, 0]).cpu().numpy() for y in (x, reconstruction)
        )
    titles = [f"sample {i}" for i in index]
    return plots.reconstructions(SpectrogramAxes.of(file), inputs, z.cpu().numpy(), outputs, titles)


def gallery(
    file: SpectrogramFile,
    stage: str,
    latents: np.ndarray,
    labelling: Labelling,
    settings: Settings,
) -> Figure:
    """Typical members of the largest clusters, a row each."""
    sizes, k = labelling.sizes, labelling.n_clusters
    largest = np.sort(np.argsort(-sizes, kind="stable")[: plots.LARGEST_GALLERY])
    typical = typical_members(latents, labelling.labels, k, settings.run.seed)
    members = [images(file, typical[label], settings.data.amplitude) for label in largest]
    cut = f", the {len(largest)} largest" if len(largest) < k else ""
    title = f"{STAGE_METHODS[stage]}: {k} clusters{cut}, typical members"
    return plots.gallery(
        SpectrogramAxes.of(file),
        members,
        largest.tolist(),
        sizes[largest].tolist(),
        GALLERY_COLUMNS,
        title,
    )


def typical_members(latents: np.ndarray, labels: np.ndarray, k: int, seed: int) -> list[np.ndarray]:
    """Indices of medoids of each cluster, the most central first; duplicates count once."""
    chosen = []
    for members in drawn_members(labels, k, CANDIDATES, seed):
        rows, first = np.unique(latents[members], axis=0, return_index=True)
        central = medoids(rows.astype(np.float64), np.ones(len(rows)), GALLERY_COLUMNS)
        chosen.append(members[first][central])
    return chosen


def images(file: SpectrogramFile, index: Sequence[int], amplitude: str) -> np.ndarray:
    """Samples in any order, (m, F, T), with `data.amplitude` applied and a peak of 1."""
    rows = [file.read(int(i), int(i) + 1) for i in index]
    if not rows:
        return np.empty((0, file.n_frequencies, file.n_times), dtype=np.float32)
    preparation = Preparation(amplitude, "sample_normalization")
    return preparation(torch.from_numpy(np.concatenate(rows))).numpy()


def embedding(
    stage: str,
    latents: np.ndarray,
    labels: np.ndarray,
    sizes: np.ndarray,
    settings: Settings,
    names: Mapping[int, str],
    found: tuple[np.ndarray, np.ndarray] | None = None,
    method: str = "tsne",
) -> Figure:
    """Embedding of at most `MAX_MAP_SIZE` labelled latents; without points if there are too few.

    `found` is a map that has been computed before: points (m, 2) and their indices (m,).
    """
    if found is None:
        index = usable_sample(labels, MAX_MAP_SIZE, settings.run.seed)
        found = mapped(latents[index], method, settings.run.seed), index
    points, index = found
    index = index[: len(points)]
    title = f"{STAGE_METHODS[stage]}: {len(index):,} of {int(sizes.sum()):,} latents"
    return plots.embedding(points, labels[index], sizes.tolist(), title, names, TITLES[method])


def cluster_map(stage_path: Path, stage: str, sizes: np.ndarray) -> Figure:
    """Labels of a cube over time and channel."""
    return plots.cluster_map(
        read_cluster_map(stage_path / "labels.h5"), sizes.tolist(), STAGE_METHODS[stage]
    )


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


def _save(stage: StageFolder, drawn: list[tuple[str, Figure]], figure_format: str) -> list[Path]:
    """Write ``figures/<stage>_<name>.<figure_format>``; in a sweep beside the combination."""
    folder = stage.path / "figures" if stage.part else stage.figures
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn:
        path = folder / f"{stage.name}_{name}.{figure_format}"
        with new_file(path) as partial:
            figure.savefig(partial, format=figure_format)
        paths.append(path)
    return paths
