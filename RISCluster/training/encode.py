"""Passing a whole set through a network in order, in inference mode, shared between ranks.

Letters: n samples of the set, D latent features, K clusters.
"""

from collections.abc import Iterator
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


def encode(
    encoder: Encoder, samples: SampleSet, ranks: Ranks, what: str = "Encoding"
) -> np.ndarray:
    """Latents of every sample, by the encoder alone.

    Parameters
    ----------
    encoder : Encoder
    samples : SampleSet
    ranks : Ranks
    what : str
        What the progress says; empty for none.

    Returns
    -------
    ndarray, (n, D), float32
        In the order of the set, on every rank; NaN for a sample found to be unusable.
    """
    start, stop = ranks.shard(len(samples))
    blocks = _blocks(encoder, samples, start, stop, bool(what) and ranks.is_first, what)
    empty = np.empty((0, encoder.n_latents), dtype=np.float32)
    return np.concatenate(ranks.gather_results(lambda: np.concatenate([empty, *blocks])))


def encode_to(path: Path, encoder: Encoder, samples: SampleSet, ranks: Ranks) -> None:
    """Write the latents of every sample to a file, at constant memory; see `encode`.

    Parameters
    ----------
    path : Path
        A ``.npy`` file, (n, D), float32.
    """
    n = len(samples)
    spans = [replace(ranks, rank=rank).shard(n) for rank in range(ranks.world)]
    rounds = max(-(-(stop - start) // BLOCK_ROWS) for start, stop in spans)
    start, stop = ranks.shard(n)
    blocks = _blocks(encoder, samples, start, stop, ranks.is_first, "Encoding")
    if not ranks.is_first:
        for _ in range(rounds):
            ranks.gather_results(lambda: next(blocks, None))
        return
    with new_rows(path, (n, encoder.n_latents)) as out:
        for number in range(rounds):
            for (first, _), part in zip(
                spans, ranks.gather_results(lambda: next(blocks, None)), strict=True
            ):
                if part is not None:
                    out[first + number * BLOCK_ROWS : first + number * BLOCK_ROWS + len(part)] = (
                        part
                    )


def _blocks(
    encoder: Encoder, samples: SampleSet, start: int, stop: int, shown: bool, what: str
) -> Iterator[np.ndarray]:
    """Latents at positions `start` to `stop`, `BLOCK_ROWS` at a time."""
    n_latents = encoder.n_latents
    was_training = encoder.training
    encoder.eval()

    def block(first: int) -> np.ndarray:
        n = min(BLOCK_ROWS, stop - first)
        return np.full((n, n_latents), np.nan, dtype=np.float32)

    first = start
    latents = block(first)
    with torch.inference_mode(), Progress(what, stop - start, shown=shown) as progress:
        for positions, x in samples.in_order(start, stop, BATCH):
            z = encoder(x).float().cpu().numpy()
            if not np.isfinite(z).all():
                raise TrainingError(
                    "encoder: it gives latents that are not finite: its weights have diverged; "
                    "lower aec.lr or dec.lr and train again"
                )
            places = positions.cpu().numpy()
            while len(places):
                here = int(np.searchsorted(places, first + len(latents)))
                latents[places[:here] - first] = z[:here]
                places, z = places[here:], z[here:]
                if len(places):
                    yield latents
                    first += len(latents)
                    latents = block(first)
            progress.add(len(positions))
    while len(latents):
        yield latents
        first += len(latents)
        latents = block(first)
    encoder.train(was_training)


def mean_squared_error(model: AEC, samples: SampleSet, ranks: Ranks) -> float:
    """Mean squared error of the reconstructions over samples and bins, in double precision."""
    start, stop = ranks.shard(len(samples))
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for _, x in samples.in_order(start, stop, BATCH):
            reconstruction, _ = model(x)
            total[0] += (reconstruction - x).square().mean((1, 2, 3)).double().sum()
            total[1] += len(x)
    model.train(was_training)
    squares, n = ranks.sum(total).tolist()
    return squares / n
