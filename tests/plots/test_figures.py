from types import SimpleNamespace

import numpy as np

from RISCluster.evaluation.performance import Performance
from RISCluster.plots import latent, samples, training
from RISCluster.plots.style import cluster_colour
from tests.clustering.test_selection import row

FILE = SimpleNamespace(
    frequency=np.arange(6) + 1.0, time=np.arange(8) * 0.1, frequency_unit="Hz", time_unit="s",
    amplitude_unit="m", n_times=8, components=("",),
)  # fmt: skip


def images(n):
    return np.random.default_rng(0).random((n, 6, 8)).astype(np.float32)


def test_samples(drawn):
    figure = drawn(samples.reconstructions(FILE, images(2), np.ones((2, 3)), images(2), "ab"))
    texts = [axes.get_ylabel() for axes in figure.axes]
    assert "a\nFrequency (Hz)" in texts
    assert "amplitude" in texts
    members = [images(3), images(1), images(0), np.zeros((2, 6, 8))]
    figure = drawn(samples.gallery(FILE, members, [0, 1, 2, 3], [30, 1, 0, 2], 3, "title"))
    assert figure.axes[0].get_ylabel() == "0\nn = 30\n90.9%"
    nan = np.full((1, 6, 8), np.nan)
    pairs = np.concatenate([images(2), nan]), np.concatenate([images(2), nan])
    figure = drawn(samples.means_and_centroids(FILE, *pairs, [0, 1, 2], [9, 8, 7], "m", {1: "ice"}))
    titles = [axes.get_title() for axes in figure.axes]
    assert {"0  (n = 9)", "1 ice  (n = 8)", "inner product 1.000"} <= set(titles)


def test_histories_with_whole_epochs(drawn):
    for n in (3, 1):
        epoch = np.arange(1, n + 1.0)
        aec = {"epoch": epoch, "train_mse": 1 / epoch, "validation_mse": 0.4 / epoch**0}
        dec = dict.fromkeys(("epoch", "mse", "kl", "label_change"), epoch)
        assert "0.4" in drawn(training.aec_history(aec, 1.0)).axes[0].get_title()
        axes = drawn(training.dec_history(dec, 0.003)).axes[-1]
        low, high = axes.get_xlim()
        assert all(tick == round(tick) for tick in axes.get_xticks() if low <= tick <= high)


def test_embedding_and_colours(drawn):
    points, labels = images(9)[:, 0, :2], np.arange(9) % 3
    figure = drawn(latent.embedding(points, labels, [3, 3, 3], "title", {2: "ice"}))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "0  (3)",
        "1  (3)",
        "2 ice  (3)",
    ]
    assert len({str(cluster_colour(label)) for label in range(-1, 60)}) == 61


def test_silhouettes_and_latents(drawn):
    labels, values = np.array([0, 0, 1, 1, 1]), np.array([0.5, 0.1, np.nan, 0.3, 0.3])
    scores = dict.fromkeys(("silhouette_latent", "silhouette_data"), (labels, values))
    sizes = np.array([2, 3, 5])
    stages = [Performance(name, sizes, {}, scores, None) for name in ("GMM", "DEC")]
    figure = drawn(latent.silhouette_profiles(stages))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "GMM, latent space: mean 0.300"
    assert titles[3] == "DEC, data space: mean 0.300"
    z = np.array([[0.0, 1, 5], [0, 2, 5], [9, 1, 5], [9, 2, 5], [9, 3, 5]])
    assert latent.separating_features(z, labels).tolist() == [0, 1, 2]
    features = ["feature 0", "feature 1", "smoothed 0"]
    figure = drawn(latent.latent_pairs(z, labels, z[:2], "title", features))
    labels_of_axes = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels_of_axes == ["Feature 0", "Feature 1"]
    figure = drawn(latent.distance_curves([("DEC", labels, np.arange(5.0))], 2))
    assert figure.axes[1].get_title() == "DEC: density"


def test_selection_curves_have_a_ring_and_a_line_each(drawn):
    rows = [
        row(
            k,
            bic=b,
            aic=-k,
            silhouette=1 / k,
            inertia=i,
            gap=k,
            gap_std=0.1,
            stability=0.9,
            agreement=a,
        )
        for k, b, i, a in ((2, 3e5, 9e6, 0.5), (3, 2e5, 3e6, 0.7), (4, 4e5, 2e6, 0.6))
    ]
    figure = drawn(training.selection_curves(rows, 3, "bic"))
    assert [axes.get_title() for axes in figure.axes] == [
        "BIC\nlowest: K = 3", "AIC\nlowest: K = 4", "Silhouette\nhighest: K = 2",
        "Gap statistic\nfirst within one s.e.: none", "Inertia of k-means\nknee: K = 3",
        "Stability\nlargest of the most stable: K = 4",
        "Agreement of views\nhighest: K = 3",
    ]  # fmt: skip
    assert [axes.title.get_fontweight() for axes in figure.axes[:2]] == ["bold", "normal"]
    rings = [
        [line.get_xdata()[0] for line in axes.lines if line.get_mfc() == "none"]
        for axes in figure.axes
    ]
    assert rings == [[3], [4], [2], [], [3], [4], [3]]
    assert "K = 3 is selected, by BIC" in figure.get_suptitle()
    rows = [row(k, silhouette=np.nan) for k in (2, 3)]
    figure = drawn(training.selection_curves(rows, 2, "gap"))
    assert figure.axes[5].texts[0].get_text() == "not computed"
    assert figure.axes[2].get_title() == "Silhouette\nhighest: none"
