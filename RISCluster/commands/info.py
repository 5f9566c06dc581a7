"""``python -m RISCluster info``: what is in a file of spectrograms."""

import argparse
from pathlib import Path

from ..errors import SettingsError
from .arguments import FIGURES, add_settings, require_suffix, settings_of, split_words

HELP = "say what is in a file of spectrograms, and picture some of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help="HDF5 file or Zarr folder (default: data.file of the settings), and settings as "
        "data.layout=cube cube.window=8",
    )
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="where the picture goes, a .png, .pdf or .svg (default: <FILE>_samples here, in "
        "run.figure_format)",
    )
    parser.add_argument("--no-picture", action="store_true", help="text alone")
    add_settings(parser, "data")
    parser.epilog = f"{parser.epilog} Those of [cube] say what a sample of a cube is."


def run(arguments: argparse.Namespace) -> None:
    """Print and draw.

    Raises
    ------
    SettingsError
        Several files, or a setting that is not allowed.
    DataError
        As `open_spectrograms`, or bytes that can't be read.
    """
    from ..data.layouts import open_spectrograms
    from ..progress import start_log
    from ..results.overview import describe, survey

    paths, words = split_words(arguments.words)
    if len(paths) > 1:
        raise SettingsError(
            f"command line: {' '.join(paths)}: one file at a time; give one, and settings as "
            "section.key=value"
        )
    if arguments.picture and arguments.no_picture:
        raise SettingsError(
            "command line: --picture and --no-picture are both given; allowed: one of them"
        )
    require_suffix("--picture", arguments.picture, FIGURES)
    start_log()
    settings = settings_of(arguments.config, words)
    data = settings.data
    path = paths[0] if paths else data.file
    with open_spectrograms(path, data.layout, data.dataset, settings.cube) as file:
        for line in describe(file, survey(file), data.train_samples):
            print(line)
        if not arguments.no_picture:
            target = arguments.picture or f"{Path(path).stem}_samples.{settings.run.figure_format}"
            _draw(file, Path(target).expanduser())


def _draw(file: object, target: Path) -> None:
    from ..files import new_file
    from ..results.overview import choose, picture

    figure = picture(file, choose(file))
    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())
    print(f"picture: {target}")
