"""What commands have in common: paths and settings on the command line."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import SettingsError
from ..settings import CONFIG, load_found_settings

FIGURES = (".png", ".pdf", ".svg")

settings_of = load_found_settings


def add_settings(parser: argparse.ArgumentParser, section: str) -> None:
    """Add ``--config`` and a line on settings; they come among the words, see `split_words`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"settings file; without it {CONFIG} if it is there, or else the defaults",
    )
    parser.epilog = (
        f"Settings are in [{section}] of config.ini; section.key=value words replace single ones."
    )


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths and ``section.key=value`` settings, which come in any order."""
    settings = [word for word in words if re.match(r"[A-Za-z]+\.\w+=", word)]
    return [word for word in words if word not in settings], settings


def number_of_workers(text: str) -> int:
    """Type of ``--workers``: ``auto`` leaves it to the number of jobs and processors."""
    from ..parallel import AUTO

    if text == "auto":
        return AUTO
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: auto, or 1 to 1024")
    return value


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    parser.add_argument(
        "--workers",
        type=number_of_workers,
        default="auto",
        metavar="N",
        help="processes; auto is one for every processor, fewer where there is little to do (the "
        "output is the same)",
    )


def require_paths(paths: Sequence[str], what: str) -> None:
    """Refuse an empty list of paths.

    Raises
    ------
    SettingsError
    """
    if not paths:
        raise SettingsError(f"command line: no {what} given; give files, folders or patterns")


def require_suffix(option: str, path: str | None, allowed: Sequence[str]) -> None:
    """Refuse an output whose name does not end with what can be written.

    Raises
    ------
    SettingsError
    """
    if path and Path(path).suffix.lower() not in allowed:
        raise SettingsError(
            f"command line: {option} {path}: allowed: a name that ends with {' or '.join(allowed)}"
        )
