"""``compare``: several finished runs, as text, table and figure."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..errors import RunError, SettingsError
from ..evaluation.comparison import Comparison, compare
from ..evaluation.metrics import Overlap
from ..io import write_text
from ..plots.scores import overlap_matrix
from ..runs.labels import cluster_title
from ..runs.run import open_run
from ..settings import as_text
from .arguments import save_figure


def run_compare(arguments: argparse.Namespace) -> None:
    """Print the comparison, and write the table and the figure that were asked for."""
    folders = [Path(word).expanduser() for word in arguments.runs]
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise SettingsError("command line: runs: give two or more different run folders")
    with ExitStack() as stack:
        runs = [stack.enter_context(open_run(folder)) for folder in folders]
        found, named = compare(runs), [run.names for run in runs]
    if arguments.figure and found.pair is None:
        raise RunError(f"{', '.join(found.names)}: --figure needs two runs on the same data")
    print("\n".join(as_lines(found, named)))
    if arguments.output:
        write_text(arguments.output, as_table(found).to_csv(lineterminator="\n"))
        print(f"table: {arguments.output}")
    if arguments.figure:
        pair, rows = found.pair, found.pair.order().tolist()
        columns = range(pair.counts.shape[1])
        figure = overlap_matrix(
            pair.counts[rows],
            [cluster_title(label, named[0]) for label in rows],
            [cluster_title(label, named[1]) for label in columns],
            row_title=f"Cluster of {found.names[0]}",
            column_title=f"Cluster of {found.names[1]}",
            title=f"{pair.n:,} samples, adjusted Rand index {pair.ari:.3f}",
            row_clusters=rows,
            column_clusters=columns,
        )
        save_figure(figure, arguments.figure)


def as_table(found: Comparison) -> pandas.DataFrame:
    """Texts by kind (data, setting, metric, ari) and name, a column for each run."""
    rows = {("data", "file"): found.data}
    rows |= {("setting", name): values for name, values in found.settings}
    rows |= {("metric", name): values for name, values in found.metrics}
    if found.ari is not None:
        rows |= {("ari", name): values for name, values in zip(found.names, found.ari, strict=True)}
    index = pandas.MultiIndex.from_tuples(rows, names=["kind", "name"])
    return pandas.DataFrame(list(rows.values()), index, found.names).map(_text)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else as_text(value)


def as_lines(found: Comparison, named: Sequence[Mapping[int, str]] = ({}, {})) -> list[str]:
    """Comparison as aligned text; `named` are the names of the clusters of each run."""
    table = as_table(found)
    lines = _block(table.loc["data"].rename({"file": "data"}))
    if not found.same_data:
        lines += ["", "These runs label different samples: labels can't be compared."]
    if found.settings:
        lines += ["", "Settings that differ", *_block(table.loc["setting"])]
    else:
        lines += ["", "No setting that changes results differs."]
    if found.metrics:
        verdicts = [
            "-" if x is None else f"no: other {x}" if x else "yes" for x in found.differences
        ]
        metrics = table.loc["metric"].assign(**{"can be compared": verdicts})
        lines += ["", "Metrics", *_block(metrics)]
    if found.ari is not None:
        rows = pandas.DataFrame(found.ari, found.names, found.names).map("{:.3f}".format)
        lines += ["", "Adjusted Rand index between final labels (1: the same clusters, 0: chance)"]
        lines += _block(rows)
    return lines if found.pair is None else [*lines, "", *_pairs(found.pair, found.names, named)]


def _block(table: pandas.DataFrame, corner: str = "") -> list[str]:
    text = table.rename_axis(index=None, columns=corner).to_string()
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _pairs(pair: Overlap, names: Sequence[str], named: Sequence[Mapping[int, str]]) -> list[str]:
    """Clusters of one run and the clusters of the other that are matched to them."""
    rows, (first, second) = {}, names
    for row in pair.order().tolist():
        column = int(pair.matching[row])
        common = int(pair.counts[row, column]) if column >= 0 else 0
        partner = cluster_title(column, named[1]) if column >= 0 else "-"
        size = pair.counts[row].sum()
        rows[cluster_title(row, named[0])] = partner, f"{common:,}", f"{common / max(size, 1):.1%}"
    header = [second, "samples in common", f"of {first}'s"]
    table = pandas.DataFrame.from_dict(rows, orient="index", columns=header)
    unmatched = sorted(set(np.flatnonzero(pair.counts.sum(0)).tolist()) - {*pair.matching.tolist()})
    titles = ", ".join(cluster_title(label, named[1]) for label in unmatched)
    return [
        f"Clusters under the best matching: {pair.accuracy:.1%} of {pair.n:,} samples agree",
        *_block(table, first),
        *[f"  without a partner in {second}: {titles}"] * bool(titles),
    ]
