"""Mixtures of every number of clusters, fitted in parallel and cached until the stage has ended.

Letters: N latents that mixtures are fitted to, D features, K clusters.
"""

from collections.abc import Sequence
from dataclasses import astuple, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from sklearn.metrics import silhouette_score

from ..data.sets import subsample
from ..errors import Stopped
from ..io import read_npz, remove_quietly, sha256, write_npz
from ..parallel import Job, Parts
from ..runtime import StopRequest
from ..settings import GmmSettings, Settings
from .initialisation import Trees, fit_from_trees, grow_trees
from .mixture import Mixture, fit_kmeans, fit_mixture
from .selection import Criteria, gap_statistic
from .stability import MAX_N_INIT, Resamples, labellings, resamples, stability, temperature

MIN_PARALLEL = 1000  # latents: for fewer, a fit is faster than the start of a process
MAX_CRITERIA_SIZE = 2000  # latents of silhouette, inertia and gap statistic
NAN = float("nan")


def fit_mixtures(
    folder: Path,
    latents: np.ndarray,
    blocks: Sequence[int],
    numbers: list[int],
    settings: Settings,
    stop: StopRequest,
) -> tuple[dict[int, Mixture], list[Criteria], Trees | None]:
    """Mixture of each number of clusters, their criteria, and the trees; None for k-means.

    Latents (N, D), float64, have `blocks` of features, see `grow_trees`. Trees and mixtures are
    cached in `folder`, for a stage that is interrupted, until `remove_fits`.
    """
    gmm, seed, basis = settings.gmm, settings.run.seed, folder / "fits.npz"
    if not basis.exists():
        trees = grow_trees(latents, blocks, seed) if gmm.init == "consensus" else None
        arrays = vars(trees) if trees else {}
        write_npz(basis, latents=latents, blocks=np.array(blocks), **arrays)
    if stop.signal_number:
        raise Stopped(
            f"GMM stage: the trees of clusters are saved in {basis}; run the same command to "
            "resume",
            stop.signal_number,
        )
    inputs = basis, sha256(basis), gmm, seed
    jobs = [Job(f"{k}.npz", (*inputs, k), {"basis": inputs[1], "k": k}) for k in numbers]
    workers = 1 if len(latents) < MIN_PARALLEL else min(cpu_count(), len(jobs))
    parts = Parts(folder / "fits", settings.run)
    # The largest K takes longest, and is begun first.
    parts.run(jobs[::-1], fit_number, workers, "Fitting mixtures", "K")
    found = {k: read_npz(parts.path(job)) for k, job in zip(numbers, jobs, strict=True)}
    rows = [Criteria(k, *found[k]["criteria"].tolist()) for k in numbers]
    return {k: Mixture.from_arrays(found[k]) for k in numbers}, rows, _read(*inputs)[1]


def remove_fits(folder: Path) -> None:
    """Remove what `fit_mixtures` has cached."""
    remove_quietly(folder / "fits.parts")
    remove_quietly(folder / "fits.npz")


@lru_cache(maxsize=1)
def _read(
    basis: Path, checksum: str, settings: GmmSettings, seed: int
) -> tuple[np.ndarray, Trees | None, Resamples | None]:
    """Latents, trees and half-samples, made once per process and checksum."""
    arrays, halves = read_npz(basis), None
    latents, trees = arrays["latents"], Trees.from_arrays(arrays) if "links" in arrays else None
    if settings.n_resamples is not None:
        blocks = arrays["blocks"].tolist() if trees else None
        halves = resamples(latents, blocks, settings.n_resamples, seed)
    return latents, trees, halves


def fit_number(inputs: tuple[Path, str, GmmSettings, int, int], path: Path) -> dict[str, Any]:
    """Fit the mixture of one K, compute its criteria and write both to `path`: a `Job`.

    `inputs` are file and checksum of the basis, settings, seed and K. Returns lines for the log.
    """
    *basis, settings, seed, k = inputs
    latents, trees, halves = _read(*basis, settings, seed)
    shrinkage, agreement, mixture = settings.covariance_shrinkage, NAN, None
    if trees is not None:
        mixture = fit_from_trees(latents, trees, k, seed, shrinkage)
    if mixture is None:
        labels = fit_kmeans(latents, k, settings.n_init, seed).labels_
        mixture = fit_mixture(latents, labels, k, shrinkage)
    elif k > 1:
        agreement = trees.agreement(mixture.posterior(latents[trees.index]).argmax(1), k)
    scores, votes = (NAN, NAN), None
    if halves is not None:
        votes = labellings(halves, k, settings.n_init, seed, shrinkage)
    if votes is not None:
        found = temperature(mixture, halves.labelled, votes)
        mixture, scores = replace(mixture, temperature=found), stability(votes)
    few = latents[subsample(len(latents), max(MAX_CRITERIA_SIZE, k), seed)]
    labels, silhouette = mixture.posterior(few).argmax(1), NAN
    if 1 < len(np.unique(labels)) < len(few):
        silhouette = float(silhouette_score(few, labels))
    inertia = float(fit_kmeans(few, k, min(settings.n_init, MAX_N_INIT), seed).inertia_)
    gap = gap_statistic(few, k, inertia, seed, settings.gap_reference)
    bic, n = mixture.bic(latents, shrinkage), len(latents)
    aic = bic - mixture.n_parameters(n, shrinkage) * (np.log(n) - 2)
    criteria = Criteria(k, bic, aic, silhouette, inertia, *gap, *scores, agreement)
    write_npz(path, criteria=np.array(astuple(criteria)[1:]), **mixture.arrays())
    line = f"K = {k}: bic {bic:.6g}, silhouette {silhouette:.3f}, gap {gap[0]:.3f}"
    for name, value in {"stability": scores[0], "agreement of views": agreement}.items():
        line += f", {name} {value:.3f}" if np.isfinite(value) else ""
    return {"infos": [line]}
