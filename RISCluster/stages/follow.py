"""Labels of files as they arrive in a folder: a growing catalogue, and a warning of drift."""

import csv
import os
import time
from collections import deque
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

import pandas

from ..data.layouts import COLUMN_ROWS, DETECTION
from ..errors import DataError, RunError, Stopped
from ..io import LOCK, locked, remove_quietly, write_errors
from ..parallel import identity
from ..runtime import count, log
from .predict import ADDED, Counts, Predictor, label, open_new

SUFFIXES = (".h5", ".hdf5", ".nc", ".zarr")
COLUMNS = ("file", "index", "label", "probability", "starttime", "trace_id", "event_id")
COLUMNS += (*DETECTION, *ADDED)
# A line is written after the rows of its file; `end` is the size of the catalogue then, in bytes.
JOURNAL = ("file", "size", "modified", "samples", "labelled", "outliers", "fingerprint", "model")
JOURNAL += ("end",)
RECENT = 1000  # labelled samples, at least, of which the share of outliers is watched
Stamp = tuple[int, int]  # bytes, and time of the last change in ns


class Catalogue:
    """A catalogue and its journal beside it, named ``.files.csv``; both only grow.

    Rows without a line in the journal, of a process that was killed, are removed.
    """

    def __init__(self, path: Path, model: str):
        self.path, self.journal, self.model = path, path.with_suffix(".files.csv"), model
        self.stamps: dict[str, Stamp] = {}  # of the labelled files
        self.names: dict[str, str] = {}  # of the labelled files, by fingerprint
        self.recent: deque[tuple[int, int]] = deque()  # samples with a label, and outliers
        self.has_drifted, end, lines = False, 0, self._read()
        if lines and lines[-1]["model"] != model:
            raise RunError(
                f"{path}: its labels are of another run, or of this one before it was trained "
                "again; give another name with -o"
            )
        for line in lines:
            self._note(line)
            end = int(line["end"])
        size = path.stat().st_size if path.exists() else 0
        if size < end or (size and not self.journal.exists()):
            raise RunError(
                f"{path}: does not agree with {self.journal.name}; give another name with -o"
            )
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.journal.touch()
            with path.open("ab") as file:
                file.truncate(end)

    def _read(self) -> list[dict[str, str]]:
        """Lines of the journal; the rest of one that was cut short is removed."""
        if not self.journal.exists():
            return []
        with write_errors(self.journal), self.journal.open("r+b") as file:
            text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            file.truncate(len(text))
        return list(csv.DictReader(text.decode().splitlines()))

    def _note(self, line: dict[str, str]) -> None:
        self.stamps[line["file"]] = int(line["size"]), int(line["modified"])
        self.names.setdefault(line["fingerprint"], line["file"])
        self.recent.append((int(line["labelled"]), int(line["outliers"])))
        while sum(n for n, _ in islice(self.recent, 1, None)) >= RECENT:
            self.recent.popleft()

    def add(self, name: str, stamp: Stamp, fingerprint: str, table: Path, counts: Counts) -> None:
        """Add the rows of a file from its table of labels, which may be missing."""
        n_rows = 0
        with write_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as out:
            if table.exists():
                for rows in pandas.read_csv(
                    table, dtype=str, na_filter=False, chunksize=COLUMN_ROWS
                ):
                    rows.insert(0, "file", name)
                    rows = rows.reindex(columns=COLUMNS, fill_value="")
                    rows.to_csv(out, header=out.tell() == 0, index=False, lineterminator="\n")
                    n_rows += len(rows)
            _flush(out)
            end = out.tell()
        line = name, *stamp, n_rows, counts.n_labelled, counts.outliers, fingerprint, self.model
        with write_errors(self.journal), self.journal.open("a", newline="") as out:
            lines = [(*line, end)] if out.tell() else [JOURNAL, (*line, end)]
            csv.writer(out, lineterminator="\n").writerows(lines)
            _flush(out)
        self._note(dict(zip(JOURNAL, map(str, (*line, end)), strict=True)))

    def warn_of_drift(self, limit: float) -> None:
        """Log once when the share of outliers of the latest samples is above `limit`."""
        n, outliers = map(sum, zip(*self.recent, strict=True))
        before, self.has_drifted = self.has_drifted, outliers > limit * n
        if self.has_drifted and not before:
            log.warning(
                f"{outliers / n:.1%} of the latest {n:,} samples are outliers, more than --drift = "
                f"{limit:g}: the data differ from the training set; train a new run on them too"
            )


