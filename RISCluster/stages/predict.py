"""Labels for new data with a finished run.

Letters: n samples of a block, D latent features, K clusters.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.cube_file import CubeFile
from ..data.layouts import COLUMN_ROWS, DETECTION, SpectrogramFile, open_spectrograms
from ..data.loading import Reader
from ..distributed import choose_device
from ..errors import DataError, RunError, Stopped
from ..evaluation.outliers import OUTLYING, TrainingDistribution, latents_and_errors
from ..io import new_file, new_rows
from ..models.autoencoder import AEC, DEC
from ..models.checkpoint import TrainedModel, load_model
from ..run_folder import StageFolder, load_stage_settings
from ..runs.labels import UNUSABLE, assign, new_labels
from ..runtime import Progress, StopRequest, keep_freed_memory, log, start_log
from .cluster import read_mixture
from .final_labels import soft_assignment
from .session import MIXTURE, MODEL, NOVELTY, checksum, draw, report_unusable, use_threads

COLUMNS = ("reconstruction_error", "error_quantile")
COLUMNS += ("log_likelihood", "likelihood_quantile", "outlier")
BATCH = 256


@dataclass(frozen=True)
class Predictor:
    """Network, clusters and training distribution of a stage."""

    trained: TrainedModel  # on the device
    # latents (n, D) to the probability of each cluster (n, K)
    posterior: Callable[[np.ndarray], np.ndarray]
    n_clusters: int
    training: TrainingDistribution


def predict(
    path: str | Path,
    run_folder: Path,
    output: Path,
    stage: str,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Label every sample of a file with a finished run, at constant memory.

    Parameters
    ----------
    path : path
        Spectrograms, in any layout.
    run_folder : Path
        ``<run.folder>/<run.name>``.
    output : Path
        A ``.csv``: index, label, probability, start time, trace id and detection where known, and
        how unlike the training set each sample is. Latents are written beside it as
        ``.latent.npy``, NaN for unusable samples.
    stage : {"DEC", "GMM"}
        Whose labels.
    overrides : sequence of str
        ``section.key=value`` words that replace settings of the run.
    overwrite : bool
        Replace existing outputs, but never the file that is labelled.

    Raises
    ------
    RISClusterError
        The run is not finished; the file can't be read, or has samples of another shape or other
        axes; or a request to stop.
    """
    start_log()
    keep_freed_memory()
    folder = _finished(run_folder, stage)
    settings = load_stage_settings(folder, ["data.layout=auto", *overrides])
    device = choose_device(settings.run.device)
    use_threads(settings)
    run = _load(run_folder, folder, device)
    data = settings.data
    with open_spectrograms(path, data.layout, data.dataset, settings.cube) as file:
        check_axes(file, run.trained, folder.path / MODEL)
        image = f".{settings.run.figure_format}"
        _check_outputs(file, output, overwrite, image)
        log.info(
            f"{file.path}: {file.n_samples:,} samples of {file.n_frequencies} x {file.n_times}, "
            f"labelled with {folder.path}; computing on {device}"
        )
        _label(file, run, output, device)
        if isinstance(file, CubeFile):
            draw(settings.run.figures, lambda: _draw_map(output, run.n_clusters, image))


def _check_outputs(file: SpectrogramFile, output: Path, overwrite: bool, image: str) -> None:
    """Raise an error where an output exists already, or is the input."""
    suffixes = [".csv", ".latent.npy"] + ([".h5", image] if isinstance(file, CubeFile) else [])
    for path in (output.with_suffix(suffix) for suffix in suffixes):
        if path.exists() and path.samefile(file.path):
            raise DataError(
                f"{path}: is the file to be labelled, and its labels would be written there; give "
                "another name with -o"
            )
        if path.exists() and not overwrite:
            raise DataError(f"{path} is there; give another name with -o, or --overwrite")


def _finished(run_folder: Path, stage: str) -> StageFolder:
    folder = StageFolder(run_folder, stage)
    provenance = folder.provenance()
    if provenance is None or provenance.get("status") != "complete":
        others = [name for name in ("DEC", "GMM") if (run_folder / name / MODEL).exists()]
        raise RunError(
            f"{folder.path}: the {stage} stage of this run is "
            f"{'not there' if provenance is None else 'not finished'}; run {folder.command} first, "
            f"or name another run{' or --stage' if others else ''}"
        )
    return folder


def _load(run_folder: Path, folder: StageFolder, device: torch.device) -> Predictor:
    """Read what labels new samples."""
    training = TrainingDistribution.load(folder.path / NOVELTY)
    if folder.name == "GMM":
        made_from = (folder.provenance() or {}).get("inputs", {}).get("AEC/model.pt")
        if checksum(run_folder / "AEC" / MODEL) != made_from:
            raise RunError(
                f"{folder.path}: was made from another autoencoder than {run_folder / 'AEC'} "
                f"holds; run {folder.command} again"
            )
        trained = load_model(run_folder / "AEC" / MODEL, "AEC")
        mixture = read_mixture(folder.path / MIXTURE, "auto")
        posterior, n_clusters = mixture.posterior, len(mixture.weights)
    else:
        trained = load_model(folder.path / MODEL, "DEC")
        posterior, n_clusters = training.mixture.posterior, len(trained.model.clustering.centroids)
        if trained.labels == "student":
            posterior = soft_assignment(trained.model)
    trained.model.to(device)
    return Predictor(trained, posterior, n_clusters, training)


