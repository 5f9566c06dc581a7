"""Names of clusters (``names.csv``) and corrections of single samples (``corrections.csv``)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from ..data.tables import read_table
from ..io import write_text

if TYPE_CHECKING:
    from .run import FinishedRun

HEADER = ("stage", "label", "size", "name")


def cluster_title(label: int, names: Mapping[int, str]) -> str:
    """Title of a cluster: ``3``, or ``3 icequake``."""
    return f"{label} {names[label]}" if names.get(label) else str(label)


def read_names(run: "FinishedRun") -> dict[int, str]:
    """Names of the final stage's clusters by label, as written by the user: not escaped."""
    return _names_and_notes(run)[0]


def names_notes(run: "FinishedRun") -> list[str]:
    """Why the table of names is not used; empty if it is."""
    return _names_and_notes(run)[1]


def write_names(run: "FinishedRun") -> None:
    """Write a table with empty names for the final stage's clusters, unless there is one."""
    path, stage = run.folder / "names.csv", run.final
    if stage is not None and not path.exists():
        sizes = enumerate(stage.cluster_sizes.tolist())
        rows = [f"{stage.name},{label},{size}," for label, size in sizes]
        write_text(path, "\n".join([",".join(HEADER), *rows]) + "\n")


def _names_and_notes(run: "FinishedRun") -> tuple[dict[int, str], list[str]]:
    path = run.folder / "names.csv"
    if run.final is None or not path.exists():
        return {}, []
    try:
        return _read_names(path, run), []
    except (OSError, ValueError) as error:
        return {}, [f"{path}: no names are used: {error}."]


def _read_names(path: Path, run: "FinishedRun") -> dict[int, str]:
    """Names by label; ValueError if a row is not of a cluster of the final stage."""
    table, stage = read_table(path), run.final
    at = table.require({key: [key] for key in HEADER})
    clusters = list(enumerate(stage.cluster_sizes.tolist()))
    numbers = [table.numbers(at[key]).tolist() for key in ("label", "size")]
    labels, sizes = numbers
    rows = zip(table.text(at["stage"]), labels, sizes, table.text(at["name"]), strict=True)
    names = {}
    for line, (name_of_stage, label, size, name) in zip(table.cells.index, rows, strict=True):
        if name_of_stage.upper() != stage.name or (label, size) not in clusters or label in names:
            raise ValueError(
                f"line {line} is of no cluster of the {stage.name} stage, or of one named before; "
                "move the table away, and a report writes a new one"
            )
        names[int(label)] = name
    return {label: name for label, name in names.items() if name}


def correct(run: "FinishedRun") -> "FinishedRun":
    """The run with the corrections of its final stage's labels, or a note why there are none."""
    path, stage = run.folder / "corrections.csv", run.final
    if stage is None or not path.exists():
        return run
    try:
        rows = _read_corrections(path, run)
    except (OSError, ValueError) as error:
        run.notes.append(f"{path}: no corrections are used: {error}.")
        return run
    return replace(run, stages=run.stages | {stage.name: replace(stage, corrections=rows)})


def _read_corrections(path: Path, run: "FinishedRun") -> pandas.DataFrame:
    """Label (-1 to leave it) and mark by the index of the sample; of equal ones the last row."""
    table, stage = read_table(path), run.final
    index = table.numbers(table.require({"index": ["index"]})["index"])
    labels = {name: label for label, name in reversed(read_names(run).items())}
    labels |= {str(label): label for label in range(stage.n_clusters)} | {"": -1}
    rows = pandas.DataFrame({"index": index, "mark": table.text(table.find("mark"))})
    rows["label"] = pandas.Series(table.text(table.find("label", "name")), dtype=object).map(labels)
    bad = ~rows["index"].isin(range(stage.metrics["n_samples"])) | rows["label"].isna()
    if bad.any():
        raise ValueError(
            f"line {table.cells.index[bad.argmax()]}: it needs the index of a sample, and the "
            "number or name of a cluster, or none"
        )
    rows = rows.astype({"index": "int64", "label": "int64"})
    return rows.drop_duplicates("index", keep="last").set_index("index")
