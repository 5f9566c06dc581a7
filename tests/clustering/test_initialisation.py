import signal

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from sklearn.metrics import adjusted_rand_score

from RISCluster.clustering import initialisation
from RISCluster.clustering.initialisation import (
    MAP_WEIGHT,
    Trees,
    consensus,
    fit_from_trees,
    grow_trees,
    in_order,
    join_patches,
    nearest_neighbours,
    neighbour_agreement,
)
from RISCluster.errors import Stopped
from RISCluster.runtime import StopRequest


def two_moons(n=400, seed=0):
    """Two bent clusters, which k-means and Gaussians started from it do not find."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x[classes == 1] = np.array([1, 0.5]) - x[classes == 1]
    return x + 0.04 * rng.standard_normal(x.shape), classes


def three_clouds(counts):
    rng = np.random.default_rng(0)
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[np.repeat([0, 1, 2], counts)]
    return latents + rng.standard_normal(latents.shape)


def labelled(latents, blocks=(3,), n_clusters=3, **words):
    trees = grow_trees(latents, blocks, 0, **words)
    return fit_from_trees(latents, trees, n_clusters, 0, 2.0).posterior(latents).argmax(1)


def test_views_are_all_combinations_of_blocks_and_maps_of_some():
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((60, 6)) * [1, 1, 1, 1, 100, 10]
    trees = grow_trees(latents, (3, 1, 2), 0)
    assert trees.links.shape == (2 * 7 + 3, 59, 4)
    assert trees.weights.tolist() == [1.0] * 14 + [MAP_WEIGHT] * 3
    blocks = [block - block.mean(0) for block in np.split(latents, [3, 4], axis=1)]
    scaled = [block / np.sqrt(block.var(0).sum()) for block in blocks]
    np.testing.assert_allclose(trees.links[0], linkage(np.hstack(scaled), "ward"))
    np.testing.assert_allclose(trees.links[3], linkage(np.hstack(scaled[1:]), "ward"))
    each = latents[:, 4:] / latents[:, 4:].std(0) / np.sqrt(2)
    np.testing.assert_allclose(trees.links[13], linkage(each, "ward"))
    np.testing.assert_array_equal(trees.neighbours, nearest_neighbours(np.hstack(scaled)))
    assert grow_trees(latents, (6,), 0, with_maps=False).links.shape == (2, 59, 4)
    assert trees.points.shape == (60, 2)
    again = grow_trees(latents, (3, 1, 2), 0)
    assert all(
        (a == b).all() for a, b in zip(vars(trees).values(), vars(again).values(), strict=True)
    )


def test_trees_are_of_a_sample_of_the_latents(monkeypatch):
    monkeypatch.setattr(initialisation, "MAX_TREE_SIZE", 50)
    latents = three_clouds([300, 100, 100])
    trees = grow_trees(latents, (3,), 0)
    assert len(trees.index) == len(set(trees.index)) == 50
    found = fit_from_trees(latents, trees, 3, 0, 2.0).posterior(latents).argmax(1)
    assert sorted(np.bincount(found)) == [100, 100, 300]
    assert fit_from_trees(latents, trees, 51, 0, 2.0) is None


def trees_of(*cuts):
    """Trees that have these labels at as many clusters as these."""
    links = [linkage(np.array(labels, dtype=float)[:, None], "ward") for labels in cuts]
    m = len(cuts[0])
    return Trees(
        np.arange(m), np.stack(links), np.ones(len(cuts)), np.empty((0, 2)), np.zeros((m, 1), int)
    )


def test_consensus_is_that_of_most_views_whatever_their_numbers():
    trees = trees_of([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1])
    assert in_order(consensus(trees, 2, 0)).tolist() == [0, 0, 0, 1, 1, 1]
    assert in_order(np.array([2, 2, 0, 1, 0])).tolist() == [0, 0, 1, 2, 1]


def test_weights_of_views_count():
    trees = trees_of([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [1, 1, 0, 0, 0, 1])
    trees.weights[:] = [1, 1, 20]
    assert in_order(consensus(trees, 2, 0)).tolist() == [0, 0, 1, 1, 1, 0]


def test_agreement_of_the_views_by_hand():
    # See the mean over pairs of half-samples: 1 and -0.5.
    trees = trees_of([0, 0, 1, 1], [0, 1, 0, 1])
    assert trees.agreement(np.array([1, 1, 0, 0]), 2) == pytest.approx(0.25)
    trees.weights[:] = [2, 1]
    assert trees.agreement(np.array([1, 1, 0, 0]), 2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "counts", [[850, 60, 40], [100, 100, 100], [1960, 20, 20]], ids=["uneven", "even", "rare"]
)
def test_large_and_small_clusters_are_found(counts):
    found = np.bincount(labelled(three_clouds(counts)))
    np.testing.assert_array_equal(sorted(found), sorted(counts))


def test_rare_clusters_are_found_with_more_clusters_than_there_are():
    """Ward's criterion alone divides the large cluster."""
    latents, classes = three_clouds([960, 20, 20]), np.repeat([0, 1, 2], [960, 20, 20])
    assert adjusted_rand_score(classes, labelled(latents, n_clusters=4, with_maps=False)) > 0.7


def test_joined_patches_follow_bent_clusters_and_are_not_used_for_chains_of_noise():
    latents, classes = two_moons()
    trees = grow_trees(latents, (2,), 0, with_maps=False)
    assert adjusted_rand_score(classes, join_patches(trees, 2)) > 0.9
    noise = np.random.default_rng(0).standard_normal((300, 2))
    assert np.bincount(labelled(noise, (2,), 4)).min() > 15


@pytest.mark.parametrize(
    "latents", [np.zeros((30, 4)), np.ones((4, 2)), np.empty((0, 3))], ids=["equal", "four", "none"]
)
def test_latents_without_trees(latents):
    assert grow_trees(latents, latents.shape[1:], 0) is None


def test_stop_between_maps(monkeypatch):
    monkeypatch.setattr(initialisation, "processors", lambda: 1)
    stop = StopRequest()
    stop.signal_number = signal.SIGTERM
    monkeypatch.setattr(initialisation, "tsne", lambda view, seed: view[:, :2])
    with pytest.raises(Stopped, match="^GMM stage: no map is saved"):
        grow_trees(three_clouds([20, 20, 20]), (1, 2), 0, stop=stop)


def test_neighbours_and_their_agreement_by_hand():
    latents = np.array([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(nearest_neighbours(latents, 1)[:, 0], [1, 0, 1, 2])
    assert nearest_neighbours(latents, 10).shape == (4, 3)
    nearest, labels = np.array([[1], [0], [3], [0]]), np.array([0, 0, 1, 1])
    # Three of four pairs agree; half would by chance.
    assert neighbour_agreement(labels, nearest) == pytest.approx((0.75 - 0.5) / 0.5)
    assert np.isnan(neighbour_agreement(np.zeros(4, int), nearest))
    rng = np.random.default_rng(0)
    nearest, labels = rng.integers(0, 2000, (2000, 10)), (rng.random(2000) > 0.95).astype(int)
    assert abs(neighbour_agreement(labels, nearest)) < 0.05  # one large cluster is no merit
