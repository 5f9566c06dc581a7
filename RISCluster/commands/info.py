"""``python -m RISCluster info``: what is in a file of spectrograms."""

import argparse
from pathlib import Path

from ..errors import DataError, SettingsError
from ..settings import Settings
from .arguments import FIGURES, add_settings, require_suffix, settings_of, split_words

HELP = "say what is in a file of spectrograms, and picture some of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help="HDF5 files or Zarr folders (default: data.file of the settings), and settings as "
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
    """Print and draw, one file after the other; one that can't be read costs itself alone.

    Raises
    ------
    SettingsError
        A setting or argument that is not allowed.
    DataError
        As `open_spectrograms`, or bytes that can't be read; of several files, where all are bad.
    """
    from ..runtime import log, start_log

    paths, words = split_words(arguments.words)
    if arguments.picture and arguments.no_picture:
        raise SettingsError(
            "command line: --picture and --no-picture are both given; allowed: one of them"
        )
    require_suffix("--picture", arguments.picture, FIGURES)
    if arguments.picture and len(paths) > 1:
        raise SettingsError(
            "command line: --picture names one picture, and there are several files; give one "
            "file, or leave it out"
        )
    start_log()
    settings = settings_of(arguments.config, words)
    paths, bad = paths or [settings.data.file], 0
    for path, target in zip(
        paths, _targets(paths, arguments.picture, settings.run.figure_format), strict=True
    ):
        try:
            _tell(path, settings, None if arguments.no_picture else target)
        except DataError as error:
            if len(paths) == 1:
                raise
            log.warning(f"{error}")
            bad += 1
    if bad == len(paths):
        raise DataError(f"command line: none of {bad} files can be read; give others")


def _targets(paths: list[str], picture: str | None, suffix: str) -> list[Path]:
    """Where pictures go; files of one name in several folders have the folder's name too."""
    if picture:
        return [Path(picture).expanduser()]
    stems = [Path(path).stem for path in paths]
    return [
        Path(
            f"{Path(path).resolve().parent.name}_" * (stems.count(stem) > 1)
            + f"{stem}_samples.{suffix}"
        )
        for path, stem in zip(paths, stems, strict=True)
    ]


def _tell(path: str, settings: Settings, target: Path | None) -> None:
    from ..data.layouts import open_spectrograms
    from .overview import describe, survey

    data = settings.data
    with open_spectrograms(path, data.layout, data.dataset, settings.cube) as file:
        for line in describe(file, survey(file), data.train_samples):
            print(line)
        if target:
            _draw(file, target)


def _draw(file: object, target: Path) -> None:
    from ..io import new_file
    from .overview import choose, picture

    figure = picture(file, choose(file))
    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())
    print(f"picture: {target}")
