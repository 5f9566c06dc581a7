"""Names of clusters (``names.csv``) and corrections of single samples (``corrections.csv``).

``names.csv`` has the columns stage, label, size, name. The user fills in the names. The sizes
identify the clusters: names of others are not used. ``corrections.csv`` has the columns index,
label (a cluster's number or name; empty to leave it) and mark (any text).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from ..data.tables import Table, read_table
from ..errors import RunError
from ..io import write_text

if TYPE_CHECKING:
    from .run import FinishedRun

HEADER = ("stage", "label", "size", "name")
LARGEST_FILE = 2**22  # bytes
NOTED = 5  # rows of corrections that are left out


def names_path(run: "FinishedRun") -> Path:
    """Path of names.csv of a run."""
    return run.folder / "names.csv"


def cluster_title(label: int, names: Mapping[int, str]) -> str:
    """Title of a cluster: ``3``, or ``3 icequake``."""
    return f"{label} {names[label]}" if names.get(label) else str(label)


def read_names(run: "FinishedRun") -> dict[int, str]:
    """Names of the final stage's clusters by label, as written by the user: not escaped."""
    return read(run)[0]


def names_notes(run: "FinishedRun") -> list[str]:
    """Faults of the table of names, one sentence each."""
    return read(run)[1]


def write_names(run: "FinishedRun") -> Path | None:
    """Write a table with empty names for the final stage's clusters, unless there is one.

    A table of other clusters is renamed to ``names_<date>.csv``. None without a stage that labels.
    """
    path, stage = names_path(run), run.final
    if stage is None or (path.exists() and read(run)[2]):
        return None if stage is None else path
    if path.exists():
        stem = f"{path.stem}_{datetime.now(UTC):%Y-%m-%d}"
        others = (path.with_stem(stem + (f"_{n}" if n > 1 else "")) for n in count(1))
        try:
            path.rename(next(other for other in others if not other.exists()))
        except OSError as error:
            raise RunError(
                f"{path}: can't be renamed: {error}; change permissions, or move it away"
            ) from None
    rows = [
        f"{stage.name},{label},{size}," for label, size in enumerate(stage.cluster_sizes.tolist())
    ]
    write_text(path, "\n".join([",".join(HEADER), *rows]) + "\n")
    return path


def read(run: "FinishedRun") -> tuple[dict[int, str], list[str], bool]:
    """Names by label, faults, and whether the table is one of the final stage's clusters."""
    path, stage = names_path(run), run.final
    if stage is None or not path.exists():
        return {}, [], False
    try:
        rows, notes = _rows(path)
    except (OSError, ValueError) as error:
        return {}, [f"{path}: no names are read: {error}."], False
    named, known = rows["name"] != "", rows["label"].isin(range(stage.n_clusters))
    has_size, size = rows["size"] >= 0, rows["label"].map(dict(enumerate(stage.cluster_sizes)))
    foreign = ~rows["stage"].str.upper().isin(["", stage.name])
    for row in rows[foreign | (known & has_size & (rows["size"] != size))].itertuples():
        text = f"line {row.line} is of stage {row.stage or stage.name}, {row.size:,.0f} samples"
        text = f"{path}: its {named.sum()} names are of other clusters and not used: {text}."
        return {}, [text], False
    repeated = known & rows["label"].where(known, -1 - rows.index).duplicated()
    for row in rows[~known & ((rows["text"] != "") | named)].itertuples():
        allowed = f"allowed: 0 to {stage.n_clusters - 1}"
        notes.append(f"line {row.line}: '{row.text}' is no cluster; {allowed}.")
    for row in rows[repeated].itertuples():
        notes.append(f"line {row.line}: cluster {row.label:.0f} is repeated; the first is used.")
    if (named & ~has_size).any():
        notes.append("names without the sizes of their clusters are used, and can be of others.")
    used = rows[known & ~repeated & named]
    names = dict(zip(used["label"].astype(int).tolist(), used["name"], strict=True))
    return names, [f"{path}: {note}" for note in notes], True


def _table(path: Path) -> Table:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE // 2**20} MB")
    return read_table(path)


def _rows(path: Path) -> tuple[pandas.DataFrame, list[str]]:
    """Line, stage, name, text of the label; label and size as numbers; notes on the table."""
    table = _table(path)
    table.require({key: [key] for key in ("label", "name")})
    at = {key: table.find(key) for key in HEADER}
    rows = pandas.DataFrame({key: table.text(at[key]) for key in ("stage", "name")}, dtype="str")
    rows["text"], rows["line"] = table.text(at["label"]), table.cells.index
    for key in ("label", "size"):
        rows[key] = float("nan") if at[key] is None else table.numbers(at[key])
    return rows, list(table.notes)


# ---- corrections of samples ---------------------------------------------------------------------


def correct(run: "FinishedRun") -> "FinishedRun":
    """The run with the corrections of its final stage's labels, and notes on those left out."""
    path, stage = run.folder / "corrections.csv", run.final
    if stage is None or not path.exists():
        return run
    try:
        rows, notes = _corrections(path, run)
    except (OSError, ValueError) as error:
        run.notes.append(f"{path}: no corrections are read: {error}.")
        return run
    run.notes.extend(f"{path}: {note}" for note in notes)
    return replace(run, stages=run.stages | {stage.name: replace(stage, corrections=rows)})


def _corrections(path: Path, run: "FinishedRun") -> tuple[pandas.DataFrame, list[str]]:
    """Label (-1 to leave it) and mark by the index of the sample, and notes."""
    table, stage = _table(path), run.final
    columns = table.require({"index": ["index"]})
    cells = table.text(table.find("label", "name"))
    labels = {name: label for label, name in reversed(read_names(run).items())}
    labels |= {str(label): label for label in range(stage.n_clusters)} | {"": -1}
    rows = pandas.DataFrame({"index": table.numbers(columns["index"])})
    rows["label"] = pandas.Series(cells, dtype=object).map(labels)
    rows["mark"] = table.text(table.find("mark"))
    good = rows["index"].isin(range(stage.metrics["n_samples"])) & rows["label"].notna()
    notes = [
        f"line {table.cells.index[at]}: is not used; it needs the index of a sample, and a "
        "cluster's number or name, or none."
        for at in rows.index[~good][:NOTED]
    ]
    rows = rows[good].astype({"index": "int64", "label": "int64"})
    return rows.drop_duplicates("index", keep="last").set_index("index"), [*table.notes, *notes]
