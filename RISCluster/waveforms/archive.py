"""Copies of the files of archives in object stores and on web servers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from ..data.storage import NO_DATA
from ..errors import DataError, RISClusterError
from ..io import need, new_file
from ..runtime import Progress, count, log

THREADS = 8  # files at a time


def with_copies(words: Sequence[str], folder: Path) -> list[str]:
    """Words of the command line, with copies of the files of URLs in a folder, each fetched once.

    A URL is of a file, a folder or a pattern, as ``s3://bucket/2016/*HHZ*`` or ``https://host/2016/``.
    DataError where files can't be listed or fetched.
    """
    return [path for word in words for path in (_fetch(word, folder) if "://" in word else [word])]


def _fetch(url: str, folder: Path) -> list[str]:
    need("fsspec")
    import fsspec

    has_key = bool({"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} & {*os.environ})
    options = {"anon": not has_key} if url.startswith("s3:") else {}
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
        found = files.glob(root, detail=True) if "*" in url else files.find(root, detail=True)
    except ImportError:
        need("s3fs" if url.startswith("s3:") else "aiohttp")
        raise
    except Exception as error:  # each kind of store raises its own
        raise DataError(f"{url}: can't be listed: {_reason(error)}; check the address") from None
    sizes = {
        name: about.get("size")
        for name, about in sorted(found.items())
        if about.get("type") != "directory" and not name.lower().endswith((*NO_DATA, "/"))
        and ".." not in name.split("/")
    }  # fmt: skip
    if not sizes:
        raise DataError(f"{url}: has no files; give a folder, a file or a pattern with *")
    paths = {name: folder / name.rpartition("://")[2].lstrip("/") for name in sizes}
    missing = [
        name
        for name, path in paths.items()
        if not path.is_file() or sizes[name] not in (None, path.stat().st_size)
    ]
    log.info(f"{url}: {count(len(sizes), 'file')}, {len(missing):,} to copy into {folder}")
    parallel, failed = Parallel(THREADS, backend="threading", return_as="generator"), []
    with Progress("Copying", len(missing), "files") as progress:
        for error in parallel(delayed(_copy)(files, name, paths[name]) for name in missing):
            failed += [error] if error else []
            progress.add(1)
    if failed:
        raise DataError(
            f"{url}: {len(failed):,} of {len(sizes):,} files can't be fetched ({failed[0]}); run "
            "the same command again to fetch them"
        )
    return [str(path) for path in paths.values()]


def _copy(files: Any, name: str, path: Path) -> str:
    """Copy a file; why that failed."""
    try:
        with new_file(path) as partial:
            files.get_file(name, str(partial))
    except RISClusterError:
        raise
    except Exception as error:  # each kind of store raises its own
        return f"{name}: {_reason(error)}"
    return ""


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]
