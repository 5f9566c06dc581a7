"""Initial clusters of mixtures, from t-SNE maps of the latents.

K-means and the distances of a mixture divide long thin clusters and merge clusters that touch; a
t-SNE map (van der Maaten and Hinton 2008) separates groups without neighbours between them. Where
there are no clear groups, maps differ, so that several are combined (Strehl and Ghosh 2002).

Letters: N latents, D features, m of them on a map, K clusters.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from threadpoolctl import threadpool_limits

from ..data.loading import subsample
from ..errors import Stopped
from ..runtime import Progress, StopRequest, processors
from .mixture import Mixture, fit_kmeans, fit_mixture

N_MAPS = 12
MAX_MAP_SIZE = 2500  # latents on the first map
MAP_STEPS = 1000  # of gradient descent
# Further maps: half as many latents and steps give clusters that are as good.
FURTHER_MAP_SIZE = 1250
FURTHER_MAP_STEPS = 500
FURTHER_MAP_FRACTION = 0.9  # of the latents at most
MIN_MAP_SIZE = 5
PERPLEXITY = 30.0
N_NEIGHBOURS = 10

CONSENSUS_SIZE = 5000  # latents at most, on which clusterings of maps are combined
CONSENSUS_ROUNDS = 10
PATCHES_PER_CLUSTER = 8  # fewer straddle borders, more follow noise
MAX_PATCHES = 400  # or one per cluster: joining takes their number cubed
N_LINKS = 15  # to the nearest points of the map
PATCH_N_INIT = 3
AREA_N_INIT = 10
EM_STEPS = 1  # a Gaussian for each cluster, and no more
BORDER_LIMIT = 0.5  # clusters by border are used if they separate less than this of the neighbours

Clusters = Callable[[np.ndarray, int, int], np.ndarray]


@dataclass(frozen=True)
class NeighbourMap:
    """t-SNE map of some latents."""

    index: np.ndarray  # (m,), ascending; of the latents
    points: np.ndarray  # (m, 2), float64; empty for fewer than `MIN_MAP_SIZE` latents
    neighbours: np.ndarray  # (m, n); nearest neighbours in latent space, as rows of `points`

    def arrays(self, suffix: str = "") -> dict[str, np.ndarray]:
        """Arrays by name, for files."""
        return {name + suffix: value for name, value in vars(self).items()}

    @classmethod
    def several(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> list["NeighbourMap"]:
        """Inverse of `arrays` for suffixes of a prefix and a number."""
        found, names = [], ("index", "points", "neighbours")
        while f"index_{prefix}{len(found)}" in arrays:
            suffix = f"_{prefix}{len(found)}"
            found.append(cls(*(arrays[name + suffix] for name in names)))
        return found

    def holds(self, n_clusters: int) -> bool:
        """Whether it has enough points, not all equal, for so many clusters."""
        return len(self.points) >= max(n_clusters, 2) and bool(self.points.any())


# ---- maps ---------------------------------------------------------------------------------------


def neighbour_map(
    latents: np.ndarray, seed: int, most: int = MAX_MAP_SIZE, steps: int = MAP_STEPS
) -> NeighbourMap:
    """Map at most `most` of the latents (N, D), which are finite, drawn at random.

    The same for a seed on one machine, whatever the number of threads.
    """
    index = subsample(len(latents), most, seed)
    if len(index) < MIN_MAP_SIZE:
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
    """Several maps of latents (N, D), the first as by `neighbour_map`.

    The others are smaller and leave out at least a tenth of the latents: maps of the same latents
    are cut in the same way, right or wrong. For `stop` see `draw_maps`.
    """
    most = min(FURTHER_MAP_SIZE, max(MIN_MAP_SIZE, int(FURTHER_MAP_FRACTION * len(latents))))
    further = [(latents, seed * number + i, most, FURTHER_MAP_STEPS) for i in range(1, number)]
    first = latents, seed, MAX_MAP_SIZE, MAP_STEPS
    return draw_maps([first, *further], "Mapping latents", stop)


def draw_maps(
    arguments: list[tuple[np.ndarray, int, int, int]], what: str, stop: StopRequest | None = None
) -> list[NeighbourMap]:
    """Compute maps on all processors, each by `neighbour_map` of its arguments.

    `what` is the title of the progress. A request to stop raises `Stopped`; the maps are lost.
    """
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(min(len(arguments), processors())) as pool,
        Progress(what, len(arguments), unit="maps") as progress,
    ):
        jobs = [pool.submit(neighbour_map, *each) for each in arguments]
        for _ in as_completed(jobs):
            progress.add(1)
            if stop is not None and stop.signal_number:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Stopped(
                    f"{what[0].lower()}{what[1:]}: no map is saved; run the same command to resume",
                    stop.signal_number,
                )
        return [job.result() for job in jobs]


def nearest_neighbours(latents: np.ndarray, n: int = N_NEIGHBOURS) -> np.ndarray:
    """Rows of the nearest neighbours of each latent: (N, D) to (N, n), without itself."""
    n = min(n, len(latents) - 1)
    return NearestNeighbors(n_neighbors=n).fit(latents).kneighbors(return_distance=False)


def neighbour_agreement(labels: np.ndarray, neighbours: np.ndarray) -> float:
    """How often neighbours (N, n) share one of the labels (N,), beyond chance, as Cohen's kappa.

    0 for random labels, 1 where all neighbours share a cluster, NaN for a single cluster.
    """
    fractions = np.unique(labels, return_counts=True)[1] / len(labels)
    chance = float(np.square(fractions).sum())
    if chance == 1:
        return float("nan")
    return float(((labels[neighbours] == labels[:, None]).mean() - chance) / (1 - chance))


# ---- clusters of maps ---------------------------------------------------------------------------


def fit_from_maps(
    latents: np.ndarray, maps: list[NeighbourMap], n_clusters: int, seed: int, shrinkage: float
) -> Mixture | None:
    """Mixture of latents (N, D), initialised by the clusters on which their maps agree.

    Two kinds of clusters are tried: by area, which is stable where clusters touch, and by border,
    which finds small clusters beside large ones. Those by border are used if the resulting
    mixture separates less than half as many neighbours: slightly fewer are separated by any large
    cluster. None where the maps have too few distinct points.
    """
    if not maps[0].holds(n_clusters):
        return None
    maps = [mapped for mapped in maps if mapped.holds(n_clusters)]
    known = latents[maps[0].index]
    areas, borders = (
        _fit_agreed(latents, maps, n_clusters, seed, shrinkage, clusters)
        for clusters in (clusters_by_area, clusters_by_border)
    )
    by_areas, by_borders = (
        1 - neighbour_agreement(mixture.posterior(known).argmax(1), maps[0].neighbours)
        for mixture in (areas, borders)
    )
    return borders if by_borders < BORDER_LIMIT * by_areas else areas


def _fit_agreed(
    latents: np.ndarray,
    maps: list[NeighbourMap],
    n_clusters: int,
    seed: int,
    shrinkage: float,
    clusters: Clusters,
) -> Mixture:
    """Mixture initialised by one kind of clusters of all maps."""

    def fit(mapped: NeighbourMap) -> Mixture:
        labels = clusters(mapped.points, n_clusters, seed)
        return fit_mixture(latents[mapped.index], labels, n_clusters, shrinkage, EM_STEPS)

    with threadpool_limits(1):
        fits = [fit(mapped) for mapped in maps]
    index = subsample(len(latents), CONSENSUS_SIZE, seed)
    labels = np.full(len(latents), -1)
    labels[index] = in_order(consensus([mixture.posterior(latents[index]) for mixture in fits]))
    return fit_mixture(latents, labels, n_clusters, shrinkage, EM_STEPS)


def consensus(posteriors: list[np.ndarray]) -> np.ndarray:
    """Labels (n,) of the mean of several posteriors (n, K), after matching their clusters.

    Clusters are matched one to one to those of the clustering with the highest adjusted Rand
    index to the others, then to the labels of the mean, until these no longer change; or to the
    former alone, where that would leave a cluster empty.
    """
    each = [posterior.argmax(1) for posterior in posteriors]
    likeness = np.zeros((len(each), len(each)))
    for one, other in combinations(range(len(each)), 2):
        likeness[one, other] = likeness[other, one] = adjusted_rand_score(each[one], each[other])
    middle = each[int(likeness.sum(0).argmax())]
    agreed = middle
    for _ in range(CONSENSUS_ROUNDS):
        mean = sum(
            posterior[:, _matching(labels, agreed, posterior.shape[1])]
            for posterior, labels in zip(posteriors, each, strict=True)
        )
        before, agreed = agreed, mean.argmax(1)
        if (agreed == before).all():
            break
    complete = len(np.unique(agreed)) == len(np.unique(middle))
    return agreed if complete else middle


def _matching(labels: np.ndarray, others: np.ndarray, n_clusters: int) -> np.ndarray:
    """Cluster of `labels` that is matched to each of the others, (K,)."""
    pairs = np.bincount(others * n_clusters + labels, minlength=n_clusters**2)
    shared = pairs.reshape(n_clusters, n_clusters)
    return linear_sum_assignment(shared, maximize=True)[1]


def in_order(labels: np.ndarray) -> np.ndarray:
    """Number clusters (N,) by their first members, as rounding can rotate or mirror a map."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def clusters_by_area(points: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of the points (m, 2) of a map: those of a mixture on it, (m,)."""
    labels = fit_kmeans(points, n_clusters, AREA_N_INIT, seed).labels_
    found = fit_mixture(points, labels, n_clusters).posterior(points).argmax(1)
    complete = len(np.unique(found)) == n_clusters
    return found if complete else labels


