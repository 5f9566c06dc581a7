"""Maps of the latents on which neighbours stay neighbours.

A t-SNE map (van der Maaten and Hinton 2008) pulls apart what has no neighbours between; its
clusters are where mixtures start (`training.starts`). How often neighbours share a cluster is a
measure of a clustering that does not depend on the space in which it was made.

Letters: N latents, D features, m of them on the map.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from ..errors import Stopped
from ..runtime import Progress, StopRequest, processors

MAPPED = 2500  # latents on a map at most
STEPS = 1000  # of its gradient descent
# Maps beside a first one: those of half as many latents and steps agree on as good clusters.
FURTHER_MAPPED = 1250
FURTHER_STEPS = 500
SHARE = 0.9  # of the latents at most, on every map but the first
SMALLEST_MAP = 5
PERPLEXITY = 30.0
NEIGHBOURS = 10


@dataclass(frozen=True)
class NeighbourMap:
    """A map of some latents.

    Attributes
    ----------
    index : ndarray, (m,), ascending
        Which latents.
    points : ndarray, (m, 2), float64
        Where they lie; empty where there are fewer than `SMALLEST_MAP`.
    neighbours : ndarray, (m, n)
        Nearest neighbours among them in the space of the latents, as rows of `points`.
    """

    index: np.ndarray
    points: np.ndarray
    neighbours: np.ndarray

    def arrays(self, suffix: str = "") -> dict[str, np.ndarray]:
        """What it is made of, by name, for files."""
        return {name + suffix: value for name, value in vars(self).items()}

    @classmethod
    def several(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> list["NeighbourMap"]:
        """Read what `arrays` gave of maps with a prefix and their numbers for suffixes."""
        found, names = [], ("index", "points", "neighbours")
        while f"index_{prefix}{len(found)}" in arrays:
            suffix = f"_{prefix}{len(found)}"
            found.append(cls(*(arrays[name + suffix] for name in names)))
        return found

    def holds(self, n_clusters: int) -> bool:
        """Whether so many clusters can be looked for: there are points, and not all the same."""
        return len(self.points) >= max(n_clusters, 2) and bool(self.points.any())


def neighbour_map(
    latents: np.ndarray, seed: int, most: int = MAPPED, steps: int = STEPS
) -> NeighbourMap:
    """Map latents, at most `most` of them drawn at random.

    Parameters
    ----------
    latents : ndarray, (N, D)
        Finite.
    seed : int
    most : int
    steps : int

    Returns
    -------
    NeighbourMap
        The same for a seed on one machine, whatever the number of threads.
    """
    index = np.arange(len(latents))
    if len(index) > most:
        index = np.sort(np.random.default_rng(seed).choice(len(index), most, replace=False))
    if len(index) < SMALLEST_MAP:
        return NeighbourMap(index[:0], np.empty((0, 2)), np.empty((0, 0), dtype=int))
    known = np.asarray(latents[index], dtype=np.float64)
    spread = float(known.std())
    if spread == 0:
        return NeighbourMap(index, np.zeros((len(index), 2)), nearest_neighbours(known))
    perplexity = min(PERPLEXITY, (len(index) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=steps, random_state=seed)
    with threadpool_limits(1):  # sums of several threads differ in the last digits
        points = tsne.fit_transform(known / spread)
    return NeighbourMap(index, points.astype(np.float64), nearest_neighbours(known))


def neighbour_maps(
    latents: np.ndarray, seed: int, number: int, stop: StopRequest | None = None
) -> list[NeighbourMap]:
    """Several maps, each of other latents.

    Parameters
    ----------
    latents : ndarray, (N, D)
        Finite.
    seed : int
    number : int
    stop : StopRequest, optional
        See `draw_maps`.

    Returns
    -------
    list of NeighbourMap
        The first is `neighbour_map`'s; the others are smaller and leave a tenth of the latents
        out at least: of the same latents, maps are cut alike whether that is right or wrong.
    """
    most = min(FURTHER_MAPPED, max(SMALLEST_MAP, int(SHARE * len(latents))))
    further = [(latents, seed * number + turn, most, FURTHER_STEPS) for turn in range(1, number)]
    return draw_maps([(latents, seed, MAPPED, STEPS), *further], "Mapping latents", stop)


def draw_maps(
    asked: list[tuple[np.ndarray, int, int, int]], what: str, stop: StopRequest | None = None
) -> list[NeighbourMap]:
    """Draw maps on all processors.

    Parameters
    ----------
    asked : list of tuple
        What `neighbour_map` takes, of each.
    what : str
        In a word or two, for whoever waits.
    stop : StopRequest, optional
        Looked at whenever a map is done.

    Raises
    ------
    Stopped
        On such a request; those maps are lost, which take seconds.
    """
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(min(len(asked), processors())) as pool,
        Progress(what, len(asked), unit="maps") as progress,
    ):
        jobs = [pool.submit(neighbour_map, *arguments) for arguments in asked]
        for _ in as_completed(jobs):
            progress.add(1)
            if stop is not None and stop.signal_number:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Stopped(
                    f"{what[0].lower()}{what[1:]}: no map is kept, all before it is; run the same "
                    "command to go on",
                    stop.signal_number,
                )
        return [job.result() for job in jobs]


def nearest_neighbours(latents: np.ndarray, n: int = NEIGHBOURS) -> np.ndarray:
    """Rows of the nearest neighbours of each latent: (N, D) to (N, n), itself not among them."""
    n = min(n, len(latents) - 1)
    return NearestNeighbors(n_neighbors=n).fit(latents).kneighbors(return_distance=False)


def neighbour_agreement(labels: np.ndarray, neighbours: np.ndarray) -> float:
    """How often neighbours share a cluster, beyond chance.

    As Cohen's kappa: 0 is what labels dealt out at random would have, 1 means that no sample has
    a neighbour of another cluster.

    Parameters
    ----------
    labels : ndarray, (N,)
    neighbours : ndarray, (N, n)
        See `nearest_neighbours`.

    Returns
    -------
    float
        NaN where all samples have one label.
    """
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    chance = float(np.square(shares).sum())
    if chance == 1:
        return float("nan")
    return float(((labels[neighbours] == labels[:, None]).mean() - chance) / (1 - chance))
