"""What the stages share: processes, data file, inputs of the results, sweeps, end of a stage."""

import copy
import hashlib
import itertools
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..cli import COMMANDS, package_command, stage_command
from ..data.layouts import SpectrogramFile, size_text
from ..data.loading import Reader, SampleSet, StreamedSet, load_set
from ..data.sets import open_data
from ..data.synthetic import DEMO_FILE, write_demo
from ..data.transforms import Preparation
from ..distributed import Ranks, start_ranks
from ..errors import SettingsError, TrainingError
from ..io import read_json, sha256, write_bytes, write_csv, write_json
from ..models.autoencoder import Encoder
from ..run_folder import StageFolder, timestamp
from ..runtime import StopRequest, keep_freed_memory, log, start_log
from ..settings import Settings, as_text
from ..training.common import Context
from ..training.encode import encode_to

# Values of metrics.json in the closing lines.
SUMMARY = ("validation_mse", "mse_of_mean_spectrogram", "mean_probability", "silhouette_latent")
SUMMARY += ("stability", "neighbour_agreement", "event_agreement_excess", "accuracy", "nmi", "ari")


def _checksum(values: np.ndarray | None) -> str | None:
    return None if values is None else hashlib.sha256(values.tobytes()).hexdigest()[:32]


class Session:
    """A running stage: its settings, processes, open data file, folder, and inputs."""

    def __init__(
        self, settings: Settings, stage: str, ranks: Ranks, file: SpectrogramFile, stop: StopRequest
    ):
        self.settings, self.ranks, self.file, self.stop = settings, ranks, file, stop
        self.run, self.stage = settings.run_folder, StageFolder(settings.run_folder, stage)
        self.path, self.fingerprint = self.stage.path, file.fingerprint()
        self.held = ExitStack()  # with the lock on the run, until the stage ends
        # Read before any work, so that bad columns fail now and not when labels are written.
        columns = self.rank0(file.columns_fingerprint)
        cube = settings.inputs("cube", "data") if file.layout == "cube" else {}
        self.inputs = {"data": self.fingerprint, "run.seed": settings.run.seed} | cube
        self.inputs |= settings.inputs("data", "data") | settings.inputs("aec", "network")
        if stage != "AEC":
            self._require("AEC", "model.pt")
            self.inputs["labels, times and ids"] = columns
            if (events := self.rank0(lambda: _checksum(file.column("event_id")))) is not None:
                self.inputs["event_id"] = events
        if stage == "DEC":
            self._require("GMM", "model.npz")
        self.inputs |= settings.inputs(stage.lower(), "result")
        if stage != "GMM":
            precision = settings.run.precision
            self.inputs["run.precision"] = "fp32" if precision == "auto" else precision
            # Slower than fp32 on CPUs, and oneDNN's transposed convolutions gave NaN gradients.
            if precision == "bf16" and ranks.device.type == "cpu":
                raise SettingsError("[run] precision = bf16 needs a GPU; allowed here: auto, fp32")
            if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
                log.warning(f"{ranks.device} computes bf16 slowly; run.precision = fp32 is faster")

    @property
    def context(self) -> Context:
        """Context of training."""
        run, precision = self.settings.run, self.inputs["run.precision"]
        return Context(self.path, self.ranks, self.stop, run.seed, precision, run.tensorboard)

    def rank0(self, work: Callable[[], Any]) -> Any:
        """Result of `work` on rank 0, on all ranks; its error is raised on all."""
        return self.ranks.gather_results(lambda: work() if self.ranks.is_first else None)[0]

    def reader(self, preparation: Preparation) -> Reader:
        """Reader of the open file."""
        return Reader(self.file, preparation, self.ranks.device)

    def load(self, preparation: Preparation, index: np.ndarray) -> tuple[SampleSet, np.ndarray]:
        """Usable samples of `index`, and the indices of the others."""
        mode = self.settings.data.loadmode
        samples, unusable = load_set(self.reader(preparation), index, mode, self.ranks)
        report_unusable(unusable, len(index))
        return samples, unusable

    def encode(
        self, encoder: Encoder, preparation: Preparation, fixed: np.ndarray | None = None
    ) -> None:
        """Write the latents of every sample of the file, NaN for unusable ones.

        `fixed` (N, P) are the fixed features where they are known.
        """
        reader = self.reader(preparation)
        reader.skip_negative = True  # an error in training
        encode_to(self.path / "latent.npy", encoder, StreamedSet(reader), self.ranks, fixed)

    def _require(self, name: str, model: str) -> None:
        """Require that an earlier stage was made from the inputs so far, and add its model."""
        stage = StageFolder(self.run, name)
        self.rank0(lambda: stage.require_match(self.inputs, self._words()))
        self.inputs[f"{name}/{model}"] = self.rank0(lambda: sha256(stage.path / model)[:16])

    def _words(self) -> dict[str, str]:
        file, path = self.file, self.file.path
        written = [place.stat().st_mtime for place in file.paths if place.exists()]
        words = {
            "data": f"{path} ({file.n_samples:,} samples of {size_text(file.shape)}"
            f"{f', written {timestamp(max(written))}' if written else ''})",
            "labels, times and ids": str(path),
            "event_id": f"the events in {path}",
            "aec.initial_weights": self.settings.aec.initial_weights,
        }
        for name in {"AEC/model.pt", "GMM/model.npz"} & self.inputs.keys():
            made = StageFolder(self.run, name[:3]).provenance() or {}
            words[name] = f"that of {made.get('ended', 'an unknown time')}"
        return {name: text for name, text in words.items() if name in self.inputs}

    def is_done(self) -> bool:
        """Whether the stage is complete; logs it."""
        done = self.rank0(lambda: self.stage.is_done(self.inputs))
        if done:
            log.info(f"{self.path}: done already with these settings and data; nothing to do")
        return done

    def begin(self) -> bool:
        """Begin the stage, after all checks of the input; False where it is complete already."""
        if not self.stage.part:  # the runs of a sweep lie inside a stage that has begun
            self.rank0(lambda: self.held.enter_context(self.stage.lock()))
        ini = self.settings.as_ini()
        start = self.rank0(lambda: self.stage.begin(self.inputs, ini, self._words()))
        log.info(f"{self.path}: {start}")
        return start != "done"

    def combinations(self) -> dict[str, "Session"]:
        """Runs for each combination of the lists in the stage's section, by name (a sweep)."""
        section = self.stage.name.lower()
        values = getattr(self.settings, section)
        lists = {key: value for key, value in vars(values).items() if isinstance(value, tuple)}
        runs = {}
        for choice in itertools.product(*lists.values()):
            chosen, one = dict(zip(lists, choice, strict=True)), copy.copy(self)
            name = ",".join(f"{key}={as_text(value)}" for key, value in chosen.items())
            one.settings = replace(self.settings, **{section: replace(values, **chosen)})
            one.stage = StageFolder(self.run, self.stage.name, f"sweep/{name}" if lists else "")
            one.path = one.stage.path
            one.inputs = self.inputs | {f"{section}.{key}": x for key, x in chosen.items()}
            runs[name] = one
        return runs

    def train(
        self, work: Callable[["Session"], None], results: list[str], best: Callable, criterion: str
    ) -> None:
        """Train a stage that has begun by `work`, once or for each combination of its lists.

        Then the `results` of the run with the `best` (min or max) `criterion` of metrics.json
        become those of the stage. A run that diverges is left out.
        """
        runs, scores = self.combinations(), {}
        if len(runs) == 1:
            work(*runs.values())
            return
        for number, (name, one) in enumerate(runs.items(), 1):
            log.info(f"sweep {number} of {len(runs)}: {name}")
            try:
                if one.begin():
                    work(one)
            except TrainingError as error:
                log.warning(f"sweep: {name} failed and is left out: {error}")
                if number == len(runs) and not scores:
                    raise
                continue
            score = self.rank0(lambda path=one.path: read_json(path / "metrics.json")[criterion])
            worst = np.inf if best is min else -np.inf
            scores[name] = worst if score is None else score  # null is NaN
        chosen = best(scores, key=scores.get)
        log.info(f"best of {len(scores)} by {criterion}: {chosen}")
        table = ("combination", criterion), scores.items()
        self.rank0(lambda: self._take(runs[chosen].path, results, table))

    def _take(self, best: Path, results: list[str], table: tuple) -> None:
        """Write sweep.csv, copy the files of the best run and complete the stage."""
        write_csv(self.path / "sweep.csv", *table)
        labels, figures = best.glob("labels.h5"), best.glob("figures/*")
        for path in [*(best / name for name in results), *labels, *figures]:
            folder = self.path if path.parent == best else self.stage.figures
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / path.name, path.read_bytes())
        metrics = read_json(best / "metrics.json") | {"sweep_best": best.name}
        self.finish([*results, "sweep.csv"], metrics)

    def draw(self, metrics: dict[str, Any], neighbour_map: Any = None) -> None:
        """Draw the figures of a stage whose results are written, if they are wanted."""
        if self.settings.run.figures:
            with warn("figures"):
                from ..report.figures import draw_stage

                paths = draw_stage(self.file, self.stage, self.settings, metrics, neighbour_map)
                log.info(f"figures: {', '.join(map(str, paths))}")

    def write_report(self) -> None:
        """Write the report of the run, with the figures."""
        if self.settings.run.figures and self.ranks.is_first:
            with warn("the report"):
                from ..report.make_report import write_report

                log.info(f"report: {write_report(self.run)}")

    def finish(self, results: list[str], metrics: dict[str, Any]) -> None:
        """Write metrics.json and mark the stage, and labels.h5 of a cube, as complete."""
        write_json(self.path / "metrics.json", metrics)
        results = [*results, "metrics.json", *(path.name for path in self.path.glob("labels.h5"))]
        about = describe_device(self.ranks.device)
        self.stage.complete(results, {"fingerprint": self.fingerprint, "computed_on": about})

    def log_summary(self) -> None:
        """Log result and quality of a complete stage, and the next command."""
        if self.ranks.is_first:
            result, quality = summary(read_json(self.path / "metrics.json"))
            log.info(f"result: {result}, in {self.path}")
            log.info(f"quality: {quality}")
            log.info(f"next: {next_command(self.settings, self.stage.name)}")