def _flush(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def follow(run: Predictor, folder: Path, output: Path, interval: float, drift: float) -> None:
    """Label every file of spectrograms in a folder once, as it arrives, until stopped.

    A file is complete when it is the same in two checks, `interval` seconds apart; with 0 there is
    one check. `drift` is the share of outliers among the latest samples for a warning.
    """
    ranks, catalogue, before, left_out = run.ranks, None, {}, {}
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one in which the files arrive")
    with ExitStack() as stack:
        if ranks.is_first:
            stack.enter_context(locked(output.with_name(f".{output.name}{LOCK}"), output))
            catalogue = Catalogue(output, identity(run.folder.provenance()["results"]))
            n_done = count(len(catalogue.stamps), "file")
            log.info(f"{folder}: waiting for files; {output} has the labels of {n_done}")
        while True:
            new = []
            if catalogue:
                now = _look(folder)
                for name, stamp in now.items():
                    if left_out.get(name) == stamp or catalogue.stamps.get(name) == stamp:
                        continue
                    if name in catalogue.stamps:
                        text = "has changed since it was labelled; its labels are not changed"
                        log.warning(f"{folder / name}: {text}")
                        left_out[name] = stamp
                    elif not interval or before.get(name) == stamp:
                        new.append((name, stamp))
                before = now
            for name, stamp in ranks.broadcast(new):
                _check_stop(run, output)
                try:
                    _label(run, catalogue, folder / name, name, stamp)
                except DataError as error:
                    log.warning(f"{error}; left out until the file changes")
                    left_out[name] = stamp
                if catalogue and catalogue.recent:
                    catalogue.warn_of_drift(drift)
            if not interval:
                return
            end = time.monotonic() + interval
            while catalogue and time.monotonic() < end and not run.stop.signal_number:
                time.sleep(min(0.2, interval))
            _check_stop(run, output)


def _look(folder: Path) -> dict[str, Stamp]:
    """Files of spectrograms by their path in the folder, the earliest first."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        is_inside = any(part.endswith(".zarr") or part[0] == "." for part in name.split("/")[:-1])
        if is_inside or path.name[0] == "." or path.suffix.lower() not in SUFFIXES:
            continue
        with suppress(OSError):  # a file that was moved away meanwhile
            files = [x.stat() for x in (path, *path.rglob("*"))]
            found[name] = sum(x.st_size for x in files), max(x.st_mtime_ns for x in files)
    return dict(sorted(found.items(), key=lambda item: (item[1][1], item[0])))


def _label(
    run: Predictor, catalogue: Catalogue | None, path: Path, name: str, stamp: Stamp
) -> None:
    """Label a file and add its rows to the catalogue, which rank 0 has."""
    ranks = run.ranks
    with open_new(run, path) as file:
        fingerprint = ranks.gather_results(file.fingerprint)[0]
        twin = ranks.broadcast(catalogue and catalogue.names.get(fingerprint))
        work = catalogue.path.with_name(f".{catalogue.path.name}.new") if catalogue else Path()
        counts, table = Counts([0], 0), work / "labels.csv"
        try:
            if catalogue:
                remove_quietly(work)  # of a process that was killed
                work.mkdir()
            if twin is None:
                counts = label(run, file, table)
            if catalogue:
                catalogue.add(name, stamp, fingerprint, table, counts)
        except Stopped as stopped:
            run.stop.signal_number = stopped.signal_number
            _check_stop(run, catalogue.path if catalogue else path)
        finally:
            if catalogue:
                remove_quietly(work)
    n, outliers = counts.n_labelled, count(counts.outliers, "outlier")
    text = f"the same data as {twin}" if twin else f"{count(n, 'label')}, {outliers}"
    log.info(f"{path}: {text}")


def _check_stop(run: Predictor, output: Path) -> None:
    if number := run.ranks.broadcast(run.stop.signal_number):
        raise Stopped(
            f"{output}: is complete up to the last file; run the same command to continue", number
        )
