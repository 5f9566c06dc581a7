"""A run folder read back: complete stages, their networks, names and, if possible, the data file.

Letters: N samples of the file, n samples, D latent features, K clusters, F x T bins.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch

from ..clustering.mixture import Mixture
from ..data.layouts import SpectrogramFile
from ..data.loading import Preparation
from ..data.sets import open_data
from ..data.tables import read_table
from ..errors import DataError, RISClusterError, RunError
from ..io import open_rows, read_json, read_npz, sha256, write_text
from ..models.autoencoder import DEC
from ..models.checkpoint import load_model
from ..run_folder import PROVENANCE, StageFolder, stored_settings
from ..settings import SCRIPTS, Settings, load_settings, package_command, stage_command
from .labels import read_labels

STAGES = tuple(SCRIPTS)  # in the order in which they run
NAMES = ("stage", "label", "size", "name")  # columns of names.csv


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
        table, corrections = read_labels(self.path / "labels.csv"), self.corrections
        if corrections is not None:
            labels = corrections["label"][corrections["label"] >= 0]
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
        """Gaussians of the clusters in latent space, read from novelty.npz.

        Of the GMM stage its mixture; of DEC that of the final labels, or with labels from q a
        Gaussian of each cluster that has members.
        """
        return Mixture.from_arrays(read_npz(self.path / "novelty.npz"))

    def of_new_data(
        self, settings: Settings, table: pandas.DataFrame, latents: np.ndarray,
        posterior: Callable[[np.ndarray], np.ndarray],
    ) -> "FinishedStage":  # fmt: skip
        """The stage with labels (see `read_labels`) and latents of new data, not its own."""
        metrics = {"n_clusters": self.n_clusters, "cluster_sizes": self.cluster_sizes}
        stage = replace(self, metrics=metrics, provenance={}, settings=settings)
        sizes = np.bincount(table["label"][table["label"] >= 0], minlength=self.n_clusters)
        # In place of what these read from the folder of the stage
        vars(stage).update(table=table, latents=latents, sizes=sizes)
        vars(stage)["soft"] = lambda index: posterior(latents[index])
        return stage

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
    names: dict[int, str] = field(default_factory=dict)  # of the final stage's clusters: names.csv

    @property
    def labelling(self) -> list[FinishedStage]:
        """Stages that label samples: mixture first, then refinement."""
        return [stage for stage in self.stages.values() if stage.name != "AEC"]

    @property
    def final(self) -> FinishedStage | None:
        """The last stage that labels: DEC, or else GMM, or None."""
        return next(reversed(self.labelling), None)


@contextmanager
def open_run(folder: Path, overrides: Sequence[str] = ()) -> Iterator[FinishedRun]:
    """Open a run folder and, if possible, its data.

    `overrides` are words such as ``data.file=moved.h5``. RunError without a complete stage.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give one such as Outputs/demo")
    load_settings(None, overrides)  # a wrong word is an error, not a note on each stage
    stages, notes, file, classes = {}, [], None, (None, ())
    for name in STAGES:
        try:
            stages[name] = _read_stage(StageFolder(folder, name), overrides)
        except RISClusterError as error:
            notes.append(f"{error}.")
    if not stages:
        if runs := sorted({path.parts[-3] for path in folder.glob(f"*/*/{PROVENANCE}")}):
            names = ", ".join(runs[:5]) + ", ..." * (len(runs) > 5)
            raise RunError(
                f"{folder}: holds runs ({names}), and is none itself; give one of them, such as "
                f"{package_command('report')} --run {folder / runs[0]}"
            )
        raise RunError(
            f"{folder}: holds no complete stage of a run; run {stage_command('AEC', folder)} "
            f"first, or name another folder: {' '.join(notes)}"
        )
    last = list(stages.values())[-1]
    with ExitStack() as stack:
        try:
            opened, made_from = stack.enter_context(open_data(last.settings)), last.provenance
            before = made_from["fingerprint"], made_from["inputs"].get("labels, times and ids")
            now = opened.fingerprint(), opened.columns_fingerprint()
            if any(old not in (None, new) for old, new in zip(before, now, strict=True)):
                raise DataError(f"{opened.path}: is not the data that {last.path} was made from")
            classes, file = known_classes(opened), opened
        except DataError as error:
            notes.append(
                f"the data can't be read, and what needs them is left out: {error}; "
                "data.file=PATH names their present location"
            )
        run = FinishedRun(folder, last.settings, stages, file, notes, *classes)
        if run.final is not None:
            run = replace(run, names=read_names(folder, run.final, notes))
        yield _correct(run)


