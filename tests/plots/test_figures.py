from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle

from RISCluster.evaluation.metrics import Reliability
from RISCluster.evaluation.performance import Performance
from RISCluster.plots import latent, samples, scores
from RISCluster.plots.occurrence import occurrence_series, profiles
from RISCluster.plots.places import around_middle, cluster_section, station_map
from RISCluster.plots.style import UNUSABLE_COLOUR, cluster_colour
from RISCluster.runs.cluster_map import ClusterMap
from tests.clustering.test_selection import row

FILE = SimpleNamespace(
    frequency=np.arange(6) + 1.0, time=np.arange(8) * 0.1, frequency_unit="Hz", time_unit="s",
    amplitude_unit="m", n_times=8, components=("",),
)  # fmt: skip
IMAGES = np.random.default_rng(0).random((9, 6, 8)).astype(np.float32)
EDGES = np.arange("2016-01-01", "2016-01-06", dtype="datetime64[D]")
COUNTS = np.array([[1, 0], [3, 2], [0, 0], [2, 0]])
NAMES = ["cluster 0", "1 stick-slip"]


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def words(figure):
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return texts + legends


def test_samples():
    few = IMAGES[:2]
    drawn(samples.reconstructions(FILE, few, np.ones((2, 3)), few, "ab"))
    members = [IMAGES[:3], IMAGES[:1], IMAGES[:0], 0 * few]
    figure = drawn(samples.gallery(FILE, members, [0, 1, 2, 3], "abcd", 3, "title"))
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["a", "b", "c", "d"]
    pair = np.concatenate([few, np.nan * IMAGES[:1]]), IMAGES[:3]
    figure = drawn(samples.means_and_centroids(FILE, *pair, [0, 1, 2], "abc", "m"))
    assert [axes.get_ylabel() for axes in figure.axes[:6:2]] == ["a", "b", "c"]
    rows = [("noise", [(IMAGES[0], "one"), (0 * IMAGES[0], "zero")]), ("", [])]
    figure = drawn(samples.sample_overview(FILE, rows, "title"))
    assert figure.axes[1].texts[0].get_text() == "unusable"
    assert figure.axes[-1].get_ylabel() == "log10 of amplitude over the sample's peak"
    figure = samples.sample_overview(FILE, [("", [(-IMAGES[0], "one")])], "title")
    assert figure.axes[-1].get_ylabel() == "amplitude (m)"


def test_histories_have_whole_epochs():
    epoch = np.arange(1, 4.0)
    aec = {"epoch": epoch, "train_mse": 1 / epoch, "validation_mse": 0.4 * epoch}
    assert "0.4" in drawn(scores.aec_history(aec, 1.0)).axes[0].get_title()
    dec = dict.fromkeys(("epoch", "mse", "kl", "label_change"), epoch)
    axes = drawn(scores.dec_history(dec, 0.003)).axes[-1]
    low, high = axes.get_xlim()
    assert all(tick == round(tick) for tick in axes.get_xticks() if low <= tick <= high)


def test_selection_curves_have_a_ring_and_a_line_each():
    values = {"bic": [3e5, 2e5, 4e5], "aic": [-2, -3, -4], "silhouette": [0.5, 0.3, 0.2],
              "inertia": [9e6, 3e6, 2e6], "gap": [2, 3, 4], "gap_std": [0.1] * 3,
              "stability": [0.9] * 3}  # fmt: skip
    rows = [row(k, **{name: own[k - 2] for name, own in values.items()}) for k in (2, 3, 4)]
    figure = drawn(scores.selection_curves(rows, 3, "bic"))
    assert figure.axes[5].get_title() == "Stability\nlargest of the most stable: K = 4"
    assert [axes.title.get_fontweight() for axes in figure.axes[:2]] == ["bold", "normal"]
    rings = [[x.get_xdata()[0] for x in a.lines if x.get_mfc() == "none"] for a in figure.axes]
    assert rings == [[3], [4], [2], [], [3], [4]]
    figure = scores.selection_curves([row(k, silhouette=np.nan) for k in (2, 3)], 2, "gap")
    assert figure.axes[5].texts[0].get_text() == "not computed"
    assert figure.axes[2].get_title() == "Silhouette\nhighest: none"


