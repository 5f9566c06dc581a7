"""Initial clusters of mixtures: the consensus of Ward trees over several views of the latents.

Which features separate the classes of a data set best is not known without labels. Clusters are
therefore built from many views: every combination of the blocks of latents (learnt, smoothed,
modulation), scaled to equal variance, as they are and with every feature scaled to equal variance,
and t-SNE maps (van der Maaten and Hinton 2008). Each view has a tree of clusters (Ward 1963), from
which clusters for every K are cut. The consensus is a spectral partition of the graph that links
each latent to its cluster in each view (Fern and Brodley 2004).

Letters: N latents, D features, m latents of the trees, V views, K clusters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas
from joblib import Parallel, cpu_count, delayed
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_matrix, hstack
from scipy.special import logsumexp
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from ..data.sets import subsample
from ..runtime import count, log
from .mixture import MAX_ITERATIONS, Mixture, fit_kmeans, fit_mixture

MAX_TREE_SIZE = 2000  # latents of the trees
MAX_CONVERGED_SIZE = 10000  # latents, with those of the trees, for a fit that has converged
MIN_TREE_SIZE = 5
MAP_STEPS = 500  # of gradient descent
MAP_WEIGHT = 2.0  # of a view that is a map; 1 of the others
PERPLEXITY = 30.0
N_NEIGHBOURS = 10
CONSENSUS_N_INIT = 10
EM_STEPS = 2

PATCHES_PER_CLUSTER = 8  # with fewer, patches hold samples of two clusters; with more, noise
MAX_PATCHES = 400  # or one per cluster: joining takes their number cubed
MIN_SEPARATION = 1e-3  # of neighbours; less is not measured
CLEARLY_FEWER = 0.9  # separated neighbours, of those of the consensus


@dataclass(frozen=True)
class Trees:
    """Ward trees of some latents."""

    index: np.ndarray  # (m,), ascending; of the latents
    links: np.ndarray  # (V, m - 1, 4), as of scipy's linkage; the first is of all features
    weights: np.ndarray  # (V,)
    points: np.ndarray  # (m, 2); t-SNE map of all features, (0, 2) without maps
    neighbours: np.ndarray  # (m, n); nearest neighbours, as rows of `index`

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Trees":
        """Inverse of `vars`."""
        return cls(*(arrays[name] for name in cls.__annotations__))

    def cut(self, n_clusters: int) -> np.ndarray:
        """Clusters of each view, (V, m)."""
        return np.stack([fcluster(link, n_clusters, "maxclust") - 1 for link in self.links])


# ---- views --------------------------------------------------------------------------------------


def grow_trees(
    latents: np.ndarray, blocks: Sequence[int], seed: int, with_maps: bool = True
) -> Trees | None:
    """Trees of at most `MAX_TREE_SIZE` of the finite latents (N, D), drawn at random.

    `blocks` are the numbers of features of the blocks, in their order. None for fewer than
    `MIN_TREE_SIZE` latents, or latents that are all equal.
    """
    index = subsample(len(latents), MAX_TREE_SIZE, seed)
    if len(index) < MIN_TREE_SIZE:
        return None
    x = np.asarray(latents[index], dtype=np.float64)
    parts = np.split(x - x.mean(0), np.cumsum(blocks)[:-1], axis=1)
    parts = [part for part in parts if part.size and part.std() > 0]
    if not parts:
        return None
    parts = [part / np.sqrt(part.var(0).sum()) for part in parts]
    scaled = [part / np.where(part.std(0) > 0, part.std(0), 1.0) for part in parts]
    scaled = [part / np.sqrt(part.shape[1]) for part in scaled]
    sizes = range(len(parts), 0, -1)
    chosen = [choice for n in sizes for choice in combinations(range(len(parts)), n)]
    views = [
        np.concatenate([kind[i] for i in choice], axis=1)
        for kind in (parts, scaled)
        for choice in chosen
    ]
    weights, maps = [1.0] * len(views), []
    if with_maps:
        mapped = [views[0]]
        if len(parts) > 1:
            mapped += [parts[0], np.concatenate(parts[1:], axis=1)]
        log.info(f"drawing {count(len(mapped), 't-SNE map')} of {len(index):,} latents")
        with threadpool_limits(1):
            pool = Parallel(min(len(mapped), cpu_count()), prefer="threads")
            maps = pool(delayed(tsne)(view, seed) for view in mapped)
        weights += [MAP_WEIGHT] * len(maps)
    with threadpool_limits(1):
        links = np.stack([linkage(view, "ward") for view in views + maps])
    points = maps[0] if maps else np.empty((0, 2))
    return Trees(index, links, np.array(weights), points, nearest_neighbours(views[0]))


def tsne(latents: np.ndarray, seed: int) -> np.ndarray:
    """Map latents (m, D) to (m, 2), float64.

    The same for a seed on one machine, whatever the number of threads.
    """
    x = np.asarray(latents, dtype=np.float64)
    spread = float(x.std())
    if spread == 0:
        return np.zeros((len(x), 2))
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", max_iter=MAP_STEPS, random_state=seed)
    with threadpool_limits(1):  # sums of several threads differ in the last digits
        return method.fit_transform(x / spread).astype(np.float64)


def nearest_neighbours(latents: np.ndarray, n: int = N_NEIGHBOURS) -> np.ndarray:
    """Rows of the nearest neighbours of each latent: (N, D) to (N, n), without itself."""
    n = min(n, len(latents) - 1)
    return NearestNeighbors(n_neighbors=n).fit(latents).kneighbors(return_distance=False)


def neighbour_agreement(labels: np.ndarray, neighbours: np.ndarray) -> float:
    """How often neighbours (N, n) share a label (N,), beyond chance, as Cohen's kappa.

    0 for random labels, 1 where all neighbours share a cluster, NaN for a single cluster.
    """
    fractions = np.unique(labels, return_counts=True)[1] / len(labels)
    chance = float(np.square(fractions).sum())
    if chance == 1:
        return float("nan")
    return float(((labels[neighbours] == labels[:, None]).mean() - chance) / (1 - chance))


# ---- clusters -----------------------------------------------------------------------------------


def fit_from_trees(
    latents: np.ndarray, trees: Trees, n_clusters: int, seed: int, shrinkage: float
) -> Mixture:
    """Mixture of latents (N, D), float64, initialised by the consensus of views or joined patches.

    Ward's criterion divides large clusters before it separates small ones. Joining patches that
    have many neighbours in common does not, but where clusters touch it joins them through a few
    samples in between. Joined patches are used if log(s1 / s2) > L1 - L2, no cluster is lost, and
    s2 < 0.9 s1 where expectation maximisation of some latents has converged: it divides clusters
    that were joined by chance. s is the share of separated neighbours (1 - `neighbour_agreement`),
    L the mean log-likelihood of a latent, of the consensus (1) and of the joined patches (2).
    """
    known, partitions = latents[trees.index], []
    for clusters in (consensus(trees, n_clusters, seed), join_patches(trees, n_clusters)):
        partitions.append(np.full(len(latents), -1))
        # Rounding does not change numbers.
        partitions[-1][trees.index] = pandas.factorize(clusters)[0]

    def fit(rows: Any, steps: int) -> Iterator[tuple[Mixture, float, float, int]]:
        """Mixture, separated neighbours, likelihood, number of clusters of each partition."""
        for labels in partitions:
            mixture = fit_mixture(latents[rows], labels[rows], n_clusters, shrinkage, steps)
            densities = mixture.log_densities(known)
            found, likelihood = densities.argmax(1), logsumexp(densities, axis=1).mean()
            separated = 1 - neighbour_agreement(found, trees.neighbours)
            yield mixture, max(separated, MIN_SEPARATION), likelihood, len(np.unique(found))

    (first, s1, likelihood, _), (second, s2, other, n_found) = fit(slice(None), EM_STEPS)
    if n_found < n_clusters or not np.log(s1 / s2) > likelihood - other:
        return first
    some = np.union1d(trees.index, subsample(len(latents), MAX_CONVERGED_SIZE, seed))
    (_, s1, *_), (_, s2, *_) = fit(some, MAX_ITERATIONS)
    return second if s2 < CLEARLY_FEWER * s1 else first


@threadpool_limits.wrap(limits=1)
def consensus(trees: Trees, n_clusters: int, seed: int) -> np.ndarray:
    """Labels (m,) on which the views agree (Fern and Brodley 2004)."""
    if n_clusters == 1:
        return np.zeros(len(trees.index), dtype=int)
    members = []
    for labels, weight in zip(trees.cut(n_clusters), trees.weights, strict=True):
        values = np.sqrt(weight / np.bincount(labels))[labels]
        members.append(csr_matrix((values, (np.arange(len(labels)), labels))))
    left, _, _ = randomized_svd(hstack(members).tocsr(), n_clusters, random_state=seed)
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
    return fit_kmeans(left, n_clusters, CONSENSUS_N_INIT, seed).labels_


def join_patches(trees: Trees, n_clusters: int) -> np.ndarray:
    """Labels (m,): patches of the first tree, joined where many neighbours are in the other patch.

    Many do within a cluster and few between clusters, whatever their size.
    """
    n_patches = min(PATCHES_PER_CLUSTER * n_clusters, max(MAX_PATCHES, n_clusters))
    patches = fcluster(trees.links[0], n_patches, "maxclust") - 1
    number = patches.max() + 1
    pairs = patches[:, None] * number + patches[trees.neighbours]
    crossing = np.bincount(pairs.ravel(), minlength=number**2).reshape(number, number).astype(float)
    crossing += crossing.T
    sizes, label = np.bincount(patches).astype(float), np.arange(number)
    for _ in range(number - n_clusters):
        openness = crossing / np.sqrt(np.maximum(np.minimum.outer(sizes, sizes), 1))
        openness[sizes == 0] = openness[:, sizes == 0] = -1
        np.fill_diagonal(openness, -1)
        first, second = np.unravel_index(openness.argmax(), openness.shape)
        crossing[first] += crossing[second]
        crossing[:, first] += crossing[:, second]
        sizes[first], sizes[second] = sizes[first] + sizes[second], 0
        label[label == second] = first
    return label[patches]
