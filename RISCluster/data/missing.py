"""Parts of an array that are missing, and are read as a fill value without an error.

These are sources of virtual data sets that are missing or too short, parts of those without a
source, and chunks that were never written. A box is (start, stop) along every axis; a selection
along an axis is (start, stride, count, block), as HDF5 has it.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..io import explain_missing_filter
from .finding import stamp
from .storage import Storage, place_of

Box = tuple[tuple[int, int], ...]
Selection = tuple[int, int, int, int]

MAX_UNWRITTEN = 0.999  # of all chunks; a data set with more has a size and no values
UNLIMITED = 2**48  # for a count without a limit


class MissingParts:
    """Missing parts of a data set.

    Parameters
    ----------
    dataset : h5py.Dataset
    box : Box, optional
        Only sources within it are looked at.

    Attributes
    ----------
    causes : list of str
    why_empty : str
        See `why_hardly_written`.
    damaged : list of Box
        Where a source can't be opened or ends, for HDF5 may fail there.
    """

    def __init__(self, dataset: h5py.Dataset, box: Box | None = None):
        self.causes: list[str] = []
        self.damaged: list[Box] = []
        self._chunks = dataset.chunks
        self._unwritten: np.ndarray | None = None  # a cell for each chunk
        self._sources: list[_Source] | None = None
        n, n_missing = _count_pieces(dataset)
        self.why_empty = _why_empty(dataset, n, n_missing)
        if dataset.is_virtual:
            self._add_sources(dataset, box)
        elif self.why_empty:
            self.causes, self._chunks = [self.why_empty], dataset.shape
            self._unwritten = np.ones([1] * dataset.ndim, dtype=bool)
        elif n_missing:
            self._add_unwritten(dataset)
            name = dataset.name.lstrip("/")
            self.causes.append(f"{n_missing:,} of {n:,} chunks of {name} were never written")

    def _add_sources(self, dataset: h5py.Dataset, box: Box | None) -> None:
        self._sources, n_mapped = [], 0
        for mapping in dataset.virtual_sources():
            mapped = [_selection(mapping.vspace, axis) for axis in range(dataset.ndim)]
            if box and not all(len(_pick(*pair)[0]) for pair in zip(mapped, box, strict=True)):
                continue
            sizes = tuple(map(_length, mapped, dataset.shape))
            n_mapped += math.prod(sizes)
            source, causes = _open_source(dataset, mapping, mapped, sizes)
            self._sources.append(source)
            self.causes += [cause for cause in causes if cause not in self.causes]
            self.damaged += _damaged_boxes(mapping, source)
        if box is None and n_mapped < dataset.size:
            self.causes.append("parts without a source")
        elif box is None and not self.causes:
            self._sources = None

    def _add_unwritten(self, dataset: h5py.Dataset) -> None:
        corners: list[tuple[int, ...]] = []
        dataset.id.chunk_iter(lambda chunk: corners.append(chunk.chunk_offset))
        self._unwritten = np.ones(_chunk_counts(dataset), dtype=bool)
        self._unwritten[tuple((np.array(corners) // dataset.chunks).T)] = False

    def mask(self, box: Box) -> np.ndarray | None:
        """True for missing values of a box, in its shape; None where nothing is missing."""
        if self._unwritten is not None:
            cells = [np.arange(*side) // n for side, n in zip(box, self._chunks, strict=True)]
            holes = self._unwritten[np.ix_(*cells)]
        elif self._sources is not None:
            holes = np.ones([stop - start for start, stop in box], dtype=bool)
            for source in self._sources:
                picked = [_pick(*pair) for pair in zip(source.mapped, box, strict=True)]
                if all(len(at) for at, _ in picked):
                    inside = [at - low for (at, _), (low, _) in zip(picked, box, strict=True)]
                    holes[np.ix_(*inside)] &= source.mask([number for _, number in picked])
        else:
            return None
        return holes if holes.any() else None


def find_holes(dataset: h5py.Dataset, box: Box) -> tuple[np.ndarray | None, list[str]]:
    """Missing values of a box: True in a mask of its shape, or None; and why, without a path."""
    parts = MissingParts(dataset, box)
    holes = parts.mask(box)
    if holes is None:
        return None, []
    return holes, parts.causes or [f"parts of {dataset.name.lstrip('/')} have no source"]


# ---- sources of virtual data sets ---------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Where a source is mapped to, what of it, and what it misses itself.

    Attributes
    ----------
    mapped, selected : list of Selection
        Of the virtual data set and of the source; the latter is None where the two do not match
        axis by axis.
    sizes, reach : tuple of int
        Values along each axis that are mapped, and those that the source has.
    parts : MissingParts or None
        Of the source.
    is_there : bool
        Whether it can be opened.
    """

    mapped: list[Selection]
    sizes: tuple[int, ...]
    selected: list[Selection] | None = None
    reach: tuple[int, ...] = ()
    parts: MissingParts | None = None
    is_there: bool = False

    def mask(self, numbers: list[np.ndarray]) -> np.ndarray | bool:
        """True for missing values, which have these numbers along each axis of the selection."""
        if self.parts is None or self.selected is None:
            return not self.is_there
        holes = np.ones([len(number) for number in numbers], dtype=bool)
        there = [number[number < n] for number, n in zip(numbers, self.reach, strict=True)]
        if all(map(len, there)):
            at = [_coordinates(*pair) for pair in zip(self.selected, there, strict=True)]
            inner = self.parts.mask(tuple((int(one[0]), int(one[-1]) + 1) for one in at))
            if inner is not None:
                inner = inner[np.ix_(*(one - one[0] for one in at))]
            holes[tuple(slice(len(one)) for one in at)] = False if inner is None else inner
        return holes


