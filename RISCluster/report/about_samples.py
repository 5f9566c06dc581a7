"""Section of the report: which samples to look at, and how to name the clusters by them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import plots as figures
from ..evaluation.representatives import BORDERLINE, Chosen
from ..plots import members
from ..runs.names import names_path, title_of
from ..runs.run import FinishedRun
from .about_clusters import Study, typical_title
from .blocks import Block, Note, Picture, Section, Table, Text
from .samples_of import place_of, shown, time_of, trace_of, waveforms_of

LOOKED_AT = 6  # samples of a cluster in the table
WITH_TRACES = 4  # samples of a cluster that are drawn with their waveforms
SECOND = 0.05  # of probability in a second cluster, from which on a sample is borderline
DRAWN = 24  # borderline or outlying samples in a gallery


def section(run: FinishedRun) -> Section | None:
    """What to look at in each cluster, borderline and outlying samples; None without labels."""
    if run.final is None:
        return None
    study = Study(run, run.final)
    blocks: list[Block] = [Text(_how_to_name(study)), _typical_table(study)]
    blocks += _with_traces(study)
    blocks += _borderline(study)
    blocks += _outlying(study)
    return Section("Samples to look at", "samples", blocks)


def _how_to_name(study: Study) -> str:
    path = names_path(study.run)
    count = len(study.names)
    given = f" {count} of {study.stage.n_clusters} clusters have a name." if count else ""
    return (
        "Naming the clusters: look at the samples of each in the table below and in its gallery, "
        "compare their times and stations with what you know, and decide what they are. Then "
        f"write the name into the last column of {path} (any spreadsheet does), leaving the other "
        "columns as they are, and run the same report command again: all tables and figures then "
        f"have the names. When clusters are made anew, names are put aside.{given}"
    )


# ---- tables -------------------------------------------------------------------------------------


def _typical_table(study: Study) -> Table:
    rows, clusters = [], []
    for label, chosen in enumerate(study.representatives.typical):
        for place in range(min(LOOKED_AT, len(chosen))):
            rows.append(_row(study, chosen, place))
            clusters.append(label)
    keep = _columns(study)
    return Table(
        "Samples by which to name each cluster", [_header()[i] for i in keep],
        [[row[i] for i in keep] for row in rows], clusters,
        note="Typical of their cluster and spread over it, the most central first; sample is the "
        "number in the file, from 0.",
        digits=3,
    )  # fmt: skip


def _header() -> list[str]:
    return [
        "Cluster", "Sample", "Start time (UTC)", "Onset (UTC)", "Trace", "Probability",
        "Second cluster", "Its probability", "Log-likelihood", "Training samples less likely",
    ]  # fmt: skip


def _columns(study: Study, more: Sequence[str] = ()) -> list[int]:
    """Columns of a table: those of all, onsets where they are known, and more by name."""
    left_out = 3 if study.stage.table.onset is None else -1
    here = [column for column in range(6) if column != left_out]
    return here + [_header().index(name) for name in more]


def _row(study: Study, chosen: Chosen, place: int) -> list[Any]:
    index, table, second = int(chosen.index[place]), study.stage.table, int(chosen.second[place])
    return [
        title_of(int(chosen.label[place]), study.names),
        str(index),  # a name: no separators
        time_of(table.starttime, index) or None,
        time_of(table.onset, index, "ms") or None,
        trace_of(table, index) or None,
        float(chosen.probability[place]),
        title_of(second, study.names) if second >= 0 else None,
        float(chosen.second_probability[place]) if second >= 0 else None,
        float(chosen.log_likelihood[place]),
        float(chosen.less_likely[place]),
    ]


def _table(study: Study, chosen: Chosen, title: str, note: str, more: Sequence[str]) -> Table:
    rows = [_row(study, chosen, place) for place in range(len(chosen))]
    keep = _columns(study, more)
    return Table(
        title, [_header()[i] for i in keep], [[row[i] for i in keep] for row in rows],
        chosen.label.tolist(), note=note, digits=3,
    )  # fmt: skip


# ---- borderline and outlying samples ------------------------------------------------------------


def _borderline(study: Study) -> list[Block]:
    chosen = borderline(study)
    if not len(chosen):
        return [Text(f"No sample has a probability of {SECOND:g} or more in a second cluster.")]
    table = _table(
        study, chosen, "Borderline samples", "Those of each cluster whose two largest "
        f"probabilities are nearest to one another, up to {BORDERLINE}, with {SECOND:g} or more in "
        "a second cluster. Many between the same two clusters: the two may be one.",
        ("Second cluster", "Its probability"),
    )  # fmt: skip
    first = chosen.part(slice(DRAWN))

    def title(place: int) -> str:
        where = place_of(study.stage.table, int(first.index[place]))
        own, other = first.probability[place], first.second_probability[place]
        return f"{where}\n{first.label[place]}: {own:.2f}, {first.second[place]}: {other:.2f}"

    caption = (
        "Between two clusters: frames have the colour of the label, and below the time are the "
        "probabilities of both clusters."
    )
    return [table, *_picture(study, "borderline", first, title, caption)]


def borderline(study: Study) -> Chosen:
    """Those of all clusters that have a second one, the most evenly shared first."""
    chosen = _joined(study.representatives.borderline)
    chosen = chosen.part(chosen.second_probability >= SECOND)
    lead = chosen.probability - chosen.second_probability
    return chosen.part(np.argsort(lead, kind="stable"))


def _joined(parts: list[Chosen]) -> Chosen:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Chosen(*(np.concatenate(column) for column in columns))


def _outlying(study: Study) -> list[Block]:
    chosen = study.representatives.outlying
    table = _table(
        study, chosen, "Outlying samples", "The least likely of all under the mixture of latents: "
        "events like no other, or faults of an instrument.",
        ("Log-likelihood", "Training samples less likely"),
    )  # fmt: skip
    first = chosen.part(slice(DRAWN))

    def title(place: int) -> str:
        where = place_of(study.stage.table, int(first.index[place]))
        return f"{where}\nlog-likelihood {first.log_likelihood[place]:.4g}"

    caption = (
        "Like nothing else in the set, the least likely first: frames have the colour of the label."
    )
    return [table, *_picture(study, "outlying", first, title, caption)]


def _picture(
    study: Study, kind: str, chosen: Chosen, title: Callable[[int], str], caption: str
) -> list[Block]:
    if study.run.file is None or not len(chosen):
        return []

    def draw() -> Figure:
        samples = shown(study.run, chosen, title)
        heading = f"{len(chosen)} {kind} samples"
        return members.sample_gallery(study.axes, samples, heading, columns=6)

    return [Picture(f"report_{kind}", draw, f"{kind.capitalize()} samples. {caption}")]


# ---- waveforms ----------------------------------------------------------------------------------


def _with_traces(study: Study) -> list[Block]:
    """Waveforms above spectrograms, where the data set has them."""
    if study.run.file is None:
        return [Note("Without the data, no samples are drawn.")]
    waveforms = waveforms_of(study.run.file)
    if waveforms is None:
        return []

    def draw(label: int) -> Figure:
        chosen = study.representatives.typical[label].part(slice(WITH_TRACES))
        samples = shown(
            study.run, chosen, lambda place: typical_title(study.stage, chosen, place), waveforms
        )
        heading = f"Cluster {figures.cluster_title(label, study.names)}"
        return members.detections(
            study.axes, samples, waveforms.sampling_rate, waveforms.unit, heading
        )

    return [
        Picture(
            f"report_waveforms_{label}",
            lambda label=label: draw(label),
            f"Cluster {title_of(label, study.names)}: waveforms of its first samples above their "
            "spectrograms.",
            cluster=label,
        )
        for label in study.largest
    ]
