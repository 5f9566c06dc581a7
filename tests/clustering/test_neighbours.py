import numpy as np
import pytest

from RISCluster.clustering.initialisation import (
    nearest_neighbours,
    neighbour_agreement,
    neighbour_map,
    neighbour_maps,
)
from tests.clustering.test_initialisation import two_moons


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
    monkeypatch.setattr(initialisation, "MAPPED", 60)
    monkeypatch.setattr(initialisation, "FURTHER_MAPPED", 40)
    assert [len(mapped.index) for mapped in neighbour_maps(latents, 3, 3)] == [60, 40, 40]


@pytest.mark.parametrize("n", [0, 1, 4, 5, 6])
def test_maps_of_few_latents(n):
    maps = neighbour_maps(np.random.default_rng(0).standard_normal((n, 3)), 0, 3)
    assert [mapped.holds(2) for mapped in maps] == [n >= 5] * 3
