"""Passing a whole set through a network in order, in inference mode, shared between ranks.

Letters: n samples of the set, D latent features, K clusters.
"""

import numpy as np
import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import TrainingError
from ..models.networks import AEC, Encoder
from ..progress import Progress

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
    start, stop = ranks.span(len(samples))
    n_features = _n_features(encoder)
    latents = np.full((stop - start, n_features), np.nan, dtype=np.float32)
    was_training = encoder.training
    encoder.eval()
    shown = bool(what) and ranks.is_first
    with torch.inference_mode(), Progress(what, stop - start, shown=shown) as progress:
        for positions, x in samples.in_order(start, stop, BATCH):
            z = encoder(x).float().cpu().numpy()
            if not np.isfinite(z).all():
                raise TrainingError(
                    "the encoder gives latents that are not finite: its weights have diverged; "
                    "train again with a lower learning rate"
                )
            latents[positions.cpu().numpy() - start] = z
            progress.add(len(positions))
    encoder.train(was_training)
    return ranks.gather(latents)


def _n_features(encoder: Encoder) -> int:
    linear = [layer for layer in encoder.encoder if isinstance(layer, torch.nn.Linear)]
    return linear[-1].out_features


def mean_squared_error(model: AEC, samples: SampleSet, ranks: Ranks) -> float:
    """Mean squared error of the reconstructions over samples and bins, in double precision."""
    start, stop = ranks.span(len(samples))
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
