"""A run folder read back: complete stages, their networks and, if it can be read, the data file.

Letters: N samples of the file, n samples, D latent features, K clusters, F x T bins.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas
import torch

from ..cli import SCRIPTS, stage_command
from ..clustering.mixture import Mixture
from ..data.layouts import open_spectrograms
from ..data.spectrograms import SpectrogramFile
from ..data.transforms import Preparation
from ..errors import DataError, RISClusterError, RunError
from ..io import open_rows, read_json, read_npz, sha256
from ..models.autoencoder import DEC
from ..models.checkpoint import load_model
from ..run_folder import StageFolder, load_stage_settings
from ..settings import Settings, load_settings
from .labels import read_labels

STAGES = tuple(SCRIPTS)  # in the order in which they run
LABELLING = ("GMM", "DEC")

Result = TypeVar("Result")


@dataclass(frozen=True)
class FinishedStage:
    """A complete stage of a run; only GMM and DEC have labels, latents and a mixture."""

    name: str  # AEC, GMM or DEC
    path: Path
    metrics: dict[str, Any]  # content of metrics.json
    provenance: dict[str, Any]  # content of provenance.json
    settings: Settings  # with which it was made

    @cached_property
    def table(self) -> pandas.DataFrame:
        """Label, probability, time and trace of every sample, see `read_labels`."""
        return read_labels(self.path / "labels.csv")

    @property
    def labels(self) -> np.ndarray:
        """Label of every sample, (N,), int16; -1 for unusable ones."""
        return self.table["label"].to_numpy()

    @cached_property
    def latents(self) -> np.ndarray:
        """Latents of every sample, (N, D); NaN for unusable ones."""
        return open_rows(self.path / "latent.npy")

    @cached_property
    def mixture(self) -> Mixture:
        """Gaussians of the clusters in latent space; empty clusters have none."""
        return Mixture.from_arrays(read_npz(self.path / "novelty.npz"))

    @property
    def n_clusters(self) -> int:
        """K."""
        return int(self.metrics["n_clusters"])

    @property
    def sizes(self) -> np.ndarray:
        """Members of each cluster, (K,), int64."""
        return np.asarray(self.metrics["cluster_sizes"], dtype=np.int64)


@dataclass(frozen=True)
class FinishedRun:
    """The complete stages of a run."""

    folder: Path
    settings: Settings  # those of the last stage, with the given overrides
    stages: dict[str, FinishedStage]  # in the order in which they run
    file: SpectrogramFile | None  # the data, open; None if they can't be read
    notes: list[str] = field(default_factory=list)  # what is missing or does not match, and why

    @property
    def labelling(self) -> list[FinishedStage]:
        """Stages that label samples: mixture first, then refinement."""
        return [stage for name, stage in self.stages.items() if name in LABELLING]

    @property
    def final(self) -> FinishedStage | None:
        """The last stage that labels: DEC, or else GMM, or None."""
        return self.labelling[-1] if self.labelling else None

    @property
    def views(self) -> dict[str, int]:
        """Components of the fixed features beside the learnt ones, by name; empty without any."""
        stage = self.stages.get("AEC")
        return (stage and stage.metrics.get("n_components")) or {}

    @property
    def feature_names(self) -> list[str]:
        """Name of each of the D latents."""
        n = self.final.latents.shape[1] if self.final else 0
        beside = [f"{view} {i}" for view, size in self.views.items() for i in range(size)]
        return [*(f"feature {i}" for i in range(n - len(beside))), *beside][:n]

    @cached_property
    def truth(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64: position in `class_names`, or -1; or None."""
        labels = None if self.file is None else self.file.labels()
        if labels is None:
            return None
        return np.where(labels >= 0, np.searchsorted(list(self._classes), labels), -1)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the known classes: those named in the file, and those that occur."""
        return list(self._classes.values())

    @cached_property
    def _classes(self) -> dict[int, str]:
        """Names by the numbers of the classes in the file, which can be any."""
        labels = None if self.file is None else self.file.labels()
        if labels is None:
            return {}
        names = dict(enumerate(self.file.class_names()))
        numbers = {*names, *np.unique(labels[labels >= 0]).tolist()}
        return {number: names.get(number, f"class {number}") for number in sorted(numbers)}


def cached(run: FinishedRun, name: str, make: Callable[[], Result]) -> Result:
    """Result of `make`, which is called once per run and name."""
    results = vars(run).setdefault("_cached", {})
    if name not in results:
        results[name] = make()
    return results[name]


@contextmanager
def open_run(folder: Path, overrides: Sequence[str] = ()) -> Iterator[FinishedRun]:
    """Open a run folder and, if possible, its data.

    `overrides` are words such as ``data.file=moved.h5``. Raises RunError for a folder without a
    complete stage, SettingsError for a word that is no setting.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give one as Outputs/demo")
    load_settings(None, overrides)  # a wrong word is an error, not a note on each stage
    stages, notes = {}, []
    for name in STAGES:
        try:
            stages[name] = _read_stage(StageFolder(folder, name), overrides)
        except RISClusterError as error:
            notes.append(f"{error}.")
    if not stages:
        raise RunError(
            f"{folder}: holds no complete stage of a run; run {stage_command('AEC', folder)} "
            f"first, or name another folder{': ' + ' '.join(notes) if notes else ''}"
        )
    last = list(stages.values())[-1]
    with ExitStack() as files:
        file = None
        try:
            file = files.enter_context(_open_data(last))
        except DataError as error:
            notes.append(
                f"the data can't be read, and what needs them is left out: {error}; "
                "data.file=PATH names their present location"
            )
        yield FinishedRun(folder, last.settings, stages, file, notes)


