"""Clusters where mixtures start: those of maps of the latents, on which several maps agree.

K-means and the distances of a mixture see a long thin cluster as two, and two that touch as one;
a map pulls apart what has no neighbours between. Where there are no clear groups, one map is cut
in one way and the next in another: fits to several are brought together (Strehl and Ghosh 2002).

Letters: N latents, D features, m of them on a map, K clusters, M maps.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import kneighbors_graph
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from .mixture import Mixture, fit_kmeans, fit_mixture
from .neighbours import NeighbourMap, neighbour_agreement

MAPS = 12
COMPARED = 5000  # latents at most, on which fits to maps are brought together
PATCHES = 8  # a cluster; fewer straddle borders, more follow noise
MOST_PATCHES = 400  # where there are not more clusters: joining takes their number cubed
LINKS = 15  # to the nearest points of the map
N_INIT = 3
N_INIT_AREAS = 10
EM_STEPS = 1  # of expectation and maximisation: clusters of neighbours, in the words of Gaussians
BY_BORDERS = 0.5  # of the neighbours that areas part: borders that part fewer are believed
ROUNDS = 10

Clusters = Callable[[np.ndarray, int, int], np.ndarray]


def fit_from_maps(
    latents: np.ndarray, maps: list[NeighbourMap], n_clusters: int, seed: int, prior: float
) -> Mixture | None:
    """Mixture of the latents that starts from the clusters on which their maps agree.

    Two starts are tried: by areas, which is steady where clusters touch, and by borders, which
    keeps small clusters beside large ones. Borders are believed where the mixture that comes of
    them parts less than half as many neighbours: a few less are parted by any large cluster that
    leaves little for the others.

    Parameters
    ----------
    latents : ndarray, (N, D), float64
    maps : list of NeighbourMap
        Of these latents; the first is that on which neighbours are counted.
    n_clusters : int
    seed : int
    prior : float
        See `fit_mixture`.

    Returns
    -------
    Mixture or None
        None where there is no map to speak of.
    """
    if not maps[0].holds(n_clusters):
        return None
    maps = [mapped for mapped in maps if mapped.holds(n_clusters)]
    known = latents[maps[0].index]
    areas, borders = (
        _fit_agreed(latents, maps, n_clusters, seed, prior, clusters)
        for clusters in (clusters_by_area, clusters_by_border)
    )
    by_areas, by_borders = (
        1 - neighbour_agreement(mixture.posterior(known).argmax(1), maps[0].neighbours)
        for mixture in (areas, borders)
    )
    return borders if by_borders < BY_BORDERS * by_areas else areas


def _fit_agreed(
    latents: np.ndarray,
    maps: list[NeighbourMap],
    n_clusters: int,
    seed: int,
    prior: float,
    clusters: Clusters,
) -> Mixture:
    """Mixture that starts from one kind of clusters, of all maps together."""

    def fit(mapped: NeighbourMap) -> Mixture:
        labels = clusters(mapped.points, n_clusters, seed)
        return fit_mixture(latents[mapped.index], labels, n_clusters, prior, EM_STEPS)

    with threadpool_limits(1):
        fits = [fit(mapped) for mapped in maps]
    index = np.arange(len(latents))
    if len(index) > COMPARED:
        index = np.sort(np.random.default_rng(seed).choice(len(index), COMPARED, replace=False))
    labels = np.full(len(latents), -1)
    labels[index] = in_order(consensus([mixture.posterior(latents[index]) for mixture in fits]))
    return fit_mixture(latents, labels, n_clusters, prior, EM_STEPS)


def consensus(posteriors: list[np.ndarray]) -> np.ndarray:
    """Labels that most of several clusterings give.

    Clusters are matched to those of the clustering that is most like the others, one to one so
    that most samples agree; probabilities are averaged, and matched anew to what that makes.

    Parameters
    ----------
    posteriors : list of ndarray, (n, K)

    Returns
    -------
    ndarray, (n,)
        Where that would leave a cluster empty, the labels of the clustering most like the others.
    """
    each = [posterior.argmax(1) for posterior in posteriors]
    likeness = np.zeros((len(each), len(each)))
    for one, other in combinations(range(len(each)), 2):
        likeness[one, other] = likeness[other, one] = adjusted_rand_score(each[one], each[other])
    middle = each[int(likeness.sum(0).argmax())]
    agreed = middle
    for _ in range(ROUNDS):
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
    """For each of the other clusters, the one of `labels` that shares most with it, (K,)."""
    pairs = np.bincount(others * n_clusters + labels, minlength=n_clusters**2)
    shared = pairs.reshape(n_clusters, n_clusters)
    return linear_sum_assignment(shared, maximize=True)[1]


def in_order(labels: np.ndarray) -> np.ndarray:
    """Clusters (N,) numbered by their first members.

    A map turns or mirrors where latents differ by rounding, as between numbers of processes; the
    numbers of the clusters then stay.
    """
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def clusters_by_area(points: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of the points (m, 2) of a map: those of a mixture on it, (m,)."""
    labels = fit_kmeans(points, n_clusters, N_INIT_AREAS, seed).labels_
    found = fit_mixture(points, labels, n_clusters).posterior(points).argmax(1)
    complete = len(np.unique(found)) == n_clusters
    return found if complete else labels


def clusters_by_border(points: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Clusters of a map: small patches of it, joined where the border between them is open.

    A map spreads its points evenly, so that k-means or a mixture on it cuts what is large into
    pieces and leaves together what is small. Borders don't depend on size: within a cluster, the
    links between neighbours that cross from one patch to the next are as many as its edge is
    long, and between clusters they are few.

    Parameters
    ----------
    points : ndarray, (m, 2)
    n_clusters : int
        At most m.
    seed : int

    Returns
    -------
    ndarray, (m,)
        Where points coincide, fewer clusters than asked for.
    """
    n_patches = min(PATCHES * n_clusters, max(MOST_PATCHES, n_clusters), len(points))
    patches = fit_kmeans(points, n_patches, N_INIT, seed).labels_
    _, patches = np.unique(patches, return_inverse=True)  # points that coincide make fewer
    return _joined(points, patches, n_clusters)


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
