import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score

from RISCluster.clustering import initialisation as init


def three_clouds(counts):
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[np.repeat([0, 1, 2], counts)]
    return latents + np.random.default_rng(0).standard_normal(latents.shape)


def labelled(latents, n_clusters=3, **words):
    trees = init.grow_trees(latents, latents.shape[1:], 0, **words)
    return init.fit_from_trees(latents, trees, n_clusters, 0, 2.0).posterior(latents).argmax(1)


def test_views_are_all_combinations_of_blocks_and_maps_of_some():
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((60, 6)) * [1, 1, 1, 1, 100, 10]
    trees, again = (init.grow_trees(latents, (3, 1, 2), 0) for _ in range(2))
    assert all((vars(trees)[name] == vars(again)[name]).all() for name in vars(trees))
    assert trees.links.shape == (2 * 7 + 3, 59, 4)
    assert trees.weights.tolist() == [1.0] * 14 + [init.MAP_WEIGHT] * 3
    assert trees.points.shape == (60, 2)
    blocks = [block - block.mean(0) for block in np.split(latents, [3, 4], axis=1)]
    scaled = [block / np.sqrt(block.var(0).sum()) for block in blocks]
    np.testing.assert_allclose(trees.links[0], linkage(np.hstack(scaled), "ward"))
    np.testing.assert_allclose(trees.links[3], linkage(np.hstack(scaled[1:]), "ward"))
    each = latents[:, 4:] / latents[:, 4:].std(0) / np.sqrt(2)
    np.testing.assert_allclose(trees.links[13], linkage(each, "ward"))
    np.testing.assert_array_equal(trees.neighbours, init.nearest_neighbours(np.hstack(scaled)))
    assert init.grow_trees(latents, (6,), 0, with_maps=False).links.shape == (2, 59, 4)


def test_trees_are_of_a_sample_of_the_latents(monkeypatch):
    monkeypatch.setattr(init, "MAX_TREE_SIZE", 50)
    latents = three_clouds([300, 100, 100])
    trees = init.grow_trees(latents, (3,), 0)
    assert len(trees.index) == len(set(trees.index)) == 50
    assert sorted(np.bincount(labelled(latents))) == [100, 100, 300]
    for few in (np.zeros((30, 4)), np.ones((4, 2)), np.empty((0, 3))):
        assert init.grow_trees(few, few.shape[1:], 0) is None


def trees_of(*cuts, weights):
    """Trees that have these labels at as many clusters as these."""
    links = [linkage(np.array(labels, dtype=float)[:, None], "ward") for labels in cuts]
    m, w = len(cuts[0]), np.array(weights, dtype=float)
    return init.Trees(np.arange(m), np.stack(links), w, np.empty((0, 2)), np.zeros((m, 1), int))


def test_consensus_of_the_views_by_hand():
    cuts = [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1]
    for weights, expected in (([1, 1, 1], [0, 0, 0, 1, 1, 1]), ([1, 1, 20], [0, 0, 1, 1, 1, 0])):
        found = init.consensus(trees_of(*cuts, weights=weights), 2, 0)
        assert adjusted_rand_score(found, expected) == 1


def test_patches_find_rare_and_bent_clusters_and_are_not_used_for_chains_of_noise():
    counts = [960, 20, 20]  # Ward's criterion alone divides the large cluster
    found = labelled(three_clouds(counts), n_clusters=4, with_maps=False)
    assert adjusted_rand_score(np.repeat([0, 1, 2], counts), found) > 0.7
    moons, classes = make_moons(400, noise=0.04, random_state=0)
    trees = init.grow_trees(moons, (2,), 0, with_maps=False)
    assert adjusted_rand_score(classes, init.join_patches(trees, 2)) > 0.9
    noise = np.random.default_rng(0).standard_normal((300, 2))
    assert np.bincount(labelled(noise, 4)).min() > 15


@pytest.mark.parametrize(("converged", "chosen"), [((0.7, 0.72), 0), ((0.7, 0.8), 1)])
def test_joined_patches_that_do_not_last_are_not_used(monkeypatch, converged, chosen):
    latents, fits = three_clouds([30, 30, 30]), []
    trees, fit = init.grow_trees(latents, (2,), 0, with_maps=False), init.fit_mixture
    agreements = iter([0.9, 0.95, *converged])  # of the patches: better after two steps
    monkeypatch.setattr(init, "neighbour_agreement", lambda *_: next(agreements))
    monkeypatch.setattr(init, "join_patches", lambda *_: init.consensus(trees, 3, 0))
    monkeypatch.setattr(init, "fit_mixture", lambda *a: fits.append(fit(*a)) or fits[-1])
    assert init.fit_from_trees(latents, trees, 3, 0, 2.0) is fits[chosen]
    assert len(fits) == 4


def test_neighbours_and_their_agreement_by_hand():
    latents = np.array([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(init.nearest_neighbours(latents, 1)[:, 0], [1, 0, 1, 2])
    assert init.nearest_neighbours(latents, 10).shape == (4, 3)
    nearest, labels = np.array([[1], [0], [3], [0]]), np.array([0, 0, 1, 1])
    # Three of four pairs agree; half would by chance.
    assert init.neighbour_agreement(labels, nearest) == pytest.approx((0.75 - 0.5) / 0.5)
    assert np.isnan(init.neighbour_agreement(np.zeros(4, int), nearest))
