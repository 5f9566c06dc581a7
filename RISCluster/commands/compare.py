"""``compare``: several finished runs, as text, table and figure."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..errors import RunError, SettingsError
from ..evaluation.comparison import Comparison, compare
from ..evaluation.metrics import Overlap
from ..io import new_file
from ..plots.agreement import overlap_matrix
from ..report.page import shown
from ..runs.names import cluster_title, read_names
from ..runs.run import FinishedRun, open_run
from ..settings import as_text
from .arguments import FIGURES, require_suffix, save_figure


def run_compare(arguments: argparse.Namespace) -> None:
    """Print the comparison, and write the table and the figure that were asked for."""
    folders = [Path(word).expanduser() for word in arguments.runs]
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise SettingsError(
            f"command line: {' '.join(arguments.runs) or 'no run'}: give two or more different run "
            "folders"
        )
    require_suffix("--output", arguments.output, (".csv",))
    require_suffix("--figure", arguments.figure, FIGURES)
    with ExitStack() as stack:
        runs = [stack.enter_context(open_run(folder)) for folder in folders]
        found = compare(runs)
        if arguments.figure and found.pair is None:
            reason = "there are more" if len(runs) > 2 else "these label other samples"
            raise RunError(
                f"{', '.join(found.names)}: --figure needs two runs on the same data, and {reason}"
            )
        print("\n".join(as_lines(found)))
        if arguments.output:
            target = Path(arguments.output).expanduser()
            with new_file(target) as partial:
                as_table(found).to_csv(partial, index=False, lineterminator="\n")
            print(f"table: {target}")
        if arguments.figure:
            target = Path(arguments.figure).expanduser()
            save_figure(_figure(runs, found), target)
            print(f"figure: {target}")


def _figure(runs: Sequence[FinishedRun], found: Comparison) -> Any:
    first, second = (read_names(run) for run in runs)
    order, table = found.pair.order(), found.pair
    n_columns = table.counts.shape[1]
    return overlap_matrix(
        table.counts[order],
        [cluster_title(label, first) for label in order.tolist()],
        [cluster_title(label, second) for label in range(n_columns)],
        row_title=f"Cluster of {found.names[0]}",
        column_title=f"Cluster of {found.names[1]}",
        title=f"{table.n:,} samples, adjusted Rand index {table.ari:.3f}",
        row_clusters=order.tolist(),
        column_clusters=range(n_columns),
    )


def as_lines(found: Comparison) -> list[str]:
    """Comparison as aligned text."""
    lines = _block(found.names, {"data": found.data})
    if not found.same_data:
        lines += ["", "These runs label different samples: labels can't be compared, and metrics"]
        lines += ["only as far as the data are similar."]
    if found.settings:
        lines += ["", "Settings that differ", *_block(found.names, _texts(found.settings, _text))]
    else:
        lines += ["", "No setting that changes results differs."]
    lines += ["", "Metrics", *_block(found.names, _texts(found.metrics, shown))]
    if found.ari is not None:
        rows = [[f"{value:.3f}" for value in row] for row in found.ari]
        lines += ["", "Adjusted Rand index between final labels (1: the same clusters, 0: chance)"]
        lines += _block(found.names, dict(zip(found.names, rows, strict=True)))
    if found.pair is not None:
        lines += ["", *_correspondence(found.pair, *found.names)]
    return lines


def _texts(
    rows: Sequence[tuple[str, Sequence[Any]]], text: Callable[[Any], str]
) -> dict[str, list[str]]:
    return {name: [text(value) for value in values] for name, values in rows}


def _text(value: Any) -> str:
    """A setting as in config.ini; a dash where the stage is missing."""
    return shown(None) if value is None else as_text(value)


def _block(header: Sequence[str], rows: dict[str, Sequence[str]], corner: str = "") -> list[str]:
    frame = pandas.DataFrame.from_dict(rows, orient="index", columns=list(header))
    text = frame.rename_axis(columns=corner).to_string()
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _correspondence(pair: Overlap, first: str, second: str) -> list[str]:
    """Clusters of one run and the clusters of the other that are matched to them."""
    rows = {}
    for row in pair.order().tolist():
        column, dash = int(pair.matching[row]), shown(None)
        common = int(pair.counts[row, column])
        sizes = pair.counts[row].sum(), pair.counts[:, column].sum()
        cells = [str(column), f"{common:,}", *(f"{common / size:.1%}" for size in sizes if size)]
        rows[str(row)] = cells if column >= 0 else [dash, "0", dash, dash]
    lines = [
        f"Clusters under the best matching: {pair.accuracy:.1%} of {pair.n:,} samples agree",
        *_block([second, "samples in common", f"of {first}'s", f"of {second}'s"], rows, first),
    ]
    unmatched = sorted(set(np.flatnonzero(pair.counts.sum(0)).tolist()) - {*pair.matching.tolist()})
    if unmatched:
        lines.append(f"  without a partner in {second}: {', '.join(map(str, unmatched))}")
    return lines


def as_table(found: Comparison) -> pandas.DataFrame:
    """Kind and name of each row, and a column for each run."""
    rows = [("data", "file", *found.data)]
    for name, values in found.settings:
        rows.append(("setting", name, *("" if x is None else as_text(x) for x in values)))
    for name, values in found.metrics:
        rows.append(("metric", name, *("" if x is None else _number(x) for x in values)))
    for name, row in zip(found.names, [] if found.ari is None else found.ari, strict=False):
        rows.append(("ari", name, *(f"{value:.6g}" for value in row)))
    return pandas.DataFrame(rows, columns=["kind", "name", *found.names])


def _number(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else as_text(value)
