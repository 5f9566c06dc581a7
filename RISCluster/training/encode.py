"""Passing a set of n samples through a network in order, in inference mode, shared by ranks."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import TrainingError
from ..io import BLOCK_ROWS, new_rows
from ..models.autoencoder import AEC, Encoder
from ..runtime import Progress

BATCH = 256


def encode(encoder: Encoder, samples: SampleSet, ranks: Ranks) -> np.ndarray:
    """Latents (n, D), float32, of every sample on every rank; NaN for unusable samples."""
    span = ranks.shard(len(samples))
    with _inference(encoder):
        return np.concatenate(ranks.gather_results(lambda: _encode(encoder, samples, *span)))


def encode_to(path: Path, encoder: Encoder, samples: SampleSet, ranks: Ranks) -> None:
    """Write latents as of `encode` to a ``.npy`` file, at constant memory."""
    n = len(samples)
    shards = [replace(ranks, rank=rank).shard(n) for rank in range(ranks.world)]
    start, stop = ranks.shard(n)
    longest = max(last - first for first, last in shards)
    rows = new_rows(path, (n, encoder.n_latents)) if ranks.is_first else nullcontext()
    progress = Progress("Encoding", stop - start, shown=ranks.is_first)
    with rows as out, _inference(encoder), progress:
        for offset in range(0, longest, BLOCK_ROWS):
            first, last = (min(start + offset + more, stop) for more in (0, BLOCK_ROWS))
            parts = ranks.gather_results(lambda a=first, b=last: _encode(encoder, samples, a, b))
            progress.add(last - first)
            if out is not None:
                for (begin, _), part in zip(shards, parts, strict=True):
                    out[begin + offset : begin + offset + len(part)] = part


@contextmanager
def _inference(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(was_training)


def _encode(encoder: Encoder, samples: SampleSet, start: int, stop: int) -> np.ndarray:
    """Latents at positions `start` to `stop`."""
    latents = np.full((stop - start, encoder.n_latents), np.nan, dtype=np.float32)
    for positions, x in samples.in_order(start, stop, BATCH):
        z = encoder(x).float().cpu().numpy()
        if not np.isfinite(z).all():
            raise TrainingError(
                "encoder: it gives latents that are not finite: its weights have diverged; "
                "lower aec.lr or dec.lr and train again"
            )
        latents[positions.cpu().numpy() - start] = z
    return latents


def mean_squared_error(model: AEC, samples: SampleSet, ranks: Ranks) -> float:
    """Mean squared error of the reconstructions over samples and bins, in double precision."""
    start, stop = ranks.shard(len(samples))
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    with _inference(model):
        for _, x in samples.in_order(start, stop, BATCH):
            reconstruction, _ = model(x)
            total[0] += (reconstruction - x).square().mean((1, 2, 3)).double().sum()
            total[1] += len(x)
    squares, n = ranks.sum(total).tolist()
    return squares / n