def clusters_by_border(points: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of the points (m, 2) of a map: patches, joined where many links cross the border.

    Unlike k-means and mixtures, this does not depend on the size of clusters: many links between
    neighbours cross a border within a cluster, few between clusters.
    """
    n_patches = min(PATCHES_PER_CLUSTER * n_clusters, max(MAX_PATCHES, n_clusters), len(points))
    patches = fit_kmeans(points, n_patches, PATCH_N_INIT, seed).labels_
    _, patches = np.unique(patches, return_inverse=True)  # coincident points give fewer
    return _joined(points, patches, n_clusters)


def _joined(points: np.ndarray, patches: np.ndarray, n_clusters: int) -> np.ndarray:
    """Join patches until `n_clusters` are left; labels of the points (m,)."""
    links = kneighbors_graph(points, min(N_LINKS, len(points) - 1))
    members = np.eye(patches.max() + 1)[patches]
    crossing = members.T @ (links + links.T) @ members
    sizes, label = members.sum(0), np.arange(len(crossing))
    np.fill_diagonal(crossing, 0)
    for _ in range(len(crossing) - n_clusters):
        openness = crossing / np.sqrt(np.maximum(np.minimum.outer(sizes, sizes), 1))
        openness[sizes == 0] = openness[:, sizes == 0] = -1
        np.fill_diagonal(openness, -1)
        first, second = np.unravel_index(openness.argmax(), openness.shape)
        crossing[first] += crossing[second]
        crossing[:, first] += crossing[:, second]
        crossing[first, first] = 0
        sizes[first], sizes[second] = sizes[first] + sizes[second], 0
        label[label == second] = first
    return np.unique(label, return_inverse=True)[1][patches]
