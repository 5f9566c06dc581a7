"""Names of clusters, which a person writes into ``names.csv`` in the run folder.

A table with the columns stage, label, size, name. Sizes say which clusters the names are of: when
the clusters are made anew, names are put aside and not handed on to others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..data.tables import read_table
from ..errors import RunError
from ..io import write_text
from .run import FinishedRun, FinishedStage

FILE = "names.csv"
HEADER = ("stage", "label", "size", "name")
LARGEST_FILE = 2**22  # bytes


@dataclass(frozen=True)
class Reading:
    """What names.csv says of the final stage's clusters.

    Attributes
    ----------
    names : dict of int to str
        Those that are used; not empty.
    notes : list of str
        What is wrong with the file, a sentence each.
    fits : bool
        Whether it is a table of these clusters, which is left as it is.
    """

    names: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fits: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the table; None or empty for what it does not say."""

    line: int
    stage: str
    label: int | None
    size: int | None
    name: str
    text: str  # of the label, as written


def names_path(run: FinishedRun) -> Path:
    """Where the names of a run's clusters are written."""
    return run.folder / FILE


def read_names(run: FinishedRun) -> dict[int, str]:
    """Names that were given to the final stage's clusters; none where they are of other clusters.

    They are as the user wrote them: a page has to escape them.
    """
    return read(run).names


def names_notes(run: FinishedRun) -> list[str]:
    """What is wrong with the table of names, a sentence each; before `write_names` mends it."""
    return read(run).notes


def write_names(run: FinishedRun) -> Path | None:
    """Write a table with empty names for the final stage's clusters, unless there is one.

    A table of other clusters is kept beside it under ``names_<date>.csv``.

    Returns
    -------
    Path or None
        The table; None where no stage has labelled.

    Raises
    ------
    RunError
        It can't be written.
    """
    path, stage = names_path(run), run.final
    if stage is None or (path.exists() and read(run).fits):
        return None if stage is None else path
    if path.exists():
        _put_aside(path)
    rows = [f"{stage.name},{label},{size}," for label, size in enumerate(stage.sizes.tolist())]
    write_text(path, "\n".join([",".join(HEADER), *rows]) + "\n")
    return path


def title_of(label: int, names: Mapping[int, str]) -> str:
    """Of a cluster in tables: ``3``, or ``3 icequake``."""
    return f"{label} {names[label]}" if names.get(label) else str(label)


def read(run: FinishedRun) -> Reading:
    """Read the table and compare it with the final stage's clusters."""
    path, stage = names_path(run), run.final
    if stage is None or not path.exists():
        return Reading()
    try:
        rows, more = _rows(path)
    except (OSError, ValueError) as error:
        return Reading(notes=[f"{path}: no names are read: {error}."])
    other = _of_other_clusters(rows, stage)
    if other:
        named = sum(bool(row.name) for row in rows)
        return Reading(
            notes=[
                f"{path}: its {named} names are not used: {other}; the clusters have been made "
                f"anew since. The table is kept under {path.stem}_<date>.csv when a new one is "
                "written."
            ]
        )
    names, notes = _names(path, rows, stage)
    return Reading(names, [*(f"{path}: {note}" for note in more), *notes], fits=True)


def _rows(path: Path) -> tuple[list[Row], list[str]]:
    """Rows of the table, and notes on it.

    Raises
    ------
    OSError, ValueError
        It is no table with the columns label and name.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE // 2**20} MB")
    table = read_table(path)
    columns = {key: table.find(key) for key in HEADER} | table.require(
        {key: [key] for key in ("label", "name")}
    )
    stages, labels, sizes, names = (table.text(columns[key]) for key in HEADER)
    numbers = (
        [_whole(value) for value in table.numbers(columns[key], counts=True)[0]]
        if columns[key] is not None
        else [None] * len(names)
        for key in ("label", "size")
    )
    rows = zip(table.lines.tolist(), stages, *numbers, names, labels, strict=True)
    return [Row(*row) for row in rows], table.notes


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) and value == int(value) else None


# ---- do the names fit the clusters --------------------------------------------------------------


def _of_other_clusters(rows: Sequence[Row], stage: FinishedStage) -> str:
    """What shows that the rows are of other clusters than the stage's; empty where nothing does."""
    for row in rows:
        if row.stage and row.stage.upper() != stage.name:
            return (
                f"line {row.line} is of stage {row.stage}, and the labels are those of {stage.name}"
            )
        if row.label is None or row.size is None or not 0 <= row.label < stage.n_clusters:
            continue
        now = int(stage.sizes[row.label])
        if row.size != now:
            return f"cluster {row.label} has {now:,} samples, and in the table {row.size:,}"
    return ""


def _names(
    path: Path, rows: Sequence[Row], stage: FinishedStage
) -> tuple[dict[int, str], list[str]]:
    """Names by label, and what is wrong with single rows."""
    names: dict[int, str] = {}
    seen: dict[int, int] = {}
    notes = []
    for row in rows:
        at = f"{path}: line {row.line}"
        if row.label is None or not 0 <= row.label < stage.n_clusters:
            if row.text or row.name:
                notes.append(
                    f"{at}: '{row.text}' is no cluster; allowed: 0 to {stage.n_clusters - 1}."
                )
        elif row.label in seen:
            notes.append(
                f"{at}: cluster {row.label} is there already in line {seen[row.label]}, which "
                "counts."
            )
        else:
            seen[row.label] = row.line
            if row.name:
                names[row.label] = row.name
    if any(row.name and row.size is None for row in rows):
        notes.append(
            f"{path}: without the sizes it can't be told whether the names are of these clusters; "
            "they are used."
        )
    return names, notes


def _put_aside(path: Path) -> None:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    free = (
        path.with_name(f"{path.stem}_{date}{suffix}{path.suffix}")
        for suffix in ["", *(f"_{n}" for n in range(2, 10_000))]
    )
    try:
        path.rename(next(name for name in free if not name.exists()))
    except OSError as error:
        raise RunError(
            f"{path}: can't be kept under another name: {error}; change permissions, or move it "
            "away"
        ) from None
