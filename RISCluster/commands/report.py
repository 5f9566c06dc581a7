"""``python -m RISCluster report``: one page about a finished run."""

import argparse
from pathlib import Path

from .arguments import add_settings, require_suffix, settings_of, split_words

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
    """Write the page and print where it is.

    Raises
    ------
    SettingsError
        A word is not a setting.
    RunError
        There is no such run, or the page that is there was made from more of it.
    MissingPackage
        The map of latents needs a package that is not installed.
    """
    from ..errors import SettingsError
    from ..report.make_report import write_report
    from ..runtime import start_log

    others, overrides = split_words(arguments.words)
    if others:
        raise SettingsError(
            f"command line: {' '.join(others)}: only section.key=value words are taken beside "
            "--run; one run is reported at a time"
        )
    require_suffix("--output", arguments.output, (".html",))
    output = Path(arguments.output).expanduser() if arguments.output else None
    start_log()
    overrides = [*settings_of(arguments.config, []).changed("report"), *overrides]
    print(write_report(Path(arguments.run).expanduser(), overrides, output, True))
