"""What the stages share: processes, data file, inputs of the results, end of a stage."""

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.layouts import SpectrogramFile, size_text
from ..data.loading import Preparation, Reader, SampleSet, load_set
from ..data.sets import open_data
from ..data.synthetic import DEMO_FILE, write_demo
from ..distributed import Ranks, start_ranks
from ..errors import SettingsError
from ..evaluation.metrics import OF_COLUMNS, column_metrics
from ..io import locked, read_json, row_blocks, sha256, write_json
from ..models.autoencoder import Encoder
from ..run_folder import StageFolder, stored_settings
from ..runs.labels import new_labels, read_labels
from ..runtime import StopRequest, count, keep_freed_memory, log, start_log
from ..settings import COMMANDS, Settings, as_text, package_command, stage_command
from ..training.common import Context
from ..training.encode import encode_to

# Values of metrics.json in the closing lines.
SUMMARY = ("validation_mse", "mse_of_mean_spectrogram", "mean_probability", "silhouette_latent")
SUMMARY += ("stability", "neighbour_agreement", "event_agreement_excess", "accuracy", "nmi", "ari")
# Models of the stages before, which are inputs of a stage.
FIT_KEYS = [  # by which DEC fits its mixture
    f"gmm.{key}" for key in ("covariance_shrinkage", "fit_samples", "init", "n_init", "n_resamples")
]
COPIED = ("event_id", "labels, times and ids")  # inputs that are in tables and scores alone
MODELS = {"AEC": [], "GMM": ["AEC/model.pt"], "DEC": ["AEC/model.pt", "GMM/model.npz"]}


