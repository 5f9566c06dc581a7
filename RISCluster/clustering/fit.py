"""Mixtures of every number of clusters, fitted in parallel and cached until the stage has ended.

Letters: N latents that mixtures are fitted to, D features, K clusters.
"""

from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from ..data.loading import subsample
from ..errors import CheckpointError, Stopped
from ..io import read_npz, remove_quietly, sha256, write_npz
from ..parallel import Job, Parts
from ..runtime import StopRequest, log, processors
from ..settings import GmmSettings
from .initialisation import N_MAPS, NeighbourMap, fit_from_maps, neighbour_maps
from .mixture import Mixture, fit_kmeans, fit_mixture
from .selection import Criteria, gap_statistic
from .stability import Resamples, labellings, resamples, stability, temperature

MIN_PARALLEL = 1000  # latents: for fewer, a fit is faster than the start of a process
MAX_SILHOUETTES = 5000  # latents of which the silhouette is computed


@dataclass(frozen=True)
class Basis:
    """Input of the fits for every number of clusters."""

    latents: np.ndarray  # (N, D), float64
    maps: list[NeighbourMap]  # empty where mixtures start from k-means
    halves: Resamples | None  # None without gmm.n_resamples

    @classmethod
    def draw(
        cls, latents: np.ndarray, settings: GmmSettings, seed: int, stop: StopRequest
    ) -> "Basis":
        """Map the latents and half-samples of them; raises `Stopped` on a request."""
        mapped, maps, halves = settings.init == "neighbours", [], None
        if mapped:
            log.info(f"mapping latents by their neighbours, {N_MAPS} times (t-SNE)")
            maps = neighbour_maps(latents, seed, N_MAPS, stop)
        if settings.n_resamples:
            log.info(f"drawing {settings.n_resamples} half-samples for the stability of each K")
            halves = resamples(latents, settings.n_resamples, seed, mapped, stop)
        return cls(latents, maps, halves)

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Inverse of `save`."""
        arrays = read_npz(path)
        halves = Resamples.from_arrays(arrays) if "labelled" in arrays else None
        return cls(arrays["latents"], NeighbourMap.several(arrays, "map"), halves)

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        arrays = {"latents": self.latents}
        for i, mapped in enumerate(self.maps):
            arrays |= mapped.arrays(f"_map{i}")
        write_npz(path, **arrays, **(self.halves.arrays() if self.halves else {}))


class Fits:
    """Basis and mixtures of a stage, cached in files beside `target` until `remove`."""

    def __init__(self, target: Path, settings: GmmSettings, seed: int, stop: StopRequest):
        self.settings, self.seed, self.stop = settings, seed, stop
        self._parts = Parts(target, "on fewer processors (behind taskset -c 0)")
        self._basis = target.with_name(f"{target.name}.npz")

    def basis(self, latents: np.ndarray) -> Basis:
        """The cached basis, or a new one of latents (N, D)."""
        if self._basis.exists():
            try:
                return Basis.load(self._basis)
            except CheckpointError as error:
                log.warning(f"{error}; it is made again")
        basis = Basis.draw(latents, self.settings, self.seed, self.stop)
        basis.save(self._basis)
        return basis

    def of(self, numbers: list[int]) -> tuple[dict[int, Mixture], list[Criteria]]:
        """Mixture of each number of clusters, fitted to the cached basis, and their criteria.

        A request to stop raises `Stopped`; finished mixtures are cached.
        """
        if self.stop.signal_number:  # between maps and mixtures
            raise Stopped(
                f"GMM stage: the maps are saved in {self._basis}; run the same command to resume",
                self.stop.signal_number,
            )
        checksum = sha256(self._basis)
        inputs = self._basis, checksum, self.settings, self.seed
        jobs = [Job(f"{k}.npz", (*inputs, k), {"basis": checksum, "k": k}) for k in numbers]
        small = len(_read(self._basis, checksum).latents) < MIN_PARALLEL
        workers = 1 if small else min(processors(), len(jobs))
        self._parts.run(jobs, fit_number, workers, "Fitting mixtures", "K")
        found = {k: read_npz(self._parts.path(job)) for k, job in zip(numbers, jobs, strict=True)}
        rows = [Criteria(k, *found[k]["criteria"].tolist()) for k in numbers]
        return {k: Mixture.from_arrays(found[k]) for k in numbers}, rows

    def remove(self) -> None:
        """Remove the cached files, once the stage is complete."""
        self._parts.remove()
        remove_quietly(self._basis)

    def clear(self) -> None:
        """Remove what a process left that was killed after its stage was complete."""
        self._parts.clear()
        remove_quietly(self._basis)


@lru_cache(maxsize=1)
def _read(path: Path, checksum: str) -> Basis:
    """The basis, read once per process and checksum."""
    return Basis.load(path)


@threadpool_limits.wrap(limits=1)  # sums of several threads differ in the last digits
def fit_number(inputs: tuple[Path, str, GmmSettings, int, int], path: Path) -> dict[str, Any]:
    """Fit the mixture of one K, compute its criteria and write both to `path`: a `Job`.

    `inputs` are file and checksum of the basis, settings, seed and K. Returns lines for the log.
    """
    source, checksum, settings, seed, k = inputs
    basis, shrinkage = _read(source, checksum), settings.covariance_shrinkage
    kmeans = fit_kmeans(basis.latents, k, settings.n_init, seed)
    mixture = None
    if basis.maps:
        mixture = fit_from_maps(basis.latents, basis.maps, k, seed, shrinkage)
    if mixture is None:
        mixture = fit_mixture(basis.latents, kmeans.labels_, k, shrinkage)
    scores, votes = (float("nan"), float("nan")), None
    if basis.halves is not None:
        votes = labellings(basis.halves, k, settings.n_init, seed, shrinkage)
    if votes is not None:
        found = temperature(mixture, basis.halves.labelled, votes)
        mixture, scores = replace(mixture, temperature=found), stability(votes)
    criteria = Criteria(
        k,
        mixture.bic(basis.latents, shrinkage),
        mixture.aic(basis.latents, shrinkage),
        _silhouette(basis.latents, mixture, seed),
        float(kmeans.inertia_),
        *gap_statistic(basis.latents, k, kmeans.inertia_, seed),
        *scores,
    )
    write_npz(path, criteria=np.array(astuple(criteria)[1:]), **mixture.arrays())
    return {"infos": [_line(criteria)]}


def _silhouette(latents: np.ndarray, mixture: Mixture, seed: int) -> float:
    """Mean silhouette of at most `MAX_SILHOUETTES` latents; NaN for one cluster."""
    chosen = latents[subsample(len(latents), MAX_SILHOUETTES, seed)]
    labels = mixture.posterior(chosen).argmax(1)
    if not 1 < len(np.unique(labels)) < len(chosen):
        return float("nan")
    return float(silhouette_score(chosen, labels))


def _line(row: Criteria) -> str:
    stable = f", stability {row.stability:.3f}" if np.isfinite(row.stability) else ""
    return (
        f"K = {row.n_clusters}: bic {row.bic:.6g}, silhouette {row.silhouette:.3f}, "
        f"gap {row.gap:.3f}{stable}"
    )
