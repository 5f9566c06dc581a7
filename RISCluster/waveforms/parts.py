"""The part of a data set that one station-day makes: written in blocks, read in blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..data.times import nanoseconds_to_iso
from ..errors import RunError
from .spectra import Grid

TIMES = ("start", "onset", "end", "peak")  # columns in ns since 1970-01-01 UTC
COLUMNS = (*TIMES, "amplitude", "spectrogram")
BLOCK_BYTES = 16 * 2**20  # of spectrograms in memory at a time
LARGEST_CHUNK = 64  # samples


@dataclass(frozen=True)
class Block:
    """Some windows and what was made of them.

    Attributes
    ----------
    times : dict
        ``start``, ``onset``, ``end``, ``peak``, each (k,), int64, ns since 1970-01-01 UTC;
        `NOT_A_TIME` for onset and end of sliding windows.
    amplitude : ndarray, (k,), float32
        Largest, of each window.
    spectrogram : ndarray, (k, F, T), float32
        (k, 0, 0) for a catalogue alone.
    trace : ndarray, (k, n), float32, or None
    """

    times: dict[str, np.ndarray]
    amplitude: np.ndarray
    spectrogram: np.ndarray
    trace: np.ndarray | None

    def columns(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        found = {**self.times, "amplitude": self.amplitude, "spectrogram": self.spectrogram}
        return found if self.trace is None else {**found, "trace": self.trace}


def block_samples(grid: Grid) -> int:
    """Spectrograms that are held in memory at a time: whole chunks of 64, or a few large ones."""
    fit = BLOCK_BYTES // (4 * grid.n_rows * grid.n_columns)
    return fit // LARGEST_CHUNK * LARGEST_CHUNK or max(1, fit)


def chunk_samples(n_rows: int, n_columns: int) -> int:
    """Spectrograms that are stored together."""
    return int(np.clip(BLOCK_BYTES // (4 * n_rows * n_columns), 1, LARGEST_CHUNK))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Faults of a disk as a line.

    Raises
    ------
    RunError
        The file can't be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises the second as it closes
        if isinstance(error, RunError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: can't be written: {reason}; make room or change permissions, then run the "
            "same command again: what is done is kept"
        ) from None


def append_block(file: BinaryIO, block: Block) -> None:
    """Write a block behind those before, array by array in NumPy's format."""
    columns = block.columns()
    for name in (*COLUMNS, *(["trace"] if "trace" in columns else [])):
        array = np.ascontiguousarray(columns[name])
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # says why where it fails, unlike NumPy's own writing


def read_blocks(path: Path, with_traces: bool) -> Iterator[Block]:
    """Blocks of a part, in the order of writing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            columns = {name: np.lib.format.read_array(file) for name in COLUMNS}
            trace = np.lib.format.read_array(file) if with_traces else None
            times = {name: columns[name] for name in TIMES}
            yield Block(times, columns["amplitude"], columns["spectrogram"], trace)


def iso(times: np.ndarray | Sequence[int]) -> np.ndarray:
    """Times in ns since 1970 as text in UTC, ISO 8601, to the nearest microsecond, with Z.

    Returns
    -------
    ndarray, (k,), of bytes
    """
    return np.array(nanoseconds_to_iso(times), dtype="S27")
