"""Two-dimensional arrays on disk, in NumPy's format, handled some rows at a time.

Read with plain reads and not through a memory map, whose pages count as memory of the process.
Each ends with a seal, which NumPy does not mind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import CheckpointError
from .io import new_file, read_npy_header
from .seals import LENGTH, Damaged, append_seal, is_sealed_path

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
    with new_file(path) as partial, partial.open("w+b") as file:
        yield RowsWriter(file, shape, np.dtype(dtype))
        append_seal(file)


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
            sealed = is_sealed_path(path)
            with path.open("rb") as file:
                self.shape, by_columns, self.dtype = read_npy_header(file)
                self._offset = file.tell()
            size = path.stat().st_size - self._offset - sealed * LENGTH
            if len(self.shape) != 2 or by_columns:
                raise CheckpointError(
                    f"{path}: not an array of rows of numbers; move it away and run its stage again"
                )
            if size != self.dtype.itemsize * self.shape[0] * self.shape[1]:
                raise Damaged(f"{size} bytes do not make {self.shape}")
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file; run its stage again") from None
        except (OSError, Damaged) as error:
            raise CheckpointError(
                f"{path}: damaged, can't be read: {error}; move it away and run its stage again"
            ) from None

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, (n, columns).

        Raises
        ------
        CheckpointError
            The file was removed or cut since it was opened.
        """
        n, width = max(0, min(stop, len(self)) - start), self.shape[1]
        offset = self._offset + start * width * self.dtype.itemsize
        try:
            rows = np.fromfile(self.path, self.dtype, n * width, offset=offset)
            return rows.reshape(n, width)
        except (OSError, ValueError) as error:  # opened again: it may have changed since
            raise CheckpointError(
                f"{self.path}: rows {start} to {stop} can't be read: {error}; run its stage again"
            ) from None

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
