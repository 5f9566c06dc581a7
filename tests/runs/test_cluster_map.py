"""Means of a cube's samples, as read for its section."""

import h5py
import numpy as np

from RISCluster.data import cube_file
from RISCluster.data.layouts import open_spectrograms
from RISCluster.runs import cluster_map
from RISCluster.settings import CubeSettings


def test_means_of_the_samples_that_are_drawn(tmp_path, monkeypatch):
    cube = np.random.default_rng(0).random((40, 6, 5), np.float32)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("data", data=cube, chunks=(8, 2, 5))
    monkeypatch.setattr(cube_file, "TILE_BYTES", 8 * 2 * 5 * 4)  # bands of two channels
    with open_spectrograms(tmp_path / "c.h5", cube=CubeSettings(window=4, stride=4)) as file:
        every = cube.reshape(10, 4, 6, 5).mean(axis=(1, 3))
        np.testing.assert_allclose(cluster_map.read_means(file), every, rtol=1e-5)
        monkeypatch.setattr(cluster_map, "LARGEST_IMAGE", (5, 2))
        np.testing.assert_allclose(cluster_map.read_means(file), every[::2, ::3], rtol=1e-5)
