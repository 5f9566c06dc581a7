from functools import partial

import numpy as np
import pytest

from RISCluster.clustering.initialisation import MAX_MAP_SIZE, neighbour_map
from RISCluster.evaluation import mapping


@pytest.mark.parametrize("n", [40, MAX_MAP_SIZE + 100])
def test_a_row_of_the_map_is_the_latent_of_that_row(n, monkeypatch):
    monkeypatch.setattr(mapping, "neighbour_map", partial(neighbour_map, steps=250))
    group = np.random.default_rng(0).integers(0, 2, n)
    latents = np.random.default_rng(1).standard_normal((n, 3)) + 30 * group[:, None]
    points = mapping.mapped(latents, "tsne", 0)
    assert points.shape == (n, 2)
    middles = np.stack([points[group == one].mean(0) for one in (0, 1)])
    nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.98


def test_no_map_of_a_few():
    assert mapping.mapped(np.ones((4, 3)), "tsne", 0).shape == (0, 2)
