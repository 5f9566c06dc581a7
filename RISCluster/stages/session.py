"""What the stages share: processes, data file, inputs of the results, end of a stage."""

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
from ..data.layouts import SpectrogramFile, open_spectrograms
from ..data.loading import Reader, SampleSet, load_set
from ..data.synthetic import DEMO_FILE, write_demo
from ..data.transforms import Preparation
from ..distributed import Ranks, start_ranks
from ..errors import RISClusterError, SettingsError
from ..io import sha256, write_json
from ..run_folder import StageFolder, Start, timestamp
from ..runtime import StopRequest, keep_freed_memory, log, start_log
from ..settings import Settings
from ..training.common import Context

MODEL = "model.pt"
MIXTURE = "model.npz"
METRICS = "metrics.json"
LABELS = "labels.csv"
SPLIT = "split.npz"
LATENTS = "latent.npy"
NOVELTY = "novelty.npz"
MAP = "labels.h5"
SHOWN = 12  # settings in a line


@dataclass(frozen=True)
class Session:
    """A running stage."""

    settings: Settings
    ranks: Ranks
    file: SpectrogramFile  # open
    fingerprint: str  # of the file's content
    stop: StopRequest
    columns: str = ""  # fingerprint of the file's labels, start times and trace ids
    # closed when the stage ends; releases the lock on the run
    held: ExitStack = field(default_factory=ExitStack)

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
    def data_key(self) -> dict[str, Any]:
        """Data settings that are the same in all stages of a run."""
        return {
            "data": self.fingerprint,
            "run.seed": self.settings.run.seed,
            **self.settings.inputs("data", "data"),
            **(self.settings.inputs("cube", "data") if self.file.layout == "cube" else {}),
        }

    @property
    def network_key(self) -> dict[str, Any]:
        """Network settings that are the same in all stages of a run."""
        return self.settings.inputs("aec", "network")

    def stage(self, name: str, part: str = "") -> StageFolder:
        """Folder of a stage of this run."""
        return StageFolder(self.settings.run_folder, name, part)

    def reader(self, preparation: Preparation) -> Reader:
        """Reader of the open file."""
        return Reader(self.file, preparation, self.ranks.device)

    def load(self, reader: Reader, index: np.ndarray) -> tuple[SampleSet, np.ndarray]:
        """Usable samples of `index`, and the indices of the others."""
        samples, unusable = load_set(reader, index, self.settings.data.loadmode, self.ranks)
        report_unusable(unusable, len(index))
        return samples, unusable

    def begin(self, stage: StageFolder, inputs: dict[str, Any], settings: Settings) -> bool:
        """Begin a stage; False where it is complete already.

        To be called after all checks of the input, because it moves an older stage away.
        """

        def begin() -> Start:
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
        file, weights = self.file, self.settings.aec.initial_weights
        path = Path(file.path)
        words = {
            "data": f"{path} ({file.n_samples:,} samples of {file.n_frequencies} x "
            f"{file.n_times}, written {timestamp(path.stat().st_mtime)})",
            "labels, times and ids": str(path),
            "aec.initial_weights": weights,
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
        result, error = None, None
        if self.ranks.is_first:
            try:
                result = work()
            except RISClusterError as caught:
                error = caught
        result, error = self.ranks.broadcast((result, error))
        if error is not None:
            raise error
        return result


@contextmanager
def open_session(settings: Settings, stage: str = "AEC") -> Iterator[Session]:
    """Start the processes and open the data.

    Before the AEC stage, a demo set that is missing is written. Before the others, the earlier
    stages must have begun.
    """
    keep_freed_memory()
    run = settings.run
    with StopRequest() as stop, _deterministic(run.deterministic), start_ranks(run.device) as ranks:
        start_log(ranks.rank)
        use_threads(settings)
        _say_stored(settings)
        # All processes look, and refuse the same.
        for earlier in list(COMMANDS)[: list(COMMANDS).index(stage)]:
            StageFolder(settings.run_folder, earlier).require_begun()
        if ranks.is_first and stage == "AEC":
            _ensure_demo(Path(settings.data.file))
        ranks.barrier()
        data = settings.data
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


def _say_stored(settings: Settings) -> None:
    """Log which settings are the run's stored ones, not the defaults."""
    taken = settings.from_run
    if taken:
        more = f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else ""
        log.info(
            f"{settings.run_folder}: {len(taken)} settings are taken from this run, where they "
            f"differ from the defaults: {'; '.join(taken[:SHOWN])}{more}; section.key=value "
            "replaces one"
        )


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


def _ensure_demo(path: Path) -> None:
    if path == Path(DEMO_FILE) and not path.exists():
        log.info(f"{path} is not there: writing the synthetic demo set (eight known classes)")
        write_demo(path)


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


def finish(
    stage: StageFolder, results: list[str], metrics: dict[str, Any], session: Session
) -> None:
    """Write metrics.json and mark the stage as complete."""
    write_json(stage.path / METRICS, metrics)
    stage.complete([*results, METRICS], {"fingerprint": session.fingerprint})


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


def checksum(path: Path) -> str:
    """Short checksum of a file, for the inputs of a stage."""
    return sha256(path)[:16]


def draw(enabled: bool, work: Callable[[], list[Path]]) -> None:
    """Draw figures; an error is a warning."""
    if not enabled:
        return
    try:
        paths = work()
    except Exception as error:  # figures are leaves: the results are already safe
        log.warning(f"figures could not be drawn: {type(error).__name__}: {error}")
        return
    log.info(f"figures: {', '.join(str(path) for path in paths)}")


def draw_figures(
    session: Session,
    stage: StageFolder,
    settings: Settings,
    metrics: dict[str, Any],
    drawn_map: Any = None,
) -> None:
    """Draw the figures of a stage whose results are written; `drawn_map` is a map of latents."""

    def work() -> list[Path]:
        from ..report.figures import draw_stage

        return draw_stage(session.file, stage, settings, metrics, drawn_map)

    draw(settings.run.figures, work)
