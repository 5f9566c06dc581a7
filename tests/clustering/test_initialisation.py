import numpy as np
import pytest

from RISCluster.clustering.initialisation import (
    clusters_by_area,
    clusters_by_border,
    consensus,
    fit_from_maps,
    in_order,
    nearest_neighbours,
    neighbour_agreement,
    neighbour_map,
    neighbour_maps,
)


def two_moons(n=400, seed=0):
    """Two bent clusters, which k-means and Gaussians started from it do not find."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x[classes == 1] = np.array([1, 0.5]) - x[classes == 1]
    return x + 0.04 * rng.standard_normal(x.shape), classes


@pytest.fixture(scope="module")
def moon_map():
    return neighbour_map(two_moons()[0], 0)


def three_clouds(counts):
    rng = np.random.default_rng(0)
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[np.repeat([0, 1, 2], counts)]
    return latents + rng.standard_normal(latents.shape)


def test_clusters_of_a_map(moon_map):
    labels = clusters_by_border(moon_map.points, 2, 0)
    share = (labels == two_moons()[1]).mean()
    assert max(share, 1 - share) > 0.95
    assert set(clusters_by_area(moon_map.points, 5, 0)) == set(range(5))
    assert len(set(clusters_by_border(moon_map.points, 100, 0))) == 100


@pytest.mark.parametrize("counts", [[850, 60, 40], [100, 100, 100]], ids=["uneven", "even"])
def test_mixture_from_maps_finds_large_and_small_clusters(counts):
    latents = three_clouds(counts)
    mixture = fit_from_maps(latents, neighbour_maps(latents, 0, 3), 3, 0, 2.0)
    found = np.bincount(mixture.posterior(latents).argmax(1))
    np.testing.assert_array_equal(sorted(found), sorted(counts))


@pytest.mark.parametrize(
    "latents", [np.zeros((30, 4)), np.ones((4, 2)), np.empty((0, 3))], ids=["equal", "four", "none"]
)
def test_latents_without_a_map(latents):
    assert fit_from_maps(latents, neighbour_maps(latents, 0, 2), 2, 0, 2.0) is None


def hard(*labels):
    n_clusters = max(map(max, labels)) + 1
    return [np.eye(n_clusters)[list(each)] for each in labels]


def test_consensus_is_that_of_most_whatever_their_numbers():
    agreed = consensus(hard([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1]))
    assert in_order(agreed).tolist() == [0, 0, 0, 1, 1, 1]
    sure, unsure = hard([0, 0, 1, 1, 1])[0], hard([0, 0, 0, 1, 1])[0]
    for probability, label in ((0.8, 0), (0.6, 1)):  # probabilities are weights
        unsure[2] = [probability, 1 - probability]
        assert consensus([sure, unsure, unsure]).tolist() == [0, 0, label, 1, 1]


def test_consensus_leaves_no_cluster_empty():
    # A third cluster that each sees elsewhere would lose its members one by one.
    votes = hard([2, 0, 0, 0, 1, 1], [0, 2, 0, 0, 1, 1], [0, 0, 2, 0, 1, 1])
    assert len(set(consensus(votes))) == 3


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


def test_maps_are_of_other_latents_and_the_first_of_all():
    latents, _ = two_moons(100)
    maps = neighbour_maps(latents, 3, 4)
    np.testing.assert_array_equal(maps[0].points, neighbour_map(latents, 3).points)
    assert [len(mapped.index) for mapped in maps] == [100, 90, 90, 90]
    assert len({mapped.index.tobytes() for mapped in maps}) == 4
    few = neighbour_maps(latents[:5], 0, 2), neighbour_maps(latents[:4], 0, 2)
    assert [[mapped.holds(2) for mapped in each] for each in few] == [[True] * 2, [False] * 2]
