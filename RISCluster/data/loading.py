"""Samples for the network: read in blocks, prepared, held in memory or streamed from disk.

Letters: N samples of the file, n of a set or block, B of a batch, C components (mostly 1), F
frequency bins, T time bins. The position of a sample in its set (0 to n - 1) comes with every
batch. The order of batches depends on the size of the set, the seed and the epoch, not on where
samples are held.
"""

import contextlib
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..distributed import Ranks
from ..errors import DataError
from ..runtime import Progress, log
from .layouts import READ_ROWS, SpectrogramFile

# A shuffle that is fast on a disk: blocks of neighbours are shuffled over the whole set, then
# samples within windows. A set within one window is fully shuffled.
BLOCK = 64
WINDOW = 4096
GPU_ROWS = 1024  # samples sent to a GPU at a time, at least: each block costs 35 kernel launches
WINDOW_BINS = WINDOW * 87 * 100  # at most: 143 MB, of which three are in memory

LOG_DECADES = 4.0  # below the maximum of a sample; 40 dB of power

Batch = tuple[torch.Tensor, torch.Tensor]  # positions (B,), samples (B, C, F, T)


@dataclass(frozen=True)
class Preparation:
    """Amplitude, transform, and standardisation by the training set, in this order.

    Each sample is treated by itself, so that the result does not depend on the batch, and its
    components together, so that the ratio of their amplitudes counts. `mean` is the mean of the
    training set, (F, T) or (C, F, T), or None; `scale` the standard deviation about it over samples
    and bins. A checkpoint has the fields as plain values.
    """

    amplitude: str
    transform: str
    mean: torch.Tensor | None = None
    scale: float = 1.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Usable samples (finite, not all zero), (N, [C,] F, T), as the network sees them."""
        shape, x = x.shape, x.flatten(1)
        if self.amplitude == "sqrt":
            x = torch.sqrt(x)
        elif self.amplitude == "log":
            x = _normalized(x).clamp_min_(10.0**-LOG_DECADES).log10_().add_(LOG_DECADES)
        if self.transform != "none":
            x = _normalized(x)
        if self.transform == "sample_norm_cent":
            x = x - x.mean(1, keepdim=True)
        elif self.transform == "vec_norm":
            x = x / x.norm(dim=1, keepdim=True).clamp_min(1)  # it is 1 or more, or all are zero
        return self.standardize(x.view(shape))

    def standardize(self, x: torch.Tensor) -> torch.Tensor:
        """The last step alone: mean and scale, of (..., F, T)."""
        return x if self.mean is None else (x - self.mean.to(x.device)) / self.scale

    def undo_standardize(self, x: torch.Tensor) -> torch.Tensor:
        """From the units of the network back to those after the transform."""
        return x if self.mean is None else x * self.scale + self.mean.to(x.device)


def _normalized(x: torch.Tensor) -> torch.Tensor:
    """Samples over their largest absolute value, so that no sum or square over- or underflows."""
    peak = torch.maximum(x.amax(1), -x.amin(1))  # no copy is made, as abs would
    return x / torch.where(peak > 0, peak, 1.0)[:, None]


class Reader:
    """Reads samples of an open file and prepares them on `device`."""

    def __init__(self, file: SpectrogramFile, preparation: Preparation, device: torch.device):
        self.file, self.preparation, self.device = file, preparation, device
        self.skip_negative = False  # where a root or logarithm is taken: leave out, or refuse
        self.shape = len(file.components), file.n_frequencies, file.n_times

    def blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Usable samples among `index` (ascending): indices (n,) and prepared (n, C, F, T)."""
        amplitude = self.preparation.amplitude
        blocks = self.file.read_blocks(index)
        if self.device.type == "cuda":
            blocks = _joined(blocks, GPU_ROWS)
        for wanted, rows in read_ahead(blocks):
            x = torch.from_numpy(rows).to(self.device)
            flat = x.flatten(1)
            low, high = torch.stack([flat.amin(1), flat.amax(1)]).cpu().numpy()  # one wait
            peak = np.maximum(high, -low)
            usable = np.isfinite(peak) & (peak > 0)
            negative = usable & (low < 0) & (amplitude != "linear")
            if negative.any() and not self.skip_negative:
                raise DataError(
                    f"{self.file.path}: sample {wanted[negative][0]} has negative values, such as "
                    f"decibels; [data] amplitude = {amplitude} needs power; set amplitude = linear"
                )
            usable &= ~negative
            if not usable.all():
                x, wanted = x[torch.from_numpy(usable).to(x.device)], wanted[usable]
            yield wanted, self.preparation(x).reshape(-1, *self.shape)


