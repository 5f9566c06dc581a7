"""``python -m RISCluster run``: the three stages and the report, one after the other."""

import argparse

from ..cli import COMMANDS, add_config, run_name, run_stage
from ..errors import SettingsError
from .arguments import split_words

HELP = "run the three stages on a file of spectrograms, and make the report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help="spectrograms (default: those of the run, or the demo set); section.key=value words "
        "replace single settings",
    )
    parser.add_argument(
        "--name", help="name of the run (default: run.name, or else the name of FILE)"
    )
    add_config(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run every stage that is not done, and make the report where there is none.

    Raises
    ------
    SettingsError
        Several files are given.
    """
    files, words = split_words(arguments.words)
    if len(files) > 1:
        raise SettingsError(
            f"command line: {' '.join(files)}: one file is taken at a time; give one, and settings "
            "as section.key=value"
        )
    if files:
        words.append(f"data.file={files[0]}")
    name = arguments.name or (run_name(files[0]) if files else None)
    if name and (arguments.name or not any(word.startswith("run.name=") for word in words)):
        words.append(f"run.name={name}")
    for stage in COMMANDS:
        settings = run_stage(stage, arguments.config, words)
    if settings.run.figures and not (settings.run_folder / "report.html").exists():
        from ..report.make_report import write_report

        write_report(settings.run_folder)
