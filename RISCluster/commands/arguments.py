"""What commands have in common: paths and settings on the command line."""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cli import add_config
from ..errors import SettingsError

FIGURES = (".png", ".pdf", ".svg")


def add_settings(parser: argparse.ArgumentParser, section: str) -> None:
    """Add ``--config`` and a line on settings; they come among the words, see `split_words`."""
    add_config(parser)
    parser.epilog = (
        f"Settings are in [{section}] of config.ini; section.key=value words replace single ones."
    )


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths and ``section.key=value`` settings, which come in any order."""
    settings = [word for word in words if re.match(r"[A-Za-z]+\.\w+=", word)]
    return [word for word in words if word not in settings], settings


def refused(option: str, text: str, allowed: str) -> SettingsError:
    """Error for the value of an option."""
    return SettingsError(
        f"command line: {option} {text or '(empty)'} is not allowed; allowed: {allowed}"
    )


def option_number(
    option: str, text: str, low: float, high: float, allowed: str, kind: type = float
) -> float:
    """Number of an option, from `low` to `high`.

    Raises
    ------
    SettingsError
        It is none; the message says what is `allowed`.
    """
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise refused(option, text, allowed)
    return value


def number_of_workers(text: str) -> int:
    """Value of ``--workers``: 0, which is `parallel.AUTO`, for ``auto``."""
    return (
        0
        if text == "auto"
        else option_number("--workers", text, 1, 1024, "auto, or 1 to 1024", int)
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    parser.add_argument(
        "--workers",
        default="auto",
        metavar="N",
        help="processes; auto is one for every processor, fewer where there is little to do (the "
        "output is the same)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--run``."""
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="a finished run, as Outputs/rutford"
    )


def only_settings(words: Sequence[str]) -> list[str]:
    """Words of which each must be a setting.

    Raises
    ------
    SettingsError
    """
    others, overrides = split_words(words)
    if others:
        raise SettingsError(
            f"command line: {' '.join(others)}: not a setting; allowed: section.key=value words"
        )
    return overrides


def save_figure(figure: Any, target: Path) -> None:
    """Write a matplotlib figure in the format of the file's suffix."""
    from ..io import new_file

    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())


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
