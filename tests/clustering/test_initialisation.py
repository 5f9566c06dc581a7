from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from RISCluster.clustering import initialisation
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
    """Two bent clusters that k-means and Gaussians started from it cut across."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x[classes == 1] = np.array([1, 0.5]) - x[classes == 1]
    return x + 0.04 * rng.standard_normal(x.shape), classes


def test_clusters_of_the_map_follow_neighbours():
    latents, classes = two_moons()
    labels = clusters_by_border(neighbour_map(latents, 0).points, 2, 0)
    agreeing = (labels == classes).mean()
    assert max(agreeing, 1 - agreeing) > 0.95


def test_a_large_cluster_is_not_cut_for_a_small_one():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [900, 60, 40])
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[classes]
    latents = latents + rng.standard_normal(latents.shape)
    labels = clusters_by_border(neighbour_map(latents, 0).points, 3, 0)
    assert sorted(np.bincount(labels)) == [40, 60, 900]


def test_patches_are_not_more_than_can_be_joined(monkeypatch):
    made, joined = [], initialisation._joined

    def counted(points, patches, n_clusters):
        made.append(patches.max() + 1)
        return joined(points, patches, n_clusters)

    monkeypatch.setattr(initialisation, "_joined", counted)
    mapped = neighbour_map(two_moons(900)[0], 0)
    for n_clusters in (20, 100, 500):
        assert len(set(clusters_by_border(mapped.points, n_clusters, 0))) == n_clusters
    assert made == [160, 400, 500]


@pytest.mark.parametrize("counts", [[850, 60, 40], [100, 100, 100]], ids=["uneven", "even"])
def test_mixture_from_the_map_finds_large_and_small(counts):
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], counts)
    latents = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])[classes]
    latents = latents + rng.standard_normal(latents.shape)
    mixture = fit_from_maps(latents, neighbour_maps(latents, 0, 3), 3, 0, 2.0)
    found = np.bincount(mixture.posterior(latents).argmax(1))
    np.testing.assert_array_equal(sorted(found), sorted(counts))


def test_areas_of_the_map_are_all_there():
    latents, _ = two_moons(200)
    labels = clusters_by_area(neighbour_map(latents, 0).points, 5, 0)
    assert set(labels) == set(range(5))


def test_clusters_are_numbered_by_their_first_members():
    labels = np.array([2, 2, 0, 1, 0])
    assert in_order(labels).tolist() == [0, 0, 1, 2, 1]
    assert in_order(np.array([1, 0, 1])).tolist() == [0, 1, 0]


def test_a_mirrored_map_numbers_clusters_alike():
    rng = np.random.default_rng(0)
    classes = np.arange(90) % 3
    latents = rng.standard_normal((90, 2)) + 20 * np.eye(3)[classes][:, :2]
    mapped = neighbour_map(latents, 0)
    mirrored = replace(mapped, points=-mapped.points[:, ::-1])
    one, other = (
        fit_from_maps(latents, [each], 3, 0, 2.0).posterior(latents).argmax(1)
        for each in (mapped, mirrored)
    )
    assert one.tolist() == other.tolist() == classes.tolist()


@pytest.mark.parametrize(
    "latents", [np.zeros((30, 4)), np.ones((4, 2)), np.empty((0, 3))], ids=["equal", "four", "none"]
)
def test_no_map_to_speak_of(latents):
    assert fit_from_maps(latents, neighbour_maps(latents, 0, 2), 2, 0, 2.0) is None


def test_latents_beyond_the_maps_have_their_say_in_the_mixture():
    latents, classes = two_moons(300)
    maps = [neighbour_map(latents, seed, most=60) for seed in range(3)]
    labels = fit_from_maps(latents, maps, 2, 0, 2.0).posterior(latents).argmax(1)
    agreeing = (labels == classes).mean()
    assert max(agreeing, 1 - agreeing) > 0.85


def hard(*labels):
    n_clusters = max(map(max, labels)) + 1
    return [np.eye(n_clusters)[list(each)] for each in labels]


def test_consensus_is_what_most_say_whatever_their_numbers():
    agreed = consensus(hard([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1]))
    assert in_order(agreed).tolist() == [0, 0, 0, 1, 1, 1]


def test_consensus_weighs_probabilities():
    sure, unsure = hard([0, 0, 1, 1, 1])[0], hard([0, 0, 0, 1, 1])[0]
    unsure[2] = [0.8, 0.2]
    assert consensus([sure, unsure, unsure]).tolist() == [0, 0, 0, 1, 1]
    unsure[2] = [0.6, 0.4]
    assert consensus([sure, unsure, unsure]).tolist() == [0, 0, 1, 1, 1]


def test_consensus_keeps_every_cluster():
    # A third cluster that each sees elsewhere would lose its members one by one.
    votes = hard([2, 0, 0, 0, 1, 1], [0, 2, 0, 0, 1, 1], [0, 0, 2, 0, 1, 1])
    assert len(set(consensus(votes))) == 3
    odd_one_first = hard([0, 1, 2, 1, 2, 0]) + votes
    assert consensus(odd_one_first).tolist() in [each.argmax(1).tolist() for each in votes]


def test_several_maps_are_steadier_than_one():
    """Where there are no clear groups, maps of other latents are cut in other ways."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((150, 3)) * [2.0, 1.5, 1.0]
    maps = neighbour_maps(latents, 0, 13)[1:]

    def agreement(groups):
        fits = [fit_from_maps(latents, group, 4, seed, 2.0) for seed, group in enumerate(groups)]
        labels = [fit.posterior(latents).argmax(1) for fit in fits]
        return np.mean([adjusted_rand_score(a, b) for a, b in combinations(labels, 2)])

    alone = agreement([[mapped] for mapped in maps])
    assert agreement([maps[:4], maps[4:8], maps[8:]]) > alone + 0.03


