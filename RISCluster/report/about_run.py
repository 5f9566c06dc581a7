"""What was run on what: data, figures of merit, stages, settings.

Letters: N samples, F x T bins, K clusters.
"""

import configparser
import dataclasses
import shlex
from datetime import datetime
from typing import Any

import numpy as np

from .. import plots as figures
from ..data.spectrograms import SpectrogramFile
from ..data.times import far_times
from ..evaluation.comparison import DOUBTFUL, certainty
from ..runs.cluster_map import read_cluster_map
from ..runs.run import FinishedRun, FinishedStage
from ..runtime import count
from ..settings import Settings, sentences
from .asides import Folded, Listing
from .blocks import Block, Note, Picture, Section, Table, Text, Tiles
from .values import MISSING, duration_text, shown, time_text

SECTIONS = ("run", "data", "cube", "aec", "gmm", "dec")  # those that bear on results
DOES = {
    "AEC": "autoencoder",
    "GMM": "Gaussian mixtures of its latents",
    "DEC": "encoder and clusters refined together",
}


def section(run: FinishedRun) -> Section:
    """What is missing first, then what there is."""
    blocks: list[Any] = [Note(text[:1].upper() + text[1:]) for text in run.notes]
    blocks.append(Text(_summary(run)))
    blocks.append(Tiles(tiles(run)))
    blocks += _map(run)
    blocks.append(data_table(run))
    blocks += _stages(run)
    blocks += _settings(run)
    return Section("Run", "run", blocks)


def _summary(run: FinishedRun) -> str:
    stages = ", ".join(f"{name} ({DOES[name]})" for name in run.stages)
    if run.final is None:
        return f"Stages: {stages}. No sample is labelled yet."
    return (
        f"Stages: {stages}. Labels are those of {run.final.name}, in "
        f"{run.final.name}/labels.csv. Clusters are numbered from 0; their numbers have no order, "
        "and their colours are the same in every figure."
    )


# ---- at a glance --------------------------------------------------------------------------------


def tiles(run: FinishedRun) -> list[tuple[str, str, str]]:
    """Figures of merit of the labels that count."""
    if run.final is None:
        metrics = run.stages["AEC"].metrics
        words = "relative to the data's variance" if _is_relative(run) else ""
        return [
            ("Samples", shown(metrics["n_samples"]), ""),
            ("Validation loss", shown(metrics["validation_mse"]), words),
        ]
    metrics, sizes = run.final.metrics, run.final.sizes
    found = [
        ("Samples", shown(int(metrics["n_samples"])), "in the file"),
        ("Clusters", shown(run.final.n_clusters), _size_words(sizes)),
        _unusable(metrics),
        _doubtful(run.final),
        *_refinement(run),
    ]
    for key, name in (("accuracy", "Accuracy"), ("nmi", "NMI"), ("ari", "ARI")):
        if metrics.get(key) is not None:
            found.append((name, shown(metrics[key], 3), "against the known classes"))
    return found


def _size_words(sizes: np.ndarray) -> str:
    if len(sizes) == 1:
        return f"of {sizes[0]:,} samples"
    return f"of {sizes.min():,} to {sizes.max():,} samples"


def _unusable(metrics: dict[str, Any]) -> tuple[str, str, str]:
    n = int(metrics.get("n_unusable", 0))
    share = (
        f"{n / max(1, int(metrics['n_samples'])):.2%} of all, labelled -1"
        if n
        else "every sample has a label"
    )
    return "Unusable", shown(n), share


def _doubtful(stage: FinishedStage) -> tuple[str, str, str]:
    share = certainty(stage).doubtful
    value = MISSING if np.isnan(share) else f"{share:.1%}" if share else "0"
    return "Doubtful labels", value, f"posterior probability below {DOUBTFUL:g}"


def _refinement(run: FinishedRun) -> list[tuple[str, str, str]]:
    if "DEC" not in run.stages:
        return [("Refined", "no", "the DEC stage is not there")]
    metrics = run.stages["DEC"].metrics
    if not metrics.get("refined", True):
        return [("Refined", "no", "refinement parted neighbours: the mixture's labels are kept")]
    change = metrics.get("label_change_from_gmm")
    words = "" if change is None else f"{change:.1%} of labels differ from the mixture's"
    return [("Refined", "yes", words)]


def _is_relative(run: FinishedRun) -> bool:
    return run.settings.data.standardize


def _map(run: FinishedRun) -> list[Block]:
    """Labels of a cube over time and channel."""
    stage = run.final
    if stage is None or not (stage.path / "labels.h5").exists():
        return []

    def draw() -> Any:
        image = read_cluster_map(stage.path / "labels.h5")
        return figures.cluster_map(image, stage.sizes.tolist(), "")

    caption = (
        "Labels over time and along the channels. Where there is more than a figure shows, a cell "
        f"has its most frequent label; {stage.name}/labels.h5 has them all."
    )
    return [Picture("report_cluster_map", draw, caption)]


# ---- data ---------------------------------------------------------------------------------------


def data_table(run: FinishedRun) -> Table:
    """What the samples are."""
    rows: list[tuple[str, Any]] = [("File", run.settings.data.file)]
    if run.file is not None:
        rows += _file_rows(run.file)
    rows += _catalogue_rows(run)
    training = run.stages.get("AEC")
    if training is not None:
        drawn = training.metrics
        rows.append(
            ("Trained on", f"{drawn['n_train']:,} samples, validated on {drawn['n_validation']:,}")
        )
    return Table("Data", ("", "What"), [(name, str(value)) for name, value in rows])


