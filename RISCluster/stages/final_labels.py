"""Choice between refined clusters and the mixture that they started from.

Letters: N samples of the file, D latent features, K clusters, n latents that are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..clustering.initialisation import (
    EM_STEPS,
    MAX_MAP_SIZE,
    nearest_neighbours,
    neighbour_agreement,
)
from ..clustering.mixture import Mixture, fit_mixture
from ..clustering.stability import labellings, resamples, temperature
from ..data.loading import subsample
from ..models.autoencoder import DEC
from ..runtime import StopRequest, log
from ..settings import Settings
from .cluster import usable_latents

# Decrease of neighbour agreement up to which refinement is accepted: on labelled sets, small
# decreases came with better clusters, larger ones with worse.
AGREEMENT_TOLERANCE = 0.015

Posterior = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FinalLabels:
    """How samples are labelled after refinement."""

    posterior: Posterior  # latents (n, D) to the probability of each cluster (n, K)
    mixture: Mixture | None  # whose posterior it is; None for the soft assignment
    refined: bool  # False where the mixture of the GMM stage, and its latents, are used
    agreement: tuple[float, float]  # neighbour agreement before and after refinement

    def metrics(self) -> dict[str, Any]:
        """Entries of metrics.json."""
        before, after = self.agreement
        mixture = {} if self.mixture is None else {"temperature": self.mixture.temperature}
        return mixture | {
            "refined": self.refined,
            "neighbour_agreement": after,
            "neighbour_agreement_of_gmm": before,
        }


def soft_assignment(model: DEC) -> Posterior:
    """The soft assignment q as a function of latents, (n, D) to (n, K), at constant memory."""
    centroids = model.clustering.centroids

    def q(latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            z = torch.from_numpy(latents).to(centroids.device)
            return np.concatenate([model.clustering(part).cpu().numpy() for part in z.split(8192)])

    return q


def choose_final_labels(
    settings: Settings,
    start: Mixture,
    before: np.ndarray,
    refined: np.ndarray,
    model: DEC,
    stop: StopRequest | None = None,
) -> FinalLabels:
    """Choose between the refined clusters and the mixture that they started from.

    Neighbours in the latent space of the autoencoder, which refinement does not change, should
    share a cluster. Refinement that separates clearly more of them than the mixture is rejected.

    Parameters
    ----------
    settings : Settings
    start : Mixture
        Of the GMM stage.
    before, refined : np.ndarray, (N, D)
        Latents of the GMM stage, and refined.
    model : DEC
        Refined.
    stop : StopRequest, optional

    Raises
    ------
    Stopped
        On a request to stop while latents were mapped.
    """
    posterior, mixture = soft_assignment(model), None
    if settings.dec.labels == "mixture":
        usable, most = usable_latents(refined), settings.gmm.fit_samples or len(refined)
        drawn = usable[subsample(len(usable), most, settings.run.seed)]
        old, new = (latents[drawn].astype(np.float64) for latents in (before, refined))
        mixture = _refitted(settings, old, new, start)
        posterior = mixture.posterior
    agreement = _agreements(settings, before, refined, start, posterior)
    log.info(
        "neighbours in the autoencoder's latent space share a cluster beyond chance: "
        f"{agreement[0]:.1%} by the mixture, {agreement[1]:.1%} as refined"
    )
    if settings.dec.keep == "better" and agreement[1] < agreement[0] - AGREEMENT_TOLERANCE:
        log.warning(
            "refinement separates more nearest neighbours and is rejected: the labels are those of "
            "the mixture; dec.keep = refined takes the refined ones"
        )
        return FinalLabels(start.posterior, start, False, (agreement[0], agreement[0]))
    if mixture is not None and settings.gmm.n_resamples is not None:
        mixture = _calibrated(settings, mixture, old, new, stop)
        posterior = mixture.posterior
    return FinalLabels(posterior, mixture, True, agreement)


def _refitted(settings: Settings, old: np.ndarray, new: np.ndarray, start: Mixture) -> Mixture:
    """Mixture of refined latents, started from the clusters of the unrefined ones.

    Not from the soft assignment: a Student's t of one scale assigns samples at the borders of
    large clusters to small ones.
    """
    labels = start.posterior(old).argmax(1)
    shrinkage = settings.gmm.covariance_shrinkage
    return fit_mixture(new, labels, len(start.weights), shrinkage, EM_STEPS)


def _calibrated(
    settings: Settings, mixture: Mixture, old: np.ndarray, new: np.ndarray, stop: StopRequest | None
) -> Mixture:
    """The mixture at the temperature from half-samples of the unrefined latents.

    Refinement separates clusters whether they are real or not, so half-samples of refined latents
    would all have the same clusters.
    """
    gmm, seed = settings.gmm, settings.run.seed
    log.info(f"calibrating probabilities on {gmm.n_resamples} half-samples")
    halves = resamples(old, gmm.n_resamples, seed, gmm.init == "neighbours", stop)
    n_clusters = len(mixture.weights)
    labels = labellings(halves, n_clusters, gmm.n_init, seed, gmm.covariance_shrinkage)
    if labels is None:
        return mixture
    return replace(mixture, temperature=temperature(mixture, new[halves.index], labels))


def _agreements(
    settings: Settings,
    before: np.ndarray,
    refined: np.ndarray,
    start: Mixture,
    posterior: Posterior,
) -> tuple[float, float]:
    """Neighbour agreement of both labellings, over at most `MAX_MAP_SIZE` samples."""
    usable = usable_latents(before)
    drawn = usable[subsample(len(usable), MAX_MAP_SIZE, settings.run.seed)]
    latents = before[drawn]
    if len(latents) < 2:
        return float("nan"), float("nan")
    neighbours = nearest_neighbours(latents)
    labels = start.posterior(latents).argmax(1), posterior(refined[drawn]).argmax(1)
    return tuple(neighbour_agreement(each, neighbours) for each in labels)
