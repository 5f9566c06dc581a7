"""What the stages share: processes, data file, inputs of the results, sweeps, end of a stage."""

import itertools
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..cli import COMMANDS, package_command, stage_command
from ..data.layouts import open_spectrograms
from ..data.loading import Reader, SampleSet, WholeFile, load_set
from ..data.spectrograms import SpectrogramFile
from ..data.synthetic import DEMO_FILE, write_demo
from ..data.transforms import Preparation
from ..distributed import Ranks, start_ranks
from ..errors import SettingsError, TrainingError
from ..io import read_json, sha256, write_bytes, write_csv, write_json
from ..run_folder import StageFolder, timestamp
from ..runtime import StopRequest, count, keep_freed_memory, log, start_log
from ..setting_values import as_text
from ..settings import Settings
from ..training.common import Context

MODEL, MIXTURE, METRICS = "model.pt", "model.npz", "metrics.json"
LABELS, SPLIT, LATENTS = "labels.csv", "split.npz", "latent.npy"
NOVELTY, MAP, SWEEP = "novelty.npz", "labels.h5", "sweep.csv"
QUALITY = {  # keys of metrics.json in the closing lines
    "mean_probability": "mean posterior probability",
    "silhouette_latent": "silhouette",
    "stability": "stability",
    "neighbour_agreement": "neighbour agreement",
}
AGREEMENT = ("accuracy", "nmi", "ari")


