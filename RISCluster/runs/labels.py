"""Labels of every sample of a file: computed, written as ``labels.csv``, and read back.

Letters: N samples, D latent features, K clusters, n samples of a block.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..data.cube_file import CubeFile
from ..data.layouts import SpectrogramFile, as_texts
from ..data.times import parse_times
from ..errors import CheckpointError
from ..io import new_file, new_rows, row_blocks
from .cluster_map import write_cluster_map

Posterior = Callable[[np.ndarray], np.ndarray]  # latents (n, D) to probabilities (n, K)
UNUSABLE = -1
READ_ROWS = 2**18
PARQUET_ROWS = 10**6  # samples from which a table is also written as Parquet
TIMES = ("starttime", "onset")
TYPES = {"label": "i2", "probability": "f4", "event_id": "i8"} | dict.fromkeys(
    (*TIMES, "trace_id"), object
)


@dataclass(frozen=True)
class Labelling:
    """Labels of every sample of a file."""

    labels: np.ndarray  # (N,), int16; -1 for unusable samples
    sizes: np.ndarray  # (K,), int64
    mean_probability: np.ndarray  # (K,), of the members of each cluster; NaN for an empty one

    n_clusters = property(lambda self: len(self.sizes), doc="K.")
    n_usable = property(lambda self: int(self.sizes.sum()), doc="Number of samples with a label.")

    @property
    def overall_probability(self) -> float:
        """Mean over all samples with a label; NaN without any."""
        total = float(np.nansum(self.sizes * self.mean_probability))
        return total / self.n_usable if self.n_usable else float("nan")


def assign(latents: np.ndarray, posterior: Posterior, k: int) -> tuple[np.ndarray, ...]:
    """Label (n,), its probability (n,) and all probabilities (n, K) of latents (n, D).

    -1, 0 and NaN for latents that are NaN.
    """
    usable = ~np.isnan(latents[:, 0])
    probabilities = np.full((len(latents), k), np.nan)
    if usable.any():
        probabilities[usable] = posterior(latents[usable])
    filled = np.where(usable[:, None], probabilities, 0.0)
    return np.where(usable, filled.argmax(1), UNUSABLE), filled.max(1), probabilities


def label_file(
    latents: np.ndarray, posterior: Posterior, n_clusters: int, file: SpectrogramFile,
    folder: Path, soft: str | None = None, name: str = "labels.csv",
) -> Labelling:  # fmt: skip
    """Label every sample from its latents (N, D); write them as `name`, of a cube also ``.h5``.

    All probabilities are written as `soft`, a ``.npy`` file.
    """
    labels = np.full(len(latents), UNUSABLE, np.int16)
    sizes, sums = np.zeros(n_clusters, np.int64), np.zeros(n_clusters)
    with ExitStack() as stack:
        write = stack.enter_context(new_labels(folder / name, file))
        if soft:
            every = stack.enter_context(new_rows(folder / soft, (len(latents), n_clusters)))
        for start, block in row_blocks(latents):
            rows = slice(start, start + len(block))
            labels[rows], probability, soft_rows = assign(block, posterior, n_clusters)
            write(start, labels[rows], probability)
            if soft:
                every[rows] = soft_rows
            known = labels[rows] >= 0
            sizes += np.bincount(labels[rows][known], minlength=n_clusters)
            sums += np.bincount(labels[rows][known], probability[known], n_clusters)
    with np.errstate(invalid="ignore"):
        return Labelling(labels, sizes, sums / sizes)


@contextmanager
def new_labels(
    path: Path, file: SpectrogramFile, more: Sequence[str] = (), copied: Sequence[str] = ("onset",)
) -> Iterator[Callable[..., None]]:
    """Write a table of labels block by block, and of a cube an image of them, named ``.h5``.

    A large table is also written as ``.parquet``, if pyarrow is installed.

    Start times, trace ids, event ids and the columns `copied` are those of the file, if it has
    them; `more` are names of further columns. Yields ``write(start, labels, probabilities,
    *columns)``, to be called in the order of the samples.
    """
    names = ["starttime", "trace_id", "event_id", *copied]
    names = [name for name in names if file.column(name, 0, 1) is not None]
    n = file.n_samples if isinstance(file, CubeFile) else 0  # a table takes no memory by sample
    image = np.full(n, UNUSABLE, "i2"), np.zeros(n, "f4")
    with (
        new_file(path) as part,
        part.open("w", newline="", encoding="utf-8") as table,
        _parquet(path.with_suffix(".parquet"), file.n_samples) as add,
    ):

        def write(start: int, labels: np.ndarray, probabilities: np.ndarray, *columns: Any) -> None:
            stop = start + len(labels)
            values = {"index": range(start, stop), "label": labels, "probability": probabilities}
            values |= {name: as_texts(file.column(name, start, stop)) for name in names}
            values |= (file.origins(start, stop) or {}) | dict(zip(more, columns, strict=True))
            frame = pandas.DataFrame(values)
            frame.to_csv(
                table, header=start == 0, index=False, float_format="%.6f", lineterminator="\n"
            )
            add(frame)
            if n:
                image[0][start:stop], image[1][start:stop] = labels, probabilities

        yield write
        if n:
            write_cluster_map(path.with_suffix(".h5"), file, *image)


@contextmanager
def _parquet(path: Path, n: int) -> Iterator[Callable[[pandas.DataFrame], None]]:
    if n < PARQUET_ROWS or not find_spec("pyarrow"):
        yield lambda frame: None
        return
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    with new_file(path) as part, ExitStack() as stack:
        writers = []

        def add(frame: pandas.DataFrame) -> None:
            table = pyarrow.Table.from_pandas(_with_times(frame), preserve_index=False)
            if not writers:
                writers.append(stack.enter_context(ParquetWriter(part, table.schema)))
            writers[0].write_table(table)

        yield add


def read_labels(path: Path) -> pandas.DataFrame:
    """Read a table of labels, one row per sample.

    Columns: label (int16), probability (float32) and, if the file has them, starttime and onset
    (datetime64[us], UTC), trace_id (categories in order of appearance), event_id (int64, -1 for
    none). Raises CheckpointError.
    """
    try:
        with pandas.read_csv(
            path, usecols=lambda name: name in TYPES, dtype=TYPES, na_filter=False, index_col=False,
            chunksize=READ_ROWS,
        ) as blocks:  # fmt: skip
            table = pandas.concat([_with_times(block) for block in blocks], ignore_index=True)
        if table.empty or not {"label", "probability"} <= set(table):
            raise ValueError("no rows, or no columns label and probability")
    except (OSError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: can't be read as labels: {' '.join(str(error).split())}; run its stage again"
        ) from None
    if "trace_id" in table:
        ids = table["trace_id"]
        table["trace_id"] = pandas.Categorical(ids, categories=ids.unique())
    return table


def _with_times(block: pandas.DataFrame) -> pandas.DataFrame:
    """Parse times: a tenth of the memory of their texts."""
    for name in {*TIMES} & {*block}:
        times = parse_times(block[name].to_numpy().astype(str))
        block[name] = times.view("M8[ns]").astype("M8[us]")
    return block


def station_of(trace_id: str) -> str:
    """``NET.STA`` of a trace id, ``STA`` without a network, or all of another kind of id."""
    parts = trace_id.split(".")
    return ".".join(part for part in parts[:2] if part) if len(parts) == 4 else trace_id


def cluster_title(label: int, names: Mapping[int, str]) -> str:
    """Title of a cluster: ``3``, or ``3 icequake``."""
    return f"{label} {names[label]}" if names.get(label) else str(label)
