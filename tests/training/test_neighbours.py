from dataclasses import replace

import numpy as np
import pytest

from RISCluster.training import neighbours
from RISCluster.training.neighbours import (
    clusters_by_area,
    clusters_by_border,
    fit_from_map,
    in_order,
    nearest_neighbours,
    neighbour_agreement,
    neighbour_map,
)


def two_moons(n=400, seed=0):
    """Two bent clusters that k-means and Gaussians started from it cut across."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x[classes == 1] = np.array([1, 0.5]) - x[classes == 1]
    return x + 0.04 * rng.standard_normal(x.shape), classes


def test_clusters_of_the_map_follow_neighbours():
    latents, classes = two_moons()
    labels = clusters_by_border(neighbour_map(latents, 0), len(latents), 2, 0)
    agreeing = (labels == classes).mean()
    assert max(agreeing, 1 - agreeing) > 0.95


def test_a_large_cluster_is_not_cut_for_a_small_one():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [900, 60, 40])
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[classes]
    latents = latents + rng.standard_normal(latents.shape)
    labels = clusters_by_border(neighbour_map(latents, 0), len(latents), 3, 0)
    assert sorted(np.bincount(labels)) == [40, 60, 900]


def test_same_seed_same_map_and_another_for_another():
    latents, _ = two_moons(150)
    one, two = neighbour_map(latents, 3), neighbour_map(latents, 3)
    np.testing.assert_array_equal(one.points, two.points)
    drawn = [neighbour_map(latents, seed, most=50).index for seed in (3, 4)]
    assert len(drawn[0]) == 50
    assert not np.array_equal(*drawn)


def test_latents_beyond_the_map_have_no_label():
    latents, _ = two_moons(200)
    mapped = neighbour_map(latents, 0, most=80)
    labels = clusters_by_border(mapped, len(latents), 3, 0)
    assert (np.flatnonzero(labels >= 0) == mapped.index).all()
    assert set(labels[labels >= 0]) == {0, 1, 2}


def test_patches_are_not_more_than_can_be_joined(monkeypatch):
    made, joined = [], neighbours._joined

    def counted(points, patches, n_clusters):
        made.append(patches.max() + 1)
        return joined(points, patches, n_clusters)

    monkeypatch.setattr(neighbours, "_joined", counted)
    mapped = neighbour_map(two_moons(900)[0], 0)
    for n_clusters in (20, 100, 500):
        assert len(set(clusters_by_border(mapped, 900, n_clusters, 0))) == n_clusters
    assert made == [160, 400, 500]


@pytest.mark.parametrize("counts", [[1700, 60, 40], [300, 300, 300]], ids=["uneven", "even"])
def test_mixture_from_the_map_finds_large_and_small(counts):
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], counts)
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[classes]
    latents = latents + rng.standard_normal(latents.shape)
    mixture = fit_from_map(latents, neighbour_map(latents, 0), 3, 0, 2.0)
    found = np.bincount(mixture.posterior(latents).argmax(1))
    np.testing.assert_array_equal(sorted(found), sorted(counts))


def test_areas_of_the_map_are_all_there():
    latents, _ = two_moons(200)
    labels = clusters_by_area(neighbour_map(latents, 0), 200, 5, 0)
    assert set(labels) == set(range(5))


@pytest.mark.parametrize(
    "latents", [np.zeros((30, 4)), np.ones((4, 2)), np.empty((0, 3))], ids=["equal", "four", "none"]
)
def test_no_map_to_speak_of(latents):
    mapped = neighbour_map(latents, 0)
    assert (clusters_by_border(mapped, len(latents), 2, 0) == -1).all()
    assert fit_from_map(latents, mapped, 2, 0, 2.0) is None


def test_neighbours_are_others():
    latents = np.array([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(nearest_neighbours(latents, 1)[:, 0], [1, 0, 1, 2])
    assert nearest_neighbours(latents, 10).shape == (4, 3)


def test_agreement_by_hand():
    nearest = np.array([[1], [0], [3], [0]])
    labels = np.array([0, 0, 1, 1])
    # Three of four pairs agree; half would by chance.
    assert neighbour_agreement(labels, nearest) == pytest.approx((0.75 - 0.5) / 0.5)
    assert np.isnan(neighbour_agreement(np.zeros(4, int), nearest))


def test_agreement_does_not_reward_one_large_cluster():
    rng = np.random.default_rng(0)
    nearest = rng.integers(0, 2000, (2000, 10))
    for share in (0.5, 0.95):
        labels = (rng.random(2000) > share).astype(int)
        assert abs(neighbour_agreement(labels, nearest)) < 0.05


def test_clusters_are_numbered_by_their_first_members():
    labels = np.array([-1, 2, 2, 0, -1, 1, 0])
    assert in_order(labels).tolist() == [-1, 0, 0, 1, -1, 2, 1]
    assert in_order(np.array([1, 0, 1])).tolist() == [0, 1, 0]
    assert in_order(np.array([0, -1, -1])).tolist() == [0, -1, -1]


def test_a_mirrored_map_numbers_clusters_alike():
    rng = np.random.default_rng(0)
    classes = np.arange(90) % 3
    latents = rng.standard_normal((90, 2)) + 20 * np.eye(3)[classes][:, :2]
    mapped = neighbour_map(latents, 0)
    mirrored = replace(mapped, points=-mapped.points[:, ::-1])
    one, other = (
        fit_from_map(latents, each, 3, 0, 2.0).posterior(latents).argmax(1)
        for each in (mapped, mirrored)
    )
    assert one.tolist() == other.tolist() == classes.tolist()