@dataclass(frozen=True)
class Session:
    """A running stage."""

    settings: Settings
    ranks: Ranks
    file: SpectrogramFile  # open
    fingerprint: str  # of the file's content
    stop: StopRequest
    columns: str = ""  # fingerprint of the file's labels, start times and trace ids
    held: ExitStack = field(default_factory=ExitStack)  # lock on the run, until the stage ends

    @property
    def precision(self) -> str:
        """Arithmetic of training: ``fp32`` or ``bf16``."""
        setting = self.settings.run.precision
        if setting == "bf16" and self.ranks.device.type == "cpu":
            # Slower than fp32 there, and oneDNN's transposed convolutions gave NaN gradients.
            raise SettingsError(
                "[run] precision = bf16 needs a GPU, and this run computes on the CPU; allowed "
                "here: auto, fp32"
            )
        return "fp32" if setting == "auto" else setting

    @property
    def data_inputs(self) -> dict[str, Any]:
        """Data and their settings, the same in all stages of a run."""
        return {
            "data": self.fingerprint,
            "run.seed": self.settings.run.seed,
            **self.settings.affecting("data", "data"),
            **(self.settings.affecting("cube", "data") if self.file.layout == "cube" else {}),
        }

    @property
    def aec_inputs(self) -> dict[str, Any]:
        """Inputs that a complete AEC stage must have for the stages after it."""
        return self.data_inputs | self.settings.affecting("aec", "network")

    @property
    def gmm_inputs(self) -> dict[str, Any]:
        """Inputs of the stages after AEC, besides their own settings."""
        model = self.stage("AEC").path / MODEL
        checksum_of_model = self.rank0(lambda: checksum(model))
        columns = {"labels, times and ids": self.columns}
        return self.aec_inputs | columns | {f"AEC/{MODEL}": checksum_of_model}

    def stage(self, name: str, part: str = "") -> StageFolder:
        """Folder of a stage of this run."""
        return StageFolder(self.settings.run_folder, name, part)

    def reader(self, preparation: Preparation) -> Reader:
        """Reader of the open file."""
        return Reader(self.file, preparation, self.ranks.device)

    def load(self, preparation: Preparation, index: np.ndarray) -> tuple[SampleSet, np.ndarray]:
        """Usable samples of `index`, and the indices of the others."""
        mode = self.settings.data.loadmode
        samples, unusable = load_set(self.reader(preparation), index, mode, self.ranks)
        report_unusable(unusable, len(index))
        return samples, unusable

    def whole_file(self, preparation: Preparation) -> WholeFile:
        """Every sample of the file in its order, without the unusable ones."""
        reader = self.reader(preparation)
        reader.skip_negative = True  # an error in training
        return WholeFile(reader)

    def begin(self, stage: StageFolder, inputs: dict[str, Any], settings: Settings) -> bool:
        """Begin a stage; False where it is complete already.

        To be called after all checks of the input, because it moves an older stage away.
        """

        def begin() -> Any:
            if not stage.part:  # the runs of a sweep lie inside a stage that has begun
                self.held.enter_context(stage.lock())
            return stage.begin(inputs, settings.as_ini(), self._words(inputs))

        start = self.rank0(begin)
        log.info(f"{stage.path}: {start}")
        return start.state != "done"

    def is_done(self, stage: StageFolder, inputs: dict[str, Any]) -> bool:
        """Whether a stage is complete; logs it."""
        done = self.rank0(lambda: stage.is_done(inputs))
        if done:
            log.info(f"{stage.path}: done already with these settings and data; nothing to do")
        return done

    def require_match(self, name: str, expected: dict[str, Any]) -> None:
        """Require that an earlier stage is complete and was made from `expected`."""
        stage = self.stage(name)
        self.rank0(lambda: stage.require_match(expected, self._words(expected)))

    def _words(self, inputs: dict[str, Any]) -> dict[str, str]:
        """Description of the checksums among the inputs, by name."""
        file, path = self.file, Path(self.file.path)
        words = {
            "data": f"{path} ({file.n_samples:,} samples of {file.n_frequencies} x "
            f"{file.n_times}, written {timestamp(path.stat().st_mtime)})",
            "labels, times and ids": str(path),
            "aec.initial_weights": self.settings.aec.initial_weights,
        }
        for name in inputs:
            if name.endswith((MODEL, MIXTURE)):
                made = self.stage(name.partition("/")[0]).provenance() or {}
                words[name] = f"that of {made.get('ended', 'an unknown time')}"
        return {name: text for name, text in words.items() if name in inputs}

    def context(self, stage: StageFolder) -> Context:
        """Context in which a stage trains."""
        run = self.settings.run
        return Context(stage.path, self.ranks, self.stop, run.seed, self.precision, run.tensorboard)

    def rank0(self, work: Callable[[], Any]) -> Any:
        """Result of `work` on rank 0, on all ranks; its error is raised on all."""
        return self.ranks.gather_results(lambda: work() if self.ranks.is_first else None)[0]


# ---- start --------------------------------------------------------------------------------------


@contextmanager
def open_session(settings: Settings, stage: str) -> Iterator[Session]:
    """Start the processes and open the data.

    Before the AEC stage, a demo set that is missing is written. Before the others, the earlier
    stages must have begun.
    """
    keep_freed_memory()
    run, data = settings.run, settings.data
    with StopRequest() as stop, _deterministic(run.deterministic), start_ranks(run.device) as ranks:
        start_log(ranks.rank)
        use_threads(settings)
        if settings.from_run:
            log.info(
                f"{settings.run_folder}: {len(settings.from_run)} settings are taken from this "
                f"run, where they differ from the defaults: {'; '.join(settings.from_run)}; "
                "section.key=value replaces one"
            )
        for earlier in list(COMMANDS)[: list(COMMANDS).index(stage)]:  # checked by all ranks
            StageFolder(settings.run_folder, earlier).require_begun()
        demo = Path(data.file)
        if ranks.is_first and stage == "AEC" and demo == Path(DEMO_FILE) and not demo.exists():
            log.info(f"{demo} does not exist: writing the synthetic demo set (eight known classes)")
            write_demo(demo)
        ranks.barrier()
        with open_spectrograms(data.file, data.layout, data.dataset, settings.cube) as file:
            log.info(
                f"{file.path}: {file.n_samples:,} samples of {file.n_frequencies} x "
                f"{file.n_times}, layout {file.layout}; computing on {ranks.device}"
                + (f", {ranks.world} processes" if ranks.world > 1 else "")
            )
            session = Session(settings, ranks, file, file.fingerprint(), stop)
            # Read before any work, so that bad columns fail now and not when labels are written.
            columns = session.rank0(file.columns_fingerprint)
            with session.held:
                yield replace(session, columns=columns)


