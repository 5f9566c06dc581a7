"""Labels for new data with a finished run."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.cube_file import CubeFile
from ..data.layouts import COLUMN_ROWS, DETECTION, SpectrogramFile, size_text
from ..data.loading import Reader, StreamedSet
from ..data.sets import WHOLE, open_data
from ..distributed import Ranks, choose_device, start_ranks
from ..errors import DataError, RunError, SettingsError, Stopped
from ..evaluation.outliers import DRIFT, OUTLYING, TrainingDistribution, latents_and_errors
from ..io import new_rows, read_npz, sha256, write_npz
from ..models.checkpoint import TrainedModel, load_model
from ..parallel import Job, Parts
from ..run_folder import StageFolder, load_stage_settings
from ..runs.labels import UNUSABLE, assign, new_labels
from ..runs.names import read_names
from ..runs.run import open_run
from ..runtime import Progress, StopRequest, keep_freed_memory, log, start_log
from ..settings import Settings
from ..training.encode import BATCH
from .final_labels import soft_assignment
from .session import report_unusable, set_up_torch, warn

COLUMNS = ("reconstruction_error", "error_quantile")
COLUMNS += ("log_likelihood", "likelihood_quantile", "outlier")
ADDED = (*COLUMNS, "name")  # the last is given by the user


Scores = tuple[np.ndarray, np.ndarray]  # latents (n, D) and reconstruction errors (n,)


class Predictor(NamedTuple):
    """What labels new samples."""

    folder: StageFolder
    settings: Settings
    ranks: Ranks
    stop: StopRequest
    trained: TrainedModel  # on the device
    posterior: Callable[[np.ndarray], np.ndarray]  # latents (n, D) to probabilities (n, K)
    n_clusters: int
    training: TrainingDistribution
    names: dict[int, str] = {}  # of clusters, see `runs.names`
    corrected: dict[int, int] = {}  # labels by index of the sample, in the file `own`
    own: str = ""  # fingerprint

    def corrected_in(self, file: SpectrogramFile) -> dict[int, int]:
        """Corrected labels of a file, by index."""
        return self.corrected if self.corrected and file.fingerprint() == self.own else {}


class Counts(NamedTuple):
    """Numbers of samples of a labelled file."""

    sizes: np.ndarray  # (K,), of each cluster
    outliers: int
    n_labelled = property(lambda self: int(sum(self.sizes)), doc="Samples with a label.")


@contextmanager
def open_predictor(run_folder: Path, stage: str, words: Sequence[str]) -> Iterator[Predictor]:
    """Load a finished stage, DEC or GMM, in every process that ``torchrun`` started.

    ``section.key=value`` words replace settings of the run.
    """
    folder = StageFolder(run_folder, stage)
    if (folder.provenance() or {}).get("status") != "complete":
        raise RunError(
            f"{folder.path}: this run has no finished {stage} stage; run {folder.command} first, "
            "or name another run or --stage"
        )
    settings = load_stage_settings(folder, ["data.layout=auto", *WHOLE, *words])
    if settings.run.backend != "processes" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError(
            f"[run] backend = {settings.run.backend} with torchrun; allowed: one of them"
        )
    keep_freed_memory()
    set_up_torch(settings)
    with StopRequest() as stop, start_ranks(settings.run.device) as ranks:
        start_log(ranks.rank)
        yield _with_names(_load(folder, settings, ranks, stop))


@contextmanager
def open_new(run: Predictor, path: str | Path) -> Iterator[SpectrogramFile]:
    """Open a file to be labelled, in every process or in none."""
    opened = []
    with ExitStack() as stack:

        def work() -> None:
            file = stack.enter_context(open_data(run.settings, str(path)))
            opened.append(file)
            check_axes(file, run.trained, run.folder.path / "model.pt")

        run.ranks.gather_results(work)
        yield opened[0]


def predict(run: Predictor, path: str, output: Path, overwrite: bool) -> None:
    """Label every sample of a file with a finished run, at constant memory.

    Writes a table of labels, probabilities and how unlike the training set each sample is to
    `output` (``.csv``), latents beside it (``.latent.npy``), page and gallery (``.html``,
    ``.gallery.png``), and of a cube a map (``.h5``) and its figure.
    """
    image, ranks = f".{run.settings.run.figure_format}", run.ranks
    with open_new(run, path) as file:
        suffixes = (".csv", ".latent.npy") + (
            ".html",
            f".gallery{image}",
        ) * run.settings.run.figures
        for suffix in suffixes + (".h5", image) * isinstance(file, CubeFile):
            out = output.with_suffix(suffix)
            if out.exists() and any(map(out.samefile, filter(Path.exists, file.paths))):
                raise DataError(f"{out}: is the file to be labelled; give another name with -o")
            if out.exists() and not overwrite:
                raise DataError(f"{out}: exists already; give another name, or --overwrite")
        log.info(
            f"{file.path}: {file.n_samples:,} samples of {size_text(file.shape)}, "
            f"labelled with {run.folder.path}; computing on {ranks.device}"
            + (f", {ranks.world} processes" if ranks.world > 1 else "")
        )
        counts = label(run, file, output)
        usable, outliers = counts.n_labelled, counts.outliers
        if not usable:
            missing = f"; missing: {', '.join(file.missing[:3])}" if file.missing else ""
            log.warning(f"no sample has a label: decibels need data.amplitude = linear{missing}")
            return
        sizes = ", ".join(f"{size:,}" for size in counts.sizes)
        log.info(f"{run.n_clusters} clusters of {sizes} samples")
        write_line = log.warning if outliers > DRIFT * usable else log.info
        write_line(
            f"{outliers:,} of {usable:,} samples ({outliers / usable:.1%}) are outliers: worse "
            f"reconstructed or less likely than all but {OUTLYING:.1%} of the training samples, of "
            f"which up to {2 * OUTLYING:.0%} would be"
        )
        log.info(f"{output}: labels; {output.with_suffix('.latent.npy')}: latents")
        if run.settings.run.figures and ranks.is_first:
            with warn("page"):
                from ..report.new_data import write_new_page

                write_new_page(output, run.folder, file, run.settings, run.posterior)


def _load(folder: StageFolder, settings: Settings, ranks: Ranks, stop: StopRequest) -> Predictor:
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
    trained.model.to(ranks.device)
    return Predictor(folder, settings, ranks, stop, trained, posterior, n_clusters, training)


def _with_names(run: Predictor) -> Predictor:
    """With names of clusters, and for the data of the run itself with corrected labels."""
    with open_run(run.folder.run_folder) as finished:
        final, corrected = finished.final, {}
        if final is None or final.name != run.folder.name:
            return run
        if final.corrections is not None:
            labels = final.corrections["label"]
            corrected = labels[labels >= 0].to_dict()
        own = final.provenance.get("fingerprint", "")
        return run._replace(names=read_names(finished), corrected=corrected, own=own)


def check_axes(file: SpectrogramFile, trained: TrainedModel, path: Path) -> None:
    """Require the axes of the training set; `path` is where `trained` was read from.

    An axis without a unit is taken as that of the other, if it has as many bins.
    """
    here, there = file.components, trained.components
    if here != there:
        raise DataError(
            f"{file.path}: its samples have {_listed(here)}, and those that {path} was trained on "
            f"{_listed(there)}; make the file with build.components as of the training set, or set "
            "cube.window_channels"
        )
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


def _listed(components: Sequence[str]) -> str:
    return f"components {', '.join(components)}" if len(components) > 1 else "one component"


def label(run: Predictor, file: SpectrogramFile, output: Path) -> Counts:
    """Write the table of labels and the latents of an open file, block by block, from rank 0."""
    n, ranks, corrected = file.n_samples, run.ranks, run.corrected_in(file)
    sizes, outliers, unusable = np.zeros(run.n_clusters, np.int64), 0, []
    with ExitStack() as stack:
        if ranks.is_first:
            write = stack.enter_context(new_labels(output, file, ADDED, DETECTION))
            shape = n, run.trained.model.shape.n_latents
            rows = stack.enter_context(new_rows(output.with_suffix(".latent.npy"), shape))
        progress = stack.enter_context(Progress("Labelling", n, shown=ranks.is_first))
        is_here, first = run.settings.run.backend == "processes", 0
        for z, errors in _scores(run, file) if is_here else _scores_of_parts(run, file, output):
            if not ranks.is_first:
                continue
            rows[first : first + len(z)] = z
            labels, certainty, columns = _assess(run, z, errors)
            for index in corrected.keys() & set(range(first, first + len(z))):
                labels[index - first], certainty[index - first] = corrected[index], 1
            names = [run.names.get(number, "") for number in labels.tolist()]
            write(first, labels, certainty, *columns, names)
            sizes += np.bincount(labels[labels >= 0], minlength=run.n_clusters)
            outliers += int((columns[-1] == "1").sum())
            unusable.append(first + np.flatnonzero(labels < 0))
            first += len(z)
            progress.add(len(z))
    if ranks.is_first:
        report_unusable(np.concatenate(unusable), n)
    return ranks.broadcast(Counts(sizes, outliers))


def _scores(run: Predictor, file: SpectrogramFile) -> Iterator[Scores]:
    """`_score` of blocks in the order of the file, which ranks compute together."""
    n, ranks = file.n_samples, run.ranks
    for start in range(0, n, COLUMN_ROWS * ranks.world):
        end = min(start + COLUMN_ROWS * ranks.world, n)
        first, last = (start + at for at in ranks.shard(end - start))
        yield from ranks.gather_results(lambda a=first, b=last: _score(run, file, a, b))
        if ranks.any(bool(run.stop.signal_number)):
            raise Stopped(
                f"{file.path}: {end:,} of {n:,} samples are labelled, and nothing is written; run "
                "the same command to label them all",
                run.stop.signal_number or signal.SIGTERM,
            )


def _scores_of_parts(run: Predictor, file: SpectrogramFile, output: Path) -> Iterator[Scores]:
    """`_scores`, computed by the workers of a cluster."""
    n, parts, made = file.n_samples, Parts(output, run.settings.run), run.folder.provenance()
    text = ", ".join(map(str, file.paths))
    task, of = (run.folder, run.settings, text), [made["results"], file.fingerprint()]
    jobs = []
    for start in range(0, n, COLUMN_ROWS):
        end = min(start + COLUMN_ROWS, n)
        job = Job(f"{start:012d}.npz", (*task, start, end), [*of, start], end - start)
        jobs.append(job)
    if not parts.run(jobs, score_part, 0, "labelling", "samples"):
        raise RunError(f"{parts.folder}: was removed by another process; run the same command")
    for job in jobs:
        arrays = read_npz(parts.path(job))
        yield arrays["z"], arrays["errors"]
    parts.remove()


def score_part(task: tuple, path: Path) -> dict[str, Any]:
    """Write `_score` of some samples: a `Job`."""
    folder, settings, source, start, end = task
    run = _load_once(folder, settings, str(folder.provenance()["results"]))
    with open_new(run, source) as file:
        z, errors = _score(run, file, start, end)
    write_npz(path, z=z, errors=errors)
    return {}


@lru_cache(maxsize=1)
def _load_once(folder: StageFolder, settings: Settings, _: str) -> Predictor:
    device = choose_device(settings.run.device)
    return _load(folder, settings, Ranks(0, 1, device), StopRequest())


def _score(run: Predictor, file: SpectrogramFile, start: int, stop: int) -> Scores:
    """Latents and reconstruction errors of samples `start` to `stop`; NaN for unusable ones."""
    device = run.ranks.device
    reader = Reader(file, run.trained.preparation, device)
    reader.skip_negative = True
    z = np.full((stop - start, run.trained.model.shape.n_latents), np.nan, np.float32)
    errors = np.full(stop - start, np.nan)
    for positions, x in StreamedSet(reader).in_order(start, stop, BATCH[device.type]):
        index = positions.cpu().numpy() - start
        z[index], errors[index] = latents_and_errors(run.trained.model, x)
    return z, errors


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
