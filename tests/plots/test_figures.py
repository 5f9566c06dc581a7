import numpy as np
import pytest
from matplotlib.figure import Figure

from RISCluster import io
from RISCluster import plots as figures
from RISCluster.clustering.selection import Criteria
from RISCluster.plots.stage_figures import embed, nearest

AXES = figures.SpectrogramAxes(np.arange(6) + 1.0, np.arange(8) * 0.1, "Hz", "s")


def on_disk(folder, latents):
    np.save(folder / "latent.npy", latents.astype(np.float32))
    return io.open_rows(folder / "latent.npy")


def images(n):
    return np.random.default_rng(0).random((n, 6, 8)).astype(np.float32)


@pytest.fixture
def drawn(tmp_path):
    def draw(figure):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / "f.png")
        return figure

    return draw


def test_reconstructions(drawn):
    figure = drawn(figures.reconstructions(AXES, images(2), np.ones((2, 3)), images(2), ["a", "b"]))
    texts = [axes.get_ylabel() for axes in figure.axes]
    assert any("Frequency (Hz)" in text for text in texts)
    assert "amplitude" in texts


def test_gallery_takes_small_and_empty_clusters(drawn):
    members = [images(3), images(1), images(0), np.zeros((2, 6, 8))]
    figure = drawn(figures.gallery(AXES, members, [0, 1, 2, 3], [30, 1, 0, 2], 3, "title"))
    assert "n = 30" in figure.axes[0].get_ylabel()


def test_histories(drawn):
    epoch = np.arange(1, 4.0)
    aec = {"epoch": epoch, "train_mse": 1 / epoch, "validation_mse": np.array([0.9, 0.4, 0.6])}
    assert "0.4" in drawn(figures.aec_history(aec, 1.0)).axes[0].get_title()
    dec = {"epoch": epoch, "mse": epoch, "kl": epoch, "label_change": np.array([np.nan, 0.1, 0.0])}
    drawn(figures.dec_history(dec, 0.003))


def test_a_single_epoch_is_a_whole_number(drawn):
    one = {name: np.ones(1) for name in ("epoch", "train_mse", "validation_mse", "mse", "kl")}
    one["label_change"] = np.zeros(1)
    for figure in (figures.aec_history(one, 1.0), figures.dec_history(one, 0.003)):
        axes = drawn(figure).axes[-1]
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize("n", [1, 3])
def test_selection_curves(drawn, n):
    rows = [
        Criteria(k, -k, -k, float("nan") if k == 1 else 0.1, 9 / k, k, 0.1) for k in range(1, n + 1)
    ]
    drawn(figures.selection_curves(rows, 1, "bic"))


def test_embedding_and_colours(drawn):
    drawn(figures.embedding(images(9)[:, 0, :2], np.arange(9) % 3, [3, 3, 3], "title"))
    colours = {str(figures.cluster_colour(label)) for label in range(-1, 60)}
    assert len(colours) == 61


@pytest.mark.parametrize("n", [1, 4, 5, 30])
def test_embed_any_number(n, tmp_path):
    labels = np.zeros(n + 1, int)
    labels[-1] = -1
    latents = np.random.default_rng(0).standard_normal((n + 1, 3)).astype(np.float32)
    latents[-1] = np.nan
    mapped = embed(on_disk(tmp_path, latents), labels, 0)
    assert len(mapped.points) == len(mapped.index) == (n if n >= 5 else 0)


@pytest.mark.parametrize("rows", [2, 100])
def test_nearest_first_and_duplicates_once(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(io, "BLOCK_ROWS", rows)
    latents = on_disk(tmp_path, np.array([[3.0], [1.0], [1.0], [2.0], [0.0]]))
    labels = np.array([0, 0, 0, 0, 2], dtype=np.int16)
    near = nearest(latents, labels, np.array([[0.5], [0.0], [0.0]]))
    assert [index.tolist() for index in near] == [[1, 3, 0], [], [4]]
