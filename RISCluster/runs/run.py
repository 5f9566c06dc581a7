"""A run folder as the report reads it: whatever of the stages is there.

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
from ..run_folder import StageFolder
from ..settings import Settings, load_settings
from ..stored import load_stage_settings
from .labels import LabelTable, read_labels

STAGES = tuple(SCRIPTS)  # in the order in which they run
LABELLING = ("GMM", "DEC")


@dataclass(frozen=True)
class FinishedStage:
    """A complete stage of a run.

    Attributes
    ----------
    name : {"AEC", "GMM", "DEC"}
    path : Path
    metrics, provenance : dict
        Of its metrics.json and provenance.json.
    settings : Settings
        With which it was made.
    """

    name: str
    path: Path
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    settings: Settings

    @cached_property
    def table(self) -> LabelTable:
        """Label, probability, time and trace of every sample. Not for the AEC stage."""
        return read_labels(self.path / "labels.csv")

    @cached_property
    def latents(self) -> np.ndarray:
        """Latents of every sample, (N, D), NaN for unusable ones. Not for the AEC stage."""
        return open_rows(self.path / "latent.npy")

    @cached_property
    def mixture(self) -> Mixture:
        """Gaussians that describe the clusters in latent space; empty clusters have none."""
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
    """What there is of a run.

    Attributes
    ----------
    folder : Path
    settings : Settings
        Those of the last stage, with what was asked for beside it.
    stages : dict of str to FinishedStage
        The complete ones, in the order in which they run.
    file : SpectrogramFile or None
        The data, open; None where they can't be read.
    notes : list of str
        What is missing or does not fit, and why, a sentence each.
    """

    folder: Path
    settings: Settings
    stages: dict[str, FinishedStage]
    file: SpectrogramFile | None
    notes: list[str] = field(default_factory=list)

    @property
    def labelling(self) -> list[FinishedStage]:
        """Stages that label samples: mixture first, then refinement."""
        return [stage for name, stage in self.stages.items() if name in LABELLING]

    @property
    def final(self) -> FinishedStage | None:
        """The stage whose labels count: DEC, or else GMM, or None."""
        return self.labelling[-1] if self.labelling else None

    @property
    def views(self) -> dict[str, int]:
        """Components that stand beside the learnt latents, by view; none in runs without them."""
        stage = self.stages.get("AEC")
        return (stage and stage.metrics.get("n_components")) or {}

    @property
    def feature_names(self) -> list[str]:
        """What each of the D latents is, in their order."""
        n = self.final.latents.shape[1] if self.final else 0
        beside = [f"{view} {i}" for view, size in self.views.items() for i in range(size)]
        return [*(f"feature {i}" for i in range(n - len(beside))), *beside][:n]

    @cached_property
    def truth(self) -> np.ndarray | None:
        """Known class of every sample, (N,), int64: which of `class_names`, or -1; or None."""
        return self._classes[0]

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the known classes, of those that the file names and of those that occur."""
        return self._classes[1]

    @cached_property
    def _classes(self) -> tuple[np.ndarray | None, list[str]]:
        """`truth` and `class_names`; the numbers of classes in a file can be any."""
        labels = None if self.file is None else self.file.labels()
        if labels is None:
            return None, []
        names = dict(enumerate(self.file.class_names()))
        numbers = np.union1d(np.array(list(names), dtype=np.int64), labels[labels >= 0])
        truth = np.where(labels >= 0, np.searchsorted(numbers, labels), -1)
        return truth, [names.get(number, f"class {number}") for number in numbers.tolist()]


@contextmanager
def open_run(folder: Path, overrides: Sequence[str] = ()) -> Iterator[FinishedRun]:
    """Open a run folder and, if it can be, its data.

    Parameters
    ----------
    folder : Path
        ``<run.folder>/<run.name>``.
    overrides : sequence of str
        ``section.key=value`` words, as ``report.stations=stations.xml data.file=moved.h5``.

    Raises
    ------
    RunError
        There is no such folder, or no complete stage in it.
    SettingsError
        A word is not a setting.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give one as Outputs/demo")
    stages, notes = _read_stages(folder, overrides)
    if not stages:
        raise RunError(
            f"{folder}: holds no complete stage of a run; run {stage_command('AEC', folder)} "
            f"first, or name another folder{': ' + ' '.join(notes) if notes else ''}"
        )
    last = list(stages.values())[-1]
    with ExitStack() as files:
        file = None
        try:
            file = files.enter_context(_data_of(last))
        except DataError as error:
            notes.append(
                f"the data can't be read, and what needs them is left out: {error}; "
                "data.file=PATH names them where they are now"
            )
        yield FinishedRun(folder, last.settings, stages, file, notes)


def _read_stages(
    folder: Path, overrides: Sequence[str]
) -> tuple[dict[str, FinishedStage], list[str]]:
    """Complete stages that were made from one another, and what is to be said of the others."""
    stages: dict[str, FinishedStage] = {}
    notes = []
    for name in STAGES:
        stage = StageFolder(folder, name)
        load_settings(None, overrides)  # a wrong word is an error, and not a note
        try:
            provenance = stage.require_complete()
            _require_same_origin(folder, provenance, stage)
            settings = load_stage_settings(stage, overrides)
            metrics = read_json(stage.path / "metrics.json")
        except RISClusterError as error:
            notes.append(f"{error}.")
            continue
        stages[name] = FinishedStage(name, stage.path, metrics, provenance, settings)
    return stages, notes


def _require_same_origin(folder: Path, provenance: dict[str, Any], stage: StageFolder) -> None:
    """Refuse a stage whose model of the stage before has been made anew since."""
    for name, checksum in provenance.get("depends", {}).items():
        path = folder / name
        if name.endswith(("model.pt", "model.npz")) and path.exists():
            if sha256(path)[: len(checksum)] != checksum:
                raise RunError(
                    f"{stage.path}: was made from another {name} than is there now; run "
                    f"{stage.command} again"
                )
        elif name.endswith(("model.pt", "model.npz")):
            raise CheckpointError(
                f"{path}: is missing, and {stage.path} was made from it; run its stage again"
            )


@contextmanager
def _data_of(stage: FinishedStage) -> Iterator[SpectrogramFile]:
    """The data file of a stage, if it still is what the stage was made from."""
    data = stage.settings.data
    with open_spectrograms(data.file, data.layout, data.dataset, stage.settings.cube) as file:
        made_from = stage.provenance.get("fingerprint")
        columns = stage.provenance.get("depends", {}).get("labels, times and ids")
        if (made_from is not None and file.fingerprint() != made_from) or (
            columns is not None and file.columns_fingerprint() != columns
        ):
            was = stage.provenance.get("words", {}).get("data")
            raise DataError(
                f"{file.path}: is not the data that {stage.path} was made from"
                f"{', which was ' + was if was else ''}"
            )
        yield file
