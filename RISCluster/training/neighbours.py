"""A map of the latents on which neighbours stay neighbours, and what it says about clusters.

K-means and the distances of a mixture see a long thin cluster as two, and two that touch as one;
a t-SNE map (van der Maaten and Hinton 2008) pulls apart what has no neighbours between. Its
clusters are where mixtures start, and how often neighbours share a cluster is a measure of a
clustering that does not depend on the space in which it was made.

Letters: N latents, D features, m of them on the map, K clusters.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from .gmm import Mixture, fit_kmeans, fit_mixture

MAPPED = 2500  # latents on a map at most
SMALLEST_MAP = 5
PERPLEXITY = 30.0
PATCHES = 8  # a cluster; fewer straddle borders, more follow noise
MOST_PATCHES = 400  # where there are not more clusters: joining takes their number cubed
LINKS = 15  # to the nearest points of the map
N_INIT = 3
N_INIT_AREAS = 20
STEPS = 3  # of expectation and maximisation: clusters of neighbours, in the words of Gaussians
BY_BORDERS = 0.02  # more neighbours together, beyond chance, for which borders are believed
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

    def holds(self, n_clusters: int) -> bool:
        """Whether so many clusters can be looked for: there are points, and not all the same."""
        return len(self.points) >= max(n_clusters, 2) and bool(self.points.any())


def neighbour_map(latents: np.ndarray, seed: int, most: int = MAPPED) -> NeighbourMap:
    """Map latents, at most `most` of them drawn at random.

    Parameters
    ----------
    latents : ndarray, (N, D)
        Finite.
    seed : int
    most : int

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
    tsne = TSNE(perplexity=min(PERPLEXITY, (len(index) - 1) / 3), init="pca", random_state=seed)
    with threadpool_limits(1, "openmp"):  # sums of several threads differ from run to run
        points = tsne.fit_transform(known / spread)
    return NeighbourMap(index, points.astype(np.float64), nearest_neighbours(known))


def fit_from_map(
    latents: np.ndarray, mapped: NeighbourMap, n_clusters: int, seed: int, prior: float
) -> Mixture | None:
    """Mixture of the latents that starts from the clusters of their map.

    Two starts are tried: by areas, which is steady where clusters touch, and by borders, which
    keeps small clusters beside large ones. Borders are believed where clearly more neighbours
    share a cluster of the mixture that comes of them.

    Parameters
    ----------
    latents : ndarray, (N, D), float64
    mapped : NeighbourMap
        Of these latents.
    n_clusters : int
    seed : int
    prior : float
        See `fit_mixture`.

    Returns
    -------
    Mixture or None
        None where there is no map to speak of.
    """
    fits = []
    for clusters in (clusters_by_area, clusters_by_border):
        labels = clusters(mapped, len(latents), n_clusters, seed)
        if (labels < 0).all():
            return None
        fits.append(fit_mixture(latents, in_order(labels), n_clusters, prior, STEPS))
    known = latents[mapped.index]
    areas, borders = (
        neighbour_agreement(fit.posterior(known).argmax(1), mapped.neighbours) for fit in fits
    )
    return fits[int(borders > areas + BY_BORDERS)]


def in_order(labels: np.ndarray) -> np.ndarray:
    """Clusters (N,) numbered by their first members; -1 stays.

    A map turns or mirrors where latents differ by rounding, as between numbers of processes; the
    numbers of the clusters then stay.
    """
    found, first, place = np.unique(labels, return_index=True, return_inverse=True)
    first = np.where(found < 0, -1, first)
    return np.argsort(np.argsort(first))[place] - int(found[0] < 0)


def clusters_by_area(mapped: NeighbourMap, n: int, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of a map: those of a mixture on it; as `clusters_by_border`."""
    labels = np.full(n, -1)
    if not mapped.holds(n_clusters):
        return labels
    kmeans = fit_kmeans(mapped.points, n_clusters, N_INIT_AREAS, seed)
    mixture = fit_mixture(mapped.points, kmeans.labels_, n_clusters)
    found = mixture.posterior(mapped.points).argmax(1)
    complete = len(np.unique(found)) == n_clusters
    labels[mapped.index] = found if complete else kmeans.labels_
    return labels


def clusters_by_border(mapped: NeighbourMap, n: int, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of a map: small patches of it, joined where the border between them is open.

    A map spreads its points evenly, so that k-means or a mixture on it cuts what is large into
    pieces and leaves together what is small. Borders don't depend on size: within a cluster, the
    links between neighbours that cross from one patch to the next are as many as its edge is
    long, and between clusters they are few.

    Parameters
    ----------
    mapped : NeighbourMap
    n : int
        Latents that it was made of, N.
    n_clusters : int
    seed : int

    Returns
    -------
    ndarray, (N,)
        Labels; -1 for latents that are not on the map. All -1 where there is no map to speak of.
    """
    labels = np.full(n, -1)
    if not mapped.holds(n_clusters):
        return labels
    n_patches = min(PATCHES * n_clusters, max(MOST_PATCHES, n_clusters), len(mapped.points))
    patches = fit_kmeans(mapped.points, n_patches, N_INIT, seed).labels_
    _, patches = np.unique(patches, return_inverse=True)  # points that coincide make fewer
    if patches.max() + 1 >= n_clusters:
        labels[mapped.index] = _joined(mapped.points, patches, n_clusters)
    return labels


def _joined(points: np.ndarray, patches: np.ndarray, n_clusters: int) -> np.ndarray:
    """Labels of points (m,) when patches are joined until so many are left."""
    links = kneighbors_graph(points, min(LINKS, len(points) - 1))
    members = np.eye(patches.max() + 1)[patches]
    crossing = members.T @ (links + links.T) @ members
    sizes, label = members.sum(0), np.arange(len(crossing))
    np.fill_diagonal(crossing, 0)
    for _ in range(len(crossing) - n_clusters):
        openness = crossing / np.sqrt(np.maximum(np.minimum.outer(sizes, sizes), 1))
        openness[sizes == 0] = openness[:, sizes == 0] = -1
        np.fill_diagonal(openness, -1)
        kept, gone = np.unravel_index(openness.argmax(), openness.shape)
        crossing[kept] += crossing[gone]
        crossing[:, kept] += crossing[:, gone]
        crossing[kept, kept] = 0
        sizes[kept], sizes[gone] = sizes[kept] + sizes[gone], 0
        label[label == gone] = kept
    return np.unique(label, return_inverse=True)[1][patches]


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
