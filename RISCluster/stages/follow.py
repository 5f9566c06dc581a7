"""Labels of files as they arrive in a folder: a growing catalogue, and a warning of drift.

The journal ``.files.csv`` beside the catalogue has a line for each labelled file, written after its
rows; `end` is the size of the catalogue then, in bytes. Rows behind the last one, of a process that
was killed, are removed.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import pandas

from ..data.layouts import COLUMN_ROWS, DETECTION
from ..errors import DataError, RunError, Stopped
from ..io import LOCK, locked, write_errors, write_text
from ..parallel import identity
from ..runtime import count, log
from .predict import ADDED, Predictor, label, open_new

SUFFIXES = (".h5", ".hdf5", ".nc", ".zarr")
COLUMNS = ("file", "index", "label", "probability", "starttime", "trace_id", "event_id")
COLUMNS += (*DETECTION, *ADDED)
JOURNAL = ("file", "size", "modified", "samples", "labelled", "outliers", "fingerprint", "model")
JOURNAL += ("end",)
RECENT = 1000  # labelled samples, at least, of which the share of outliers is watched
Stamp = tuple[int, int]  # bytes, and time of the last change in ns


def follow(run: Predictor, folder: Path, output: Path, interval: float, drift: float) -> None:
    """Label every file of spectrograms in a folder once, as it arrives, until stopped.

    A file is complete when it is the same in two checks, `interval` seconds apart; with 0 there is
    one check. `drift` is the share of outliers among the latest samples for a warning.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one in which the files arrive")
    if run.ranks.world > 1:
        raise RunError("torchrun: --follow needs one process; run it without torchrun")
    before, left_out = {}, {}
    with locked(output.with_name(f".{output.name}{LOCK}"), output):
        journal = _open_catalogue(output, _model(run))
        rows = journal[["file", "size", "modified"]].itertuples(index=False)
        stamps = {name: (size, modified) for name, size, modified in rows}
        log.info(f"{folder}: waiting for files; {output} has the labels of {len(stamps):,}")
        while True:
            now = _look(folder)
            for name, stamp in now.items():
                if stamp in (stamps.get(name), left_out.get(name)):
                    continue
                _stop_if_requested(run, output)
                try:
                    if name in stamps:
                        raise DataError(
                            f"{folder / name}: has changed; give it another name to label it"
                        )
                    if not interval or before.get(name) == stamp:
                        journal = _label(run, journal, output, folder, name, stamp)
                        stamps[name] = stamp
                        _warn_of_drift(journal, drift)
                except DataError as error:
                    log.warning(f"{error}; left out until the file changes")
                    left_out[name] = stamp
            before, end = now, time.monotonic() + interval
            while time.monotonic() < end and not run.stop.signal_number:
                time.sleep(min(0.2, interval))
            if not interval:
                return
            _stop_if_requested(run, output)


def _stop_if_requested(run: Predictor, output: Path) -> None:
    if number := run.stop.signal_number:
        raise Stopped(
            f"{output}: is complete up to the last file; run the same command to continue", number
        )


def _model(run: Predictor) -> str:
    return identity(run.stage.provenance["results"])


def _look(folder: Path) -> dict[str, Stamp]:
    """Files of spectrograms by their path in the folder, the earliest first."""
    found = {}
    for path in folder.rglob("*"):
        *parents, name = path.relative_to(folder).parts
        is_inside = any(part.endswith(".zarr") or part[0] == "." for part in parents)
        if is_inside or name[0] == "." or path.suffix.lower() not in SUFFIXES:
            continue
        with suppress(OSError):  # a file that was moved away meanwhile
            files = [x.stat() for x in (path, *path.rglob("*"))]
            stamp = sum(x.st_size for x in files), max(x.st_mtime_ns for x in files)
            found[path.relative_to(folder).as_posix()] = stamp
    return dict(sorted(found.items(), key=lambda item: (item[1][1], item[0])))


def _journal_path(catalogue: Path) -> Path:
    return catalogue.with_suffix(".files.csv")


def _open_catalogue(path: Path, model: str) -> pandas.DataFrame:
    """The journal of a catalogue, from which rows without a line in the journal are removed."""
    journal, place = pandas.DataFrame(columns=JOURNAL), _journal_path(path)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_known := place.exists():
            journal = pandas.read_csv(place, dtype=dict.fromkeys(("fingerprint", "model"), str))
        end = int(journal["end"].max()) if len(journal) else 0
        with path.open("ab") as file:
            size = file.tell()
            if size < end or (size and not is_known) or (journal["model"] != model).any():
                raise RunError(
                    f"{path}: is not the catalogue of {place.name} and of this run as it is "
                    "trained now; give another name with -o"
                )
            file.truncate(end)
    write_text(place, journal.to_csv(index=False, lineterminator="\n"))
    return journal


def _label(
    run: Predictor,
    journal: pandas.DataFrame,
    output: Path,
    folder: Path,
    name: str,
    stamp: Stamp,
) -> pandas.DataFrame:
    """Label a file, add its rows to the catalogue and its line to the journal."""
    n, n_labelled, outliers = 0, 0, 0
    with (
        open_new(run, folder / name) as file,
        TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary,
    ):
        fingerprint, table = file.fingerprint(), Path(temporary) / "labels.csv"
        twins = journal["file"][journal["fingerprint"] == fingerprint].tolist()
        if not twins:
            sizes, outliers = label(run, file, table)
            n, n_labelled = file.n_samples, int(sizes.sum())
        end = _add_rows(output, name, table)
    line = name, *stamp, n, n_labelled, outliers, fingerprint, _model(run), end
    journal = pandas.DataFrame([*journal.itertuples(index=False), line], columns=JOURNAL)
    write_text(_journal_path(output), journal.to_csv(index=False, lineterminator="\n"))
    text = f"{count(n_labelled, 'label')}, {count(outliers, 'outlier')}"
    log.info(f"{folder / name}: {f'the same data as {twins[0]}' if twins else text}")
    return journal


def _add_rows(catalogue: Path, name: str, table: Path) -> int:
    """Add the rows of a table of labels, if there is one, to a catalogue; its size in bytes."""
    with write_errors(catalogue), catalogue.open("a", encoding="utf-8", newline="") as out:
        if table.exists():
            for rows in pandas.read_csv(table, dtype=str, na_filter=False, chunksize=COLUMN_ROWS):
                rows.insert(0, "file", name)
                rows = rows.reindex(columns=COLUMNS, fill_value="")
                rows.to_csv(out, header=out.tell() == 0, index=False, lineterminator="\n")
        _flush(out)
        return out.tell()


def _flush(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _warn_of_drift(journal: pandas.DataFrame, limit: float) -> None:
    """Warn where the share of outliers of the latest samples is above `limit`."""
    latest = journal[["labelled", "outliers"]][::-1]
    before = latest["labelled"].cumsum() - latest["labelled"]
    n, outliers = latest[before < RECENT].sum()
    if outliers > limit * n:
        log.warning(
            f"{outliers / n:.1%} of the latest {n:,} samples are outliers, more than --drift = "
            f"{limit:g}: the data differ from the training set; train a new run on them too"
        )
