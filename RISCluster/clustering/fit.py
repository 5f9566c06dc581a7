"""Mixtures of every number of clusters, in parallel; each is kept until its stage has ended.

What they are fitted to is written once and read by every process, and is there again after an
interruption: maps of latents take longer than most mixtures.

Letters: N latents that mixtures are fitted to, D features, K clusters.
"""

from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from ..errors import CheckpointError, Stopped
from ..evaluation.metrics import MEASURED, silhouettes
from ..io import read_npz, remove_quietly, sha256, write_npz
from ..parallel import Job, Parts
from ..runs.labels import usable_sample
from ..runtime import StopRequest, log, processors
from ..settings import GmmSettings
from .calibration import temperature
from .initialisation import MAPS, fit_from_maps
from .mixture import Mixture, fit_kmeans, fit_mixture
from .neighbours import NeighbourMap, neighbour_maps
from .selection import Criteria, gap_statistic
from .stability import Resamples, labellings, resamples, stability

FEW = 1000  # latents: of fewer, mixtures are there before a process has started


@dataclass(frozen=True)
class Basis:
    """What mixtures of every number of clusters are fitted to.

    Attributes
    ----------
    latents : ndarray, (N, D), float64
    maps : list of NeighbourMap
        Where mixtures start; empty where that is k-means.
    halves : Resamples or None
        Half-samples that tell how stable clusters are; None where that is not asked.
    """

    latents: np.ndarray
    maps: list[NeighbourMap]
    halves: Resamples | None

    @classmethod
    def draw(
        cls, latents: np.ndarray, settings: GmmSettings, seed: int, stop: StopRequest
    ) -> "Basis":
        """Map the latents, and half-samples of them, as the settings have it.

        Raises
        ------
        Stopped
            On a request to stop.
        """
        mapped, maps, halves = settings.init == "neighbours", [], None
        if mapped:
            log.info(f"mapping latents by their neighbours, {MAPS} times (t-SNE)")
            maps = neighbour_maps(latents, seed, MAPS, stop)
        if settings.n_resamples:
            log.info(f"drawing {settings.n_resamples} half-samples for the stability of each K")
            halves = resamples(latents, settings.n_resamples, seed, mapped, stop)
        return cls(latents, maps, halves)

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Read what `save` wrote."""
        arrays = read_npz(path)
        halves = Resamples.from_arrays(arrays) if "labelled" in arrays else None
        return cls(arrays["latents"], NeighbourMap.several(arrays, "map"), halves)

    def save(self, path: Path) -> None:
        """Write it as one file."""
        arrays = {"latents": self.latents}
        for number, mapped in enumerate(self.maps):
            arrays |= mapped.arrays(f"_map{number}")
        write_npz(path, **arrays, **(self.halves.arrays() if self.halves else {}))


class Fits:
    """Mixtures of a stage, as they are made.

    Parameters
    ----------
    target : Path
        Name beside which basis and mixtures lie until `remove`.
    settings : GmmSettings
    seed : int
    stop : StopRequest
    """

    def __init__(self, target: Path, settings: GmmSettings, seed: int, stop: StopRequest):
        self.settings, self.seed, self.stop = settings, seed, stop
        self._parts = Parts(target, "on fewer processors (behind taskset -c 0)")
        self._basis = target.with_name(f"{target.name}.npz")

    def basis(self, latents: np.ndarray) -> Basis:
        """What they are fitted to, drawn now or before an interruption."""
        if self._basis.exists():
            try:
                return Basis.load(self._basis)
            except CheckpointError as error:
                log.warning(f"{error}; it is made again")
        basis = Basis.draw(latents, self.settings, self.seed, self.stop)
        basis.save(self._basis)
        return basis

    def of(self, numbers: list[int]) -> tuple[dict[int, Mixture], list[Criteria]]:
        """Fit every K to what `basis` has written.

        Returns
        -------
        dict of int to Mixture
        list of Criteria
            In the order of the numbers.

        Raises
        ------
        Stopped
            On a request to stop; mixtures that are done are kept.
        """
        if self.stop.signal_number:  # it came between maps and mixtures
            raise Stopped(
                f"GMM stage: the maps are kept in {self._basis}; run the same command to go on",
                self.stop.signal_number,
            )
        checksum = sha256(self._basis)
        inputs = self._basis, checksum, self.settings, self.seed
        jobs = [Job(f"{k}.npz", (*inputs, k), {"basis": checksum, "k": k}) for k in numbers]
        few = len(_read(self._basis, checksum).latents) < FEW
        workers = 1 if few else min(processors(), len(jobs))
        self._parts.run(jobs, fit_number, workers, "Fitting mixtures", "K")
        found = {k: read_npz(self._parts.path(job)) for k, job in zip(numbers, jobs, strict=True)}
        rows = [Criteria(k, *found[k]["criteria"].tolist()) for k in numbers]
        return {k: Mixture.from_arrays(found[k]) for k in numbers}, rows

    def remove(self) -> None:
        """Remove what was kept, once the stage has what it needs of it."""
        self._parts.remove()
        remove_quietly(self._basis)

    def clear(self) -> None:
        """Remove what a process has left that was killed when its stage was done."""
        self._parts.clear()
        remove_quietly(self._basis)


@lru_cache(maxsize=1)
def _read(path: Path, checksum: str) -> Basis:
    """The basis, read once a process; the checksum tells it from one of another run."""
    return Basis.load(path)


@threadpool_limits.wrap(limits=1)  # sums of several threads differ in the last digits
def fit_number(inputs: tuple[Path, str, GmmSettings, int, int], path: Path) -> dict[str, Any]:
    """Fit the mixture of one K and see what speaks for it: the work of a job.

    One thread computes it, here as in a worker, so that it is the same on any number of processors.

    Parameters
    ----------
    inputs : tuple
        File of the basis and its checksum, settings, seed and K.
    path : Path
        Where the mixture is written, with its criteria.

    Returns
    -------
    dict
        What to say of it.
    """
    source, checksum, settings, seed, k = inputs
    basis = _read(source, checksum)
    kmeans = fit_kmeans(basis.latents, k, settings.n_init, seed)
    mixture = None
    if basis.maps:
        mixture = fit_from_maps(basis.latents, basis.maps, k, seed, settings.covariance_shrinkage)
    if mixture is None:
        mixture = fit_mixture(basis.latents, kmeans.labels_, k, settings.covariance_shrinkage)
    mixture, steady = _resampled(mixture, basis.halves, settings, seed)
    labels = mixture.posterior(basis.latents).argmax(1)
    scored = usable_sample(labels, MEASURED, seed)
    scores = silhouettes(basis.latents[scored], labels[scored])
    criteria = Criteria(
        k,
        mixture.bic(basis.latents, settings.covariance_shrinkage),
        mixture.aic(basis.latents, settings.covariance_shrinkage),
        float(np.mean(scores)),
        float(kmeans.inertia_),
        *gap_statistic(basis.latents, k, kmeans.inertia_, seed),
        *steady,
    )
    write_npz(path, criteria=np.array(astuple(criteria)[1:]), **mixture.arrays())
    return {"told": [_line(criteria)]}


def _resampled(
    mixture: Mixture, halves: Resamples | None, settings: GmmSettings, seed: int
) -> tuple[Mixture, tuple[float, float]]:
    """What half-samples of its latents say of a mixture.

    Returns
    -------
    Mixture
        At the temperature at which its probabilities mean what they say.
    float, float
        Stability of its number of clusters, and the standard deviation; NaN where unknown.
    """
    labels = None
    if halves is not None:
        k = len(mixture.weights)
        labels = labellings(halves, k, settings.n_init, seed, settings.covariance_shrinkage)
    if labels is None:
        return mixture, (float("nan"), float("nan"))
    found = temperature(mixture, halves.labelled, labels)
    return replace(mixture, temperature=found), stability(labels)


def _line(row: Criteria) -> str:
    stable = f", stability {row.stability:.3f}" if np.isfinite(row.stability) else ""
    return (
        f"K = {row.n_clusters}: bic {row.bic:.6g}, silhouette {row.silhouette:.3f}, "
        f"gap {row.gap:.3f}{stable}"
    )
