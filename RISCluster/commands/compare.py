"""``python -m RISCluster compare``: several finished runs side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import FIGURES, require_suffix, save_figure

if TYPE_CHECKING:
    from ..evaluation.comparison import Comparison
    from ..runs.run import FinishedRun

HELP = "put finished runs side by side: settings that differ, figures of merit, agreement of labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="two or more run folders, as Outputs/first"
    )
    parser.add_argument("-o", "--output", metavar="CSV", help="also write the table there")
    parser.add_argument(
        "--figure",
        metavar="PNG",
        help="of two runs on the same data: picture of how their clusters overlap (png, pdf, svg)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print, and write what was asked for."""
    from contextlib import ExitStack

    from ..evaluation.comparison import compare
    from ..runs.run import open_run
    from .comparison_text import as_lines, as_table

    _require_possible(arguments)
    with ExitStack() as stack:
        runs = [stack.enter_context(open_run(_folder(word))) for word in arguments.runs]
        found = compare(runs)
        if arguments.figure and found.pair is None:
            _refuse_figure(found)
        print("\n".join(as_lines(found)))
        if arguments.output:
            _write(*as_table(found), Path(arguments.output).expanduser())
        if arguments.figure:
            _draw(runs, found, Path(arguments.figure).expanduser())


def _folder(word: str) -> Path:
    return Path(word).expanduser()


def _require_possible(arguments: argparse.Namespace) -> None:
    from ..errors import SettingsError

    folders = [_folder(word).resolve() for word in arguments.runs]
    if len(set(folders)) < len(folders) or len(folders) < 2:
        raise SettingsError(
            f"command line: {' '.join(arguments.runs)}: give two or more different run folders"
        )
    require_suffix("--output", arguments.output, (".csv",))
    require_suffix("--figure", arguments.figure, FIGURES)


def _refuse_figure(found: "Comparison") -> None:
    from ..errors import RunError

    why = "more than two are given" if len(found.names) > 2 else "these label other samples"
    raise RunError(
        f"{', '.join(found.names)}: --figure shows how the clusters of two runs on the same data "
        f"overlap, and {why}; leave --figure out, or give two such runs"
    )


def _write(header: list[str], rows: list[list[object]], target: Path) -> None:
    import csv

    from ..io import new_file

    with new_file(target) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    print(f"table: {target}")


def _draw(runs: list["FinishedRun"], found: "Comparison", target: Path) -> None:
    from ..plots.agreement import overlap_matrix
    from ..runs.names import cluster_title, read_names

    first, second = (read_names(run) for run in runs)
    order, table = found.pair.order(), found.pair
    figure = overlap_matrix(
        table.counts[order],
        [cluster_title(label, first) for label in order.tolist()],
        [cluster_title(label, second) for label in range(table.counts.shape[1])],
        row_title=f"Cluster of {found.names[0]}",
        column_title=f"Cluster of {found.names[1]}",
        title=f"{table.n:,} samples, adjusted Rand index {table.ari:.3f}",
        row_clusters=order.tolist(),
        column_clusters=range(table.counts.shape[1]),
    )
    save_figure(figure, target)
    print(f"figure: {target}")
