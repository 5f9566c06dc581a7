"""``python -m RISCluster cube``: a cube of spectra out of fibre records or array waveforms."""

import argparse
from pathlib import Path

from ..cli import first_command
from ..settings import load_found_settings
from .arguments import add_settings, add_workers, number_of_workers, require_paths, split_words

HELP = "make a cube of (time, channel, frequency) out of fibre records or an array's waveforms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECORDS",
        help="HDF5 records of a fibre, or waveforms of an array that obspy reads: files, folders, "
        "patterns; and records.key=value settings",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="cube.zarr, cube.h5 or cube.hdf5"
    )
    add_workers(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a cube made from other records"
    )
    add_settings(parser, "records")


def run(arguments: argparse.Namespace) -> None:
    """Make the cube."""
    from ..data.storage import find_files
    from ..errors import DataError
    from ..fibre.make_cube import make_cube, require_cube_name
    from ..runtime import log, start_log

    start_log()
    words, overrides = split_words(arguments.words)
    require_paths(words, "records")
    settings = load_found_settings(arguments.config, overrides)
    target = Path(arguments.output).expanduser()
    require_cube_name(target)
    paths = [path for path in find_files(words) if not _is_of(path, target)]
    if not paths:
        raise DataError(
            f"{' '.join(words)}: nothing but the cube itself among these files; give the records "
            "that it is to be made from"
        )
    make_cube(paths, target, settings, number_of_workers(arguments.workers), arguments.overwrite)
    log.info(f"next: {first_command(target, arguments.config)}")


def _is_of(path: Path, target: Path) -> bool:
    """Whether a file is the target or lies inside it or its parts."""
    names = (target.name, f"{target.name}.parts", f"{target.name}.partial")
    own = [target.with_name(name).resolve() for name in names]
    return any(place in (path.resolve(), *path.resolve().parents) for place in own)
