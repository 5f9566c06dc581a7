"""Labels for new data with a finished run."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas

from ..data.cube_file import CubeFile
from ..data.layouts import COLUMN_ROWS, DETECTION, SpectrogramFile
from ..data.loading import Reader, SampleSet
from ..data.sets import WHOLE, open_data
from ..distributed import Ranks, choose_device, start_ranks
from ..errors import DataError, RunError, Stopped
from ..evaluation.samples import DRIFT, OUTLYING, TrainingDistribution, latents_and_errors
from ..io import new_rows, read_npz, write_npz
from ..models.checkpoint import TrainedModel, load_model
from ..parallel import Job, Parts
from ..run_folder import StageFolder
from ..runs.labels import Posterior, assign, new_labels
from ..runs.run import FinishedStage, open_run
from ..runtime import Progress, StopRequest, log, start_log
from ..training.encode import BATCH, in_blocks
from .refine import soft_assignment
from .session import describe, report_unusable, set_up_torch, warn

# Columns of the table of labels; the name of a cluster is given by the user.
ADDED = ("reconstruction_error", "error_quantile", "log_likelihood", "likelihood_quantile")
ADDED += ("outlier", "name")

Scores = tuple[np.ndarray, np.ndarray]  # latents (n, D) and reconstruction errors (n,)


class Predictor(NamedTuple):
    """What labels new samples."""

    folder: StageFolder
    stage: FinishedStage
    ranks: Ranks
    stop: StopRequest
    network: Path  # a model.pt
    trained: TrainedModel  # on the device
    posterior: Posterior
    training: TrainingDistribution
    names: dict[int, str]  # of clusters, given by the user


@contextmanager
def open_predictor(run_folder: Path, name: str, words: Sequence[str]) -> Iterator[Predictor]:
    """Load a finished stage, DEC or GMM, in every process that ``torchrun`` started.

    ``section.key=value`` words replace settings of the run.
    """
    folder = StageFolder(run_folder, name)
    with open_run(run_folder, ["data.layout=auto", *WHOLE, *words]) as run:
        stage = run.stages.get(name)
        names = run.names if stage is run.final else {}
    if stage is None:
        raise RunError(
            f"{folder.path}: this run has no finished {name} stage; run {folder.command} first, or "
            "name another run or --stage"
        )
    set_up_torch(stage.settings)
    training = TrainingDistribution.load(folder.path / "novelty.npz")
    network = folder.path / "model.pt" if name == "DEC" else run_folder / "AEC/model.pt"
    with StopRequest() as stop, start_ranks(stage.settings.run.device) as ranks:
        start_log(ranks.rank)
        trained = load_model(network, network.parent.name)
        trained.model.to(ranks.device)
        is_student = name == "DEC" and trained.labels == "student"
        posterior = soft_assignment(trained.model) if is_student else training.mixture.posterior
        known = ranks, stop, network, trained, posterior, training, names
        yield Predictor(folder, stage, *known)


@contextmanager
def open_new(run: Predictor, path: str | Path) -> Iterator[SpectrogramFile]:
    """Open a file to be labelled, which has components and axes of the training set."""
    with open_data(run.stage.settings, str(path)) as file:
        check_axes(file, run.trained, run.network)
        yield file


def check_axes(file: SpectrogramFile, trained: TrainedModel, path: Path) -> None:
    """Require components and axes of the training set; `trained` was read from `path`."""
    here = file.components, (file.frequency_unit, file.time_unit), file.frequency, file.time
    there = trained.components, tuple(trained.units), trained.frequency, trained.time
    same = here[:2] == there[:2] and all(
        len(x) == len(y) and np.allclose(x, y, rtol=1e-6, atol=0.01 * abs(y[1] - y[0]))
        for x, y in zip(here[2:], there[2:], strict=True)
    )
    if not same:
        raise DataError(
            f"{file.path}: its samples have {_axes(*here)}, and those that {path} was trained on "
            f"{_axes(*there)}; make the file with the settings of the training set"
        )


def _axes(components: Sequence[str], units: Sequence[str], *axes: np.ndarray) -> str:
    texts = [", ".join(components) or "one component"]
    for name, unit, x in zip(("frequency", "time"), units, axes, strict=True):
        texts.append(f"{len(x)} {name} bins from {x[0]:.6g} to {x[-1]:.6g} {unit}")
    return ", ".join(texts)


def predict(run: Predictor, path: str, output: Path, overwrite: bool) -> None:
    """Label every sample of a file with a finished run, at constant memory.

    Writes a table of labels, probabilities and how unlike the training set each sample is to
    `output` (``.csv``), latents beside it (``.latent.npy``), page and gallery (``.html``,
    ``.gallery.png``), and of a cube a map (``.h5``) and its figure.
    """
    settings = run.stage.settings
    image = f".{settings.run.figure_format}"
    with open_new(run, path) as file:
        suffixes = [".csv", ".latent.npy"] + [".html", f".gallery{image}"] * settings.run.figures
        inputs = [one.resolve() for one in file.paths]
        for suffix in suffixes + [".h5", image] * isinstance(file, CubeFile):
            out = output.with_suffix(suffix)
            if out.exists() and (not overwrite or out.resolve() in inputs):
                raise DataError(
                    f"{out}: exists already; give another name with -o, or --overwrite if it is "
                    "not the file to be labelled"
                )
        log.info(f"{describe(file)}: labelled with {run.folder.path} on {run.ranks.device}")
        sizes, outliers = label(run, file, output)
        usable = int(sizes.sum())
        if not usable:
            log.warning("no sample has a label: decibels need data.amplitude = linear")
            return
        log.info(f"{len(sizes)} clusters of {', '.join(f'{size:,}' for size in sizes)} samples")
        write_line = log.warning if outliers > DRIFT * usable else log.info
        write_line(
            f"{outliers:,} of {usable:,} samples ({outliers / usable:.1%}) are outliers: worse "
            f"reconstructed or less likely than all but {OUTLYING:.1%} of the training samples, of "
            f"which up to {2 * OUTLYING:.0%} would be"
        )
        log.info(f"{output}: labels; {output.with_suffix('.latent.npy')}: latents")
        if settings.run.figures and run.ranks.is_first:
            with warn("page"):
                from ..report.new_data import write_new_page

                write_new_page(output, run.folder, file, settings, run.posterior)


def label(run: Predictor, file: SpectrogramFile, output: Path) -> tuple[np.ndarray, int]:
    """Write the table of labels and the latents of an open file, block by block, from rank 0.

    Returns the sizes of the clusters (K,) and the number of outliers.
    """
    n, ranks, corrections = file.n_samples, run.ranks, _corrections(run, file)
    sizes, outliers, unusable, first = np.zeros(run.stage.n_clusters, np.int64), 0, [], 0
    with ExitStack() as stack:
        if ranks.is_first:
            write = stack.enter_context(new_labels(output, file, ADDED, DETECTION))
            shape = n, run.trained.model.shape.n_latents
            latents = stack.enter_context(new_rows(output.with_suffix(".latent.npy"), shape))
        progress = stack.enter_context(Progress("Labelling", n, shown=ranks.is_first))
        for z, errors in _scores(run, file, output):
            if ranks.is_first:
                latents[first : first + len(z)] = z
                rows = _assess(run, z, errors, first, corrections)
                write(first, *(column.to_numpy() for _, column in rows.items()))
                labels = rows["label"].to_numpy()
                sizes += np.bincount(labels[labels >= 0], minlength=len(sizes))
                outliers += int((rows["outlier"] == "1").sum())
                unusable.append(first + np.flatnonzero(labels < 0))
            first += len(z)
            progress.add(len(z))
            if ranks.any(bool(run.stop.signal_number)):
                raise Stopped(
                    f"{file.path}: {first:,} of {n:,} samples are labelled, and nothing is "
                    "written; run the same command to label them all",
                    run.stop.signal_number or signal.SIGTERM,
                )
    if ranks.is_first:
        report_unusable(np.concatenate(unusable), n)
    return ranks.broadcast((sizes, outliers))


def _corrections(run: Predictor, file: SpectrogramFile) -> dict[int, int]:
    """Corrected labels by index, if the file is the data of the run."""
    rows = run.stage.corrections
    if rows is None or file.fingerprint() != run.stage.provenance.get("fingerprint"):
        return {}
    return rows["label"][rows["label"] >= 0].to_dict()


def _scores(run: Predictor, file: SpectrogramFile, output: Path) -> Iterator[Scores]:
    """`_score` of blocks in the order of the file, by ranks or by the workers of a cluster."""
    n, settings = file.n_samples, run.stage.settings
    if settings.run.backend == "processes" or run.ranks.world > 1:
        own = run.trained, file, run.ranks
        yield from in_blocks(n, COLUMN_ROWS, run.ranks, lambda a, b: _score(*own, a, b))
        return
    parts, made = Parts(output, settings.run), run.folder.provenance()["results"]
    task, of = (run.network, settings, ", ".join(map(str, file.paths))), file.fingerprint()
    jobs = []
    for start in range(0, n, COLUMN_ROWS):
        end = min(start + COLUMN_ROWS, n)
        jobs.append(Job(f"{start:012d}.npz", (*task, start, end), [made, of, start], end - start))
    if not parts.run(jobs, score_part, 0, "labelling", "samples"):
        raise RunError(f"{parts.folder}: was removed by another process; run the same command")
    for job in jobs:
        arrays = read_npz(parts.path(job))
        yield arrays["z"], arrays["errors"]
    parts.remove()


def score_part(task: tuple, path: Path) -> dict[str, Any]:
    """Write `_score` of some samples: a `Job`."""
    network, settings, source, start, end = task
    ranks = Ranks(0, 1, choose_device(settings.run.device))
    trained = load_model(network, network.parent.name)
    trained.model.to(ranks.device)
    with open_data(settings, source) as file:
        z, errors = _score(trained, file, ranks, start, end)
    write_npz(path, z=z, errors=errors)
    return {}


def _score(
    trained: TrainedModel, file: SpectrogramFile, ranks: Ranks, start: int, stop: int
) -> Scores:
    """Latents and reconstruction errors of samples `start` to `stop`; NaN for unusable ones."""
    reader = Reader(file, trained.preparation, ranks.device)
    reader.skip_negative = True
    z = np.full((stop - start, trained.model.shape.n_latents), np.nan, np.float32)
    errors = np.full(stop - start, np.nan)
    samples = SampleSet(range(file.n_samples), reader=reader)
    for positions, x in samples.in_order(start, stop, BATCH[ranks.device.type]):
        index = positions.cpu().numpy() - start
        z[index], errors[index] = latents_and_errors(trained.model, x)
    return z, errors


def _assess(
    run: Predictor, z: np.ndarray, errors: np.ndarray, first: int, corrections: dict[int, int]
) -> pandas.DataFrame:
    """Columns label, probability, and `ADDED` as texts, of samples from number `first` on."""
    usable, training = ~np.isnan(errors), run.training
    labels, certainty, _ = assign(z, run.posterior, run.stage.n_clusters)
    likelihood, outlying = np.full(len(z), np.nan), np.zeros(len(z), int)
    if usable.any():
        likelihood[usable] = training.mixture.log_likelihood(z[usable])
        outlying[usable] = training.is_outlier(errors[usable], likelihood[usable])
    for index, corrected in corrections.items():
        if first <= index < first + len(z):
            labels[index - first], certainty[index - first] = corrected, 1
    quantiles = training.error_quantile(errors), training.likelihood_quantile(likelihood)
    columns = errors, quantiles[0], likelihood, quantiles[1], outlying
    rows = pandas.DataFrame(dict(zip(ADDED, columns, strict=False))).map("{:.6g}".format)
    rows[~usable] = ""
    rows["name"] = [run.names.get(label, "") for label in labels.tolist()]
    rows.insert(0, "label", labels)
    rows.insert(1, "probability", certainty)
    return rows
