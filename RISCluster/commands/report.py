"""``python -m RISCluster report``: one page about a finished run."""

import argparse
from pathlib import Path

from ..settings import load_found_settings
from .arguments import add_run, add_settings, only_settings, require_suffix

HELP = "write report.html of a finished run: figures, tables, and what to believe of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the run, as report.stations=stations.xml "
        "data.file=moved.h5",
    )
    add_run(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PAGE",
        help="write the page there, alone (default: report.html in the run folder)",
    )
    add_settings(parser, "report")
    parser.epilog += (
        " All others are those of the run. Writes report.html in the run folder, and its "
        "figures in figures/ there. A page is not replaced by one made from fewer stages or "
        "without the data."
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    from ..report.make_report import write_report
    from ..runtime import start_log

    overrides = only_settings(arguments.words)
    require_suffix("--output", arguments.output, (".html",))
    output = Path(arguments.output).expanduser() if arguments.output else None
    start_log()
    overrides = [*load_found_settings(arguments.config, []).changed("report"), *overrides]
    print(write_report(Path(arguments.run).expanduser(), overrides, output, True))