def _joined(blocks: Iterator, n_rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks (indices, samples) joined until they have a number of rows."""
    held, n = [], 0
    for block in blocks:
        held.append(block)
        n += len(block[0])
        if n >= n_rows:
            yield tuple(map(np.concatenate, zip(*held, strict=True)))
            held, n = [], 0
    if held:
        yield tuple(map(np.concatenate, zip(*held, strict=True)))


def read_ahead(source: Iterator, depth: int = 2) -> Iterator:
    """Run an iterator in a thread, up to `depth` items ahead; its errors are raised here."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        ahead = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, source, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


class SampleSet:
    """Samples that are held in a tensor, or read from the file at each use.

    `index` (n,) are ascending indices into the file. Held samples are those at `rows` (n,) of `x`
    (m, C, F, T), which is in memory or on the GPU and may have samples of other sets. Without `x`,
    `reader` reads them. Batches are on `device`.
    """

    def __init__(
        self, index: Sequence[int], x: torch.Tensor | None = None, rows: torch.Tensor | None = None,
        device: torch.device | None = None, reader: Reader | None = None,
    ):  # fmt: skip
        self.index, self.x, self.rows, self.reader = index, x, rows, reader
        self.device = reader.device if device is None else device
        self.shape = reader.shape if x is None else x.shape[1:]

    def __len__(self) -> int:
        return len(self.index)

    def in_order(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Samples at positions `start` to `stop`, at most `size` at a time, on the device.

        Those that are read and are not usable are left out.
        """
        if self.x is not None:
            positions = torch.arange(start, stop, device=self.rows.device)
            yield from map(self._send, map(self._gather, positions.split(size)))
            return
        wanted = np.array(self.index[start:stop])
        for index, x in self.reader.blocks(wanted):
            positions = torch.from_numpy(start + np.searchsorted(wanted, index)).to(x.device)
            yield from zip(positions.split(size), x.split(size), strict=True)

    def epoch(
        self, seed: int, epoch: int, size: int, ranks: Ranks, first: int = 0
    ) -> Iterator[Batch]:
        """Part of this rank in the shuffled batches of `size`, from batch `first` on."""
        n, window = len(self), max(BLOCK, min(WINDOW, WINDOW_BINS // math.prod(self.shape)))
        rng = np.random.default_rng([seed, epoch])
        blocks = np.split(np.arange(n), np.arange(BLOCK, n, BLOCK))
        order = np.concatenate([blocks[number] for number in rng.permutation(len(blocks))])
        for start in range(0, n, window):
            rng.shuffle(order[start : start + window])
        order = torch.from_numpy(order)
        if self.x is not None:
            batches = map(ranks.local_rows, order.to(self.rows.device).split(size)[first:])
            found = map(self._gather, batches)
            yield from map(self._send, found if self.x.device == self.device else read_ahead(found))
            return
        own = [ranks.local_rows(batch).numpy() for batch in order.split(size)[first:]]
        n_read = max(1, window // size)
        groups = (own[start : start + n_read] for start in range(0, len(own), n_read))
        for sizes, positions, x in read_ahead(map(self._read, groups), depth=1):
            yield from zip(positions.split(sizes), x.split(sizes), strict=True)

    def _gather(self, positions: torch.Tensor) -> Batch:
        """Samples where they are held, in pinned memory if they are sent to a GPU."""
        batch = positions, self.x[self.rows[positions]]
        return batch if self.x.device == self.device else tuple(x.pin_memory() for x in batch)

    def _send(self, batch: Batch) -> Batch:
        return tuple(part.to(self.device, non_blocking=True) for part in batch)

    def _read(self, batches: list[np.ndarray]) -> tuple[list[int], *Batch]:
        """Lengths of batches and their samples, which are read in the order of the file."""
        positions = np.concatenate(batches)
        ascending = np.argsort(positions)
        x = torch.empty((len(positions), *self.shape), device=self.device)
        n = 0
        for index, rows in self.reader.blocks(self.index[positions[ascending]]):
            x[torch.from_numpy(ascending[n : n + len(index)]).to(x.device)] = rows
            n += len(index)
        if n != len(positions):
            raise DataError(
                f"{self.reader.file.path}: has changed since it was first read; run the stage again"
            )
        return list(map(len, batches)), torch.from_numpy(positions).to(x.device), x

    def take(self, index: np.ndarray) -> "SampleSet":
        """The samples of this set that are in `index` (indices into the file)."""
        chosen, rows = np.flatnonzero(np.isin(self.index, index)), self.rows
        if rows is not None:
            rows = rows[torch.from_numpy(chosen).to(rows.device)]
        return SampleSet(self.index[chosen], self.x, rows, self.device, self.reader)

    def standardize(self, preparation: Preparation) -> None:
        """Apply mean and scale of `preparation` to samples loaded without them."""
        if self.x is None:
            self.reader.preparation = preparation
            return
        for part in self.x.split(READ_ROWS):
            part.copy_(preparation.standardize(part))


def mean_and_deviation(samples: SampleSet) -> tuple[torch.Tensor, float]:
    """Mean of a set, (F, T) float32 on the CPU, and deviation about it, over samples and bins."""
    total, squares, n = 0.0, 0.0, 0
    for _, x in samples.in_order(0, len(samples), READ_ROWS):
        x = x.squeeze(1).double()
        total, squares, n = total + x.sum(0), squares + x.square().sum(0), n + len(x)
    mean = total / n
    variance = (squares / n - mean.square()).clamp_min(0).mean()
    return mean.float().cpu(), float(variance.sqrt())


def load_set(
    reader: Reader, index: np.ndarray, loadmode: str, ranks: Ranks
) -> tuple[SampleSet, np.ndarray]:
    """A set of the usable samples among `index` (ascending), and the indices of the unusable ones.

    DataError where no sample is usable, or there is no GPU for the load mode ``device``.
    """
    n_bytes = 4 * len(index) * math.prod(reader.shape)
    mode = choose_loadmode(loadmode, n_bytes, reader.device)
    try:
        samples = _load(reader, index, mode, ranks)
    except torch.cuda.OutOfMemoryError:
        if (loadmode, mode) != ("auto", "device"):
            raise
        samples = None  # outside, as the traceback of the error holds the tensor
    if samples is None:
        log.warning("the samples do not fit on the GPU: they are loaded into memory")
        mode = choose_loadmode(loadmode, n_bytes, torch.device("cpu"))
        samples = _load(reader, index, mode, ranks)
    if not len(samples):
        raise DataError(
            f"{reader.file.path}: all {len(index):,} samples are unusable: missing, not finite or "
            "all zero; give others"
        )
    return samples, np.setdiff1d(index, samples.index)


def _load(reader: Reader, index: np.ndarray, mode: str, ranks: Ranks) -> SampleSet:
    """Read samples once: to hold them, or to find the usable ones that are to be streamed."""
    n_bytes = 4 * len(index) * math.prod(reader.shape)
    log.info(f"load mode {mode}: {n_bytes / 1e9:.2f} GB of samples")
    is_held, device = mode != "disk", torch.device("cpu") if mode == "ram" else reader.device
    x = torch.empty((len(index) if is_held else 0, *reader.shape), device=device)
    found, n = [index[:0]], 0
    with Progress("Loading", len(index), shown=ranks.is_first) as progress:
        for indices, samples in reader.blocks(index):
            if is_held:
                x[n : n + len(indices)] = samples
            found.append(indices)
            n += len(indices)
            progress.add(len(indices))
    held = (x[:n], torch.arange(n, device=device)) if is_held else ()
    return SampleSet(np.concatenate(found), *held, reader=reader)


def choose_loadmode(setting: str, n_bytes: int, device: torch.device) -> str:
    """Load mode for `n_bytes` of samples: the setting, or where they fit."""
    if setting == "device" and device.type != "cuda":
        raise DataError(
            f"[data] loadmode = device needs a GPU, and not {device}; allowed: auto, ram, disk"
        )
    if setting != "auto":
        return setting
    if device.type == "cuda" and n_bytes < 0.6 * torch.cuda.mem_get_info(device)[0]:
        return "device"
    available = 4 * 10**9  # bytes, where it is not known
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable:"))
    n_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return "ram" if n_bytes < 0.5 * available / n_processes else "disk"
