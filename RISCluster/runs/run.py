"""A run folder read back: complete stages, their networks and, if it can be read, the data file.

Letters: N samples of the file, n samples, D latent features, K clusters, F x T bins.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch

from ..cli import SCRIPTS, stage_command
from ..clustering.mixture import Mixture
from ..data.layouts import SpectrogramFile
from ..data.loading import Preparation
from ..data.sets import open_data
from ..errors import DataError, RISClusterError, RunError
from ..io import open_rows, read_json, read_npz, sha256
from ..models.autoencoder import DEC
from ..models.checkpoint import load_model
from ..run_folder import StageFolder, load_stage_settings
from ..settings import Settings, load_settings
from .labels import read_labels
from .names import correct

STAGES = tuple(SCRIPTS)  # in the order in which they run
LABELLING = ("GMM", "DEC")


@dataclass(frozen=True)
class FinishedStage:
    """A complete stage of a run; only GMM and DEC have labels, latents and a mixture."""

    name: str  # AEC, GMM or DEC
    path: Path
    metrics: dict[str, Any]  # content of metrics.json
    provenance: dict[str, Any]  # content of provenance.json
    settings: Settings  # with which it was made
    corrections: pandas.DataFrame | None = None  # label (or -1) and mark by index of the sample

    @cached_property
    def table(self) -> pandas.DataFrame:
        """See `read_labels`; a corrected label has the probability 1."""
        table = read_labels(self.path / "labels.csv")
        if self.corrections is not None:
            labels = self.corrections["label"][self.corrections["label"] >= 0]
            table.loc[labels.index, "label"] = labels.astype("i2")
            table.loc[labels.index, "probability"] = np.float32(1)
        return table

    labels = property(lambda self: self.table["label"].to_numpy(), doc="(N,), int16; -1: unusable.")
    n_clusters = property(lambda self: int(self.metrics["n_clusters"]), doc="K.")

    @cached_property
    def latents(self) -> np.ndarray:
        """Latents of every sample, (N, D); NaN for unusable ones."""
        return open_rows(self.path / "latent.npy")

    def soft(self, index: np.ndarray) -> np.ndarray:
        """Probabilities of the labels of samples (n,), as (n, K)."""
        path = self.path / "soft_assignments.npy"
        if not path.exists():
            return self.mixture.posterior(self.latents[index])
        return open_rows(path)[index].astype(np.float64)

    @cached_property
    def mixture(self) -> Mixture:
        """Gaussians of the clusters in latent space; of a refined stage of those with members."""
        return Mixture.from_arrays(read_npz(self.path / "novelty.npz"))

    @property
    def cluster_sizes(self) -> np.ndarray:
        """Members of each cluster before any correction, (K,), int64."""
        return np.asarray(self.metrics["cluster_sizes"], dtype=np.int64)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Members of each cluster, (K,), int64."""
        if self.corrections is None:
            return self.cluster_sizes
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)


@dataclass(frozen=True)
class FinishedRun:
    """The complete stages of a run."""

    folder: Path
    settings: Settings  # those of the last stage, with the given overrides
    stages: dict[str, FinishedStage]  # in the order in which they run
    file: SpectrogramFile | None  # the data, open; None if they can't be read
    notes: list[str] = field(default_factory=list)  # what is missing or does not match, and why
    truth: np.ndarray | None = None  # (N,), int64, known classes: position in class_names, or -1
    class_names: Sequence[str] = ()  # those named in the file, and those that occur

    @property
    def labelling(self) -> list[FinishedStage]:
        """Stages that label samples: mixture first, then refinement."""
        return [stage for name, stage in self.stages.items() if name in LABELLING]

    @property
    def final(self) -> FinishedStage | None:
        """The last stage that labels: DEC, or else GMM, or None."""
        return next(iter(self.labelling[::-1]), None)


@contextmanager
def open_run(folder: Path, overrides: Sequence[str] = ()) -> Iterator[FinishedRun]:
    """Open a run folder and, if possible, its data.

    `overrides` are words such as ``data.file=moved.h5``. Raises RunError for a folder without a
    complete stage, SettingsError for a word that is no setting.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give one as Outputs/demo")
    load_settings(None, overrides)  # a wrong word is an error, not a note on each stage
    stages, notes, file, classes = {}, [], None, (None, ())
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
    with ExitStack() as stack:
        try:
            there = stack.enter_context(open_data(last.settings))
            _require_same_data(there, last)
            classes, file = known_classes(there), there
        except DataError as error:
            notes.append(
                f"the data can't be read, and what needs them is left out: {error}; "
                "data.file=PATH names their present location"
            )
        yield correct(FinishedRun(folder, last.settings, stages, file, notes, *classes))


def _read_stage(stage: StageFolder, overrides: Sequence[str]) -> FinishedStage:
    """A complete stage, made from the present models of the stages before it."""
    provenance = stage.require_complete()
    for name, checksum in provenance.get("inputs", {}).items():
        path = stage.run_folder / name
        if not name.endswith(("model.pt", "model.npz")):
            continue
        if not path.exists() or sha256(path)[: len(checksum)] != checksum:
            raise RunError(
                f"{stage.path}: was made from another {name} than is there now; run "
                f"{stage.command} again"
            )
    metrics, settings = (
        read_json(stage.path / "metrics.json"),
        load_stage_settings(stage, overrides),
    )
    return FinishedStage(stage.name, stage.path, metrics, provenance, settings)


def _require_same_data(file: SpectrogramFile, stage: FinishedStage) -> None:
    known = stage.provenance
    before = known.get("fingerprint"), known.get("inputs", {}).get("labels, times and ids")
    now = file.fingerprint(), file.columns_fingerprint()
    if any(old not in (None, new) for old, new in zip(before, now, strict=True)):
        was = known.get("words", {}).get("data", "another file")
        raise DataError(
            f"{file.path}: is not the data that {stage.path} was made from, which was {was}"
        )


def known_classes(file: SpectrogramFile) -> tuple[np.ndarray | None, Sequence[str]]:
    """`FinishedRun.truth` and `class_names`; classes can have any numbers in the file."""
    labels = file.labels()
    if labels is None:
        return None, ()
    names = dict(enumerate(file.class_names()))
    numbers = sorted({*names, *np.unique(labels[labels >= 0]).tolist()})
    truth = np.where(labels >= 0, np.searchsorted(numbers, labels), -1)
    return truth, [names.get(number, f"class {number}") for number in numbers]


class StageModel(NamedTuple):
    """The network that gave a stage its latents."""

    decoder: torch.nn.Module
    preparation: Preparation  # of its samples, with the standardisation
    centroids: np.ndarray  # (K, D), float64

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Spectrograms (n, [C,] F, T), float32, of latents (n, D), not standardised."""
        with torch.inference_mode():
            images = self.decoder(torch.from_numpy(latents).float()).squeeze(1)
            return self.preparation.undo_standardize(images).numpy()


def model_of(run: FinishedRun, stage: FinishedStage) -> StageModel:
    """Network and centroids of a stage that labels; CheckpointError for a damaged file."""
    name = "DEC" if stage.name == "DEC" else "AEC"
    trained = load_model(run.folder / name / "model.pt", name)
    centroids = stage.mixture.means
    if isinstance(trained.model, DEC) and trained.labels == "student":
        centroids = trained.model.clustering.as_latents().double().numpy()
    return StageModel(trained.model.decoder, trained.preparation, centroids)
