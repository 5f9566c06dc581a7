"""Input files: folders, patterns and single files on the command line to a list of paths."""

import glob
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

NO_DATA = (".xml", ".txt", ".csv", ".json", ".ini", ".md", ".pdf", ".png", ".partial", ".log")


def find_files(words: Sequence[str]) -> list[Path]:
    """Files that words of the command line name.

    Parameters
    ----------
    words : sequence of str
        Files; folders, taken with all below them; patterns with ``*``, ``?`` and ``**``.

    Returns
    -------
    list of Path
        Ascending, each once. Of folders and patterns, files whose name says that they are no data
        (texts, tables, StationXML, hidden ones) are left out.

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
            inside = [item for item in path.rglob("*") if item.is_file()]
        else:
            inside = [Path(name) for name in glob.glob(str(path), recursive=True)]
            inside = [item for item in inside if item.is_file()]
        if not inside:
            raise DataError(
                f"{word}: no such file, no file in this folder, or of this pattern; give files, "
                "folders or patterns that are there"
            )
        found.update(item for item in inside if _may_be_data(item))
    if not found:
        raise DataError(
            f"{' '.join(words)}: no data among these files: texts, tables and StationXML are left "
            "out; give others"
        )
    return sorted(found)


def stamp(path: Path) -> list[str | int]:
    """Name, size in bytes, and time of last change in ns: by which a file is known again."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _may_be_data(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() not in NO_DATA
