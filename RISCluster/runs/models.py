"""The networks of a finished run: how samples are prepared, and latents decoded to spectrograms.

Letters: n samples, D latent features, K clusters, F x T bins.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..data.transforms import Preparation
from ..models.autoencoder import DEC
from ..models.checkpoint import load_model
from .run import FinishedRun, FinishedStage


@dataclass(frozen=True)
class StageModel:
    """The network that gave a labelling stage its latents."""

    decoder: torch.nn.Module
    preparation: Preparation  # of its samples, with the standardisation
    centroids: np.ndarray  # (K, D), float64; NaN for a cluster that has none

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Spectrograms of latents, (n, D) to (n, F, T), float32, after amplitude and transform.

        NaN for latents that are NaN.
        """
        known = ~np.isnan(latents).any(1)
        with torch.inference_mode():
            z = torch.from_numpy(np.where(known[:, None], latents, 0).astype(np.float32))
            images = self.preparation.undo_standardize(self.decoder(z)[:, 0]).numpy()
        return np.where(known[:, None, None], images, np.nan).astype(np.float32)


def model_of(run: FinishedRun, stage: FinishedStage) -> StageModel:
    """Network and centroids of a stage that labels.

    Raises
    ------
    CheckpointError
        A file is missing or damaged.
    """
    name = "DEC" if stage.name == "DEC" else "AEC"
    trained = load_model(run.folder / name / "model.pt", name)
    model = trained.model
    if isinstance(model, DEC) and trained.labels == "student":
        centroids = model.clustering.as_latents().double().numpy()
    else:
        means = stage.mixture.means
        centroids = np.full((stage.n_clusters, means.shape[1]), np.nan)
        centroids[components(stage)] = means
    return StageModel(model.decoder, trained.preparation, centroids)


def components(stage: FinishedStage) -> np.ndarray:
    """Cluster of each component of the stage's mixture; empty clusters may have none."""
    if len(stage.mixture.weights) == stage.n_clusters:
        return np.arange(stage.n_clusters)
    return np.flatnonzero(stage.sizes > 0)