def check_axes(file: SpectrogramFile, trained: TrainedModel, path: Path) -> None:
    """Require the axes of the training set; `path` is where `trained` was read from.

    Raises
    ------
    DataError
        Shape or axes differ; the message names both.
    """
    for name, unit, own_unit in zip(
        ("frequency", "time"), trained.units, (file.frequency_unit, file.time_unit), strict=True
    ):
        axis, own = getattr(trained, name), getattr(file, name)
        unknown = [known in ("bin", "step") for known in (unit, own_unit)]
        if len(axis) == len(own) and (any(unknown) and unit != own_unit):
            log.info(
                f"{file.path if unknown[1] else path}: its {name} axis has no unit, and is "
                "taken as that of the other"
            )
            continue
        spacing = float(np.diff(axis).mean()) if len(axis) > 1 else 1.0
        rounding = 1e-6 * float(np.abs(axis).max())  # of an axis in float32
        same = len(axis) == len(own) and unit == own_unit
        if not same or np.abs(axis - own).max() > 0.01 * spacing + rounding:
            raise DataError(
                f"{file.path}: its samples have {_describe(name, own, own_unit)}, and those that "
                f"{path} was trained on {_describe(name, axis, unit)}; make the file with the "
                "settings of the training set"
            )


def _describe(name: str, axis: np.ndarray, unit: str) -> str:
    return f"{len(axis)} {name} bins from {axis[0]:.6g} to {axis[-1]:.6g} {unit}"


def _label(file: SpectrogramFile, run: Predictor, output: Path, device: torch.device) -> None:
    reader = Reader(file, run.trained.preparation, device)
    reader.skip_negative = True
    model = run.trained.model
    latents_path = output.with_suffix(".latent.npy")
    sizes = np.zeros(run.n_clusters, dtype=np.int64)
    outliers, unusable = 0, []
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        write = stack.enter_context(new_labels(output, file, COLUMNS, DETECTION))
        rows = stack.enter_context(new_rows(latents_path, (file.n_samples, model.shape.n_latents)))
        progress = stack.enter_context(Progress("Labelling", file.n_samples))
        for start in range(0, file.n_samples, COLUMN_ROWS):
            end = min(start + COLUMN_ROWS, file.n_samples)
            z, errors = _encode(model, reader, start, end, progress)
            labels, certainty, columns, outlying = _assess(run, z, errors)
            write(start, labels, certainty, *columns)
            rows[start:end] = z
            sizes += np.bincount(labels[labels >= 0], minlength=run.n_clusters)
            outliers += int(outlying.sum())
            unusable.append(start + np.flatnonzero(labels < 0))
            if stop.signal_number:
                raise Stopped(
                    f"{output}: not written, for {file.n_samples - end:,} of {file.n_samples:,} "
                    "samples have no label yet; run the same command to label them all",
                    stop.signal_number,
                )
    report_unusable(np.concatenate(unusable), file.n_samples)
    usable = int(sizes.sum())
    if not usable:
        missing = f"; missing: {', '.join(file.missing[:3])}" if file.missing else ""
        log.warning(
            f"no sample has a label: see data.amplitude, which takes decibels as linear{missing}"
        )
        return
    log.info(f"{run.n_clusters} clusters of {', '.join(f'{size:,}' for size in sizes)} samples")
    write_line = log.warning if outliers > 10 * OUTLYING * usable else log.info
    write_line(
        f"{outliers:,} of {usable:,} samples ({outliers / usable:.1%}) are outliers: worse "
        f"reconstructed or less likely than all but {OUTLYING:.1%} of the training samples, of "
        f"which up to {2 * OUTLYING:.0%} would be"
    )
    log.info(f"{output}: labels; {latents_path}: latents")


def _encode(
    model: AEC | DEC, reader: Reader, start: int, stop: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, D) and reconstruction errors (n,) of samples; NaN for unusable ones."""
    z = np.full((stop - start, model.shape.n_latents), np.nan, dtype=np.float32)
    errors = np.full(stop - start, np.nan)
    for index, x in reader.blocks(np.arange(start, stop)):
        for at in range(0, len(index), BATCH):
            places = index[at : at + BATCH] - start
            z[places], errors[places] = latents_and_errors(model, x[at : at + BATCH])
        progress.add(len(index))
    return z, errors


def _assess(
    run: Predictor, z: np.ndarray, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[list[str]], np.ndarray]:
    """Labels, probabilities, further columns, and which samples are outliers."""
    usable = ~np.isnan(errors)
    labels, certainty = np.full(len(z), UNUSABLE), np.zeros(len(z))
    likelihood, outlying = np.full(len(z), np.nan), np.zeros(len(z), dtype=bool)
    if usable.any():
        labels[usable], certainty[usable] = assign(run.posterior(z[usable]))
        likelihood[usable] = run.training.mixture.log_likelihood(z[usable])
        outlying[usable] = run.training.is_outlier(errors[usable], likelihood[usable])
    quantiles = run.training.error_quantile(errors), run.training.likelihood_quantile(likelihood)
    columns = [
        np.where(usable, [f"{value:.6g}" for value in column], "")
        for column in (errors, quantiles[0], likelihood, quantiles[1])
    ]
    columns.append(np.where(usable, outlying.astype(int).astype(str), ""))
    return labels, certainty, columns, outlying


def _draw_map(output: Path, n_clusters: int, suffix: str) -> list[Path]:
    from ..plots.occurrence import cluster_map
    from ..runs.cluster_map import read_cluster_map

    image = read_cluster_map(output.with_suffix(".h5"))
    sizes = np.bincount(image.labels[image.labels >= 0].ravel(), minlength=n_clusters)
    path = output.with_suffix(suffix)
    figure = cluster_map(image, sizes.tolist(), output.stem)
    with new_file(path) as partial:
        figure.savefig(partial, format=suffix[1:])
    return [path]
