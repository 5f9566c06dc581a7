"""Sets of samples for the network: held in memory, or streamed from disk.

Letters: N samples of the file, n samples of a set, B samples of a batch, F frequency bins, T time
bins. A set is a choice of usable samples in ascending order; a sample's position in it (0 to n-1)
travels with every batch, so that what belongs to it is looked up, never counted.

The order of batches depends on the set's size, the seed and the epoch alone: not on where the
samples are kept, nor on how many are read at once. It is a shuffle that a disk can follow: blocks
of `BLOCK` neighbours are shuffled over the whole set, then samples are shuffled within windows of
`WINDOW` samples. A set of up to `WINDOW` samples is fully shuffled.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..distributed import Ranks
from ..errors import DataError
from ..runtime import Progress, log
from .reading import Reader, read_ahead
from .spectrograms import READ_ROWS
from .transforms import Preparation

BLOCK = 64
WINDOW = 4096
RUN = 2**20  # samples of a whole file whose indices are made at a time
WINDOW_BINS = (
    WINDOW * 87 * 100
)  # of a window at most: 143 MB, of which three are held; larger samples have fewer of them

Batch = tuple[torch.Tensor, torch.Tensor]


def window_of(n_bins: int) -> int:
    """Samples of a shuffling window, for samples of `n_bins`."""
    return int(max(BLOCK, min(WINDOW, WINDOW_BINS // n_bins)))


def subsample(n: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of the indices 0 to n - 1, drawn at random, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def epoch_order(n: int, seed: int, epoch: int, window: int) -> np.ndarray:
    """Positions 0 to n-1 in the order of one epoch; see the module's text.

    Parameters
    ----------
    n : int
    seed, epoch : int
    window : int
        See `window_of`.

    Returns
    -------
    ndarray, (n,), int64
    """
    rng = np.random.default_rng([seed, epoch])
    blocks = np.split(np.arange(n), np.arange(BLOCK, n, BLOCK))
    order = np.concatenate([blocks[number] for number in rng.permutation(len(blocks))])
    for start in range(0, n, window):
        rng.shuffle(order[start : start + window])
    return order


class SampleSet:
    """A choice of samples of one file, in ascending order.

    Attributes
    ----------
    index : ndarray, (n,), int64
        Each sample's index into the file.
    """

    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def in_order(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Samples at positions `start` to `stop`, at most `size` at a time.

        Yields
        ------
        Tensor (B,), Tensor (B, 1, F, T)
            Positions (ascending; unusable ones are left out) and samples, on the device.
        """
        raise NotImplementedError

    def epoch(
        self, seed: int, epoch: int, size: int, ranks: Ranks, first: int = 0
    ) -> Iterator[Batch]:
        """Share of this rank in the shuffled batches of one epoch.

        Parameters
        ----------
        seed, epoch : int
            Which order.
        size : int
            Samples of a batch, over all ranks.
        ranks : Ranks
        first : int
            Batches to leave out at the start, which were done before an interruption.

        Yields
        ------
        Tensor (B,), Tensor (B, 1, F, T)
            Positions and samples, on the device.
        """
        raise NotImplementedError

    def take(self, index: np.ndarray) -> "SampleSet":
        """The part of this set that is in `index` (indices into the file)."""
        raise NotImplementedError

    def standardize(self, preparation: Preparation) -> None:
        """Take the mean and scale of `preparation`, which were not known when this was loaded."""
        raise NotImplementedError


