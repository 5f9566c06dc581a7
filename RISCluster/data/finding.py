"""Input files: folders, patterns and single files on the command line to a list of paths."""

import glob
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

NO_DATA = (".xml", ".txt", ".csv", ".json", ".ini", ".md", ".pdf", ".png", ".partial", ".log")


def find_files(words: Sequence[str]) -> list[Path]:
    """Files that words of the command line name, ascending, each once.

    Parameters
    ----------
    words : sequence of str
        Files; folders, taken with all below them; patterns with ``*``, ``?`` and ``**``. Of folders
        and patterns, texts, tables, StationXML and hidden files are left out.

    Raises
    ------
    DataError
        A word names nothing, or there is no file at all.
    """
    found: set[Path] = set()
    for word in words:
        path = Path(word).expanduser()
        if path.is_file():
            found.add(path)
            continue
        if path.is_dir():
            inside = list(path.rglob("*"))
        else:
            inside = [Path(name) for name in glob.glob(str(path), recursive=True)]
        inside = [item for item in inside if item.is_file()]
        if not inside:
            raise DataError(
                f"{word}: no such file, no file in this folder, or of this pattern; give files, "
                "folders or patterns that are there"
            )
        found.update(
            item
            for item in inside
            if not item.name.startswith(".") and item.suffix.lower() not in NO_DATA
        )
    if not found:
        raise DataError(
            f"{' '.join(words)}: no data among these files: texts, tables and StationXML are left "
            "out; give others"
        )
    return sorted(found)


def stamp(path: Path) -> list[str | int]:
    """Identity of a file: name, size in bytes, and time of last change in ns."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