def test_borders_are_believed_only_where_they_keep_neighbours_together(monkeypatch):
    """One large cluster and crumbs part few neighbours too."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((300, 2))

    def crumbs(points, n_clusters, seed):
        labels = np.zeros(len(points), dtype=int)
        labels[: n_clusters - 1] = range(1, n_clusters)
        return labels

    maps = neighbour_maps(latents, 0, 2)
    expected = fit_from_maps(latents, maps, 4, 0, 2.0).posterior(latents).argmax(1)
    monkeypatch.setattr(initialisation, "clusters_by_border", crumbs)
    found = fit_from_maps(latents, maps, 4, 0, 2.0).posterior(latents).argmax(1)
    assert np.bincount(found).min() > 30
    assert found.tolist() == expected.tolist()


def test_same_seed_same_map_and_another_for_another():
    latents, _ = two_moons(150)
    one, two = neighbour_map(latents, 3), neighbour_map(latents, 3)
    np.testing.assert_array_equal(one.points, two.points)
    drawn = [neighbour_map(latents, seed, most=50).index for seed in (3, 4)]
    assert len(drawn[0]) == 50
    assert not np.array_equal(*drawn)


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


def test_maps_are_of_other_latents_and_the_first_of_all(monkeypatch):
    latents, _ = two_moons(100)
    maps = neighbour_maps(latents, 3, 4)
    np.testing.assert_array_equal(maps[0].points, neighbour_map(latents, 3).points)
    assert [len(mapped.index) for mapped in maps] == [100, 90, 90, 90]
    assert len({mapped.index.tobytes() for mapped in maps}) == 4
    again = neighbour_maps(latents, 3, 4)
    for one, two in zip(maps, again, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
    monkeypatch.setattr(initialisation, "MAX_MAP_SIZE", 60)
    monkeypatch.setattr(initialisation, "FURTHER_MAP_SIZE", 40)
    assert [len(mapped.index) for mapped in neighbour_maps(latents, 3, 3)] == [60, 40, 40]


@pytest.mark.parametrize("n", [0, 1, 4, 5, 6])
def test_maps_of_few_latents(n):
    maps = neighbour_maps(np.random.default_rng(0).standard_normal((n, 3)), 0, 3)
    assert [mapped.holds(2) for mapped in maps] == [n >= 5] * 3