def _file_rows(file: SpectrogramFile) -> list[tuple[str, Any]]:
    unit = file.amplitude_unit or "unit not given"
    return [
        ("Layout", f"{file.layout}, data set {file.dataset}"),
        (
            "Samples",
            f"{file.n_samples:,} of {file.n_frequencies} x {file.n_times} (frequency x time)",
        ),
        ("Frequency", _axis(file.frequency, file.frequency_unit)),
        ("Time", _axis(file.time, file.time_unit)),
        ("Amplitude", f"{unit}, stored as {file.dtype}"),
    ]


def _axis(axis: np.ndarray, unit: str) -> str:
    step = (axis[-1] - axis[0]) / max(1, len(axis) - 1)
    return f"{axis[0]:.4g} to {axis[-1]:.4g} {unit}, step {step:.4g} {unit}"


def _catalogue_rows(run: FinishedRun) -> list[tuple[str, Any]]:
    """Time span and stations, as the labels' table has them."""
    if run.final is None:
        return []
    table, rows = run.final.table, []
    if table.starttime is not None:
        rows.append(("Time span", _span(table.starttime)))
    if table.trace_ids:
        known = [name for name in table.trace_ids if name]
        stations = {".".join(name.split(".")[:2]) for name in known}
        traces = count(len(known), "trace")
        dotted = sum(name.count(".") == 3 for name in known) == len(known)
        rows.append(("Stations", f"{len(stations):,}, {traces}") if dotted else ("Traces", traces))
    if run.truth is not None:
        rows.append(("Known classes", f"{len(np.unique(run.truth[run.truth >= 0]))}, for scoring"))
    return rows


def _span(times: np.ndarray) -> str:
    known = times[~np.isnat(times)]
    if not len(known):
        return "no sample has a time"
    lacking, far = len(times) - len(known), far_times(known)
    first, last = known[~far].min(), known[~far].max()
    length = duration_text((last - first) / np.timedelta64(1, "s"))
    without = f"; {count(lacking, 'sample')} without a time" if lacking else ""
    if far.any():
        without += (
            f"; {count(int(far.sum()), 'sample')} years away, as of {time_text(known[far][0])}"
        )
    return f"{time_text(first)} to {time_text(last)} UTC ({length}){without}"


# ---- stages and settings ------------------------------------------------------------------------


def _stages(run: FinishedRun) -> list[Any]:
    rows = []
    for stage in run.stages.values():
        made = stage.provenance
        rows.append(
            (
                stage.name,
                DOES[stage.name],
                _short_time(made.get("started")),
                _short_time(made.get("ended")),
                _took(made),
                made.get("versions", {}).get("RISCluster"),
            )
        )
    header = ("Stage", "What it does", "Begun (UTC)", "Ended (UTC)", "Took", "RISCluster")
    note = "From the first start to the end, with interruptions where there were any."
    return [Table("Stages", header, rows, note=note), _provenance(run)]


def _short_time(text: str | None) -> str | None:
    return None if text is None else text.removesuffix("Z").replace("T", " ")


def _took(made: dict[str, Any]) -> str | None:
    try:
        start, end = (datetime.fromisoformat(made[key]) for key in ("started", "ended"))
    except (KeyError, ValueError):
        return None
    return duration_text((end - start).total_seconds())


def _provenance(run: FinishedRun) -> Folded:
    stages = list(run.stages.values())
    versions = {name: None for stage in stages for name in stage.provenance.get("versions", {})}
    rows = [("Python", *(stage.provenance.get("machine", {}).get("python") for stage in stages))]
    rows += [
        (name, *(stage.provenance.get("versions", {}).get(name) for stage in stages))
        for name in versions
    ]
    for what, get in (
        ("Git", lambda made: made.get("git")),
        ("Machine", lambda made: made.get("machine", {}).get("platform")),
    ):
        rows.append((what, *(get(stage.provenance) for stage in stages)))
    commands = "\n".join(shlex.join(stage.provenance.get("command", [])) for stage in stages)
    return Folded(
        "Versions and commands",
        [
            Table("Versions", ("", *run.stages), rows),
            Listing("Commands", commands),
        ],
    )


def settings_rows(run: FinishedRun) -> list[tuple[str, str, str, str]]:
    """Key, value, default and sentence of each setting of the stages."""
    default, described, rows = _texts(Settings()), sentences(), []
    for name in SECTIONS:
        stage = run.stages.get(name.upper())
        if stage is None and name.upper() in DOES:
            continue
        if name == "cube" and (run.file is None or run.file.layout != "cube"):
            continue
        settings = run.settings if stage is None else stage.settings
        values = _texts(settings)[name]
        for key in dataclasses.fields(getattr(settings, name)):
            rows.append(
                (
                    f"{name}.{key.name}",
                    values[key.name],
                    default[name][key.name],
                    described[name, key.name],
                )
            )
    return rows


def _texts(settings: Settings) -> configparser.ConfigParser:
    """Values by section and key, as config.ini has them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return parser


def _settings(run: FinishedRun) -> list[Any]:
    rows = settings_rows(run)
    changed = [row for row in rows if row[1] != row[2]]
    header = ("Setting", "Value", "Default", "What it is")
    parts: list[Any] = [Text("All settings are at their defaults.")]
    if changed:
        parts = [Table("Settings that differ from the defaults", header, changed)]
    return [*parts, Folded("All settings", [Table("", header, rows)])]
