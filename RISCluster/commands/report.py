"""``python -m RISCluster report``: one page about a finished run."""

import argparse
from pathlib import Path

from .arguments import add_settings, settings_of, split_words

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
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="a finished run, as Outputs/rutford"
    )
    add_settings(parser, "report")
    parser.epilog += (
        " All others are those of the run. Writes report.html in the run folder, and its "
        "figures in figures/ there."
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the page and print where it is.

    Raises
    ------
    SettingsError
        A word is not a setting.
    RunError
        There is no such run.
    """
    from ..errors import SettingsError
    from ..progress import start_log
    from ..results.report.report import write_report

    others, overrides = split_words(arguments.words)
    if others:
        raise SettingsError(
            f"command line: {' '.join(others)}: only section.key=value words are taken beside "
            "--run; one run is reported at a time"
        )
    start_log()
    overrides = [*settings_of(arguments.config, []).changed("report"), *overrides]
    print(write_report(Path(arguments.run).expanduser(), overrides))
