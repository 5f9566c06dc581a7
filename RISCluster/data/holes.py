"""Samples of an HDF5 data set that are not there: HDF5 reads most of them as a fill value.

Boxes are ((first, last), (first, last)) along the two dimensions, the last not among them.
"""

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..extras import explain_missing_filter
from ..fibre.facts import as_plain, facts_of, look_up
from .finding import stamp
from .packing import Packing, packing_of
from .storage import Storage

Box = tuple[tuple[int, int], tuple[int, int]]


# ---- values that stand for none, and packing ----------------------------------------------------


def sample_packing(dataset: h5py.Dataset) -> Packing:
    """Packing of samples: also by ``dataScale`` in a group ``header``, and with another mark.

    This is the least integer.
    """
    packing = packing_of(dataset)
    header = dataset.file.get("header")
    if packing.scale == 1.0 and isinstance(header, h5py.Group):
        scale = next(
            (value for value, _ in look_up([facts_of(header)], ["datascale"], as_plain)), 1
        )
        packing = replace(packing, scale=scale or 1.0)
    fills = []
    if dataset.dtype.kind == "i" and dataset.dtype.itemsize > 1 and not packing.unsigned:
        fills.append(int(np.iinfo(dataset.dtype).min))
    return replace(packing, missing=tuple(dict.fromkeys((*packing.missing, *fills))))


# ---- parts that are missing ---------------------------------------------------------------------


def find_holes(dataset: h5py.Dataset, box: Box) -> tuple[np.ndarray | None, list[str]]:
    """Where samples of a box are missing, though HDF5 reads them as a fill value.

    Virtual sources that are gone or do not reach as far, parts of a virtual data set without a
    source, and chunks that were never written.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of two dimensions.
    box : ((int, int), (int, int))

    Returns
    -------
    ndarray of bool, of the box's shape, or None
        True where missing; None where none is.
    list of str
        Why, without a path.
    """
    if dataset.is_virtual:
        return _virtual_holes(dataset, box)
    if dataset.chunks is not None:
        return _chunk_holes(dataset, box)
    unwritten = dataset.id.get_storage_size() == 0 and not dataset.external and dataset.size
    if unwritten:
        return np.ones(_shape(box), dtype=bool), [f"{_name(dataset)} was never written"]
    return None, []


def _shape(box: Box) -> tuple[int, int]:
    return box[0][1] - box[0][0], box[1][1] - box[1][0]


def _name(dataset: h5py.Dataset) -> str:
    return dataset.name.lstrip("/")