def _open_source(
    dataset: h5py.Dataset, mapping: Any, mapped: list[Selection], sizes: tuple[int, ...]
) -> tuple[_Source, list[str]]:
    name = f"source {mapping.file_name}:/{mapping.dset_name.lstrip('/')}"
    if "%b" in name:  # a series of files without an end
        return _Source(mapped, sizes, is_there=True), []
    if mapping.file_name == ".":
        return _look_into(dataset.file, mapping, mapped, sizes, name)
    for path in _candidates(dataset, mapping.file_name):
        try:
            with h5py.File(path, "r") as file:
                return _look_into(file, mapping, mapped, sizes, name)
        except (OSError, RuntimeError, ValueError):
            continue
    return _Source(mapped, sizes), [f"{name} is missing or damaged"]


def _look_into(
    file: h5py.File, mapping: Any, mapped: list[Selection], sizes: tuple[int, ...], name: str
) -> tuple[_Source, list[str]]:
    inner = file.get(mapping.dset_name)
    if not isinstance(inner, h5py.Dataset):
        return _Source(mapped, sizes), [f"{name} is not in that file"]
    if why := explain_missing_filter(inner):
        return _Source(mapped, sizes), [f"{name}: {why}"]
    parts, space = MissingParts(inner), mapping.src_space
    causes = [f"{name}: {cause}" for cause in parts.causes]
    is_whole = space.get_select_type() == h5py.h5s.SEL_ALL
    if inner.ndim != len(mapped) or not (is_whole or space.get_simple_extent_ndims() == inner.ndim):
        return _Source(mapped, sizes, is_there=True), causes
    selected = [_selection(space, axis) for axis in range(inner.ndim)]
    reach = tuple(map(min, sizes, map(_length, selected, inner.shape)))
    if reach != sizes:
        causes.insert(0, f"{name} is shorter than expected")
    return _Source(mapped, sizes, selected, reach, parts, True), causes


