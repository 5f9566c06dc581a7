import numpy as np
import pytest

from RISCluster.io import open_rows
from RISCluster.report.figures import embedding, typical_members
from RISCluster.settings import Settings


def on_disk(folder, latents):
    np.save(folder / "latent.npy", latents.astype(np.float32))
    return open_rows(folder / "latent.npy")


@pytest.mark.parametrize("n", [1, 4, 5, 30])
def test_embedding_of_any_number(n, tmp_path):
    labels = np.r_[np.zeros(n, int), -1]
    latents = np.random.default_rng(0).standard_normal((n + 1, 3))
    latents[-1] = np.nan
    sizes = np.array([n])
    figure = embedding("GMM", on_disk(tmp_path, latents), labels, sizes, Settings(), {})
    figure.savefig(tmp_path / "f.png")
    drawn = figure.axes[0].collections[0].get_offsets()
    assert len(drawn) == (n if n >= 5 else 0)


def test_typical_members_are_central_and_duplicates_count_once(tmp_path):
    latents = np.array([[0.0], [1.0], [1.0], [2.0], [9.0], [np.nan]])
    labels = np.array([0, 0, 0, 0, 2, -1], dtype=np.int16)
    found = typical_members(on_disk(tmp_path, latents), labels, 3, 0)
    assert found[0][0] == 1
    assert [sorted(index.tolist()) for index in found] == [[0, 1, 3], [], [4]]