def test_latent_space():
    points, labels = IMAGES[:, 0, :2], np.arange(9) % 3
    figure = drawn(latent.embedding(points, labels, ["0 (3)", "1 (3)", "2 ice (3)"], "title"))
    assert words(figure)[-3:] == ["0 (3)", "1 (3)", "2 ice (3)"]
    assert len({str(cluster_colour(label)) for label in range(-1, 24)}) == 25
    labels, values = np.array([0, 0, 1, 1]), np.array([0.5, 0.1, 0.3, 0.3])
    found = dict.fromkeys(("silhouette_latent", "silhouette_data"), (labels, values))
    stages = [Performance(name, np.array([2, 3, 5]), {}, found, None) for name in ("GMM", "DEC")]
    titles = [axes.get_title() for axes in drawn(latent.silhouette_profiles(stages, NAMES)).axes]
    assert titles[0] == "GMM, latent space: mean 0.300"
    assert titles[3] == "DEC, data space: mean 0.300"
    away = np.array([[0.0, 1, 5], [1, 0, 4], [5, 4, 0]])
    left, right, _ = drawn(latent.centroid_tree(away, "abc")).axes
    order = ["abc".index(text.get_text()) for text in left.get_yticklabels()][::-1]
    assert set(order[:2]) == {0, 1} or set(order[1:]) == {0, 1}  # the nearest are joined
    np.testing.assert_array_equal(right.images[0].get_array(), away[np.ix_(order, order)])


def test_counts_are_written_and_shaded_by_row():
    rows, columns = ["0", "1 " + "x" * 40, "2 $y_$"], ["quake", "noise"]
    counts = np.array([[30, 10], [0, 12000], [0, 0]])
    axes = drawn(scores.known_classes(counts, [2, 1, 0], rows, columns, "title")).axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1], [0, 0]]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "30", (1, 0): "10", (1, 1): "12.0k"}
    assert axes.yaxis_inverted()  # the first row is at the top
    assert [label.get_text() for label in axes.get_xticklabels()] == columns
    names = axes.get_yticklabels()
    assert len(names[1].get_text()) == scores.LONGEST_NAME
    assert names[2].get_text() == r"2 \$y_\$"  # no formula
    assert names[0].get_bbox_patch().get_edgecolor() == to_rgba(cluster_colour(2))
    many = [str(label) for label in range(200)]
    figure = scores.known_classes(np.eye(200, dtype=int), range(200), many, many, "title")
    assert (len(figure.axes[0].texts), len(figure.axes[0].get_xticks())) == (0, 50)
    assert max(figure.get_size_inches()) <= 16


def test_reliability():
    means = np.array([[np.nan, 0.8], [np.nan, 0.5]])
    bins = Reliability(np.linspace(0, 1, 3), np.array([0, 4]), *means, 0.3, 0.3)
    axes = drawn(scores.reliability_curve([("GMM", bins), ("DEC", bins)])).axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "GMM: calibration error 0.300" in texts
    assert axes.containers[0].lines[0].get_xydata().tolist() == [[0.8, 0.5]]
    # (0.5 * 4 + 1) / (4 + 2) = 0.5, and the root of 0.25 / 4.
    low, high = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.25, 0.75))