def use_threads(settings: Settings) -> None:
    """Compute with as many CPU threads as ``data.cpu_threads`` says."""
    if settings.data.cpu_threads != "auto":
        torch.set_num_threads(max(1, settings.data.cpu_threads))


@contextmanager
def _deterministic(enabled: bool) -> Iterator[None]:
    """Use deterministic algorithms of PyTorch within the block."""
    before = torch.are_deterministic_algorithms_enabled()
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def report_unusable(unusable: np.ndarray, n: int) -> None:
    """Warn of samples that are left out."""
    if len(unusable):
        shown = ", ".join(map(str, unusable[:10].tolist()))
        more = ", ..." if len(unusable) > 10 else ""
        log.warning(
            f"{len(unusable):,} of {n:,} samples are unusable (not finite, all zero, or negative "
            "where a root or logarithm is taken): they are left out and get label -1; indices "
            f"{shown}{more}"
        )


def checksum(path: Path) -> str:
    """Short checksum of a file, for the inputs of a stage."""
    return sha256(path)[:16]


# ---- sweeps -------------------------------------------------------------------------------------


def combinations(settings: Settings, section: str) -> list[tuple[str, Settings]]:
    """Combinations of the lists in [aec] or [dec]: folder name, and settings without lists.

    Without lists there is one, with an empty name.
    """
    values = getattr(settings, section)
    lists = {name: value for name, value in vars(values).items() if isinstance(value, tuple)}
    found = []
    for choice in itertools.product(*lists.values()):
        chosen = dict(zip(lists, choice, strict=True))
        name = ",".join(f"{key}={as_text(value)}" for key, value in chosen.items())
        found.append((name, replace(settings, **{section: replace(values, **chosen)})))
    return found


def train_each(
    session: Session,
    stage: StageFolder,
    inputs: dict[str, Any],
    train: Callable[[Settings, StageFolder], None],
    results: list[str],
    criterion: str,
    sign: int,
) -> None:
    """Train a stage that has begun, once, or for each combination of its lists (a sweep).

    Of a sweep, the `results` of the run with the largest `sign` * `criterion`, of metrics.json,
    are copied into the stage. A run that diverges is left out.
    """
    section = stage.name.lower()
    runs, scores = combinations(session.settings, section), {}
    if len(runs) == 1:
        train(runs[0][1], stage)
        return
    for number, (name, chosen) in enumerate(runs, 1):
        part = session.stage(stage.name, f"sweep/{name}")
        log.info(f"sweep {number} of {len(runs)}: {name}")
        values = chosen.affecting(section, "network", "result")
        own = {key: values[key] for key, value in inputs.items() if isinstance(value, list)}
        try:
            if session.begin(part, inputs | own, chosen):
                train(chosen, part)
        except TrainingError as error:
            log.warning(f"sweep: {name} failed and is left out: {error}")
            if number == len(runs) and not scores:
                raise
            continue
        value = session.rank0(lambda path=part.path: read_json(path / METRICS)[criterion])
        scores[name] = -sign * np.inf if value is None else value  # null is NaN
    best = max(scores, key=lambda name: sign * scores[name])
    log.info(f"best of {len(scores)} by {criterion}: {best}")
    session.rank0(lambda: _take(session, stage, best, results, (criterion, scores)))


