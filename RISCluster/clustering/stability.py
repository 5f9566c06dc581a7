"""Stability of a number of clusters: whether other samples of the data would give the same ones.

Several half-samples are drawn. On each a mixture is fitted as the stage fits its own, from a map
of that half-sample alone; each labels the same latents, and every two labellings are compared.
How surely a latent is of its cluster is read from the same labellings (`training.calibration`).
Pairs of subsamples are Ben-Hur et al.'s (2002); that a fit labels samples it has not seen, so that
all are compared, is Lange et al.'s (2004); the adjusted Rand index (Hubert and Arabie 1985) is 0
for chance and 1 for the same clusters. One map for all half-samples would not do: whatever is cut
out of it, right or wrong, is cut alike in each. Clusters of which a half-sample holds fewer
than `FEWEST_SEEN` latents can't be seen to be stable.

Letters: N latents, D features, K clusters, n latents of a half-sample, m latents that are labelled,
H half-samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.metrics import adjusted_rand_score

from ..runtime import StopRequest
from .initialisation import fit_from_maps
from .mixture import Mixture, fit_kmeans, fit_mixture
from .neighbours import FURTHER_STEPS, NeighbourMap, draw_maps

LARGEST = 1000  # latents of a half-sample at most: of larger ones the map takes the time
LABELLED = 5000  # latents that all fits label, at most
FEWEST_SEEN = 10  # latents of a cluster in a half-sample, below which it can't be seen to be stable
N_INIT = 10  # restarts of k-means at most


@dataclass(frozen=True)
class Resamples:
    """Half-samples of latents, and the latents by which fits to them are compared.

    Attributes
    ----------
    parts : list of (ndarray, NeighbourMap or None)
        Latents (n, D) of each, and their map; None where mixtures start from k-means.
    index : ndarray, (m,), ascending
        Which latents are labelled.
    labelled : ndarray, (m, D)
    """

    parts: list[tuple[np.ndarray, NeighbourMap | None]]
    index: np.ndarray
    labelled: np.ndarray

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Resamples":
        """Read what `arrays` gave."""
        number = sum(name.startswith("half") for name in arrays)
        parts = [arrays[f"half{turn}"] for turn in range(number)]
        maps = NeighbourMap.several(arrays, "half") or [None] * number
        return cls(
            list(zip(parts, maps, strict=True)), arrays["labelled_index"], arrays["labelled"]
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """What they are made of, by name, for files."""
        found = {"labelled_index": self.index, "labelled": self.labelled}
        for turn, (latents, mapped) in enumerate(self.parts):
            found[f"half{turn}"] = latents
            found |= {} if mapped is None else mapped.arrays(f"_half{turn}")
        return found


def resamples(
    latents: np.ndarray, number: int, seed: int, mapped: bool, stop: StopRequest | None = None
) -> Resamples:
    """Draw half-samples at random and map each.

    Parameters
    ----------
    latents : ndarray, (N, D), float64
        Finite.
    number : int
        Of half-samples.
    seed : int
    mapped : bool
        Whether mixtures start from a map.
    stop : StopRequest, optional
        See `draw_maps`.
    """
    rng = np.random.default_rng([seed, number])
    size = min(len(latents) // 2, LARGEST)
    parts = [latents[np.sort(rng.choice(len(latents), size, replace=False))] for _ in range(number)]
    maps: list[NeighbourMap | None] = [None] * number
    if mapped:
        asked = [(part, seed + turn, LARGEST, FURTHER_STEPS) for turn, part in enumerate(parts)]
        maps = draw_maps(asked, "Mapping half-samples", stop)
    index = np.sort(rng.choice(len(latents), min(len(latents), LABELLED), replace=False))
    return Resamples(list(zip(parts, maps, strict=True)), index, latents[index])


def labellings(
    drawn: Resamples, n_clusters: int, n_init: int, seed: int, prior: float
) -> np.ndarray | None:
    """Labels that mixtures of the half-samples give to the same latents.

    Parameters
    ----------
    drawn : Resamples
    n_clusters : int
    n_init : int
        Restarts of k-means, where mixtures start from it; `N_INIT` are enough here.
    seed : int
    prior : float
        See `fit_mixture`.

    Returns
    -------
    ndarray, (H, m), or None
        None for one cluster, which is always the same, and for more clusters than a half-sample
        has latents.
    """
    if n_clusters < 2 or any(len(latents) < n_clusters for latents, _ in drawn.parts):
        return None
    found = []
    for latents, mapped in drawn.parts:
        mixture = _fit(latents, mapped, n_clusters, min(n_init, N_INIT), seed, prior)
        found.append(mixture.posterior(drawn.labelled).argmax(1))
    return np.stack(found)


def stability(labels: np.ndarray) -> tuple[float, float]:
    """Adjusted Rand index between `labellings` (H, m).

    Returns
    -------
    float, float
        Mean over all pairs of half-samples and their standard deviation.
    """
    scores = [adjusted_rand_score(one, other) for one, other in combinations(labels, 2)]
    return float(np.mean(scores)), float(np.std(scores))


def _fit(
    latents: np.ndarray,
    mapped: NeighbourMap | None,
    n_clusters: int,
    n_init: int,
    seed: int,
    prior: float,
) -> Mixture:
    """A mixture, started as the stage starts its own."""
    mixture = None
    if mapped is not None:
        mixture = fit_from_maps(latents, [mapped], n_clusters, seed, prior)
    if mixture is None:
        labels = fit_kmeans(latents, n_clusters, n_init, seed).labels_
        mixture = fit_mixture(latents, labels, n_clusters, prior)
    return mixture
