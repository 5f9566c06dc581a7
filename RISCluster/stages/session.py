"""What every stage starts with: processes, data file, and what the run's results depend on."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..command_names import COMMANDS, package_command, stage_command
from ..data.layouts import open_spectrograms
from ..data.loading import Reader, SampleSet, load_set
from ..data.spectrograms import SpectrogramFile
from ..data.synthetic import DEMO_FILE, write_demo
from ..data.transforms import Preparation
from ..distributed import Ranks, start_ranks
from ..errors import CheckpointError, RISClusterError, SettingsError
from ..io import load_checkpoint, sha256, write_json
from ..machine import keep_freed_memory
from ..models.autoencoder import AEC, NetworkShape
from ..models.reference import load_weights
from ..progress import log, start_log
from ..run_folder import StageFolder, timestamp
from ..settings import Settings
from ..stopping import StopRequest
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
    """A stage at work.

    Attributes
    ----------
    settings : Settings
    ranks : Ranks
    file : SpectrogramFile
        Open.
    fingerprint : str
        Of the file's content.
    stop : StopRequest
    columns : str
        Fingerprint of the file's labels, start times and trace ids.
    held : ExitStack
        What is given back when the stage ends: the lock on the run.
    """

    settings: Settings
    ranks: Ranks
    file: SpectrogramFile
    fingerprint: str
    stop: StopRequest
    columns: str = ""
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
        """What all stages of a run must agree on about the data."""
        return {
            "data": self.fingerprint,
            "run.seed": self.settings.run.seed,
            **self.settings.affecting("data", "data"),
            **(self.settings.affecting("cube", "data") if self.file.layout == "cube" else {}),
        }

    @property
    def network_key(self) -> dict[str, Any]:
        """What all stages of a run must agree on about the network."""
        return self.settings.affecting("aec", "network")

    def stage(self, name: str, part: str = "") -> StageFolder:
        """Folder of a stage of this run."""
        return StageFolder(self.settings.run_folder, name, part)

    def reader(self, preparation: Preparation) -> Reader:
        """Reader of the open file."""
        return Reader(self.file, preparation, self.ranks.device)

    def load(self, reader: Reader, index: np.ndarray) -> tuple[SampleSet, np.ndarray]:
        """The usable samples among `index`, and the others, which are reported."""
        samples, unusable = load_set(reader, index, self.settings.data.loadmode, self.ranks)
        report_unusable(unusable, len(index))
        return samples, unusable

    def begin(self, stage: StageFolder, depends: dict[str, Any], settings: Settings) -> bool:
        """Make a stage's folder ready and say how it stands; whether there is work to do.

        Comes after everything that can refuse bad input, because it sets an older stage aside.
        """
        said = self.on_first(lambda: self._begin(stage, depends, settings))
        log.info(f"{stage.path}: {said}")
        return said != "done"

    def _begin(self, stage: StageFolder, depends: dict[str, Any], settings: Settings) -> str:
        if not stage.part:  # combinations of a sweep lie inside a stage that has begun
            self.held.callback(stage.lock().release)
        return stage.begin(depends, settings.as_ini(), self._words(depends))

    def is_done(self, stage: StageFolder, depends: dict[str, Any]) -> bool:
        """Whether a stage needs no work, which is then said; changes nothing."""
        done = self.on_first(lambda: stage.is_done(depends))
        if done:
            log.info(f"{stage.path}: done already with these settings and data; nothing to do")
        return done

    def require_match(self, name: str, expected: dict[str, Any]) -> None:
        """Refuse an earlier stage that is not complete, or made otherwise than `expected`."""
        stage = self.stage(name)
        self.on_first(lambda: stage.require_match(expected, self._words(expected)))

    def _words(self, depends: dict[str, Any]) -> dict[str, str]:
        """What the checksums that a stage depends on are of, for people."""
        file, weights = self.file, self.settings.aec.initial_weights
        path = Path(file.path)
        words = {
            "data": f"{path} ({file.n_samples:,} samples of {file.n_frequencies} x "
            f"{file.n_times}, written {timestamp(path.stat().st_mtime)})",
            "labels, times and ids": str(path),
            "aec.initial_weights": weights,
        }
        for name in depends:
            if name.endswith((MODEL, MIXTURE)):
                made = self.stage(name.partition("/")[0]).provenance() or {}
                words[name] = f"that of {made.get('ended', 'an unknown time')}"
        return {name: text for name, text in words.items() if name in depends}

    def context(self, stage: StageFolder) -> Context:
        """What a trainer of a stage works with."""
        run = self.settings.run
        return Context(stage.path, self.ranks, self.stop, run.seed, self.precision, run.tensorboard)

    def on_first(self, work: Callable[[], Any]) -> Any:
        """Result of `work`, done by rank 0 and handed to all; an error of it is raised by all."""
        result, error = None, None
        if self.ranks.is_first:
            try:
                result = work()
            except RISClusterError as caught:
                error = caught
        result, error = self.ranks.from_first((result, error))
        if error is not None:
            raise error
        return result


@contextmanager
def open_session(settings: Settings, stage: str = "AEC") -> Iterator[Session]:
    """Start the processes, write the demo set if it is asked for and missing, open the data.

    Parameters
    ----------
    settings : Settings
    stage : {"AEC", "GMM", "DEC"}
        The stage that begins. The demo set is written for the first alone, and before data are
        opened for another, the one before it must be there.
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
        ranks.wait()
        data = settings.data
        with open_spectrograms(data.file, data.layout, data.dataset, settings.cube) as file:
            log.info(
                f"{file.path}: {file.n_samples:,} samples of {file.n_frequencies} x "
                f"{file.n_times}, layout {file.layout}; computing on {ranks.device}"
                + (f", {ranks.world} processes" if ranks.world > 1 else "")
            )
            session = Session(settings, ranks, file, file.fingerprint(), stop)
            # Read before any work, so that bad columns fail now and not when labels are written.
            columns = session.on_first(file.columns_fingerprint)
            with session.held:
                yield replace(session, columns=columns)


