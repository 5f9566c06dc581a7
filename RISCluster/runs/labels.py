"""The catalogue of labels: one row for every sample of the file, in its order.

Letters: N samples, D latent features, K clusters, n samples of a block.
"""

import csv
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.cube_file import CubeFile
from ..data.spectrograms import SpectrogramFile
from ..data.tables import read_blocks
from ..data.times import parse_times
from ..errors import CheckpointError
from ..io import new_file, new_rows, row_blocks
from .cluster_map import new_cluster_map

UNUSABLE = -1
HEADER = ("index", "label", "probability")

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
    latents: np.ndarray,
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
    latents : np.ndarray, (N, D)
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
        for start, block in row_blocks(latents):
            probabilities = of_usable(block, posterior, n_clusters)
            mine, certainty = assign(probabilities)
            labels[start : start + len(mine)] = mine
            known = mine >= 0
            sizes += np.bincount(mine[known], minlength=n_clusters)
            totals += np.bincount(mine[known], certainty[known], n_clusters)
            write(start, mine, certainty)
            if rows is not None:
                rows[start : start + len(probabilities)] = probabilities
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
    import pandas

    kinds = {"label": "i2", "probability": "f4"}
    kinds |= dict.fromkeys(("starttime", "trace_id", "onset"), object)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    number: dict[str, int] = {}
    try:
        for block in read_blocks(path, kinds):
            for name in ("label", "probability"):
                parts[name].append(block[name])
            for name in {"starttime", "onset"} & set(block):
                times = parse_times(block[name].astype(str))
                parts[name].append(times.view("M8[ns]").astype("M8[us]"))
            if "trace_id" in block:
                code, names = pandas.factorize(block["trace_id"])
                new = [number.setdefault(name, len(number)) for name in names.tolist()]
                parts["trace_id"].append(np.array(new, dtype=np.int32)[code])
    except (OSError, ValueError, OverflowError) as error:
        text = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: can't be read as a table of labels: {text}; run its stage again"
        ) from None
    except KeyError as error:
        raise CheckpointError(f"{path}: has no column {error}; run its stage again") from None
    joined = {name: np.concatenate(found) for name, found in parts.items() if found}
    if not len(joined.get("label", ())):
        raise CheckpointError(f"{path}: holds no labels; run its stage again")
    return LabelTable(
        joined["label"],
        joined["probability"],
        joined.get("starttime"),
        joined.get("trace_id"),
        list(number),
        joined.get("onset"),
    )


def usable_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """At most `n` indices of samples that have a label, drawn at random, ascending."""
    usable = np.flatnonzero(labels >= 0)
    if len(usable) <= n:
        return usable
    chosen = np.random.default_rng(seed).choice(len(usable), n, replace=False)
    return usable[np.sort(chosen)]
