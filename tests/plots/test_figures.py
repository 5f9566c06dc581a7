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
    assert {"a\nFrequency (Hz)", "amplitude"} <= {axes.get_ylabel() for axes in figure.axes}
    members = [images(3), images(1), images(0), np.zeros((2, 6, 8))]
    figure = drawn(samples.gallery(FILE, members, [0, 1, 2, 3], [30, 1, 0, 2], 3, "title"))
    assert figure.axes[0].get_ylabel() == "0\nn = 30\n90.9%"
    means = np.concatenate([images(2), np.full((1, 6, 8), np.nan)])
    pair = means, images(3)
    figure = drawn(samples.means_and_centroids(FILE, *pair, [0, 1, 2], [9, 8, 7], "m", {1: "ice"}))
    assert {"0\nn = 9", "1 ice\nn = 8"} <= {axes.get_ylabel() for axes in figure.axes}


def test_overview_of_samples_in_one_range(drawn):
    rows = [("noise", [(images(1)[0], "one"), (0 * images(1)[0], "zero")]), ("", [])]
    figure = drawn(samples.sample_overview(FILE, rows, "title"))
    assert figure.axes[1].texts[0].get_text() == "unusable"
    assert figure.axes[-1].get_ylabel() == "log10 of amplitude over the sample's peak"
    figure = drawn(samples.sample_overview(FILE, [("", [(-images(1)[0], "decibels")])], "title"))
    assert figure.axes[-1].get_ylabel() == "amplitude (m)"


def test_histories_with_whole_epochs(drawn):
    for n in (3, 1):
        epoch = np.arange(1, n + 1.0)
        aec = {"epoch": epoch, "train_mse": 1 / epoch, "validation_mse": 0.4 / epoch**0}
        dec = dict.fromkeys(("epoch", "mse", "kl", "label_change"), epoch)
        assert "0.4" in drawn(training.aec_history(aec, 1.0)).axes[0].get_title()
        axes = drawn(training.dec_history(dec, 0.003)).axes[-1]
        low, high = axes.get_xlim()
        assert all(tick == round(tick) for tick in axes.get_xticks() if low <= tick <= high)


def test_latent_space(drawn):
    points, labels = images(9)[:, 0, :2], np.arange(9) % 3
    figure = drawn(latent.embedding(points, labels, [3, 3, 3], "title", {2: "ice"}))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["0  (3)", "1  (3)", "2 ice  (3)"]
    assert len({str(cluster_colour(label)) for label in range(-1, 24)}) == 25
    labels, values = np.array([0, 0, 1, 1]), np.array([0.5, 0.1, 0.3, 0.3])
    scores = dict.fromkeys(("silhouette_latent", "silhouette_data"), (labels, values))
    stages = [Performance(name, np.array([2, 3, 5]), {}, scores, None) for name in ("GMM", "DEC")]
    titles = [axes.get_title() for axes in drawn(latent.silhouette_profiles(stages)).axes]
    assert titles[0] == "GMM, latent space: mean 0.300"
    assert titles[3] == "DEC, data space: mean 0.300"
    labels = np.array([0, 0, 1, 1, 1])
    figure = drawn(latent.distance_curves([("DEC", labels, np.arange(5.0))], 2))
    assert figure.axes[0].lines[1].get_xdata()[-1] == 4


def test_selection_curves_have_a_ring_and_a_line_each(drawn):
    values = {"bic": [3e5, 2e5, 4e5], "aic": [-2, -3, -4], "silhouette": [0.5, 0.3, 0.2],
              "inertia": [9e6, 3e6, 2e6], "gap": [2, 3, 4], "gap_std": [0.1] * 3,
              "stability": [0.9] * 3, "agreement": [0.5, 0.7, 0.6]}  # fmt: skip
    rows = [row(k, **{name: own[k - 2] for name, own in values.items()}) for k in (2, 3, 4)]
    figure = drawn(training.selection_curves(rows, 3, "bic"))
    assert [axes.get_title() for axes in figure.axes] == [
        "BIC\nlowest: K = 3", "AIC\nlowest: K = 4", "Silhouette\nhighest: K = 2",
        "Gap statistic\nfirst within one s.e.: none", "Inertia of k-means\nknee: K = 3",
        "Stability\nlargest of the most stable: K = 4",
        "Agreement of views\nhighest: K = 3",
    ]  # fmt: skip
    assert [axes.title.get_fontweight() for axes in figure.axes[:2]] == ["bold", "normal"]
    rings = [[x.get_xdata()[0] for x in a.lines if x.get_mfc() == "none"] for a in figure.axes]
    assert rings == [[3], [4], [2], [], [3], [4], [3]]
    assert "K = 3 is selected, by BIC" in figure.get_suptitle()
    rows = [row(k, silhouette=np.nan) for k in (2, 3)]
    figure = drawn(training.selection_curves(rows, 2, "gap"))
    assert figure.axes[5].texts[0].get_text() == "not computed"
    assert figure.axes[2].get_title() == "Silhouette\nhighest: none"
