"""Mixtures of every number of clusters, their stability and calibrated probabilities; final labels.

They are fitted in parallel and cached until the stage has ended. A mixture is also fitted to each
of several half-samples, from trees of that half-sample alone, and labels the same latents. Each
leaves out one block of features in turn, as real classes show in the others too. The mean adjusted
Rand index (Hubert and Arabie 1985) between these labellings is the stability (Ben-Hur et al. 2002;
Lange et al. 2004).

The posterior of a mixture is overconfident, because clusters of real latents are not Gaussian. Log
densities are divided by a temperature (Guo et al. 2017), and a share of the posterior is divided
equally among the clusters (label smoothing, Szegedy et al. 2016), for half-samples that disagree
inside of clusters too. Both are such that the posterior predicts the labels of the half-samples
best; they change no label. Each cluster of a half-sample is matched to the one that has most of its
members, as half-samples can split a common cluster.

Letters: N latents, D features, K clusters, n latents of a half-sample, m labelled ones, H halves.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score

from ..data.sets import draw_usable, subsample
from ..errors import Stopped
from ..io import read_npz, remove_quietly, sha256, write_npz
from ..models.autoencoder import DEC
from ..parallel import Job, Parts
from ..runtime import StopRequest, log
from ..settings import GmmSettings, Settings
from .initialisation import (
    EM_STEPS,
    MAX_TREE_SIZE,
    Trees,
    fit_from_trees,
    grow_trees,
    nearest_neighbours,
    neighbour_agreement,
)
from .mixture import Mixture, fit_kmeans, fit_mixture
from .selection import NAN, Criteria, gap_statistic

MAX_CRITERIA_SIZE = 2000  # latents of all criteria but BIC and AIC
MAX_RESAMPLE_SIZE = 1000  # latents of a half-sample: the time goes into its trees
MAX_N_INIT = 10  # restarts of k-means, of half-samples and for the inertia
MAX_TEMPERATURE = 100.0  # all clusters are about equally probable
MIN_SMOOTHING = 1e-6  # against single outliers; with 1 all clusters would be equally probable
# Decrease of neighbour agreement up to which refinement is accepted: on labelled sets, small
# decreases came with better clusters, larger ones with worse.
AGREEMENT_TOLERANCE = 0.015


def _fit(
    latents: np.ndarray, trees: Trees | None, k: int, n_init: int, seed: int, shrinkage: float
) -> Mixture:
    """Mixture of latents (N, D), from k-means without trees, or where they have too few latents."""
    if trees is not None and k <= len(trees.index):
        return fit_from_trees(latents, trees, k, seed, shrinkage)
    return fit_mixture(latents, fit_kmeans(latents, k, n_init, seed).labels_, k, shrinkage)


class Basis(NamedTuple):
    """What the mixtures of every K are fitted to, and how."""

    path: Path  # file of the latents, their blocks and trees
    checksum: str  # of this file
    settings: GmmSettings
    seed: int


class Resamples(NamedTuple):
    """Half-samples of latents, and the latents that are labelled."""

    # Features (d,), latents (n, d), trees; no trees where mixtures start from k-means.
    parts: list[tuple[np.ndarray, np.ndarray, Trees | None]]
    index: np.ndarray  # (m,), ascending; of the labelled latents
    labelled: np.ndarray  # (m, D)


def resamples(
    latents: np.ndarray, blocks: Sequence[int], number: int, seed: int, with_trees: bool = True
) -> Resamples:
    """Draw half-samples of latents (N, D) at random and grow trees of each.

    Each leaves out one of the `blocks` of features in turn, if there are several, and has no maps,
    which take seconds each; clusters of a single block, as of pictures, depend on its map.
    """
    rng, parts = np.random.default_rng([seed, number]), []
    size = min(len(latents) // 2, MAX_RESAMPLE_SIZE)
    block_of = np.repeat(range(len(blocks)), blocks)
    for half in range(number):
        left_out = half % len(blocks) if len(blocks) > 1 else -1
        features = np.flatnonzero(block_of != left_out)
        part = latents[np.sort(rng.choice(len(latents), size, replace=False))][:, features]
        sizes = [n for block, n in enumerate(blocks) if block != left_out]
        trees = grow_trees(part, sizes, seed, len(sizes) == len(blocks)) if with_trees else None
        parts.append((features, part, trees))
    index = np.sort(rng.choice(len(latents), min(len(latents), MAX_CRITERIA_SIZE), replace=False))
    return Resamples(parts, index, latents[index])


def labellings(
    drawn: Resamples, n_clusters: int, n_init: int, seed: int, shrinkage: float
) -> np.ndarray | None:
    """Labels (H, m) of the same latents by a mixture of each half-sample.

    None for one cluster, or more than a half-sample has latents.
    """
    if n_clusters < 2 or any(len(latents) < n_clusters for _, latents, _ in drawn.parts):
        return None
    n_init, labels = min(n_init, MAX_N_INIT), []
    for features, latents, trees in drawn.parts:
        mixture = _fit(latents, trees, n_clusters, n_init, seed, shrinkage)
        labels.append(mixture.posterior(drawn.labelled[:, features]).argmax(1))
    return np.stack(labels)


def stability(labels: np.ndarray) -> tuple[float, float]:
    """Mean adjusted Rand index of all pairs of `labellings` (H, m), and standard deviation."""
    scores = [adjusted_rand_score(first, second) for first, second in combinations(labels, 2)]
    return float(np.mean(scores)), float(np.std(scores))


def calibrate(mixture: Mixture, latents: np.ndarray, labels: np.ndarray) -> Mixture:
    """A mixture whose posterior of latents (m, D) predicts `labellings` (H, m) best."""
    log_densities = mixture.log_densities(latents)
    mixture_labels = log_densities.argmax(1)
    k, votes = len(mixture.weights), []
    for half in labels:  # (m,), by the mixture of a half-sample
        counts = np.bincount(half * k + mixture_labels, minlength=k**2).reshape(k, k)
        votes.append(counts.argmax(1)[half])  # the label that most latents of the same label have
    votes = np.stack(votes, axis=1)

    def loss(parameters: np.ndarray) -> float:
        tempered = log_densities / np.exp(parameters[0])
        chosen = np.take_along_axis(tempered, votes, axis=1)
        probability = np.exp(chosen - logsumexp(tempered, axis=1, keepdims=True))
        return -float(np.log((1 - parameters[1]) * probability + parameters[1] / k).mean())

    bounds = (0.0, np.log(MAX_TEMPERATURE)), (MIN_SMOOTHING, 1 - MIN_SMOOTHING)
    found = minimize(loss, (1.0, 0.1), method="L-BFGS-B", bounds=bounds).x
    return replace(mixture, temperature=float(np.exp(found[0])), smoothing=float(found[1]))


def choose_final_labels(
    start: Mixture, model: DEC, before: np.ndarray, refined: np.ndarray, settings: Settings,
    seed: int, votes: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Mixture | DEC, tuple[float, float]]:  # fmt: skip
    """What labels the samples after DEC, and neighbour agreement before and after refinement.

    `start`, the mixture of the GMM stage, where refinement is rejected, because it separates
    clearly more neighbours in the latent space of the autoencoder, which refinement does not
    change; or else `model`, by its soft assignment (``dec.labels = student``), or a mixture of the
    refined latents. `before` and `refined` are latents (N, D).

    The refined mixture is calibrated with `votes`, rows (m,) and `labellings` (H, m) of the GMM
    stage, as half-samples of refined latents agree on any clusters. None: temperature of `start`.
    """
    gmm, dec, k = settings.gmm, settings.dec, len(start.weights)
    is_usable = ~np.isnan(refined[:, 0])
    fitted = draw_usable(is_usable, gmm.fit_samples or len(is_usable), seed)
    old, new = (latents[fitted].astype(np.float64) for latents in (before, refined))
    labeller: Mixture | DEC = model
    if dec.labels == "mixture":
        # Not from the soft assignment: a Student's t of one scale assigns samples at the borders
        # of large clusters to small ones.
        labels = start.posterior(old).argmax(1)
        labeller = fit_mixture(new, labels, k, gmm.covariance_shrinkage, EM_STEPS)
    drawn = draw_usable(is_usable, MAX_TREE_SIZE, seed)
    nearest, pairs = nearest_neighbours(before[drawn]), ((start, before), (labeller, refined))
    labels = (one.posterior(latents[drawn]).argmax(1) for one, latents in pairs)
    agreement = tuple(neighbour_agreement(each, nearest) for each in labels)
    log.info(
        "neighbours in the autoencoder's latent space share a cluster beyond chance: "
        f"{agreement[0]:.1%} by the mixture, {agreement[1]:.1%} as refined"
    )
    if dec.keep == "better" and agreement[1] < agreement[0] - AGREEMENT_TOLERANCE:
        log.warning(
            "refinement separates more nearest neighbours and is rejected: the labels are those of "
            "the mixture; dec.keep = refined takes the refined ones"
        )
        return start, (agreement[0], agreement[0])
    if isinstance(labeller, Mixture) and gmm.n_resamples is not None:
        if votes is None:
            log.warning("no half-samples in GMM/: probabilities are calibrated like those there")
            return replace(labeller, temperature=start.temperature), agreement
        labeller = calibrate(labeller, refined[votes[0]].astype(np.float64), votes[1])
    return labeller, agreement


class Fits(NamedTuple):
    """Mixtures of every number of clusters, and what they were chosen by."""

    mixtures: dict[int, Mixture]
    rows: list[Criteria]
    trees: Trees | None  # None for k-means
    votes: dict[int, np.ndarray]  # `labellings` by the number of clusters
    voted: np.ndarray  # rows of the latents that they label


def fit_mixtures(
    folder: Path, latents: np.ndarray, blocks: Sequence[int], numbers: list[int],
    settings: Settings, stop: StopRequest,
) -> Fits:  # fmt: skip
    """Fit a mixture of each number of clusters.

    Latents (N, D), float64, have `blocks` of features, see `grow_trees`. Trees and mixtures are
    cached in `folder`, for a stage that is interrupted, until `remove_fits`.
    """
    gmm, seed, path = settings.gmm, settings.run.seed, folder / "fits.npz"
    if not path.exists():
        trees = grow_trees(latents, blocks, seed) if gmm.init == "consensus" else None
        arrays = vars(trees) if trees else {}
        write_npz(path, latents=latents, blocks=np.array(blocks), **arrays)
    if stop.signal_number:
        raise Stopped(
            f"GMM stage: the trees of clusters are saved in {path}; run the same command to resume",
            stop.signal_number,
        )
    basis = Basis(path, sha256(path), gmm, seed)
    jobs = [Job(f"{k}.npz", (basis, k), {"basis": basis.checksum, "k": k}) for k in numbers]
    parts, (_, trees, halves) = Parts(folder / "fits", settings.run, threads=True), _read(basis)
    # The largest K takes longest, and is begun first.
    with warnings.catch_warnings():  # the filters that fits set are of all threads
        warnings.simplefilter("ignore", ConvergenceWarning)
        parts.run(jobs[::-1], fit_number, cpu_count(), "Fitting mixtures", "K")
    fits = {k: read_npz(parts.path(job)) for k, job in zip(numbers, jobs, strict=True)}
    rows = [Criteria(**{name: fits[k][name].item() for name in Criteria._fields}) for k in numbers]
    mixtures = {k: Mixture.from_arrays(fits[k]) for k in numbers}
    votes = {k: fits[k]["votes"] for k in numbers if "votes" in fits[k]}
    return Fits(mixtures, rows, trees, votes, halves.index if halves else np.empty(0, int))


def remove_fits(folder: Path) -> None:
    """Remove what `fit_mixtures` has cached."""
    remove_quietly(folder / "fits.parts")
    remove_quietly(folder / "fits.npz")


@lru_cache(maxsize=1)
def _read(basis: Basis) -> tuple[np.ndarray, Trees | None, Resamples | None]:
    """Latents, trees and half-samples, made once per process and basis."""
    arrays, halves, n_resamples = read_npz(basis.path), None, basis.settings.n_resamples
    latents, trees = arrays["latents"], Trees.from_arrays(arrays) if "links" in arrays else None
    if n_resamples is not None:
        blocks = arrays["blocks"].tolist()
        halves = resamples(latents, blocks, n_resamples, basis.seed, trees is not None)
    return latents, trees, halves


def fit_number(task: tuple[Basis, int], path: Path) -> dict[str, Any]:
    """Fit the mixture of one K, compute its criteria and write both to `path`.

    The `task` of a `Job` is basis and K. Returns lines for the log.
    """
    basis, k = task
    settings, seed, (latents, trees, halves) = basis.settings, basis.seed, _read(basis)
    own = k, settings.n_init, seed, (shrinkage := settings.covariance_shrinkage)
    mixture = _fit(latents, trees, *own)
    scores, saved = (NAN, NAN), {}
    votes = None if halves is None else labellings(halves, *own)
    if votes is not None:
        mixture, scores = calibrate(mixture, halves.labelled, votes), stability(votes)
        saved["votes"] = votes.astype(np.min_scalar_type(k))
    few = latents[subsample(len(latents), max(MAX_CRITERIA_SIZE, k), seed)]
    labels, silhouette = mixture.posterior(few).argmax(1), NAN
    if 1 < len(np.unique(labels)) < len(few):
        silhouette = float(silhouette_score(few, labels))
    inertia = float(fit_kmeans(few, k, min(settings.n_init, MAX_N_INIT), seed).inertia_)
    gap = gap_statistic(few, k, inertia, seed, settings.gap_reference)
    bic, n = mixture.bic(latents, shrinkage), len(latents)
    aic = bic - mixture.n_parameters(n, shrinkage) * (np.log(n) - 2)
    criteria = Criteria(
        n_clusters=k, bic=bic, aic=aic, silhouette=silhouette, inertia=inertia, gap=gap[0],
        gap_std=gap[1], stability=scores[0], stability_std=scores[1],
    )  # fmt: skip
    write_npz(path, **criteria._asdict(), **mixture.arrays(), **saved)
    line = f"K = {k}: bic {bic:.6g}, silhouette {silhouette:.3f}, gap {gap[0]:.3f}"
    line += f", stability {scores[0]:.3f}" if votes is not None else ""
    return {"infos": [line]}
