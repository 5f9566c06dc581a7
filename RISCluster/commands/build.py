"""``python -m RISCluster build``: waveforms to a data set."""

import argparse

from ..cli import first_command
from .arguments import add_settings, add_workers, require_paths, settings_of, split_words

HELP = "make a data set of spectrograms out of waveforms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WAVEFORMS",
        help="files, folders and patterns of anything that obspy reads; build.key=value settings",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="file to write, .h5; its catalogue is beside it, .csv",
    )
    parser.add_argument(
        "--layout",
        choices=("samples", "ris"),
        default="samples",
        help="layout of the file; ris is what RISCluster 0.3 reads (default: samples)",
    )
    add_workers(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that was made otherwise"
    )
    parser.add_argument(
        "--catalogue-only",
        action="store_true",
        help="write the catalogue alone, .csv, without making spectrograms",
    )
    add_settings(parser, "build")


def run(arguments: argparse.Namespace) -> None:
    """Build the data set."""
    from ..runtime import log, start_log
    from ..waveforms.build import build

    paths, overrides = split_words(arguments.words)
    require_paths(paths, "waveforms")
    settings = settings_of(arguments.config, overrides)
    start_log()
    build(
        paths,
        arguments.output,
        settings,
        layout=arguments.layout,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
        catalogue_only=arguments.catalogue_only,
    )
    if not arguments.catalogue_only:
        log.info(f"next: {first_command(arguments.output, arguments.config)}")