class Session:
    """A running stage: its settings, processes, open data file, folder, and inputs."""

    def __init__(
        self, settings: Settings, stage: str, ranks: Ranks, file: SpectrogramFile, stop: StopRequest
    ):
        self.settings, self.ranks, self.file, self.stop = settings, ranks, file, stop
        self.seed, self.run = settings.run.seed, settings.run_folder
        self.stage, self.fingerprint = StageFolder(self.run, stage), file.fingerprint()
        self.path = self.stage.path  # of a run of a sweep in a folder below
        self.held = ExitStack()  # with the lock on the run, until the stage ends
        self.is_new = False  # whether results are written
        self.inputs = self.ranks.rank0(self._inputs)

    def _inputs(self) -> dict[str, Any]:
        """Values by name that determine the results; the stages before must have the same."""
        settings, file, stage = self.settings, self.file, self.stage.name
        # Read before any work, so that bad columns fail now and not when labels are written.
        columns, events = file.columns_fingerprint(), file.column("event_id")
        inputs = {"data": self.fingerprint, "run.seed": self.seed}
        inputs |= settings.inputs("cube", "data") if file.layout == "cube" else {}
        inputs |= settings.inputs("data", "data") | settings.inputs("aec", "network")
        for name in MODELS[stage]:
            (earlier := StageFolder(self.run, name[:3])).require_complete(inputs)
            self._keep_settings(earlier)
            inputs |= {name: sha256(self.run / name)[:16], "labels, times and ids": columns}
            if events is not None:
                inputs["event_id"] = hashlib.sha256(events).hexdigest()[:32]
        inputs |= settings.inputs(stage.lower(), "result")
        if stage == "DEC":  # fits a mixture to the refined latents
            inputs |= {key: settings.inputs("gmm", "result")[key] for key in FIT_KEYS}
        if stage != "GMM":
            precision = settings.run.precision
            inputs["run.precision"] = "fp32" if precision == "auto" else precision
            # Slower than fp32 on CPUs, and oneDNN's transposed convolutions gave NaN gradients.
            if precision == "bf16" and self.ranks.device.type == "cpu":
                raise SettingsError("[run] precision = bf16 needs a GPU; allowed here: auto, fp32")
            if precision == "bf16" and torch.cuda.get_device_capability(self.ranks.device) < (8, 0):
                log.warning("this GPU emulates bf16, which is slow: run.precision = fp32 is faster")
        return inputs

    def _keep_settings(self, earlier: StageFolder) -> None:
        """Take the settings of a complete stage from it; others have no effect: warn of them."""
        settings, made, kept = self.settings, stored_settings(earlier), []
        for key, value in settings.values(earlier.name.lower()).items():
            if key not in FIT_KEYS and as_text(value) != made.get(key, as_text(value)):
                kept.append(f"{key}={made[key]}")
                word = f"{key}={as_text(value)}"
                command = stage_command(earlier.name, self.run, settings.config, word)
                log.warning(
                    f"{word} has no effect on the {self.stage.name} stage: it is a setting of the "
                    f"{earlier.name} stage, which was run with {made[key]}; to use it run {command}"
                )
        self.settings = settings.with_words(kept) if kept else settings

    @property
    def context(self) -> Context:
        """Context of training."""
        own = self.seed, self.inputs["run.precision"], self.settings.run.tensorboard
        return Context(self.path, self.ranks, self.stop, *own)

    def load(self, preparation: Preparation, index: np.ndarray) -> tuple[SampleSet, np.ndarray]:
        """Usable samples of `index`, and the indices of the others."""
        reader = Reader(self.file, preparation, self.ranks.device)
        samples, unusable = load_set(reader, index, self.settings.data.loadmode, self.ranks)
        report_unusable(unusable, len(index))
        return samples, unusable

    def encode(
        self, encoder: Encoder, preparation: Preparation, fixed: np.ndarray | None = None
    ) -> None:
        """Write the latents of every sample, NaN for unusable ones; `fixed` features if known."""
        reader = Reader(self.file, preparation, self.ranks.device)
        reader.skip_negative = True  # an error in training
        samples = SampleSet(range(self.file.n_samples), reader=reader)
        encode_to(self.path / "latent.npy", encoder, samples, self.ranks, fixed)

    def is_done(self) -> bool:
        """Whether the stage is complete, perhaps after `_copy_columns`; logs it."""
        done = self.ranks.rank0(lambda: self.stage.is_done(self.inputs))
        if done:
            log.info(f"{self.path}: done already with these settings and data; nothing to do")
        return done or self.ranks.rank0(self._copy_columns)

    def _copy_columns(self) -> bool:
        """Write tables and scores of a complete stage where only columns of the file changed."""
        before = (self.stage.provenance() or {"inputs": {}})["inputs"]
        fitted = {key: value for key, value in self.inputs.items() if key not in COPIED}
        if not self.stage.is_done(fitted | {key: before[key] for key in COPIED if key in before}):
            return False
        self.held.enter_context(locked(self.run))
        self.stage.reopen(self.inputs, self.settings.as_ini())
        what = "only classes, times or ids changed: labels and scores are written anew"
        log.info(f"{self.path}: {self.file.path}: {what}, nothing is fitted")
        for path in self.path.glob("labels*.csv"):
            table = read_labels(path)[["label", "probability"]].to_numpy()
            with new_labels(path, self.file) as write:
                for start, rows in row_blocks(table):
                    write(start, rows[:, 0].astype(np.int16), rows[:, 1])
        labels = read_labels(self.path / "labels.csv")["label"].to_numpy()
        metrics = read_json(self.path / "metrics.json").items()
        kept = {key: value for key, value in metrics if key not in OF_COLUMNS}
        new = column_metrics(self.file, labels, self.seed)
        write_json(self.path / "metrics.json", kept | new)
        self.stage.complete([*self.stage.provenance()["results"]], {})
        self.is_new = True
        return True

    def begin(self) -> None:
        """Lock the run and begin the stage, after all checks of the input."""
        self.is_new = True
        self.ranks.rank0(lambda: self.held.enter_context(locked(self.run)))
        begun = self.ranks.rank0(lambda: self.stage.begin(self.inputs, self.settings.as_ini()))
        log.info(f"{self.path}: {begun}")

    # ---- end of a stage ----

    def finish(self, results: list[str], metrics: dict[str, Any], drawn_map: Any = None) -> None:
        """Write metrics.json, draw the figures if wanted, and mark the stage as complete.

        A run of a sweep has only metrics. `drawn_map` is a map of the latents, if there is one.
        """
        write_json(self.path / "metrics.json", metrics)
        if self.path != self.stage.path:
            return
        if self.settings.run.figures and self.stage.name != "DEC":  # whose figures the report draws
            with warn("figures"):
                from ..plots.figures import draw_stage

                paths = draw_stage(self.file, self.stage, self.settings, metrics, drawn_map)
                log.info(f"figures: {', '.join(map(str, paths))}")
        results = [*results, "metrics.json", *(path.name for path in self.path.glob("labels.h5"))]
        device, notes = self.ranks.device, {"fingerprint": self.fingerprint}
        if device.type == "cuda":
            notes |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
            cudnn = torch.backends.cudnn
            notes |= {"cudnn": cudnn.version(), "tf32": cudnn.allow_tf32}
        self.stage.complete(results, notes | {"device": str(device)})

    def log_summary(self) -> None:
        """Log result and quality of a complete stage, and the next command."""
        if not self.ranks.is_first:
            return
        metrics, stage = read_json(self.path / "metrics.json"), self.stage.name
        if stage == "AEC":
            epochs = count(metrics["epochs"], "epoch")
            result = f"autoencoder of {metrics['n_train']:,} samples, {epochs}"
        else:
            sizes = metrics["cluster_sizes"]
            result = f"{len(sizes)} clusters of {min(sizes):,} to {max(sizes):,} samples"
        log.info(f"result: {result}, in {self.path}")
        known = {key.replace("_", " "): metrics.get(key) for key in SUMMARY}  # null is NaN
        texts = (f"{name} {value:.3g}" for name, value in known.items() if value is not None)
        log.info(f"quality: {', '.join(texts)}")
        if stage == "DEC":
            words = ["NEW.h5", "--run", str(self.run), "-o", f"{self.run.name}_new_labels.csv"]
            command = f"{package_command('predict')} {shlex.join(words)}"
        else:
            following = "GMM" if stage == "AEC" else "DEC"
            command = stage_command(following, self.run, self.settings.config)
        log.info(f"next: {command}")


