"""Labels for new data with a finished run."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..data.cube_file import CubeFile
from ..data.layouts import COLUMN_ROWS, DETECTION, SpectrogramFile
from ..data.loading import Reader, StreamedSet
from ..data.sets import WHOLE, open_data
from ..distributed import choose_device
from ..errors import DataError, RunError, Stopped
from ..evaluation.outliers import OUTLYING, TrainingDistribution, latents_and_errors
from ..io import new_file, new_rows, sha256
from ..models.checkpoint import TrainedModel, load_model
from ..run_folder import StageFolder, load_stage_settings
from ..runs.labels import UNUSABLE, assign, new_labels
from ..runs.names import read_names
from ..runs.run import open_run
from ..runtime import Progress, StopRequest, keep_freed_memory, log, start_log
from ..training.encode import BATCH
from .final_labels import soft_assignment
from .session import report_unusable, set_up_torch, warn

COLUMNS = ("reconstruction_error", "error_quantile")
COLUMNS += ("log_likelihood", "likelihood_quantile", "outlier")
ADDED = (*COLUMNS, "name")  # the last is given by the user


class Predictor(NamedTuple):
    """What labels new samples."""

    trained: TrainedModel  # on the device
    posterior: Callable[[np.ndarray], np.ndarray]  # latents (n, D) to probabilities (n, K)
    n_clusters: int
    training: TrainingDistribution
    names: dict[int, str] = {}  # of clusters, see `runs.names`
    corrected: dict[int, int] = {}  # labels by index of the sample


def predict(
    path: str, run_folder: Path, output: Path, stage: str, words: Sequence[str], overwrite: bool
) -> None:
    """Label every sample of a file with a finished run, at constant memory.

    Writes a table of labels, probabilities and how unlike the training set each sample is to
    `output` (``.csv``), latents beside it (``.latent.npy``), and of a cube a map (``.h5``) and its
    figure. `stage` is DEC or GMM; ``section.key=value`` words replace settings of the run.
    """
    start_log()
    keep_freed_memory()
    folder = StageFolder(run_folder, stage)
    if (folder.provenance() or {}).get("status") != "complete":
        raise RunError(
            f"{folder.path}: this run has no finished {stage} stage; run {folder.command} first, "
            "or name another run or --stage"
        )
    settings = load_stage_settings(folder, ["data.layout=auto", *WHOLE, *words])
    device = choose_device(settings.run.device)
    set_up_torch(settings)
    run = _load(folder, device)
    image = f".{settings.run.figure_format}"
    with open_data(settings, path) as file:
        check_axes(file, run.trained, folder.path / "model.pt")
        run = _with_names(run, folder, file)
        for suffix in (".csv", ".latent.npy") + (".h5", image) * isinstance(file, CubeFile):
            out = output.with_suffix(suffix)
            if out.exists() and any(map(out.samefile, filter(Path.exists, file.paths))):
                raise DataError(f"{out}: is the file to be labelled; give another name with -o")
            if out.exists() and not overwrite:
                raise DataError(f"{out}: exists already; give another name, or --overwrite")
        log.info(
            f"{file.path}: {file.n_samples:,} samples of {file.n_frequencies} x {file.n_times}, "
            f"labelled with {folder.path}; computing on {device}"
        )
        _label(file, run, output, device)
        if isinstance(file, CubeFile) and settings.run.figures:
            with warn("figures"):
                from ..plots.occurrence import cluster_map
                from ..runs.cluster_map import read_cluster_map

                found = read_cluster_map(output.with_suffix(".h5"))
                sizes = np.bincount(found.labels[found.labels >= 0], minlength=run.n_clusters)
                with new_file(output.with_suffix(image)) as partial:
                    figure = cluster_map(found, sizes.tolist(), output.stem)
                    figure.savefig(partial, format=image[1:])


def _load(folder: StageFolder, device: torch.device) -> Predictor:
    """Read what labels new samples."""
    training = TrainingDistribution.load(folder.path / "novelty.npz")
    posterior, n_clusters = training.mixture.posterior, len(training.mixture.weights)
    if folder.name == "GMM":
        aec = folder.run_folder / "AEC/model.pt"
        if sha256(aec)[:16] != (folder.provenance() or {}).get("inputs", {}).get("AEC/model.pt"):
            raise RunError(
                f"{folder.path}: made from another autoencoder than {aec}; run {folder.command}"
            )
        trained = load_model(aec, "AEC")
    else:
        trained = load_model(folder.path / "model.pt", "DEC")
        n_clusters = len(trained.model.clustering.centroids)
        if trained.labels == "student":
            posterior = soft_assignment(trained.model)
    trained.model.to(device)
    return Predictor(trained, posterior, n_clusters, training)


def _with_names(run: Predictor, folder: StageFolder, file: SpectrogramFile) -> Predictor:
    """With names of clusters, and for the data of the run itself with corrected labels."""
    with open_run(folder.run_folder) as finished:
        final, corrected = finished.final, {}
        if final is None or final.name != folder.name:
            return run
        is_own = final.provenance.get("fingerprint") == file.fingerprint()
        if final.corrections is not None and is_own:
            labels = final.corrections["label"]
            corrected = labels[labels >= 0].to_dict()
        return run._replace(names=read_names(finished), corrected=corrected)


def check_axes(file: SpectrogramFile, trained: TrainedModel, path: Path) -> None:
    """Require the axes of the training set; `path` is where `trained` was read from.

    An axis without a unit is taken as that of the other, if it has as many bins.
    """
    units = trained.units, (file.frequency_unit, file.time_unit)
    for name, unit, own_unit in zip(("frequency", "time"), *units, strict=True):
        axis, own = getattr(trained, name), getattr(file, name)
        if len(axis) == len(own) and unit != own_unit and {unit, own_unit} & {"bin", "step"}:
            place = file.path if own_unit in ("bin", "step") else path
            log.info(f"{place}: its {name} axis has no unit, and is taken as that of the other")
            continue
        spacing = float(np.diff(axis).mean()) if len(axis) > 1 else 1.0
        tolerance = 0.01 * spacing + 1e-6 * float(np.abs(axis).max())  # rounding in float32
        same = len(axis) == len(own) and unit == own_unit
        if not same or np.abs(axis - own).max() > tolerance:
            here, there = (
                f"{len(x)} {name} bins from {x[0]:.6g} to {x[-1]:.6g} {its_unit}"
                for x, its_unit in ((own, own_unit), (axis, unit))
            )
            raise DataError(
                f"{file.path}: its samples have {here}, and those that {path} was trained on "
                f"{there}; make the file with the settings of the training set"
            )


def _label(file: SpectrogramFile, run: Predictor, output: Path, device: torch.device) -> None:
    """Label the file block by block, and log how many samples are outliers."""
    reader = Reader(file, run.trained.preparation, device)
    reader.skip_negative = True
    samples, n, latents_path = (
        StreamedSet(reader),
        file.n_samples,
        output.with_suffix(".latent.npy"),
    )
    labels, outlying = np.full(n, UNUSABLE, "i2"), np.zeros(n, bool)
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        write = stack.enter_context(new_labels(output, file, ADDED, DETECTION))
        rows = stack.enter_context(new_rows(latents_path, (n, run.trained.model.shape.n_latents)))
        progress = stack.enter_context(Progress("Labelling", n))
        for start in range(0, n, COLUMN_ROWS):
            block = slice(start, min(start + COLUMN_ROWS, n))
            rows[block], errors = np.nan, np.full(block.stop - start, np.nan)
            for positions, x in samples.in_order(start, block.stop, BATCH[device.type]):
                index = positions.cpu().numpy()
                rows[index], errors[index - start] = latents_and_errors(run.trained.model, x)
                progress.add(len(index))
            labels[block], certainty, columns = _assess(run, rows[block], errors)
            outlying[block] = columns[-1] == "1"
            for index in run.corrected.keys() & set(range(block.start, block.stop)):
                labels[index], certainty[index - start] = run.corrected[index], 1
            names = [run.names.get(label, "") for label in labels[block].tolist()]
            write(start, labels[block], certainty, *columns, names)
            if stop.signal_number:
                raise Stopped(
                    f"{output}: not written, {block.stop:,} of {n:,} samples are labelled; run "
                    "the same command to label them all",
                    stop.signal_number,
                )
    report_unusable(np.flatnonzero(labels < 0), n)
    sizes, outliers = np.bincount(labels[labels >= 0], minlength=run.n_clusters), outlying.sum()
    usable = int(sizes.sum())
    if not usable:
        missing = f"; missing: {', '.join(file.missing[:3])}" if file.missing else ""
        log.warning(f"no sample has a label: decibels need data.amplitude = linear{missing}")
        return
    log.info(f"{run.n_clusters} clusters of {', '.join(f'{size:,}' for size in sizes)} samples")
    write_line = log.warning if outliers > 10 * OUTLYING * usable else log.info
    write_line(
        f"{outliers:,} of {usable:,} samples ({outliers / usable:.1%}) are outliers: worse "
        f"reconstructed or less likely than all but {OUTLYING:.1%} of the training samples, of "
        f"which up to {2 * OUTLYING:.0%} would be"
    )
    log.info(f"{output}: labels; {latents_path}: latents")


def _assess(run: Predictor, z: np.ndarray, errors: np.ndarray) -> tuple:
    """Labels, probabilities, and COLUMNS of texts."""
    usable, training = ~np.isnan(errors), run.training
    labels, certainty = np.full(len(z), UNUSABLE), np.zeros(len(z))
    likelihood, outlying = np.full(len(z), np.nan), np.zeros(len(z), bool)
    if usable.any():
        labels[usable], certainty[usable] = assign(run.posterior(z[usable]))
        likelihood[usable] = training.mixture.log_likelihood(z[usable])
        outlying[usable] = training.is_outlier(errors[usable], likelihood[usable])
    quantiles = training.error_quantile(errors), training.likelihood_quantile(likelihood)
    columns = errors, quantiles[0], likelihood, quantiles[1], outlying
    texts = [[f"{value:.6g}" for value in column] for column in columns]
    return labels, certainty, [np.where(usable, text, "") for text in texts]
