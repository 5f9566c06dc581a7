"""A run folder read back: its complete stages and, where it can be read, its data file.

Letters: N samples of the file, D latent features, K clusters.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..cli import SCRIPTS, stage_command
from ..clustering.mixture import Mixture
from ..data.layouts import open_spectrograms
from ..data.spectrograms import SpectrogramFile
from ..errors import CheckpointError, DataError, RISClusterError, RunError
from ..io import open_rows, read_json, read_npz, sha256
from ..run_folder import StageFolder, load_stage_settings
from ..settings import Settings, load_settings
from .labels import LabelTable, read_labels

STAGES = tuple(SCRIPTS)  # in the order in which they run
LABELLING = ("GMM", "DEC")


@dataclass(frozen=True)
class FinishedStage:
    """A complete stage of a run; labels, latents and mixture are those of GMM and DEC alone."""

    name: str  # AEC, GMM or DEC
    path: Path
    metrics: dict[str, Any]  # content of metrics.json
    provenance: dict[str, Any]  # content of provenance.json
    settings: Settings  # with which it was made

    @cached_property
    def table(self) -> LabelTable:
        """Label, probability, time and trace of every sample."""
        return read_labels(self.path / "labels.csv")

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
    settings: Settings  # those of the last stage, with the words given beside it
    stages: dict[str, FinishedStage]  # in the order in which they run
    file: SpectrogramFile | None  # the data, open; None where they can't be read
    notes: list[str] = field(default_factory=list)  # what is missing or does not fit, and why

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


@contextmanager
def open_run(folder: Path, overrides: Sequence[str] = ()) -> Iterator[FinishedRun]:
    """Open a run folder and, if possible, its data.

    `overrides` are ``section.key=value`` words, as ``data.file=moved.h5``.

    Raises
    ------
    RunError
        There is no such folder, or no complete stage in it.
    SettingsError
        A word is not a setting.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give one as Outputs/demo")
    load_settings(None, overrides)  # a wrong word is an error, not a note on each stage
    stages: dict[str, FinishedStage] = {}
    notes = []
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
                "data.file=PATH names them where they are now"
            )
        yield FinishedRun(folder, last.settings, stages, file, notes)


def _read_stage(stage: StageFolder, overrides: Sequence[str]) -> FinishedStage:
    """A complete stage, made from the models of the stages before it as they are now."""
    provenance = stage.require_complete()
    for name, checksum in provenance.get("inputs", {}).items():
        path = stage.run_folder / name
        if not name.endswith(("model.pt", "model.npz")):
            continue
        if not path.exists():
            raise CheckpointError(
                f"{path}: is missing, and {stage.path} was made from it; run its stage again"
            )
        if sha256(path)[: len(checksum)] != checksum:
            raise RunError(
                f"{stage.path}: was made from another {name} than is there now; run "
                f"{stage.command} again"
            )
    settings = load_stage_settings(stage, overrides)
    metrics = read_json(stage.path / "metrics.json")
    return FinishedStage(stage.name, stage.path, metrics, provenance, settings)


@contextmanager
def _open_data(stage: FinishedStage) -> Iterator[SpectrogramFile]:
    """The data file of a stage, if it still is what the stage was made from."""
    data, provenance = stage.settings.data, stage.provenance
    made_from = (
        provenance.get("fingerprint"),
        provenance.get("inputs", {}).get("labels, times and ids"),
    )
    with open_spectrograms(data.file, data.layout, data.dataset, stage.settings.cube) as file:
        now = file.fingerprint(), file.columns_fingerprint()
        if any(old not in (None, new) for old, new in zip(made_from, now, strict=True)):
            was = provenance.get("words", {}).get("data")
            raise DataError(
                f"{file.path}: is not the data that {stage.path} was made from"
                f"{', which was ' + was if was else ''}"
            )
        yield file
