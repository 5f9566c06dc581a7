"""Labels for new data with a finished run: of a set, or of files as they arrive in a folder."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas

from .. import io
from ..data.cube_file import CubeFile
from ..data.layouts import COLUMN_ROWS, DETECTION, SpectrogramFile
from ..data.loading import Reader, SampleSet
from ..data.sets import WHOLE, open_data
from ..distributed import Ranks, choose_device, start_ranks
from ..errors import DataError, RunError, Stopped
from ..evaluation.samples import OUTLYING, TrainingDistribution, latents_and_errors
from ..models.checkpoint import TrainedModel, load_model
from ..parallel import Job, Parts, identity
from ..run_folder import StageFolder
from ..runs.labels import Posterior, assign, new_labels
from ..runs.run import FinishedStage, open_run
from ..runtime import Progress, StopRequest, count, log, start_log
from ..training.encode import BATCH, in_blocks
from .session import report_unusable, set_up_torch, warn

# Columns of the table of labels; the name of a cluster is given by the user.
ADDED = ("reconstruction_error", "error_quantile", "log_likelihood", "likelihood_quantile")
ADDED += ("outlier", "name")
# Catalogue of the files in a folder, and its journal.
COLUMNS = ("file", "index", "label", "probability", "starttime", "trace_id", "event_id")
COLUMNS += (*DETECTION, *ADDED)
JOURNAL = ("file", "size", "modified", "samples", "labelled", "outliers", "fingerprint", "model")
JOURNAL += ("end",)
SUFFIXES = (".h5", ".hdf5", ".nc", ".zarr")  # of the files
RECENT = 1000  # labelled samples, at least, of which the share of outliers is watched


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
        posterior = trained.model.posterior if is_student else training.mixture.posterior
        yield Predictor(folder, stage, ranks, stop, network, trained, posterior, training, names)


@contextmanager
def open_new(run: Predictor, path: str | Path) -> Iterator[SpectrogramFile]:
    """Open a file to be labelled, which needs the components and axes of the training set."""
    known = run.trained
    with open_data(run.stage.settings, str(path)) as file:
        of_file = file.components, [file.frequency_unit, file.time_unit], file.frequency, file.time
        of_model = known.components, known.units, known.frequency, known.time
        is_same = of_file[:2] == of_model[:2] and all(
            len(x) == len(y) and np.allclose(x, y, rtol=1e-6, atol=0.01 * abs(y[1] - y[0]))
            for x, y in zip(of_file[2:], of_model[2:], strict=True)
        )
        if not is_same:
            raise DataError(
                f"{file.path}: its samples have {_axes(*of_file)}, and those that {run.network} "
                f"was trained on {_axes(*of_model)}; make the file with the settings "
                "of the training set"
            )
        yield file


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
        n, stage = f"{file.n_samples:,} samples", run.stage.path
        log.info(f"{file.path}: {n} are labelled with {stage} on {run.ranks.device}")
        sizes, outliers = label(run, file, output)
        if not (usable := int(sizes.sum())):
            log.warning("no sample has a label: decibels need data.amplitude = linear")
            return
        log.info(f"{len(sizes)} clusters of {', '.join(f'{size:,}' for size in sizes)} samples")
        log.info(
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
    n, ranks, corrections, known = file.n_samples, run.ranks, {}, run.stage.corrections
    if known is not None and file.fingerprint() == run.stage.provenance["fingerprint"]:
        corrections = known["label"][known["label"] >= 0].to_dict()
    sizes, outliers, unusable, first = np.zeros(run.stage.n_clusters, np.int64), 0, [], 0
    with ExitStack() as stack:
        if ranks.is_first:
            write = stack.enter_context(new_labels(output, file, ADDED, DETECTION))
            shape = n, run.trained.model.shape.n_latents
            latents = stack.enter_context(io.new_rows(output.with_suffix(".latent.npy"), shape))
        progress = stack.enter_context(Progress("Labelling", n, shown=ranks.is_first))
        for z, errors in _scores(run, file, output):
            if ranks.is_first:
                latents[first : first + len(z)] = z
                labels, certainty, rows = _assess(run, z, errors, first, corrections)
                write(first, labels, certainty, *rows.to_numpy().T)
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


def _scores(
    run: Predictor, file: SpectrogramFile, output: Path
) -> Iterator[tuple[np.ndarray, ...]]:
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
        arrays = io.read_npz(parts.path(job))
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
    io.write_npz(path, z=z, errors=errors)
    return {}


def _score(
    trained: TrainedModel, file: SpectrogramFile, ranks: Ranks, start: int, stop: int
) -> tuple[np.ndarray, ...]:
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
) -> tuple[np.ndarray, np.ndarray, pandas.DataFrame]:
    """Labels, their probabilities, and `ADDED` as texts, of samples from number `first` on."""
    usable, training, likelihood = ~np.isnan(errors), run.training, np.full(len(z), np.nan)
    labels, certainty, _ = assign(z, run.posterior, run.stage.n_clusters)
    if usable.any():
        likelihood[usable] = training.mixture.log_likelihood(z[usable])
    for index, corrected in corrections.items():
        if first <= index < first + len(z):
            labels[index - first], certainty[index - first] = corrected, 1
    quantiles = training.error_quantile(errors), training.likelihood_quantile(likelihood)
    outlying = training.is_outlier(errors, likelihood).astype(int)
    columns = errors, quantiles[0], likelihood, quantiles[1], outlying
    rows = pandas.DataFrame(dict(zip(ADDED, columns, strict=False))).map("{:.6g}".format)
    rows[~usable] = ""
    rows["name"] = [run.names.get(label, "") for label in labels.tolist()]
    return labels, certainty, rows


# ---- files as they arrive -----------------------------------------------------------------------


class Catalogue:
    """A catalogue, and beside it its journal ``.files.csv``: a line for each labelled file.

    It is written after the rows of the file, with the size of the catalogue in bytes as `end`: rows
    behind that are of a process that was killed, and are removed.
    """

    def __init__(self, path: Path, model: str):
        self.path, self.place, self.model = path, path.with_suffix(".files.csv"), model
        self.journal, is_known = pandas.DataFrame(columns=JOURNAL), self.place.exists()
        if is_known:
            self.journal = pandas.read_csv(self.place, dtype={"fingerprint": str, "model": str})
        end, is_other = max([0, *self.journal["end"]]), (self.journal["model"] != model).any()
        with io.write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if file.tell() < end or (file.tell() and not is_known) or is_other:
                    raise RunError(
                        f"{path}: is not the catalogue of {self.place.name} and of this run as it "
                        "is trained now; give another name with -o"
                    )
                file.truncate(end)
        self._write()

    def _write(self) -> None:
        io.write_text(self.place, self.journal.to_csv(index=False, lineterminator="\n"))

    def add(self, run: Predictor, path: Path, name: str, stamp: tuple[int, int]) -> None:
        """Label a file, unless its data are labelled under another name, and add it."""
        known, n, n_labelled, outliers = self.journal, 0, 0, 0
        with (
            open_new(run, path) as file,
            TemporaryDirectory(prefix=f".{self.path.name}.", dir=self.path.parent) as place,
        ):
            fingerprint, table = file.fingerprint(), Path(place) / "labels.csv"
            twins = known["file"][known["fingerprint"] == fingerprint].tolist()
            if not twins:
                sizes, outliers = label(run, file, table)
                n, n_labelled = file.n_samples, int(sizes.sum())
            with (
                io.write_errors(self.path),
                self.path.open("a", encoding="utf-8", newline="") as out,
            ):
                options = {"dtype": str, "na_filter": False, "chunksize": COLUMN_ROWS}
                for rows in () if twins else pandas.read_csv(table, **options):
                    rows.insert(0, "file", name)
                    rows = rows.reindex(columns=COLUMNS, fill_value="")
                    rows.to_csv(out, header=out.tell() == 0, index=False, lineterminator="\n")
                out.flush()
                os.fsync(out.fileno())
                line = name, *stamp, n, n_labelled, outliers, fingerprint, self.model, out.tell()
        lines = [*known.itertuples(index=False), line]
        self.journal = pandas.DataFrame(lines, columns=JOURNAL)
        self._write()
        text = f"{count(n_labelled, 'label')}, {count(outliers, 'outlier')}"
        log.info(f"{path}: {f'the same data as {twins[0]}' if twins else text}")

    def warn_of_drift(self, limit: float) -> None:
        """Warn where the share of outliers of the latest samples is above `limit`."""
        latest = self.journal[["labelled", "outliers"]][::-1]
        n, outliers = latest[latest["labelled"].cumsum().shift(fill_value=0) < RECENT].sum()
        if outliers > limit * n:
            log.warning(
                f"{outliers / n:.1%} of the latest {n:,} samples are outliers, more than --drift = "
                f"{limit:g}: the data differ from the training set; train a new run on them too"
            )


def follow(run: Predictor, folder: Path, output: Path, interval: float, drift: float) -> None:
    """Label every file of spectrograms in a folder once, as it arrives, until stopped.

    A file is complete when it is the same in two checks, `interval` seconds apart; with 0 there is
    one check. `drift` is the share of outliers among the latest samples for a warning.
    """
    if not folder.is_dir() or run.ranks.world > 1:
        raise DataError(f"{folder}: --follow needs a folder that exists, and no torchrun")
    before = {}  # size and time of files at the last check, as `done` when labelled or left out
    with io.locked(output):
        for left in output.parent.glob(f".{output.name}.*/"):  # of a process that was killed
            io.remove_quietly(left)
        catalogue = Catalogue(output, identity(run.stage.provenance["results"]))
        rows = catalogue.journal[["file", "size", "modified"]].itertuples(index=False)
        done = {name: (size, modified) for name, size, modified in rows}
        log.info(f"{folder}: waiting for files; {output} has the labels of {len(done):,}")
        while True:
            now = _look(folder)
            for name, stamp in now.items():
                is_complete = not interval or before.get(name) == stamp
                if stamp == done.get(name) or not is_complete or run.stop.signal_number:
                    continue
                done[name] = stamp
                try:
                    if name in set(catalogue.journal["file"]):
                        raise DataError(f"{folder / name}: has changed; give it another name")
                    catalogue.add(run, folder / name, name, stamp)
                    catalogue.warn_of_drift(drift)
                except DataError as error:
                    log.warning(f"{error}; left out until the file changes")
            before, end = now, time.monotonic() + interval
            while time.monotonic() < end and not run.stop.signal_number:
                time.sleep(min(0.2, interval))
            if number := run.stop.signal_number:
                text = "is complete up to the last file; run the same command to continue"
                raise Stopped(f"{output}: {text}", number)
            if not interval:
                return


def _look(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time in ns of files of spectrograms by their path in the folder, earliest first."""
    found = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        is_inside = any(part.endswith(".zarr") for part in parts[:-1])
        is_hidden = any(part.startswith(".") for part in parts)
        if path.suffix.lower() in SUFFIXES and not (is_inside or is_hidden):
            with suppress(OSError):  # a file that was moved away meanwhile
                files = [x.stat() for x in (path, *path.rglob("*"))]
                stamp = sum(x.st_size for x in files), max(x.st_mtime_ns for x in files)
                found["/".join(parts)] = stamp
    return dict(sorted(found.items(), key=lambda item: (item[1][1], item[0])))
