"""What refinement has come to: who labels the samples, and whether it was worth it.

Letters: N samples of the file, D latent features, K clusters, m samples that are compared.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..clustering.calibration import temperature
from ..clustering.initialisation import EM_STEPS
from ..clustering.mixture import Mixture, fit_mixture
from ..clustering.neighbours import MAPPED, nearest_neighbours, neighbour_agreement
from ..clustering.stability import labellings, resamples
from ..io import new_rows, open_rows, row_blocks
from ..models.autoencoder import DEC
from ..run_folder import StageFolder
from ..runs.labels import usable_sample
from ..runtime import StopRequest, log
from ..settings import Settings
from .cluster import read_mixture, usable_latents
from .session import LATENTS, MIXTURE

# Refinement may part this many neighbours more than the mixture did, of all beyond chance: on
# labelled sets small losses came with better clusters, and larger ones with worse.
TOLERATED = 0.015

Posterior = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """How samples are labelled after refinement.

    Attributes
    ----------
    posterior : callable
        Latents (n, D) to the probability of each cluster (n, K).
    mixture : Mixture or None
        What the probabilities are of, where they are a mixture's.
    refined : bool
        False where the mixture of the GMM stage was kept.
    agreement : tuple of float
        How often neighbours share a cluster, before and after refinement; see
        `neighbour_agreement`.
    """

    posterior: Posterior
    mixture: Mixture | None
    refined: bool
    agreement: tuple[float, float]

    def metrics(self) -> dict[str, Any]:
        """What metrics.json says of it."""
        before, after = self.agreement
        mixture = {} if self.mixture is None else {"temperature": self.mixture.temperature}
        return mixture | {
            "refined": self.refined,
            "neighbour_agreement": after,
            "neighbour_agreement_of_gmm": before,
        }


def soft_assignment(model: DEC) -> Posterior:
    """Q of latents: a function (n, D) to (n, K), at constant memory."""
    centroids = model.clustering.centroids

    def q(latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            z = torch.from_numpy(latents).to(centroids.device)
            return np.concatenate([model.clustering(part).cpu().numpy() for part in z.split(8192)])

    return q


def judge(
    settings: Settings,
    gmm: StageFolder,
    dec: StageFolder,
    model: DEC,
    stop: StopRequest | None = None,
) -> Outcome:
    """Choose between the refined clusters and the mixture that they started from.

    Neighbours in the latent space of the autoencoder, which refinement has not touched, should
    share a cluster. Refinement that parts clearly more of them than the mixture did has torn
    clusters apart, whatever its own latent space looks like.

    Parameters
    ----------
    settings : Settings
    gmm, dec : StageFolder
        With the latents of every sample.
    model : DEC
        As refined.
    stop : StopRequest, optional

    Returns
    -------
    Outcome

    Raises
    ------
    Stopped
        On a request to stop while latents were mapped.
    """
    start = read_mixture(gmm.path / MIXTURE, settings.dec.n_clusters)
    posterior, mixture = soft_assignment(model), None
    refined = open_rows(dec.path / LATENTS)
    if settings.dec.labels == "mixture":
        pair = _drawn(settings, open_rows(gmm.path / LATENTS), refined)
        mixture = _refitted(settings, *pair, start)
        posterior = mixture.posterior
    before, after = _agreements(settings, gmm, refined, start, posterior)
    log.info(
        f"neighbours in the autoencoder's latent space share a cluster beyond chance: {before:.1%} "
        f"by the mixture, {after:.1%} as refined"
    )
    if settings.dec.keep == "better" and after < before - TOLERATED:
        log.warning(
            "refinement has parted neighbours and is not kept: the labels here are the mixture's; "
            "dec.keep = refined takes the refined ones"
        )
        _take_over(gmm, dec)
        return Outcome(start.posterior, start, False, (before, before))
    if mixture is not None and settings.gmm.n_resamples is not None:
        mixture = _calibrated(settings, mixture, *pair, stop)
        posterior = mixture.posterior
    return Outcome(posterior, mixture, True, (before, after))


def _drawn(
    settings: Settings, before: np.ndarray, refined: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, D) that mixtures are fitted to: of the GMM stage, and refined."""
    most = settings.gmm.fit_samples or len(refined)
    drawn = usable_sample(usable_latents(refined) - 1, most, settings.run.seed)
    return before[drawn].astype(np.float64), refined[drawn].astype(np.float64)


def _refitted(
    settings: Settings, before: np.ndarray, refined: np.ndarray, start: Mixture
) -> Mixture:
    """Mixture of refined latents, started from the clusters of the unrefined ones.

    Not from those of the soft assignment: a Student's t of one scale for all clusters hands over
    samples at their borders, which says nothing of the samples.
    """
    labels = start.posterior(before).argmax(1)
    return fit_mixture(
        refined, labels, len(start.weights), settings.gmm.covariance_shrinkage, EM_STEPS
    )


def _calibrated(
    settings: Settings,
    mixture: Mixture,
    before: np.ndarray,
    refined: np.ndarray,
    stop: StopRequest | None,
) -> Mixture:
    """The mixture at the temperature that half-samples of the unrefined latents call for.

    Refinement pulls clusters apart whether they are there or not, after which every half-sample
    of refined latents has the same ones.
    """
    gmm, seed = settings.gmm, settings.run.seed
    log.info(f"calibrating probabilities on {gmm.n_resamples} half-samples")
    again = resamples(before, gmm.n_resamples, seed, gmm.init == "neighbours", stop)
    labels = labellings(again, len(mixture.weights), gmm.n_init, seed, gmm.covariance_shrinkage)
    if labels is None:
        return mixture
    found = temperature(mixture, refined[again.index], labels)
    return replace(mixture, temperature=found)


def _agreements(
    settings: Settings, gmm: StageFolder, refined: np.ndarray, start: Mixture, now: Posterior
) -> tuple[float, float]:
    """Neighbour agreement of both labellings, over at most `MAPPED` samples."""
    before = open_rows(gmm.path / LATENTS)
    chosen = usable_sample(usable_latents(before) - 1, MAPPED, settings.run.seed)
    latents = before[chosen]
    if len(latents) < 2:
        return float("nan"), float("nan")
    neighbours = nearest_neighbours(latents)
    labels = start.posterior(latents).argmax(1), now(refined[chosen]).argmax(1)
    return tuple(neighbour_agreement(mine, neighbours) for mine in labels)


def _take_over(gmm: StageFolder, dec: StageFolder) -> None:
    """The latents of the GMM stage become those of this one."""
    latents = open_rows(gmm.path / LATENTS)
    with new_rows(dec.path / LATENTS, latents.shape) as out:
        for start, block in row_blocks(latents):
            out[start : start + len(block)] = block
