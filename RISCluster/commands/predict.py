"""``python -m RISCluster predict``: label new data with a finished run."""

import argparse
from pathlib import Path

from .arguments import add_run, require_suffix, split_words

HELP = "label new data with a finished run, and say how unlike its training set they are"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="FILE",
        help="spectrograms in any layout; section.key=value words replace settings of the run",
    )
    add_run(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="CSV", help="table to write, as newer_labels.csv"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    parser.add_argument(
        "--stage",
        choices=("dec", "gmm"),
        default="dec",
        help="label as the DEC stage does, or as the mixture does (default: dec)",
    )
    parser.epilog = (
        "Writes the table, latents beside it as .latent.npy, and for a cube a map as .h5 and as a "
        "figure."
    )


def run(arguments: argparse.Namespace) -> None:
    """Label the file."""
    from ..errors import SettingsError
    from ..stages.predict import predict

    files, overrides = split_words(arguments.words)
    if len(files) != 1:
        raise SettingsError(
            f"command line: one file is labelled at a time, and {len(files)} are given: "
            f"{' '.join(files) or 'none'}; give one"
        )
    output = Path(arguments.output)
    require_suffix("--output", arguments.output, (".csv",))
    stage = arguments.stage.upper()
    predict(files[0], Path(arguments.run), output, stage, overrides, arguments.overwrite)