def _take(
    session: Session, stage: StageFolder, best: str, results: list[str], table: tuple[str, dict]
) -> None:
    """Write sweep.csv, copy the files of the best run and complete the stage."""
    write_csv(stage.path / SWEEP, ("combination", table[0]), table[1].items())
    source = stage.path / "sweep" / best
    for path in [*(source / name for name in results), *source.glob("figures/*")]:
        folder = stage.path if path.parent == source else stage.figures
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / path.name, path.read_bytes())
    metrics = read_json(source / METRICS) | {"sweep_best": best}
    finish(session, stage, [*results, SWEEP], metrics)


# ---- end ----------------------------------------------------------------------------------------


def finish(
    session: Session, stage: StageFolder, results: list[str], metrics: dict[str, Any]
) -> None:
    """Write metrics.json and mark the stage as complete."""
    write_json(stage.path / METRICS, metrics)
    stage.complete([*results, METRICS], {"fingerprint": session.fingerprint})


def draw(session: Session, name: str, *arguments: Any) -> None:
    """Draw the figures of a stage by a function of `report.figures`, if they are wanted."""

    def work() -> str:
        from ..report import figures

        return ", ".join(map(str, getattr(figures, name)(session.file, *arguments)))

    if session.settings.run.figures:
        attempt("figures", "figures could not be drawn", work)


def attempt(what: str, failed: str, work: Callable[[], Any]) -> None:
    """Log what `work` has written; any error of it is a warning, as the results are complete."""
    try:
        log.info(f"{what}: {work()}")
    except Exception as error:
        log.warning(f"{failed}: {type(error).__name__}: {error}")


def log_summary(session: Session, stage: StageFolder) -> None:
    """Log result and quality of a complete stage, and the next command."""
    if not session.ranks.is_first:
        return
    metrics = read_json(stage.path / METRICS)
    metrics = {key: value for key, value in metrics.items() if value is not None}  # null is NaN
    result, quality = (describe_aec if stage.name == "AEC" else describe_clusters)(metrics)
    log.info(f"result: {result}, in {stage.path}")
    log.info(f"quality: {quality}")
    log.info(f"next: {next_command(session.settings, stage.name)}")


def describe_aec(metrics: dict[str, Any]) -> tuple[str, str]:
    """Result and quality of the AEC stage."""
    epochs, dead = count(metrics["epochs"], "epoch"), len(metrics.get("dead_features", []))
    return (
        f"autoencoder trained on {metrics['n_train']:,} samples for {epochs}",
        f"validation loss {metrics['validation_mse']:.4g}, where the mean spectrogram has "
        f"{metrics['mse_of_mean_spectrogram']:.4g}; dead latent features: {dead}",
    )


def describe_clusters(metrics: dict[str, Any]) -> tuple[str, str]:
    """Result and quality of the GMM or the DEC stage."""
    sizes = metrics["cluster_sizes"]
    rejected = "" if metrics.get("refined", True) else " (of the mixture; refinement is rejected)"
    values = [f"{name} {metrics[key]:.3f}" for key, name in QUALITY.items() if key in metrics]
    known = [f"{key} {metrics[key]:.3f}" for key in AGREEMENT if key in metrics]
    return (
        f"{len(sizes)} clusters of {min(sizes):,} to {max(sizes):,} samples{rejected}",
        ", ".join(values) + (f"; against the known classes: {', '.join(known)}" if known else ""),
    )


def next_command(settings: Settings, stage: str) -> str:
    """Command to run after a stage: the next stage, a report that is missing, or predict."""
    folder = settings.run_folder
    if stage != "DEC":
        following = list(COMMANDS)[list(COMMANDS).index(stage) + 1]
        return stage_command(following, folder, settings.config)
    if not settings.run.figures:
        return f"{package_command('report')} --run {shlex.quote(str(folder))}"
    output = shlex.quote(f"{folder.name}_new_labels.csv")
    return f"{package_command('predict')} NEW.h5 --run {shlex.quote(str(folder))} -o {output}"
