"""The catalogue of labels: one row for every sample of the file, in its order.

Letters: N samples, D latent features, K clusters, n samples of a block.
"""

import csv
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import RowsArray, new_rows
from ..data.cubes.cubefile import CubeFile
from ..data.spectrograms import SpectrogramFile
from ..errors import CheckpointError
from ..files import new_file
from .cluster_map import new_cluster_map

UNUSABLE = -1
HEADER = ("index", "label", "probability")
READ_ROWS = 65536

Write = Callable[[int, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Labelling:
    """Labels of every sample of a file.

    Attributes
    ----------
    labels : ndarray, (N,), int16
        -1 for unusable samples.
    sizes : ndarray, (K,), int64
    mean_probability : ndarray, (K,)
        Of the members of each cluster; NaN for an empty one.
    """

    labels: np.ndarray
    sizes: np.ndarray
    mean_probability: np.ndarray

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.sizes)

    @property
    def n_usable(self) -> int:
        """Samples that have a label."""
        return int(self.sizes.sum())

    @property
    def overall_probability(self) -> float:
        """Mean over all samples that have a label; NaN where none has."""
        if not self.n_usable:
            return float("nan")
        return float(np.nansum(self.sizes * self.mean_probability) / self.n_usable)


def assign(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and its probability of every sample.

    Parameters
    ----------
    probabilities : ndarray, (N, K)
        NaN for unusable samples.

    Returns
    -------
    ndarray, (N,), int64
        Most probable cluster; -1 for unusable samples.
    ndarray, (N,), float
        Its probability; 0 for unusable samples.
    """
    usable = ~np.isnan(probabilities[:, 0])
    filled = np.where(usable[:, None], probabilities, 0.0)
    labels = np.where(usable, filled.argmax(1), UNUSABLE)
    return labels.astype(np.int64), filled.max(1)


def of_usable(latents: np.ndarray, work: Callable[[np.ndarray], np.ndarray], k: int) -> np.ndarray:
    """(n, K) of `work` for those latents that are not NaN, and NaN for the others."""
    usable = ~np.isnan(latents[:, 0])
    values = np.full((len(latents), k), np.nan)
    if usable.any():
        values[usable] = work(latents[usable])
    return values


def label_file(
    latents: RowsArray,
    posterior: Callable[[np.ndarray], np.ndarray],
    n_clusters: int,
    file: SpectrogramFile,
    folder: Path,
    soft: str | None = None,
) -> Labelling:
    """Label every sample and write what says so, at constant memory.

    Writes ``labels.csv``; for a cube ``labels.h5``; and, if asked for, the probabilities.

    Parameters
    ----------
    latents : RowsArray, (N, D)
        NaN for unusable samples.
    posterior : callable
        (n, D) to (n, K): probability of each cluster.
    n_clusters : int
    file : SpectrogramFile
        Whose samples these are.
    folder : Path
        Where to write.
    soft : str, optional
        Name of a ``.npy`` file for the probabilities, (N, K).

    Returns
    -------
    Labelling
    """
    labels = np.full(len(latents), UNUSABLE, dtype=np.int16)
    totals, sizes = np.zeros(n_clusters), np.zeros(n_clusters, dtype=np.int64)
    with ExitStack() as open_files:
        write = open_files.enter_context(new_labels(folder / "labels.csv", file))
        rows = None
        if soft:
            shape = (len(latents), n_clusters)
            rows = open_files.enter_context(new_rows(folder / soft, shape))
        for start, block in latents.blocks():
            probabilities = of_usable(block, posterior, n_clusters)
            mine, certainty = assign(probabilities)
            labels[start : start + len(mine)] = mine
            known = mine >= 0
            sizes += np.bincount(mine[known], minlength=n_clusters)
            totals += np.bincount(mine[known], certainty[known], n_clusters)
            write(start, mine, certainty)
            if rows is not None:
                rows.write(start, probabilities)
    with np.errstate(invalid="ignore"):
        return Labelling(labels, sizes, totals / sizes)


@contextmanager
def new_labels(
    path: Path,
    file: SpectrogramFile,
    more: Sequence[str] = (),
    detection: Sequence[str] = ("onset",),
) -> Iterator[Any]:
    """Write a table of labels block by block; for a cube also the map of them beside it.

    Parameters
    ----------
    path : Path
        The table; the map has its name with ``.h5``.
    file : SpectrogramFile
        Whose samples are labelled; start times, trace ids and detections are taken from it.
    more : sequence of str
        Names of further columns.
    detection : sequence of str
        Columns of detections, of `DETECTION`, that are written where the file has them.

    Yields
    ------
    callable
        ``write(start, labels, probabilities, *columns)`` for samples from `start` on, in order.
    """
    with ExitStack() as open_files:
        partial = open_files.enter_context(new_file(path))
        table = open_files.enter_context(partial.open("w", newline="", encoding="utf-8"))
        writer = csv.writer(table, lineterminator="\n")
        image = None
        if isinstance(file, CubeFile):
            image = open_files.enter_context(new_cluster_map(path.with_suffix(".h5"), file))
        columns = [("starttime", file.starttimes), ("trace_id", file.trace_ids)]
        columns += [(name, functools.partial(file.detection, name)) for name in detection]
        known = [(name, read) for name, read in columns if read(0, 1) is not None]
        writer.writerow((*HEADER, *(name for name, _ in known), *more))

        def write(
            start: int, labels: np.ndarray, probabilities: np.ndarray, *columns: Sequence[Any]
        ) -> None:
            stop = start + len(labels)
            beside = [read(start, stop) for _, read in known]
            certain = [f"{value:.6f}" for value in probabilities.tolist()]
            writer.writerows(
                zip(range(start, stop), labels.tolist(), certain, *beside, *columns, strict=True)
            )
            if image is not None:
                image(start, labels, probabilities)

        yield write


@dataclass(frozen=True)
class LabelTable:
    """A table of labels as read back, compactly.

    Attributes
    ----------
    labels : ndarray, (N,), int16
        -1 for unusable samples.
    probability : ndarray, (N,), float32
    starttime : ndarray, (N,), datetime64[us], or None
        UTC; NaT where the table has none; None where it has no such column.
    trace : ndarray, (N,), int32, or None
        Which of `trace_ids`; None where the table has no such column.
    trace_ids : list of str
        In the order in which they come.
    onset : ndarray, (N,), datetime64[us], or None
        Of detections, as `starttime`.
    """

    labels: np.ndarray
    probability: np.ndarray
    starttime: np.ndarray | None
    trace: np.ndarray | None
    trace_ids: list[str]
    onset: np.ndarray | None = None


def read_labels(path: Path) -> LabelTable:
    """Read what `new_labels` wrote, some rows at a time.

    Raises
    ------
    CheckpointError
        The table is missing or damaged.
    """
    parts: dict[str, list[np.ndarray]] = {"label": [], "probability": []}
    number: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            column = {name: place for place, name in enumerate(next(rows))}
            parts |= {name: [] for name in ("starttime", "trace_id", "onset") if name in column}
            while block := list(islice(rows, READ_ROWS)):
                columns = list(zip(*block, strict=True))
                for name, found in parts.items():
                    found.append(_column(name, columns[column[name]], number))
    except (OSError, ValueError, KeyError, IndexError, StopIteration, csv.Error) as error:
        raise CheckpointError(
            f"{path}: can't be read as a table of labels: {error or 'it is empty'}; run its stage "
            "again"
        ) from None
    joined = {name: np.concatenate(found) for name, found in parts.items() if found}
    if not joined:
        raise CheckpointError(f"{path}: holds no labels; run its stage again")
    return LabelTable(
        joined["label"],
        joined["probability"],
        joined.get("starttime"),
        joined.get("trace_id"),
        list(number),
        joined.get("onset"),
    )


def _column(name: str, values: Sequence[str], number: dict[str, int]) -> np.ndarray:
    """Texts of one column as an array; trace ids are numbered as they come."""
    if name in ("starttime", "onset"):
        return np.array([text.removesuffix("Z") or "NaT" for text in values], "datetime64[us]")
    if name == "trace_id":
        return np.array([number.setdefault(text, len(number)) for text in values], np.int32)
    return np.array(values, dtype=np.float64).astype("i2" if name == "label" else "f4")


def usable_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """At most `n` indices of samples that have a label, drawn at random, ascending."""
    usable = np.flatnonzero(labels >= 0)
    if len(usable) <= n:
        return usable
    chosen = np.random.default_rng(seed).choice(len(usable), n, replace=False)
    return usable[np.sort(chosen)]
