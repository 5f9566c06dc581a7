"""Names of clusters, which a person writes into ``names.csv`` in the run folder.

A table with the columns stage, label, size, name. The sizes identify the clusters: names of other
clusters are put aside, not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np

from ..data.tables import Table, read_table
from ..errors import RunError
from ..io import write_text
from .run import FinishedRun, FinishedStage

FILE = "names.csv"
HEADER = ("stage", "label", "size", "name")
LARGEST_FILE = 2**22  # bytes


@dataclass(frozen=True)
class Reading:
    """Content of names.csv: names by label, notes on faults, whether it is of these clusters."""

    names: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fits: bool = False


def names_path(run: FinishedRun) -> Path:
    """Path of names.csv of a run."""
    return run.folder / FILE


def title_of(label: int, names: Mapping[int, str]) -> str:
    """Title of a cluster: ``3``, or ``3 icequake``."""
    return f"{label} {names[label]}" if names.get(label) else str(label)


def read_names(run: FinishedRun) -> dict[int, str]:
    """Names of the final stage's clusters, as the user wrote them: not escaped."""
    return read(run).names


def names_notes(run: FinishedRun) -> list[str]:
    """Faults of the table of names, a sentence each."""
    return read(run).notes


def write_names(run: FinishedRun) -> Path | None:
    """Write a table with empty names for the final stage's clusters, unless there is one.

    A table of other clusters is renamed to ``names_<date>.csv``.

    Returns
    -------
    Path or None
        The table; None without a stage that labels.

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


def _put_aside(path: Path) -> None:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    suffixes = ("" if n == 1 else f"_{n}" for n in count(1))
    free = (path.with_name(f"{path.stem}_{date}{suffix}{path.suffix}") for suffix in suffixes)
    try:
        path.rename(next(name for name in free if not name.exists()))
    except OSError as error:
        raise RunError(
            f"{path}: can't be renamed: {error}; change permissions, or move it away"
        ) from None


def read(run: FinishedRun) -> Reading:
    """Read the table and compare it with the final stage's clusters."""
    path, stage = names_path(run), run.final
    if stage is None or not path.exists():
        return Reading()
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE // 2**20} MB")
        table = read_table(path)
        columns = {key: table.find(key) for key in HEADER}
        columns |= table.require({key: [key] for key in ("label", "name")})
    except (OSError, ValueError) as error:
        return Reading(notes=[f"{path}: no names are read: {error}."])
    stages, labels, _, names = (table.text(columns[key]) for key in HEADER)
    label, size = (_whole_numbers(table, columns[key]) for key in ("label", "size"))
    label = np.where(label < stage.n_clusters, label, -1)
    other = _other_clusters(stage, table.lines, stages, label, size)
    if other:
        return Reading(
            notes=[
                f"{path}: its {sum(map(bool, names))} names are not used: {other}; the clusters "
                f"are new since. The table is renamed to {path.stem}_<date>.csv when a new one is "
                "written."
            ]
        )
    rows = zip(table.lines.tolist(), label.tolist(), labels, names, strict=True)
    used, notes = _names(list(rows), stage.n_clusters)
    if any(name and one < 0 for name, one in zip(names, size.tolist(), strict=True)):
        notes.append(
            "without the sizes it is unknown whether the names are of these clusters; they are "
            "used."
        )
    return Reading(used, [f"{path}: {note}" for note in (*table.notes, *notes)], fits=True)


def _whole_numbers(table: Table, column: int | None) -> np.ndarray:
    """Counts of a column, (n,), int64; -1 for other cells, and without a column."""
    if column is None:
        return np.full(len(table.lines), -1)
    values = np.nan_to_num(table.numbers(column, counts=True)[0], nan=-1)
    return np.where((values == np.round(values)) & (np.abs(values) < 2**53), values, -1).astype(int)


def _other_clusters(
    stage: FinishedStage, lines: np.ndarray, stages: list[str], label: np.ndarray, size: np.ndarray
) -> str:
    """Why the table is of other clusters than the stage's; empty where it is not."""
    for line, name in zip(lines, stages, strict=True):
        if name and name.upper() != stage.name:
            return f"line {line} is of stage {name}, and the labels are those of {stage.name}"
    known = np.flatnonzero((label >= 0) & (size >= 0))
    for row in known[size[known] != stage.sizes[label[known]]][:1]:
        now = int(stage.sizes[label[row]])
        return f"cluster {label[row]} has {now:,} samples, and in the table {size[row]:,}"
    return ""


def _names(
    rows: list[tuple[int, int, str, str]], n_clusters: int
) -> tuple[dict[int, str], list[str]]:
    """Names by label, and faults, of rows of line, label, its text, name."""
    names: dict[int, str] = {}
    seen: dict[int, int] = {}
    notes = []
    for line, label, text, name in rows:
        if label < 0:
            if text or name:
                notes.append(
                    f"line {line}: '{text}' is no cluster; allowed: 0 to {n_clusters - 1}."
                )
        elif label in seen:
            notes.append(
                f"line {line}: cluster {label} is there already in line {seen[label]}, which is "
                "used."
            )
        else:
            seen[label] = line
            if name:
                names[label] = name
    return names, notes
