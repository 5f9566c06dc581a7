"""Two-dimensional arrays on disk, in NumPy's format, handled some rows at a time.

Read with plain reads and not through a memory map, whose pages count as memory of the process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import CheckpointError
from .files import new_file

BLOCK_ROWS = 65536


class RowsWriter:
    """Rows of an array that is being written; see `new_rows`."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int], dtype: np.dtype):
        self._file, self.shape, self.dtype = file, shape, dtype
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
        self._offset = file.tell()
        file.truncate(self._offset + shape[0] * shape[1] * dtype.itemsize)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (n, columns) from row `start` on."""
        self._file.seek(self._offset + start * self.shape[1] * self.dtype.itemsize)
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)


@contextmanager
def new_rows(path: Path, shape: tuple[int, int], dtype: str = "float32") -> Iterator[RowsWriter]:
    """Write an array some rows at a time, in any order; it is there once all is written.

    Parameters
    ----------
    path : Path
        A ``.npy`` file.
    shape : (rows, columns)
    dtype : str

    Raises
    ------
    RunError
        It can't be written; one that was there is intact.
    """
    with new_file(path) as partial, partial.open("wb") as file:
        yield RowsWriter(file, shape, np.dtype(dtype))
        file.flush()
        os.fsync(file.fileno())


class RowsArray:
    """An array on disk, read some rows at a time.

    Parameters
    ----------
    path : Path
        A ``.npy`` file of two dimensions.

    Attributes
    ----------
    shape : (rows, columns)

    Raises
    ------
    CheckpointError
        It is missing, or not such a file.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                self.shape, by_columns, self.dtype = read_header(file)
                self._offset = file.tell()
            size = path.stat().st_size - self._offset
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file") from None
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path}: damaged, can't be read: {error}") from None
        if len(self.shape) != 2 or by_columns or self.dtype.hasobject:
            raise CheckpointError(f"{path}: not an array of rows of numbers")
        if size != self.dtype.itemsize * self.shape[0] * self.shape[1]:
            raise CheckpointError(f"{path}: damaged: {size} bytes do not make {self.shape}")

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, (n, columns)."""
        n, width = max(0, min(stop, len(self)) - start), self.shape[1]
        offset = self._offset + start * width * self.dtype.itemsize
        rows = np.fromfile(self.path, self.dtype, n * width, offset=offset)
        return rows.reshape(n, width)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows, `BLOCK_ROWS` at a time, each with the number of its first."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield start, self.read(start, start + BLOCK_ROWS)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows `index` (ascending), (n, columns)."""
        parts = [np.empty((0, self.shape[1]), self.dtype)]
        ends = np.searchsorted(index, np.arange(0, len(self) + BLOCK_ROWS, BLOCK_ROWS))
        for first, last in zip(ends[:-1], ends[1:], strict=True):
            if last > first:
                low, high = int(index[first]), int(index[last - 1])
                parts.append(self.read(low, high + 1)[index[first:last] - low])
        return np.concatenate(parts)
