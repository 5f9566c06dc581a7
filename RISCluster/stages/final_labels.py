"""Choice between refined clusters and the mixture that they started from."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ..clustering import initialisation
from ..clustering.mixture import Mixture, fit_mixture
from ..clustering.stability import labellings, resamples, temperature
from ..data.split import subsample
from ..models.autoencoder import DEC, NetworkShape
from ..runtime import log
from .cluster import usable_latents
from .session import Session

# Decrease of neighbour agreement up to which refinement is accepted: on labelled sets, small
# decreases came with better clusters, larger ones with worse.
AGREEMENT_TOLERANCE = 0.015

Posterior = Callable[[np.ndarray], np.ndarray]  # latents (n, D) to probabilities (n, K)


class FinalLabels(NamedTuple):
    """How samples are labelled after refinement."""

    posterior: Posterior
    mixture: Mixture | None  # whose posterior it is; None for the soft assignment
    refined: bool  # False where the mixture of the GMM stage, and its latents, are used
    agreement: tuple[float, float]  # neighbour agreement before and after refinement


def soft_assignment(model: DEC) -> Posterior:
    """The soft assignment q as a function of latents, at constant memory."""
    centroids = model.clustering.centroids

    def q(latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            z = torch.from_numpy(latents).to(centroids.device)
            return np.concatenate([model.clustering(part).cpu().numpy() for part in z.split(8192)])

    return q


def choose_final_labels(
    session: Session, start: Mixture, before: np.ndarray, refined: np.ndarray, model: DEC
) -> FinalLabels:
    """Choose between the refined clusters and the mixture `start` of the GMM stage.

    Neighbours in the latent space of the autoencoder, which refinement does not change, should
    share a cluster. Refinement that separates clearly more of them than the mixture is rejected.
    `before` and `refined` are latents (N, D) of the GMM stage and of the refined model.
    """
    posterior, mixture, usable = soft_assignment(model), None, usable_latents(refined)
    k, settings, seed = len(start.weights), session.settings, session.settings.run.seed
    if settings.dec.labels == "mixture":
        most, shrinkage = settings.gmm.fit_samples or len(usable), settings.gmm.covariance_shrinkage
        drawn = usable[subsample(len(usable), most, seed)]
        old, new = (latents[drawn].astype(np.float64) for latents in (before, refined))
        # Not from the soft assignment: a Student's t of one scale assigns samples at the borders
        # of large clusters to small ones.
        labels = start.posterior(old).argmax(1)
        mixture = fit_mixture(new, labels, k, shrinkage, initialisation.EM_STEPS)
        posterior = mixture.posterior
    drawn = usable[subsample(len(usable), initialisation.MAX_TREE_SIZE, seed)]
    agreement = agreements(before[drawn], start.posterior, refined[drawn], posterior)
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
        mixture = _calibrated(session, mixture, old, new, model.shape)
        posterior = mixture.posterior
    return FinalLabels(posterior, mixture, True, agreement)


def agreements(
    before: np.ndarray, start: Posterior, refined: np.ndarray, posterior: Posterior
) -> tuple[float, float]:
    """Neighbour agreement of the labels of latents (n, D), before and after refinement."""
    if len(before) < 2:
        return float("nan"), float("nan")
    neighbours = initialisation.nearest_neighbours(before)
    labels = start(before).argmax(1), posterior(refined).argmax(1)
    return tuple(initialisation.neighbour_agreement(each, neighbours) for each in labels)


def _calibrated(
    session: Session, mixture: Mixture, old: np.ndarray, new: np.ndarray, shape: NetworkShape
) -> Mixture:
    """The mixture at the temperature from half-samples of the unrefined latents `old`.

    Refinement separates clusters whether they are real or not, so half-samples of refined latents
    would all have the same clusters.
    """
    gmm, seed, k = session.settings.gmm, session.settings.run.seed, len(mixture.weights)
    log.info(f"calibrating probabilities on {gmm.n_resamples} half-samples")
    blocks = shape.blocks if gmm.init == "consensus" else None
    halves = resamples(old, blocks, gmm.n_resamples, seed)
    labels = labellings(halves, k, gmm.n_init, seed, gmm.covariance_shrinkage)
    if labels is None:
        return mixture
    return replace(mixture, temperature=temperature(mixture, new[halves.index], labels))
