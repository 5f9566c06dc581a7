"""Passing a set of n samples through a network in order, in inference mode, shared by ranks."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import TrainingError
from ..io import BLOCK_ROWS, new_rows
from ..models.autoencoder import AEC, Encoder
from ..runtime import Progress

BATCH = {"cpu": 256, "cuda": 1024}  # samples at a time, by type of device
MAX_FIXED_BYTES = 2 * 10**9  # of fixed features that are held; more are computed at each use


def encode(
    encoder: Encoder, samples: SampleSet, ranks: Ranks, fixed: torch.Tensor | None = None
) -> torch.Tensor:
    """Latents (n, D), float32, of every sample on every rank; NaN for unusable samples.

    `fixed` (n, P) are fixed features that were computed before.
    """
    span = ranks.shard(len(samples))
    fixed_of_rank = None if fixed is None else fixed[slice(*span)]
    if ranks.world == 1:
        return _encode(encoder, samples, *span, fixed_of_rank)
    parts = ranks.gather_results(lambda: _encode(encoder, samples, *span, fixed_of_rank).cpu())
    return torch.cat(parts).to(ranks.device)


def encode_to(
    path: Path, encoder: Encoder, samples: SampleSet, ranks: Ranks, fixed: np.ndarray | None = None
) -> None:
    """Write latents as of `encode` to a ``.npy`` file, at constant memory."""

    def work(start: int, stop: int) -> np.ndarray:
        own = None if fixed is None else torch.tensor(fixed[start:stop], device=ranks.device)
        return _encode(encoder, samples, start, stop, own).cpu().numpy()

    n, first = len(samples), 0
    rows = new_rows(path, (n, encoder.n_latents)) if ranks.is_first else nullcontext()
    with rows as out, Progress("Encoding", n, shown=ranks.is_first) as progress:
        for z in in_blocks(n, BLOCK_ROWS, ranks, work):
            if out is not None:
                out[first : first + len(z)] = z
            first += len(z)
            progress.add(len(z))


def in_blocks(n: int, size: int, ranks: Ranks, work: Callable[[int, int], Any]) -> Iterator[Any]:
    """Results of ``work(start, stop)`` for 0 to `n` in order, at most `size` at once on a rank."""
    for start in range(0, n, size * ranks.world):
        span = (start + at for at in ranks.shard(min(size * ranks.world, n - start)))
        yield from ranks.gather_results(lambda span=span: work(*span))


@torch.inference_mode()
def _encode(
    encoder: Encoder, samples: SampleSet, start: int, stop: int, fixed: torch.Tensor | None = None
) -> torch.Tensor:
    """Latents at positions `start` to `stop`, on the device, which is waited for once."""
    device = next(encoder.parameters()).device
    latents = torch.full((stop - start, encoder.n_latents), torch.nan, device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    for positions, x in samples.in_order(start, stop, BATCH[device.type]):
        rows = positions - start
        z = encoder(x, None if fixed is None else fixed[rows])
        finite &= torch.isfinite(z).all()
        latents[rows] = z
    if not finite:
        raise TrainingError(
            "encoder: it gives latents that are not finite: its weights have diverged; "
            "lower aec.lr or dec.lr and train again"
        )
    return latents


@torch.inference_mode()
def mean_squared_error(model: AEC, samples: SampleSet, ranks: Ranks) -> float:
    """Mean squared error of the reconstructions over samples and bins, in double precision."""
    start, stop = ranks.shard(len(samples))
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    for _, x in samples.in_order(start, stop, BATCH[ranks.device.type]):
        reconstruction, _ = model(x)
        total[0] += (reconstruction - x).square().mean((1, 2, 3)).double().sum()
        total[1] += len(x)
    squares, n = ranks.sum(total).tolist()
    return squares / n