def use_threads(settings: Settings) -> None:
    """Compute with as many CPU threads as ``data.workers`` says."""
    if settings.data.workers != "auto":
        torch.set_num_threads(max(1, settings.data.workers))


def _say_stored(settings: Settings) -> None:
    """Say which settings are those of the run, and not the defaults."""
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
    """Have PyTorch take algorithms that give the same bytes every time, for the time of a block."""
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
    """Say how many samples are left out, and which."""
    if len(unusable):
        shown = ", ".join(map(str, unusable[:10].tolist()))
        more = ", ..." if len(unusable) > 10 else ""
        log.warning(
            f"{len(unusable):,} of {n:,} samples are unusable (not finite, all zero, or negative "
            "where a root or logarithm is taken): they are left out and get label -1; indices "
            f"{shown}{more}"
        )


# ---- the autoencoder as later stages read it ----------------------------------------------------


def model_content(
    model: torch.nn.Module, preparation: Preparation, variance: float, session: Session
) -> dict[str, Any]:
    """What a model.pt holds: network, weights, how its samples are prepared, and their axes."""
    file = session.file
    return {
        "network": model.shape.as_plain(),
        "preparation": preparation.as_plain(),
        "variance": variance,
        "data": session.fingerprint,
        "frequency": torch.from_numpy(file.frequency),
        "time": torch.from_numpy(file.time),
        "units": [file.frequency_unit, file.time_unit],
        "state": {name: value.cpu() for name, value in model.state_dict().items()},
    }


def load_aec(path: Path, file: SpectrogramFile) -> tuple[AEC, Preparation, float]:
    """Autoencoder of a finished AEC stage.

    Parameters
    ----------
    path : Path
        Its model.pt.
    file : SpectrogramFile
        What it is to be used on.

    Returns
    -------
    AEC
    Preparation
    float
        Mean squared error of the mean spectrogram.

    Raises
    ------
    CheckpointError
        The file is damaged, or its network does not fit the spectrograms.
    """
    content = load_checkpoint(path, "AEC model")
    shape = NetworkShape.from_plain(content["network"])
    if (shape.n_frequencies, shape.n_times) != (file.n_frequencies, file.n_times):
        raise CheckpointError(
            f"{path}: its network takes spectrograms of {shape.n_frequencies} x {shape.n_times}, "
            f"and {file.path} has {file.n_frequencies} x {file.n_times}; give spectrograms of that "
            "shape, or train anew on these"
        )
    model = AEC(shape)
    load_weights(model, content["state"], str(path))
    return model, Preparation(**content["preparation"]), content["variance"]


def finish(
    stage: StageFolder, results: list[str], metrics: dict[str, Any], session: Session
) -> None:
    """Write metrics.json and mark the stage as complete."""
    write_json(stage.path / METRICS, metrics)
    stage.complete([*results, METRICS], {"fingerprint": session.fingerprint})


def next_command(settings: Settings, stage: str) -> str:
    """Command to run after a stage, with all that it needs.

    Parameters
    ----------
    settings : Settings
        Of the run.
    stage : {"AEC", "GMM", "DEC"}
        The stage that has ended.

    Returns
    -------
    str
        That of the next stage; after the last, of its report where none was made, or of labelling
        new data.
    """
    folder = settings.run_folder
    if stage != "DEC":
        following = list(COMMANDS)[list(COMMANDS).index(stage) + 1]
        return stage_command(following, folder, settings.config)
    if not settings.run.figures:
        return f"{package_command('report')} --run {shlex.quote(str(folder))}"
    output = shlex.quote(f"{folder.name}_new_labels.csv")
    return f"{package_command('predict')} NEW.h5 --run {shlex.quote(str(folder))} -o {output}"


def checksum(path: Path) -> str:
    """Short checksum by which a stage remembers what it was made from."""
    return sha256(path)[:16]


def draw(enabled: bool, work: Callable[[], list[Path]]) -> None:
    """Draw figures; whatever goes wrong is said and never stops a run."""
    if not enabled:
        return
    try:
        paths = work()
    except Exception as error:  # figures are leaves: the results are already safe
        log.warning(f"figures could not be drawn: {type(error).__name__}: {error}")
        return
    log.info(f"figures: {', '.join(str(path) for path in paths)}")