def test_a_section_has_values_and_the_colours_of_clusters():
    labels, values = np.array([[0, 1, -1], [1, 1, 0]]), np.array([[0.0, 20, np.nan], [0, 10, 0]])
    unix = "seconds since 1970-01-01T00:00:00Z"
    image = ClusterMap(labels, np.array([1.5e9, 1.5e9 + 10]), unix, 10.0, np.arange(3.0), "m", [])
    upper, lower, bar = drawn(cluster_section(image, values, NAMES, "dB")).axes
    assert np.array_equal(upper.images[0].get_array().filled(np.nan), values.T, equal_nan=True)
    colours = np.asarray(lower.images[0].get_array())
    assert colours[2, 0] == pytest.approx(np.array(UNUSABLE_COLOUR))
    assert colours[1, 0] == pytest.approx(np.array([230, 159, 0]) / 255, abs=0.01)
    assert colours[0, 0].min() == pytest.approx(0.75)  # without power
    assert lower.get_ylabel() == "Distance (m)"
    assert (lower.get_xlabel(), upper.get_xlabel()) == ("Time (UTC)", "")
    assert bar.get_ylabel() == "Mean of each sample (dB)"


def test_series_and_environment_share_time():
    values, moments = np.array([1.0, np.nan, 2.0, 3.0]), [(EDGES[1], "storm")]
    panels, has_data = [(NAMES[k], COUNTS[:, k], k) for k in (0, 1)], np.array([1, 1, 0, 1]) > 0
    series = EDGES, panels, has_data, "day", [("tide (m)", values)]
    figure = drawn(occurrence_series(*series, moments, log_axis=True))
    top, _, below = figure.axes
    assert [axes.get_xlim() for axes in figure.axes] == [below.get_xlim()] * 3
    np.testing.assert_array_equal(top.patches[0].get_data().values, [1, 3, np.nan, 2])
    np.testing.assert_array_equal(below.lines[0].get_ydata(), values)
    assert words(figure) == [
        "cluster 0", "storm", "1 stick-slip", "tide (m)", "no data at any station",
    ]  # fmt: skip
    hatched = top.patches[1].get_window_extent()
    assert top.transData.inverted().transform(hatched.p0)[0] == pytest.approx(EDGES[2].astype(int))


def test_profiles_are_shares():
    hours, months = np.zeros((24, 2), int), np.zeros((12, 2), int)
    hours[3], hours[4, 0] = (1, 5), 3
    months[0], months[11] = (1, 5), (3, 0)
    every = hours.sum(axis=1), months.sum(axis=1)
    figure = drawn(profiles(hours, months, [0, 1], NAMES, every))
    left, right = figure.axes[:2]
    assert left.patches[0].get_data().values[3:5].tolist() == [25, 75]
    assert right.patches[0].get_data().values.tolist() == [25, *[0] * 10, 75]
    assert "no sample at all" in words(figure)


def test_kilometres_of_the_map_are_those_on_the_ground():
    for places, middle, km in (
        ([[-78.5, 179.6], [-78.5, -179.6]], "78.5003°S, 180°", 17.73),  # over the date line
        ([[0.0, 10.0], [0.0, 10.5]], "0°N, 10.25°E", 55.6),
        ([[-89.9, 0.0], [-89.9, 180.0]], "90°S, ", 22.24),  # over the pole
    ):
        east, north, text = around_middle(np.array(places))
        assert text.startswith(middle)
        assert np.hypot(*np.diff([east, north], axis=1)) == pytest.approx(km, rel=1e-3)


@pytest.mark.parametrize("places", [[[-78.5, 170], [-76.4, 170], [-77.4, 170.1]], [[10, 20]] * 3])
def test_stations(places):
    stations, counts = ["A", "B", "C"], np.array([[5, 4], [1, 0], [0, 0]])
    figure = drawn(station_map(stations, np.array(places), counts, NAMES))
    axes = figure.axes[0]
    assert axes.get_aspect() == 1
    circles = [patch.radius for patch in axes.patches if isinstance(patch, Circle)]
    assert circles[0] / circles[1] == pytest.approx(3)  # areas are as samples
    assert {*stations, *NAMES} <= set(words(figure))