def _read_stage(stage: StageFolder, overrides: Sequence[str]) -> FinishedStage:
    """A complete stage, made from the present models of the stages before it."""
    provenance = stage.require_complete()
    for name in ("AEC/model.pt", "GMM/model.npz"):
        path, checksum = stage.run_folder / name, provenance["inputs"].get(name)
        if checksum and not (path.exists() and sha256(path).startswith(checksum)):
            raise RunError(f"{stage.path}: was made from another {name}; run {stage.command} again")
    metrics = read_json(stage.path / "metrics.json")
    settings = load_settings(None, overrides, stored_settings(stage))
    return FinishedStage(stage.name, stage.path, metrics, provenance, settings)


def known_classes(file: SpectrogramFile) -> tuple[np.ndarray | None, Sequence[str]]:
    """`FinishedRun.truth` and `class_names`; classes can have any numbers in the file."""
    labels = file.labels()
    if labels is None:
        return None, ()
    names = dict(enumerate(file.class_names()))
    numbers = sorted({*names, *np.unique(labels[labels >= 0]).tolist()})
    truth = np.where(labels >= 0, np.searchsorted(numbers, labels), -1)
    return truth, [names.get(number, f"class {number}") for number in numbers]


# ---- names.csv and corrections.csv --------------------------------------------------------------


def read_names(folder: Path, stage: FinishedStage, notes: list[str]) -> dict[int, str]:
    """Names of clusters by label, as written by the user: not escaped.

    A table that has a row of no cluster of the stage is not used; `notes` gets why.
    """
    if not (path := folder / "names.csv").exists():
        return {}
    names = {}
    try:
        table, clusters = read_table(path), list(enumerate(stage.cluster_sizes.tolist()))
        at = table.require({key: [key] for key in NAMES})
        numbers = (table.numbers(at[key]).tolist() for key in ("label", "size"))
        rows = zip(table.text(at["stage"]), *numbers, table.text(at["name"]), strict=True)
        for line, (of, label, size, name) in zip(table.cells.index, rows, strict=True):
            if of.upper() != stage.name or (label, size) not in clusters or label in names:
                sizes = ", ".join(f"{one} ({size})" for one, size in clusters)
                raise ValueError(
                    f"line {line}, '{','.join(table.cells.loc[line])}', is of no cluster of the "
                    f"{stage.name} stage, or of one named before; allowed: each label once, with "
                    f"its size: {sizes}; move the table away, and a report writes a new one"
                )
            names[int(label)] = name
    except (OSError, ValueError) as error:
        notes.append(f"{path}: no names are used: {error}.")
        return {}
    return {label: name for label, name in names.items() if name}


def write_names(run: FinishedRun) -> None:
    """Write a table with empty names for the final stage's clusters, unless there is one."""
    path, stage = run.folder / "names.csv", run.final
    if not path.exists():
        rows = [f"{stage.name},{label},{size}," for label, size in enumerate(stage.cluster_sizes)]
        write_text(path, "\n".join([",".join(NAMES), *rows]) + "\n")


def _correct(run: FinishedRun) -> FinishedRun:
    """The run with the corrections of its final stage's labels, or a note why there are none."""
    path, stage = run.folder / "corrections.csv", run.final
    if stage is None or not path.exists():
        return run
    try:
        table = read_table(path)
        index = table.numbers(table.require({"index": ["index"]})["index"])
        labels = {name: label for label, name in reversed(run.names.items())}
        labels |= {str(label): label for label in range(stage.n_clusters)} | {"": -1}
        rows = pandas.DataFrame({"index": index, "mark": table.text(table.find("mark"))})
        texts = pandas.Series(table.text(table.find("label", "name")), dtype=object)
        rows["label"] = texts.map(labels)
        bad = ~rows["index"].isin(range(stage.metrics["n_samples"])) | rows["label"].isna()
        if bad.any():
            raise ValueError(
                f"line {table.cells.index[bad.argmax()]}: it needs the index of a sample, and the "
                "number or name of a cluster, or none"
            )
    except (OSError, ValueError) as error:
        run.notes.append(f"{path}: no corrections are used: {error}.")
        return run
    rows = rows.astype({"index": "int64", "label": "int64"})
    rows = rows.drop_duplicates("index", keep="last").set_index("index")  # label -1: to leave it
    return replace(run, stages=run.stages | {stage.name: replace(stage, corrections=rows)})


# ---- networks -----------------------------------------------------------------------------------


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