def _damaged_boxes(mapping: Any, source: _Source) -> Iterator[Box]:
    low, high = mapping.vspace.get_select_bounds()
    box = tuple((int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    if not source.is_there:
        yield box
    for axis, reach in enumerate(source.reach):
        start, stop = box[axis]
        if reach < source.sizes[axis]:
            start += reach if _is_solid(source.mapped[axis]) else 0
            yield (*box[:axis], (start, stop), *box[axis + 1 :])


def _selection(space: Any, axis: int) -> Selection:
    """A selection along an axis; of one that is not regular its bounds."""
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = (int(x[axis]) for x in space.get_regular_hyperslab())
        return start, max(1, stride), min(count, UNLIMITED), min(block, UNLIMITED)
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, 1, 1, UNLIMITED  # a source's space has no extent then
    low, high = space.get_select_bounds()
    return int(low[axis]), 1, 1, int(high[axis] - low[axis] + 1)


def _is_solid(selection: Selection) -> bool:
    _, stride, count, block = selection
    return count == 1 or stride == block


def _length(selection: Selection, n: int) -> int:
    """Values that a selection takes along an axis of n."""
    start, stride, count, block = selection
    runs = min(count, max(0, -(-(n - start) // stride)))
    return runs * block - max(0, start + (runs - 1) * stride + block - n) if runs else 0


def _pick(selection: Selection, side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates that a selection takes within a side, and their numbers in the selection."""
    start, stride, count, block = selection
    low, high = max(side[0], start), side[1]
    if _is_solid(selection):
        at = np.arange(low, min(high, start + (count - 1) * stride + block))
        return at, at - start
    runs = np.arange(max(0, (low - start) // stride), min(count, (high - start) // stride + 1))
    at = (start + runs[:, None] * stride + np.arange(block)).reshape(-1)
    number = (runs[:, None] * block + np.arange(block)).reshape(-1)
    inside = (at >= low) & (at < high)
    return at[inside], number[inside]


def _coordinates(selection: Selection, number: np.ndarray) -> np.ndarray:
    start, stride, _, block = selection
    if _is_solid(selection):
        return start + number
    return start + number // block * stride + number % block


def _candidates(dataset: h5py.Dataset, name: str) -> Iterator[Path]:
    """Where HDF5 looks for a source."""
    path = Path(name)
    if path.is_absolute():
        yield path
        path = Path(path.name)
    prefix = os.environ.get("HDF5_VDS_PREFIX", "")
    folder = Path(os.fsdecode(dataset.file.filename))
    if prefix:
        yield Path(prefix.replace("${ORIGIN}", str(folder.parent))) / path
    yield from (folder.parent / path, path, folder.resolve().parent / path)


def other_files(path: Path, known: frozenset[Path] = frozenset()) -> list[str]:
    """Name, size and time of the files from which virtual and external data sets are read.

    Sources of their sources count as well.
    """
    found: dict[str, None] = {}
    if path in known or not h5py.is_hdf5(path):
        return []
    try:
        with h5py.File(path, "r") as file:
            for _, dataset in Storage(path, file, False).arrays():
                for name in _names_of_files(dataset):
                    place = next((p for p in _candidates(dataset, name) if p.exists()), None)
                    text = f"{name} gone" if place is None else " ".join(map(str, stamp(place)))
                    found[text] = None
                    if place is not None:
                        found.update(dict.fromkeys(other_files(place, known | {path})))
    except (OSError, RuntimeError, DataError):  # reported where it is read
        pass
    return list(found)


def _names_of_files(dataset: h5py.Dataset) -> list[str]:
    names = [os.fsdecode(name) for name, _, _ in dataset.external or ()]
    if dataset.is_virtual:
        names += [source.file_name for source in dataset.virtual_sources()]
    return [name for name in dict.fromkeys(names) if name != "." and "%b" not in name]


# ---- chunks -------------------------------------------------------------------------------------


def why_hardly_written(dataset: h5py.Dataset) -> str:
    """Why a data set has a size and no values; empty where it has some."""
    return _why_empty(dataset, *_count_pieces(dataset))


def _count_pieces(dataset: h5py.Dataset) -> tuple[int, int]:
    """Chunks, or one for a data set without, and how many of them were never written."""
    if dataset.is_virtual or dataset.external or not dataset.size:
        return 0, 0
    if not dataset.chunks:
        return 1, int(dataset.id.get_storage_size() == 0)
    n = math.prod(_chunk_counts(dataset))
    return n, n - dataset.id.get_num_chunks()


def _why_empty(dataset: h5py.Dataset, n: int, n_missing: int) -> str:
    if n_missing <= MAX_UNWRITTEN * n:
        return ""
    shape = " x ".join(f"{size:,}" for size in dataset.shape)
    return (
        f"{dataset.name.lstrip('/')} is {shape}, but {n_missing:,} of its {n:,} pieces were never "
        "written"
    )


def _chunk_counts(dataset: h5py.Dataset) -> list[int]:
    return [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]


def unwritten_zarr_chunks(array: Any, box: Box) -> np.ndarray | None:
    """True for values of a box in chunks of Zarr without a file; None where there are none."""
    chunks = getattr(array, "shards", None) or array.chunks
    first = [start // size for (start, _), size in zip(box, chunks, strict=True)]
    counts = [-(-b // size) - at for (_, b), size, at in zip(box, chunks, first, strict=True)]
    root = Path(str(place_of(array)))
    unwritten = np.zeros(counts, dtype=bool)
    for cell in np.ndindex(*counts):
        key = array.metadata.encode_chunk_key(tuple(np.add(first, cell).tolist()))
        unwritten[cell] = not (root / key).exists()
    if not unwritten.any():
        return None
    cells = [
        np.arange(*side) // size - at for side, size, at in zip(box, chunks, first, strict=True)
    ]
    return unwritten[np.ix_(*cells)]