class HeldSet(SampleSet):
    """Samples held in one tensor, in memory or on the GPU.

    Parameters
    ----------
    index : ndarray, (n,)
    x : Tensor, (m, 1, F, T)
        Prepared samples, of this set and perhaps of others.
    rows : Tensor, (n,)
        Row of `x` of each sample of the set.
    device : torch.device
        Where batches are wanted.
    """

    def __init__(
        self, index: np.ndarray, x: torch.Tensor, rows: torch.Tensor, device: torch.device
    ):
        self.index, self.x, self.rows, self.device = index, x, rows, device

    def _batch(self, positions: torch.Tensor) -> Batch:
        x = self.x[self.rows[positions]]
        return positions.to(self.device), x.to(self.device, non_blocking=True)

    def in_order(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """See `SampleSet.in_order`."""
        for first in range(start, stop, size):
            yield self._batch(torch.arange(first, min(first + size, stop), device=self.rows.device))

    def epoch(
        self, seed: int, epoch: int, size: int, ranks: Ranks, first: int = 0
    ) -> Iterator[Batch]:
        """See `SampleSet.epoch`."""
        window = window_of(self.x.shape[2] * self.x.shape[3])
        order = torch.from_numpy(epoch_order(len(self), seed, epoch, window))
        order = order.to(self.rows.device)
        for batch in order.split(size)[first:]:
            yield self._batch(ranks.local_rows(batch))

    def standardize(self, preparation: Preparation) -> None:
        """See `SampleSet.standardize`."""
        for part in self.x.split(READ_ROWS):
            part.copy_(preparation.standardize(part))

    def take(self, index: np.ndarray) -> "HeldSet":
        """See `SampleSet.take`."""
        chosen = np.flatnonzero(np.isin(self.index, index))
        rows = self.rows[torch.from_numpy(chosen).to(self.rows.device)]
        return HeldSet(self.index[chosen], self.x, rows, self.device)


class StreamedSet(SampleSet):
    """Samples read from the file whenever they are needed, at constant memory.

    Parameters
    ----------
    index : ndarray, (n,)
    reader : Reader
    """

    def __init__(self, index: np.ndarray, reader: Reader):
        self.index, self.reader = index, reader

    def in_order(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """See `SampleSet.in_order`."""
        for index, x in self.reader.blocks(self.index[start:stop]):
            positions = torch.from_numpy(np.searchsorted(self.index, index)).to(x.device)
            yield from zip(positions.split(size), x.split(size), strict=True)

    def epoch(
        self, seed: int, epoch: int, size: int, ranks: Ranks, first: int = 0
    ) -> Iterator[Batch]:
        """See `SampleSet.epoch`."""
        order = epoch_order(len(self), seed, epoch, self._window)[first * size :]
        left = torch.empty(0, dtype=torch.int64), torch.empty(0, 0)
        for positions, x in read_ahead(self._windows(order), depth=1):
            if len(left[0]):
                positions, x = torch.cat([left[0], positions]), torch.cat([left[1], x])
            full = len(positions) // size * size
            for batch, rows in zip(positions[:full].split(size), x[:full].split(size), strict=True):
                if len(batch):
                    yield ranks.local_rows(batch), ranks.local_rows(rows)
            left = positions[full:], x[full:].clone()
        if len(left[0]):
            yield ranks.local_rows(left[0]), ranks.local_rows(left[1])

    @property
    def _window(self) -> int:
        return window_of(self.reader.file.n_frequencies * self.reader.file.n_times)

    def _windows(self, order: np.ndarray) -> Iterator[Batch]:
        """Samples of the order, a window at a time, read in the file's order."""
        for start in range(0, len(order), self._window):
            positions = order[start : start + self._window]
            ascending = np.argsort(positions)
            x = torch.empty(
                (len(positions), 1, self.reader.file.n_frequencies, self.reader.file.n_times),
                device=self.reader.device,
            )
            place = 0
            for index, rows in self.reader.blocks(self.index[positions[ascending]]):
                x[torch.from_numpy(ascending[place : place + len(index)])] = rows
                place += len(index)
            if place != len(positions):
                raise DataError(
                    f"{self.reader.file.path}: has changed since it was first read; run the same "
                    "command again when it is whole"
                )
            yield torch.from_numpy(positions).to(x.device), x

    def standardize(self, preparation: Preparation) -> None:
        """See `SampleSet.standardize`."""
        self.reader.preparation = preparation

    def take(self, index: np.ndarray) -> "StreamedSet":
        """See `SampleSet.take`."""
        return StreamedSet(self.index[np.isin(self.index, index)], self.reader)


class WholeFile(SampleSet):
    """Every sample of a file, streamed in its order; what is unusable is left out on the way.

    Parameters
    ----------
    reader : Reader
    """

    def __init__(self, reader: Reader):
        self.reader = reader

    def __len__(self) -> int:
        return self.reader.file.n_samples

    def in_order(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """See `SampleSet.in_order`; a position is the index into the file."""
        for first in range(start, stop, RUN):
            for index, x in self.reader.blocks(np.arange(first, min(first + RUN, stop))):
                positions = torch.from_numpy(index).to(x.device)
                yield from zip(positions.split(size), x.split(size), strict=True)


def mean_and_deviation(samples: SampleSet) -> tuple[torch.Tensor, float]:
    """Mean spectrogram of a set, and the standard deviation about it over samples and bins.

    Returns
    -------
    Tensor, (F, T), float32, on the CPU
    float
        0 where all samples are the same.
    """
    total, squares, n = 0.0, 0.0, 0
    for _, x in samples.in_order(0, len(samples), READ_ROWS):
        x = x[:, 0].double()
        total, squares, n = total + x.sum(0), squares + x.square().sum(0), n + len(x)
    mean = total / n
    variance = (squares / n - mean.square()).clamp_min(0).mean()
    return mean.float().cpu(), float(variance.sqrt())


# ---- choosing -----------------------------------------------------------------------------------


def load_set(
    reader: Reader, index: np.ndarray, loadmode: str, ranks: Ranks
) -> tuple[SampleSet, np.ndarray]:
    """A set of the usable samples among `index`, kept where `loadmode` says.

    Parameters
    ----------
    reader : Reader
    index : ndarray, (m,), ascending
    loadmode : {"auto", "device", "ram", "disk"}
    ranks : Ranks

    Returns
    -------
    SampleSet
    ndarray
        The unusable ones among `index`.

    Raises
    ------
    DataError
        No sample is usable, or the load mode asked for is not to be had.
    """
    n_bytes = len(index) * reader.bytes_per_sample
    mode, why = choose_loadmode(loadmode, n_bytes, reader.device)
    log.info(f"load mode {mode}: {why}")
    try:
        samples = _keep(reader, index, mode, ranks)
    except torch.cuda.OutOfMemoryError:
        if (loadmode, mode) != ("auto", "device"):
            raise
        torch.cuda.empty_cache()  # others have taken what was free
        mode, why = choose_loadmode("auto", n_bytes, torch.device("cpu"))
        log.warning(f"samples found no room on the GPU after all; load mode {mode}: {why}")
        samples = _keep(reader, index, mode, ranks)
    if not len(samples):
        raise DataError(
            f"{reader.file.path}: all {len(index):,} samples are unusable: not finite, or all "
            f"zero{_causes(reader.file.missing)}; allowed: finite numbers that are not all zero"
        )
    return samples, np.setdiff1d(index, samples.index)


def _causes(missing: list[str]) -> str:
    return f" (missing: {', '.join(missing[:3])})" if missing else ""


def _keep(reader: Reader, index: np.ndarray, mode: str, ranks: Ranks) -> SampleSet:
    if mode == "disk":
        return _survey(reader, index, ranks)
    return _hold(reader, index, ranks, torch.device("cpu") if mode == "ram" else reader.device)


def _hold(reader: Reader, index: np.ndarray, ranks: Ranks, place: torch.device) -> HeldSet:
    shape = (len(index), 1, reader.file.n_frequencies, reader.file.n_times)
    x = torch.empty(shape, device=place)
    found: list[np.ndarray] = []
    row = 0
    with Progress("Loading", len(index), shown=ranks.is_first) as progress:
        for indices, samples in reader.blocks(index):
            x[row : row + len(indices)] = samples
            found.append(indices)
            row += len(indices)
            progress.add(len(indices))
    usable = np.concatenate(found) if found else index[:0]
    return HeldSet(usable, x[:row], torch.arange(row, device=place), reader.device)


def _survey(reader: Reader, index: np.ndarray, ranks: Ranks) -> StreamedSet:
    found: list[np.ndarray] = []
    with Progress("Checking", len(index), shown=ranks.is_first) as progress:
        for indices, _ in reader.blocks(index):
            found.append(indices)
            progress.add(len(indices))
    return StreamedSet(np.concatenate(found) if found else index[:0], reader)


def choose_loadmode(setting: str, n_bytes: int, device: torch.device) -> tuple[str, str]:
    """Where to keep `n_bytes` of samples: a load mode, and why.

    Raises
    ------
    DataError
        ``device`` is asked for and there is no GPU.
    """
    size = f"{n_bytes / 1e9:.2f} GB of samples"
    if setting == "device" and device.type != "cuda":
        raise DataError(
            f"[data] loadmode = device needs a GPU, and this run computes on {device}; allowed "
            "here: auto, ram, disk"
        )
    if setting != "auto":
        return setting, f"{size}, as set"
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if n_bytes < 0.6 * free:
            return "device", f"{size} fit into {free / 1e9:.1f} GB of free GPU memory"
    available = available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if n_bytes < 0.5 * available:
        return "ram", f"{size} fit into {available / 1e9:.1f} GB of free memory"
    return "disk", f"{size} are more than half of {available / 1e9:.1f} GB of free memory"


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of memory that can be had; 4 GB where the system does not say."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 4 * 10**9