def _chunk_holes(dataset: h5py.Dataset, box: Box) -> tuple[np.ndarray | None, list[str]]:
    most = math.prod(
        -(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True)
    )
    if dataset.id.get_num_chunks() >= most:
        return None, []
    holes = np.zeros(_shape(box), dtype=bool)
    starts = [
        range(low // chunk * chunk, high, chunk)
        for (low, high), chunk in zip(box, dataset.chunks, strict=True)
    ]
    for corner in itertools.product(*starts):
        if dataset.id.get_chunk_info_by_coord(corner).byte_offset is None:
            place = tuple(
                slice(max(0, at - low), at + chunk - low)
                for at, chunk, (low, _) in zip(corner, dataset.chunks, box, strict=True)
            )
            holes[place] = True
    if not holes.any():
        return None, []
    return holes, [f"chunks of {_name(dataset)} were never written"]


def _virtual_holes(dataset: h5py.Dataset, box: Box) -> tuple[np.ndarray | None, list[str]]:
    holes = np.ones(_shape(box), dtype=bool)
    lines: dict[str, None] = {}
    for source in dataset.virtual_sources():
        picked = [_pick(source.vspace, axis, box[axis]) for axis in (0, 1)]
        if not all(len(at) for at, _ in picked):
            continue
        place = np.ix_(*(at - low for (at, _), (low, _) in zip(picked, box, strict=True)))
        inner, said = _source_holes(dataset, source, [number for _, number in picked])
        lines.update(dict.fromkeys(said))
        holes[place] = False if inner is None else holes[place] & inner
    if not holes.any():
        return None, []
    return holes, list(lines) or [f"parts of the virtual {_name(dataset)} have no source"]


def _pick(space: Any, axis: int, side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along an axis that a selection has within a side, and their numbers in it."""
    start, stride, count, block = _selection(space, axis)
    low, high = max(side[0], start), side[1]
    if count == 1 or stride == block:
        at = np.arange(low, min(high, start + (count - 1) * stride + block))
        return at, at - start
    runs = np.arange(max(0, (low - start) // stride), min(count, (high - start) // stride + 1))
    at = (start + runs[:, None] * stride + np.arange(block)).reshape(-1)
    number = (runs[:, None] * block + np.arange(block)).reshape(-1)
    inside = (at >= low) & (at < high)
    return at[inside], number[inside]


def _selection(space: Any, axis: int) -> tuple[int, int, int, int]:
    """Start, stride, count and block; what is not regular by its bounds."""
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = (part[axis] for part in space.get_regular_hyperslab())
        return int(start), max(1, int(stride)), min(int(count), 2**48), min(int(block), 2**48)
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, 1, 1, 2**48  # a source's space has no extent then
    low, high = space.get_select_bounds()
    return int(low[axis]), 1, 1, int(high[axis] - low[axis] + 1)


def _source_holes(
    dataset: h5py.Dataset, source: Any, numbers: list[np.ndarray]
) -> tuple[np.ndarray | None, list[str]]:
    """Holes among the samples that a source gives, which have these numbers on each axis of it."""
    everything = np.ones([len(number) for number in numbers], dtype=bool)
    if "%b" in source.file_name:  # one of a series without an end
        return None, []
    if source.file_name == ".":
        return _holes_of(dataset.file, source, numbers)
    for path in _candidates(dataset, source.file_name):
        try:
            with h5py.File(path, "r") as file:
                return _holes_of(file, source, numbers)
        except (OSError, RuntimeError):
            continue
    return everything, [f"its source {source.file_name} is gone or damaged"]


def _holes_of(
    file: h5py.File, source: Any, numbers: list[np.ndarray]
) -> tuple[np.ndarray | None, list[str]]:
    shape = tuple(len(number) for number in numbers)
    inner = file.get(source.dset_name)
    if not isinstance(inner, h5py.Dataset):
        line = f"its source {source.file_name} has no data set {source.dset_name}"
        return np.ones(shape, dtype=bool), [line]
    reason = explain_missing_filter(inner)
    if reason:
        return np.ones(shape, dtype=bool), [f"its source {source.file_name}: {reason}"]
    space = source.src_space
    is_whole = space.get_select_type() == h5py.h5s.SEL_ALL
    if inner.ndim != 2 or not (is_whole or space.get_simple_extent_ndims() == 2):
        return None, []
    at = [
        _coordinates(space, axis, number, inner.shape[axis]) for axis, number in enumerate(numbers)
    ]
    reach = [int(np.count_nonzero(one < side)) for one, side in zip(at, inner.shape, strict=True)]
    holes = np.ones(shape, dtype=bool)
    holes[: reach[0], : reach[1]] = False
    said = []
    if holes.any():
        said.append(f"its source {source.file_name} is shorter than it was")
    if all(reach):
        at = [one[:n] for one, n in zip(at, reach, strict=True)]
        box = tuple((int(one[0]), int(one[-1]) + 1) for one in at)
        deeper, lines = find_holes(inner, box)
        said += lines
        if deeper is not None:
            place = np.ix_(*(one - one[0] for one in at))
            holes[: reach[0], : reach[1]] = deeper[place]
    return (holes, said) if holes.any() else (None, [])


def _coordinates(space: Any, axis: int, number: np.ndarray, side: int) -> np.ndarray:
    start, stride, count, block = _selection(space, axis)
    if count == 1 or stride == block:
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
    """Files in which virtual and external data sets have their samples, with size and time.

    Their sources count as well; a file that is gone has neither.
    """
    found: dict[str, None] = {}
    if path in known or not h5py.is_hdf5(path):
        return []
    try:
        with h5py.File(path, "r") as file:
            for _, dataset in Storage(path, file, False).arrays():
                for name in _names_of_files(dataset):
                    place = next((p for p in _candidates(dataset, name) if p.exists()), None)
                    found[f"{name} gone" if place is None else stamp_text(place)] = None
                    if place is not None:
                        found.update(dict.fromkeys(other_files(place, known | {path})))
    except (OSError, RuntimeError, DataError):  # said where it is read
        return list(found)
    return list(found)


def _names_of_files(dataset: h5py.Dataset) -> list[str]:
    names = [os.fsdecode(name) for name, _, _ in dataset.external or ()]
    if dataset.is_virtual:
        names += [source.file_name for source in dataset.virtual_sources()]
    return [name for name in dict.fromkeys(names) if name != "." and "%b" not in name]


def stamp_text(path: Path) -> str:
    """Name, size and time of a file as one text."""
    return " ".join(map(str, stamp(path)))
