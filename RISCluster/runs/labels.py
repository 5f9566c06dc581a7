"""Tables of labels: one row for every sample of the file, in its order.

Letters: N samples, D latent features, K clusters, n samples of a block.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.cube_file import CubeFile
from ..data.layouts import SpectrogramFile
from ..data.times import parse_times
from ..errors import CheckpointError
from ..io import new_file, new_rows, row_blocks
from .cluster_map import new_cluster_map

if TYPE_CHECKING:
    import pandas

UNUSABLE = -1
READ_ROWS = 2**18
TYPES = {"label": "i2", "probability": "f4"}
TYPES |= dict.fromkeys(("starttime", "trace_id", "onset"), object)


@dataclass(frozen=True)
class Labelling:
    """Labels of every sample of a file."""

    labels: np.ndarray  # (N,), int16; -1 for unusable samples
    sizes: np.ndarray  # (K,), int64
    mean_probability: np.ndarray  # (K,), of the members of each cluster; NaN for an empty one

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
    """Label (n,), int64, and its probability (n,) from probabilities (n, K).

    Rows of NaN have label -1 and probability 0.
    """
    usable = ~np.isnan(probabilities[:, 0])
    filled = np.where(usable[:, None], probabilities, 0.0)
    labels = np.where(usable, filled.argmax(1), UNUSABLE)
    return labels.astype(np.int64), filled.max(1)


def of_usable(latents: np.ndarray, work: Callable[[np.ndarray], np.ndarray], k: int) -> np.ndarray:
    """`work` of latents (n, D) as (n, K); rows of NaN for latents that are NaN."""
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
    """Label every sample; write ``labels.csv`` and for a cube ``labels.h5``, block by block.

    Parameters
    ----------
    latents : np.ndarray, (N, D)
        NaN for unusable samples.
    posterior : callable
        Latents (n, D) to the probability of each cluster (n, K).
    soft : str, optional
        Name of a ``.npy`` file for the probabilities, (N, K).
    """
    labels = np.full(len(latents), UNUSABLE, dtype=np.int16)
    totals, sizes = np.zeros(n_clusters), np.zeros(n_clusters, dtype=np.int64)
    with ExitStack() as stack:
        write = stack.enter_context(new_labels(folder / "labels.csv", file))
        rows = None
        if soft:
            rows = stack.enter_context(new_rows(folder / soft, (len(latents), n_clusters)))
        for start, block in row_blocks(latents):
            probabilities = of_usable(block, posterior, n_clusters)
            mine, probability = assign(probabilities)
            labels[start : start + len(mine)] = mine
            known = mine >= 0
            sizes += np.bincount(mine[known], minlength=n_clusters)
            totals += np.bincount(mine[known], probability[known], n_clusters)
            write(start, mine, probability)
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
) -> Iterator[Callable[..., None]]:
    """Write a table of labels block by block; for a cube also a map of them, named ``.h5``.

    Start times, trace ids and the columns `detection` are those of the file, where it has them;
    `more` are names of further columns.

    Yields
    ------
    callable
        ``write(start, labels, probabilities, *columns)`` for samples from `start` on, in order.
    """
    import pandas

    readers = {"starttime": file.starttimes, "trace_id": file.trace_ids}
    readers |= {name: partial(file.detection, name) for name in detection}
    readers = {name: read for name, read in readers.items() if read(0, 1) is not None}
    with ExitStack() as stack:
        partial_path = stack.enter_context(new_file(path))
        table = stack.enter_context(partial_path.open("w", newline="", encoding="utf-8"))
        image = None
        if isinstance(file, CubeFile):
            image = stack.enter_context(new_cluster_map(path.with_suffix(".h5"), file))

        def write(
            start: int, labels: np.ndarray, probabilities: np.ndarray, *columns: Sequence[Any]
        ) -> None:
            stop = start + len(labels)
            values = {"index": range(start, stop), "label": labels, "probability": probabilities}
            values |= {name: read(start, stop) for name, read in readers.items()}
            values |= dict(zip(more, columns, strict=True))
            pandas.DataFrame(values).to_csv(
                table, header=start == 0, index=False, float_format="%.6f", lineterminator="\n"
            )
            if image is not None:
                image(start, labels, probabilities)

        yield write


@dataclass(frozen=True)
class LabelTable:
    """A table of labels as read back; columns that it lacks are None."""

    labels: np.ndarray  # (N,), int16; -1 for unusable samples
    probability: np.ndarray  # (N,), float32
    starttime: np.ndarray | None  # (N,), datetime64[us], UTC; NaT where unknown
    trace: np.ndarray | None  # (N,), int32, positions in trace_ids
    trace_ids: list[str]  # in order of appearance
    onset: np.ndarray | None = None  # (N,), datetime64[us], of detections


def read_labels(path: Path) -> LabelTable:
    """Read what `new_labels` wrote.

    Raises
    ------
    CheckpointError
        The table is missing or damaged.
    """
    import pandas

    try:
        with pandas.read_csv(
            path, usecols=lambda name: name in TYPES, dtype=TYPES, na_filter=False, index_col=False,
            chunksize=READ_ROWS,
        ) as blocks:  # fmt: skip
            frame = pandas.concat([_with_times(block) for block in blocks], ignore_index=True)
        found = {name: frame[name].to_numpy(copy=True) for name in {"label", "probability", *frame}}
    except (OSError, ValueError, OverflowError) as error:
        text = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: can't be read as a table of labels: {text}; run its stage again"
        ) from None
    except KeyError as error:
        raise CheckpointError(f"{path}: has no column {error}; run its stage again") from None
    if frame.empty:
        raise CheckpointError(f"{path}: holds no labels; run its stage again")
    trace, trace_ids = None, []
    if "trace_id" in found:
        trace, names = pandas.factorize(found["trace_id"])
        trace, trace_ids = trace.astype(np.int32), names.tolist()
    times, onsets = found.get("starttime"), found.get("onset")
    return LabelTable(found["label"], found["probability"], times, trace, trace_ids, onsets)


def _with_times(block: "pandas.DataFrame") -> "pandas.DataFrame":
    """Times parsed, in microseconds: a tenth of the memory of their texts."""
    for name in {"starttime", "onset"} & set(block):
        times = parse_times(block[name].to_numpy().astype(str))
        block[name] = times.view("M8[ns]").astype("M8[us]")
    return block


def usable_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """At most `n` indices of samples that have a label, drawn at random, ascending."""
    usable = np.flatnonzero(labels >= 0)
    if len(usable) <= n:
        return usable
    chosen = np.random.default_rng(seed).choice(len(usable), n, replace=False)
    return usable[np.sort(chosen)]