def _read_stage(stage: StageFolder, overrides: Sequence[str]) -> FinishedStage:
    """A complete stage, made from the present models of the stages before it."""
    provenance = stage.require_complete()
    for name, checksum in provenance.get("inputs", {}).items():
        path = stage.run_folder / name
        if not name.endswith(("model.pt", "model.npz")):
            continue
        if not path.exists() or sha256(path)[: len(checksum)] != checksum:
            state = "has changed" if path.exists() else "is missing"
            raise RunError(
                f"{stage.path}: was made from another {name}, which {state}; run {stage.command} "
                "again"
            )
    settings = load_stage_settings(stage, overrides)
    metrics = read_json(stage.path / "metrics.json")
    return FinishedStage(stage.name, stage.path, metrics, provenance, settings)


@contextmanager
def _open_data(stage: FinishedStage) -> Iterator[SpectrogramFile]:
    """The data file of a stage, if it is the one that the stage was made from."""
    data, known = stage.settings.data, stage.provenance
    before = known.get("fingerprint"), known.get("inputs", {}).get("labels, times and ids")
    with open_spectrograms(data.file, data.layout, data.dataset, stage.settings.cube) as file:
        now = file.fingerprint(), file.columns_fingerprint()
        if any(old not in (None, new) for old, new in zip(before, now, strict=True)):
            was = known.get("words", {}).get("data")
            raise DataError(
                f"{file.path}: is not the data that {stage.path} was made from"
                f"{', which was ' + was if was else ''}"
            )
        yield file


# ---- networks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageModel:
    """The network that gave a stage its latents."""

    decoder: torch.nn.Module
    preparation: Preparation  # of its samples, with the standardisation
    centroids: np.ndarray  # (K, D), float64; NaN for a cluster that has none

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Spectrograms (n, F, T), float32, of latents (n, D), without standardisation; or NaN."""
        known = ~np.isnan(latents).any(1)
        with torch.inference_mode():
            z = torch.from_numpy(np.where(known[:, None], latents, 0).astype(np.float32))
            images = self.preparation.undo_standardize(self.decoder(z)[:, 0]).numpy()
        return np.where(known[:, None, None], images, np.nan).astype(np.float32)


def model_of(run: FinishedRun, stage: FinishedStage) -> StageModel:
    """Network and centroids of a stage that labels; CheckpointError for a damaged file."""
    name = "DEC" if stage.name == "DEC" else "AEC"
    trained = load_model(run.folder / name / "model.pt", name)
    model = trained.model
    if isinstance(model, DEC) and trained.labels == "student":
        centroids = model.clustering.as_latents().double().numpy()
    else:
        means = stage.mixture.means
        centroids = np.full((stage.n_clusters, means.shape[1]), np.nan)
        centroids[components(stage)] = means
    return StageModel(model.decoder, trained.preparation, centroids)


def components(stage: FinishedStage) -> np.ndarray:
    """Cluster of each component of the stage's mixture; empty clusters may have none."""
    if len(stage.mixture.weights) == stage.n_clusters:
        return np.arange(stage.n_clusters)
    return np.flatnonzero(stage.sizes > 0)
