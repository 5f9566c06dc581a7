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

import pandas

from ..data.layouts import COLUMN_ROWS, DETECTION
from ..errors import DataError, RunError, Stopped
from ..io import locked, remove_quietly, write_errors, write_text
from ..parallel import identity
from ..runtime import count, log
from .predict import ADDED, Predictor, label, open_new

SUFFIXES = (".h5", ".hdf5", ".nc", ".zarr")
COLUMNS = ("file", "index", "label", "probability", "starttime", "trace_id", "event_id")
COLUMNS += (*DETECTION, *ADDED)
JOURNAL = ("file", "size", "modified", "samples", "labelled", "outliers", "fingerprint", "model")
JOURNAL += ("end",)
RECENT = 1000  # labelled samples, at least, of which the share of outliers is watched


class Catalogue:
    """A catalogue and its journal, a DataFrame with the columns JOURNAL."""

    def __init__(self, path: Path, model: str):
        self.path, self.place, self.model = path, path.with_suffix(".files.csv"), model
        self.journal, is_known = pandas.DataFrame(columns=JOURNAL), self.place.exists()
        if is_known:
            texts = dict.fromkeys(("fingerprint", "model"), str)
            self.journal = pandas.read_csv(self.place, dtype=texts)
        end = int(self.journal["end"].max()) if len(self.journal) else 0
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                size, is_other = file.tell(), (self.journal["model"] != model).any()
                if size < end or (size and not is_known) or is_other:
                    raise RunError(
                        f"{path}: is not the catalogue of {self.place.name} and of this run as it "
                        "is trained now; give another name with -o"
                    )
                file.truncate(end)
        self._write()

    def _write(self) -> None:
        write_text(self.place, self.journal.to_csv(index=False, lineterminator="\n"))

    def add(self, name: str, table: Path, *values: object) -> None:
        """Add the rows of a table of labels, if there is one, and a line to the journal."""
        with write_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as out:
            if table.exists():
                options = {"dtype": str, "na_filter": False, "chunksize": COLUMN_ROWS}
                for rows in pandas.read_csv(table, **options):
                    rows.insert(0, "file", name)
                    rows = rows.reindex(columns=COLUMNS, fill_value="")
                    rows.to_csv(out, header=out.tell() == 0, index=False, lineterminator="\n")
            out.flush()
            os.fsync(out.fileno())
            lines = *self.journal.itertuples(index=False), (name, *values, self.model, out.tell())
        self.journal = pandas.DataFrame(lines, columns=JOURNAL)
        self._write()

    def warn_of_drift(self, limit: float) -> None:
        """Warn where the share of outliers of the latest samples is above `limit`."""
        latest = self.journal[["labelled", "outliers"]][::-1]
        before = latest["labelled"].cumsum() - latest["labelled"]
        n, outliers = latest[before < RECENT].sum()
        if outliers > limit * n:
            log.warning(
                f"{outliers / n:.1%} of the latest {n:,} samples are outliers, more than --drift = "
                f"{limit:g}: the data differ from the training set; train a new run on them too"
            )


def follow(run: Predictor, folder: Path, output: Path, interval: float, drift: float) -> None:
    """Label every file of spectrograms in a folder once, as it arrives, until stopped.

    A file is complete when it is the same in two checks, `interval` seconds apart; with 0 there is
    one check. `drift` is the share of outliers among the latest samples for a warning.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one in which the files arrive")
    if run.ranks.world > 1:
        raise RunError("torchrun: --follow needs one process; run it without torchrun")
    before = {}  # size and time of files at the last check, as `done` when labelled or left out
    with locked(output):
        for left in output.parent.glob(f".{output.name}.*/"):  # of a process that was killed
            remove_quietly(left)
        catalogue = Catalogue(output, identity(run.stage.provenance["results"]))
        rows = catalogue.journal[["file", "size", "modified"]].itertuples(index=False)
        done = {name: (size, modified) for name, size, modified in rows}
        labelled = set(done)
        log.info(f"{folder}: waiting for files; {output} has the labels of {len(done):,}")
        while True:
            now = _look(folder)
            for name, stamp in now.items():
                is_complete = not interval or before.get(name) == stamp
                if stamp == done.get(name) or not is_complete:
                    continue
                _stop_if_requested(run, output)
                done[name] = stamp
                try:
                    if name in labelled:
                        raise DataError(f"{folder / name}: has changed; give it another name")
                    _label(run, catalogue, folder / name, name, stamp)
                    labelled.add(name)
                    catalogue.warn_of_drift(drift)
                except DataError as error:
                    log.warning(f"{error}; left out until the file changes")
            before, end = now, time.monotonic() + interval
            while time.monotonic() < end and not run.stop.signal_number:
                time.sleep(min(0.2, interval))
            if not interval:
                return
            _stop_if_requested(run, output)


def _label(
    run: Predictor, catalogue: Catalogue, path: Path, name: str, stamp: tuple[int, int]
) -> None:
    """Label a file, unless its data are labelled under another name, and add it."""
    own, n, n_labelled, outliers = catalogue.path, 0, 0, 0
    with (
        open_new(run, path) as file,
        TemporaryDirectory(prefix=f".{own.name}.", dir=own.parent) as place,
    ):
        fingerprint, table = file.fingerprint(), Path(place) / "labels.csv"
        twins = catalogue.journal["file"][catalogue.journal["fingerprint"] == fingerprint].tolist()
        if not twins:
            sizes, outliers = label(run, file, table)
            n, n_labelled = file.n_samples, int(sizes.sum())
        catalogue.add(name, table, *stamp, n, n_labelled, outliers, fingerprint)
    text = f"{count(n_labelled, 'label')}, {count(outliers, 'outlier')}"
    log.info(f"{path}: {f'the same data as {twins[0]}' if twins else text}")


def _look(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time in ns of files of spectrograms by their path in the folder, earliest first."""
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


def _stop_if_requested(run: Predictor, output: Path) -> None:
    if number := run.stop.signal_number:
        raise Stopped(
            f"{output}: is complete up to the last file; run the same command to continue", number
        )
