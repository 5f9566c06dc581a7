"""Commands that make data sets: ``build``, ``cube`` and ``demo``."""

import argparse
import sys
from pathlib import Path

from ..cli import first_command
from ..data.storage import find_files
from ..errors import DataError, SettingsError
from ..runtime import log, start_log
from ..settings import Settings, load_found_settings
from .arguments import number_of_workers, option_number, split_words


def run_build(arguments: argparse.Namespace) -> None:
    """Make a data set from waveforms."""
    from ..waveforms.build import build

    paths, settings = _paths_and_settings(arguments, "waveforms")
    build(
        paths,
        arguments.output,
        settings,
        layout=arguments.layout,
        workers=number_of_workers(arguments.workers),
        overwrite=arguments.overwrite,
        catalogue_only=arguments.catalogue_only,
    )
    if not arguments.catalogue_only:
        log.info(f"next: {first_command(arguments.output, arguments.config)}")


def run_cube(arguments: argparse.Namespace) -> None:
    """Make a cube from records."""
    from ..fibre.make_cube import make_cube, require_cube_name

    words, settings = _paths_and_settings(arguments, "records")
    target = Path(arguments.output).expanduser()
    require_cube_name(target)
    own = {target.with_name(target.name + end).resolve() for end in ("", ".parts", ".partial")}
    paths = [
        path
        for path in find_files(words)
        if own.isdisjoint([path.resolve(), *path.resolve().parents])
    ]
    if not paths:
        raise DataError(
            f"{' '.join(words)}: the cube itself is the only file found; give the records to make "
            "it from"
        )
    make_cube(paths, target, settings, number_of_workers(arguments.workers), arguments.overwrite)
    log.info(f"next: {first_command(target, arguments.config)}")


def _paths_and_settings(arguments: argparse.Namespace, what: str) -> tuple[list[str], Settings]:
    paths, overrides = split_words(arguments.words)
    if not paths:
        raise SettingsError(f"command line: no {what} given; give files, folders or patterns")
    settings = load_found_settings(arguments.config, overrides)
    start_log()
    return paths, settings


def run_demo(arguments: argparse.Namespace) -> None:
    """Write a synthetic data set."""
    from ..data.synthetic import write_demo

    most = sys.float_info.max
    n = option_number("--samples", arguments.samples, 1, most, "1 or more", int)
    snr = option_number("--snr", arguments.snr, -100, 100, "-100 to 100 dB")
    seed = option_number("--seed", arguments.seed, 1, most, "1 or more", int)
    imbalance = option_number("--imbalance", arguments.imbalance, 1, most, "1 or more")
    path = write_demo(arguments.output, n, snr, seed, imbalance)
    print(f"{path}: {n:,} spectrograms of eight classes, {snr:g} dB")
    print(f"next: {first_command(path)}")