def set_up_torch(settings: Settings) -> None:
    """Threads and deterministic algorithms of this process."""
    torch.use_deterministic_algorithms(settings.run.deterministic)
    if settings.data.cpu_threads != "auto":
        torch.set_num_threads(max(1, settings.data.cpu_threads))


def describe_device(device: torch.device) -> dict[str, Any]:
    """Device and libraries that computed a result, for its provenance."""
    about = {"device": str(device)}
    if device.type == "cuda":
        about |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": torch.backends.cudnn.allow_tf32,
        }
    return about


@contextmanager
def open_session(settings: Settings, stage: str) -> Iterator[Session]:
    """Start the processes and open the data; the stages before `stage` must have begun."""
    keep_freed_memory()
    data = settings.data
    set_up_torch(settings)
    with StopRequest() as stop, start_ranks(settings.run.device) as ranks:
        start_log(ranks.rank)
        if stored := "; ".join(settings.from_run):
            log.info(f"{settings.run_folder}: settings that are taken from this run: {stored}")
        for earlier in list(COMMANDS)[: list(COMMANDS).index(stage)]:  # checked by all ranks
            StageFolder(settings.run_folder, earlier).require_begun()
        demo = Path(data.file)
        if ranks.is_first and stage == "AEC" and demo == Path(DEMO_FILE) and not demo.exists():
            log.info(f"{demo} does not exist: writing the synthetic demo set (eight known classes)")
            write_demo(demo)
        ranks.barrier()
        with open_data(settings) as file:
            log.info(
                f"{file.path}: {file.n_samples:,} samples of {size_text(file.shape)}, layout "
                f"{file.layout}; computing on {ranks.device}"
                + (f", {ranks.world} processes" if ranks.world > 1 else "")
            )
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


def summary(metrics: dict[str, Any]) -> tuple[str, str]:
    """Result and quality of a stage in words; null and missing metrics are left out."""
    if "n_train" in metrics:
        result = f"autoencoder of {metrics['n_train']:,} samples, {metrics['epochs']} epochs"
    else:
        sizes = metrics["cluster_sizes"]
        result = f"{len(sizes)} clusters of {min(sizes):,} to {max(sizes):,} samples"
    known = {key.replace("_", " "): metrics.get(key) for key in SUMMARY}
    return result, ", ".join(f"{name} {x:.3g}" for name, x in known.items() if x is not None)


def next_command(settings: Settings, stage: str) -> str:
    """Command to run after a stage: the next stage, a report that is missing, or predict."""
    folder = settings.run_folder
    if stage != "DEC":
        return stage_command({"AEC": "GMM", "GMM": "DEC"}[stage], folder, settings.config)
    if not settings.run.figures:
        return f"{package_command('report')} --run {shlex.quote(str(folder))}"
    output = shlex.quote(f"{folder.name}_new_labels.csv")
    return f"{package_command('predict')} NEW.h5 --run {shlex.quote(str(folder))} -o {output}"
