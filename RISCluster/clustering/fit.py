"""Mixtures of every number of clusters, fitted in parallel and cached until the stage has ended.

Letters: N latents that mixtures are fitted to, D features, K clusters.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_score

from ..data.split import subsample
from ..errors import CheckpointError, Stopped
from ..io import read_npz, remove_quietly, sha256, write_npz
from ..parallel import Job, Parts
from ..runtime import StopRequest, log, processors
from ..settings import GmmSettings, Settings
from .initialisation import Trees, fit_from_trees, grow_trees
from .mixture import Mixture, fit_kmeans, fit_mixture
from .selection import Criteria, gap_statistic
from .stability import MAX_N_INIT, Resamples, labellings, resamples, stability, temperature

MIN_PARALLEL = 1000  # latents: for fewer, a fit is faster than the start of a process
MAX_CRITERIA_SIZE = 2000  # latents of silhouette, inertia and gap statistic


@dataclass(frozen=True)
class Basis:
    """Input of the fits for every number of clusters."""

    latents: np.ndarray  # (N, D), float64
    blocks: np.ndarray  # numbers of features; see `grow_trees`
    trees: Trees | None  # None where mixtures start from k-means

    @classmethod
    def draw(
        cls,
        latents: np.ndarray,
        blocks: Sequence[int],
        settings: GmmSettings,
        seed: int,
        stop: StopRequest,
    ) -> "Basis":
        """Grow the trees; raises `Stopped` on a request."""
        trees = None
        if settings.init == "consensus":
            trees = grow_trees(latents, blocks, seed, stop=stop)
        return cls(latents, np.array(blocks), trees)

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Inverse of `save`."""
        arrays = read_npz(path)
        trees = Trees.from_arrays(arrays) if "links" in arrays else None
        return cls(arrays["latents"], arrays["blocks"], trees)

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        write_npz(
            path,
            latents=self.latents,
            blocks=self.blocks,
            **(vars(self.trees) if self.trees else {}),
        )

    def halves(self, settings: GmmSettings, seed: int) -> Resamples | None:
        """Half-samples of the latents; None without ``gmm.n_resamples``."""
        if settings.n_resamples is None:
            return None
        blocks = self.blocks.tolist() if self.trees else None
        return resamples(self.latents, blocks, settings.n_resamples, seed)


class Fits:
    """Basis and mixtures of a stage, cached in files beside `target` until `remove`."""

    def __init__(self, target: Path, settings: Settings, stop: StopRequest):
        self.settings, self.seed, self.stop = settings.gmm, settings.run.seed, stop
        self._parts = Parts(target, settings.run)
        self._basis = target.with_name(f"{target.name}.npz")

    def basis(self, latents: np.ndarray, blocks: Sequence[int]) -> Basis:
        """The cached basis, or a new one of latents (N, D) in blocks of features."""
        self._small = len(latents) < MIN_PARALLEL
        if self._basis.exists():
            try:
                return Basis.load(self._basis)
            except (CheckpointError, KeyError) as error:  # a key: written by an earlier version
                log.warning(f"{self._basis}: can't be used ({error}); it is made again")
        basis = Basis.draw(latents, blocks, self.settings, self.seed, self.stop)
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
        workers = 1 if self._small else min(processors(), len(jobs))
        # The largest K takes longest, and is begun first.
        self._parts.run(jobs[::-1], fit_number, workers, "Fitting mixtures", "K")
        found = {k: read_npz(self._parts.path(job)) for k, job in zip(numbers, jobs, strict=True)}
        rows = [Criteria(k, *found[k]["criteria"].tolist()) for k in numbers]
        return {k: Mixture.from_arrays(found[k]) for k in numbers}, rows

    def remove(self) -> None:
        """Remove the cached files, once the stage is complete."""
        self._parts.remove()
        remove_quietly(self._basis)


@lru_cache(maxsize=1)
def _read(
    path: Path, checksum: str, settings: GmmSettings, seed: int
) -> tuple[Basis, Resamples | None]:
    """The basis and its half-samples, made once per process and checksum."""
    basis = Basis.load(path)
    return basis, basis.halves(settings, seed)


def fit_number(inputs: tuple[Path, str, GmmSettings, int, int], path: Path) -> dict[str, Any]:
    """Fit the mixture of one K, compute its criteria and write both to `path`: a `Job`.

    `inputs` are file and checksum of the basis, settings, seed and K. Returns lines for the log.
    """
    source, checksum, settings, seed, k = inputs
    basis, halves = _read(source, checksum, settings, seed)
    shrinkage = settings.covariance_shrinkage
    latents, trees, agreement, mixture = basis.latents, basis.trees, float("nan"), None
    if trees is not None:
        mixture = fit_from_trees(latents, trees, k, seed, shrinkage)
    if mixture is None:
        labels = fit_kmeans(latents, k, settings.n_init, seed).labels_
        mixture = fit_mixture(latents, labels, k, shrinkage)
    elif k > 1:
        agreement = trees.agreement(mixture.posterior(latents[trees.index]).argmax(1), k)
    scores, votes = (float("nan"), float("nan")), None
    if halves is not None:
        votes = labellings(halves, k, settings.n_init, seed, shrinkage)
    if votes is not None:
        found = temperature(mixture, halves.labelled, votes)
        mixture, scores = replace(mixture, temperature=found), stability(votes)
    few = latents[subsample(len(latents), max(MAX_CRITERIA_SIZE, k), seed)]
    inertia = float(fit_kmeans(few, k, min(settings.n_init, MAX_N_INIT), seed).inertia_)
    bic, n = mixture.bic(latents, shrinkage), len(latents)
    criteria = Criteria(
        k,
        bic,
        bic - mixture.n_parameters(n, shrinkage) * (np.log(n) - 2),  # AIC, by its definition
        _silhouette(few, mixture),
        inertia,
        *gap_statistic(few, k, inertia, seed),
        *scores,
        agreement,
    )
    write_npz(path, criteria=np.array(astuple(criteria)[1:]), **mixture.arrays())
    return {"infos": [_line(criteria)]}


def _silhouette(latents: np.ndarray, mixture: Mixture) -> float:
    """Mean silhouette; NaN for one cluster."""
    labels = mixture.posterior(latents).argmax(1)
    if not 1 < len(np.unique(labels)) < len(latents):
        return float("nan")
    return float(silhouette_score(latents, labels))


def _line(row: Criteria) -> str:
    values = {"stability": row.stability, "agreement of views": row.agreement}
    known = "".join(f", {name} {value:.3f}" for name, value in values.items() if value == value)
    return (
        f"K = {row.n_clusters}: bic {row.bic:.6g}, silhouette {row.silhouette:.3f}, "
        f"gap {row.gap:.3f}{known}"
    )