def set_up_torch(settings: Settings) -> None:
    """Memory, threads and deterministic algorithms of this process."""
    keep_freed_memory()
    if settings.run.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(settings.run.deterministic)  # imports much of PyTorch
    if settings.data.cpu_threads != "auto":
        torch.set_num_threads(max(1, settings.data.cpu_threads))


@contextmanager
def open_session(settings: Settings, stage: str) -> Iterator[Session]:
    """Start the processes and open the data; the stages before `stage` must have begun."""
    set_up_torch(settings)
    with StopRequest() as stop, start_ranks(settings.run.device) as ranks:
        start_log(ranks.rank)
        if stored := "; ".join(settings.from_run):
            log.info(f"{settings.run_folder}: settings that are taken from this run: {stored}")
        for earlier in list(COMMANDS)[: list(COMMANDS).index(stage)]:  # checked by all ranks
            StageFolder(settings.run_folder, earlier).require_begun()
        demo = Path(DEMO_FILE)
        if settings.data.file == DEMO_FILE and ranks.broadcast(not demo.exists()):
            log.info(f"{demo} does not exist: writing the synthetic demo set (eight known classes)")
            ranks.rank0(lambda: write_demo(demo))
        with open_data(settings) as file:
            where = f"{ranks.device}, {count(ranks.world, 'process', 'processes')}"
            size = f"{file.n_samples:,} samples of {size_text(file.shape)}, layout {file.layout}"
            log.info(f"{file.path}: {size}; computing on {where}")
            with (session := Session(settings, stage, ranks, file, stop)).held:
                yield session


def report_unusable(unusable: np.ndarray, n: int) -> None:
    """Warn of samples that are left out."""
    if len(unusable):
        shown = ", ".join(map(str, unusable[:10].tolist())) + ", ..." * (len(unusable) > 10)
        log.warning(
            f"{len(unusable):,} of {n:,} samples are unusable (not finite, all zero, or negative "
            f"under a root or logarithm), left out and labelled -1: {shown}"
        )


@contextmanager
def warn(what: str) -> Iterator[None]:
    """Log an error as a warning, for work after the results are complete."""
    try:
        yield
    except Exception as error:
        log.warning(f"{what} could not be made: {type(error).__name__}: {error}")
