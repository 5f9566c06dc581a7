"""Outliers: reconstruction error and likelihood of samples against those of the training set.

Letters: n samples, m training samples, N samples of the file, D latent features, K clusters.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..clustering.mixture import Mixture
from ..data.loading import SampleSet
from ..io import read_npz, row_blocks, write_npz
from ..models.autoencoder import AEC, DEC
from ..runs.labels import Labelling

SCORED = 5000  # training samples at most, spread over the set
OUTLYING = 0.005  # share of the training samples beyond either limit
DRIFT = 10 * OUTLYING  # share of outliers above which a new run should be trained
BATCH = 256


@dataclass(frozen=True)
class TrainingDistribution:
    """Reconstruction errors and likelihoods of training samples, (m,), ascending."""

    mixture: Mixture  # of the latents
    errors: np.ndarray  # mean squared error of each reconstruction, in the network's units
    likelihoods: np.ndarray  # logarithm of the mixture's density

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        arrays = self.mixture.arrays()
        write_npz(path, **arrays, errors=self.errors, likelihoods=self.likelihoods)

    @classmethod
    def load(cls, path: Path) -> "TrainingDistribution":
        """Read what `save` wrote."""
        arrays = read_npz(path)
        return cls(Mixture.from_arrays(arrays), arrays["errors"], arrays["likelihoods"])

    def error_quantile(self, errors: np.ndarray) -> np.ndarray:
        """Share of the training samples that are reconstructed better: (n,) to (n,)."""
        return np.searchsorted(self.errors, errors) / len(self.errors)

    def likelihood_quantile(self, likelihoods: np.ndarray) -> np.ndarray:
        """Share of the training samples that are less likely: (n,) to (n,)."""
        return np.searchsorted(self.likelihoods, likelihoods) / len(self.likelihoods)

    def is_outlier(self, errors: np.ndarray, likelihoods: np.ndarray) -> np.ndarray:
        """Whether samples lie beyond `OUTLYING` of the training set in either quantity: (n,)."""
        badly = self.error_quantile(errors) > 1 - OUTLYING
        return badly | (self.likelihood_quantile(likelihoods) < OUTLYING)


def training_distribution(
    model: AEC | DEC, mixture: Mixture, samples: SampleSet
) -> TrainingDistribution:
    """Errors and likelihoods of at most `SCORED` samples, in batches spread over a training set."""
    model.eval()
    n, last = min(SCORED // BATCH, -(-len(samples) // BATCH)), max(0, len(samples) - BATCH)
    scores = [
        latents_and_errors(model, x)
        for start in np.unique(np.linspace(0, last, n).astype(int)).tolist()
        for _, x in samples.in_order(start, min(start + BATCH, len(samples)), BATCH)
    ]
    errors = np.concatenate([error for _, error in scores])
    likelihoods = np.concatenate([mixture.log_likelihood(z) for z, _ in scores])
    return TrainingDistribution(mixture, np.sort(errors), np.sort(likelihoods))


def latents_and_errors(model: AEC | DEC, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, D), and mean squared error of each reconstruction (n,), of x (n, C, F, T)."""
    with torch.inference_mode():
        z = model.encoder(x)
        error = (model.decoder(z) - x).square().mean((1, 2, 3))
    return z.float().cpu().numpy(), error.double().cpu().numpy()


def mixture_of_clusters(latents: np.ndarray, labelling: Labelling) -> Mixture:
    """A Gaussian for each cluster of labelled latents (N, D) that has members.

    Each covariance is shrunk towards the pooled one by D pseudo-samples, so that those of small
    clusters are not singular.
    """
    k, d = labelling.n_clusters, latents.shape[1]
    sums, products = np.zeros((k, d)), np.zeros((k, d, d))
    for start, block in row_blocks(latents):
        labels = labelling.labels[start : start + len(block)]
        for label in np.unique(labels[labels >= 0]):
            mine = block[labels == label].astype(np.float64)
            sums[label] += mine.sum(0)
            products[label] += mine.T @ mine
    used = labelling.sizes > 0
    sizes = labelling.sizes[used].astype(np.float64)
    means = sums[used] / sizes[:, None]
    scatter = products[used] - sizes[:, None, None] * means[:, :, None] * means[:, None, :]
    pooled = scatter.sum(0) / sizes.sum()
    pooled += 1e-6 * max(np.trace(pooled) / d, 1e-12) * np.eye(d)
    covariances = (scatter + d * pooled) / (sizes + d)[:, None, None]
    return Mixture(sizes / sizes.sum(), means, covariances)
