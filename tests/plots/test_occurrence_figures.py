import numpy as np
import pytest
from matplotlib.patches import Circle

from RISCluster.plots.occurrence import (
    cluster_section,
    lag_correlations,
    occurrence_series,
    profiles,
)
from RISCluster.plots.stations import around_middle, station_counts, station_map
from RISCluster.plots.style import UNUSABLE_COLOUR
from RISCluster.runs.cluster_map import ClusterMap

EDGES = np.arange("2016-01-01", "2016-01-06", dtype="datetime64[D]")
HAS_DATA = np.array([True, True, False, True])
COUNTS = np.array([[1, 0], [3, 2], [0, 0], [2, 0]])
NAMES = ["cluster 0", "1 stick-slip"]


def words(figure):
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return texts + legends


def test_a_section_has_values_and_the_colours_of_clusters(drawn):
    labels, values = np.array([[0, 1, -1], [1, 1, 0]]), np.array([[0.0, 20, np.nan], [0, 10, 0]])
    unix = "seconds since 1970-01-01T00:00:00Z"
    image = ClusterMap(labels, np.array([1.5e9, 1.5e9 + 10]), unix, 10.0, np.arange(3.0), "m", [])
    upper, lower, bar = drawn(cluster_section(image, values, [2, 3], "dB")).axes
    assert np.array_equal(upper.images[0].get_array().filled(np.nan), values.T, equal_nan=True)
    colours = np.asarray(lower.images[0].get_array())
    assert colours[2, 0] == pytest.approx(np.array(UNUSABLE_COLOUR))
    assert colours[1, 0] == pytest.approx(np.array([230, 159, 0]) / 255, abs=0.01)
    assert colours[0, 0].min() == pytest.approx(0.75)  # without power
    assert lower.get_ylabel() == "Distance (m)"
    assert (lower.get_xlabel(), upper.get_xlabel()) == ("Time (UTC)", "")
    assert bar.get_ylabel() == "Mean of each sample (dB)"


def test_series_and_environment_share_time(drawn):
    values, moments = np.array([1.0, np.nan, 2.0, 3.0]), [(EDGES[1], "storm")]
    panels = [(name, COUNTS[:, [k]], HAS_DATA) for k, name in enumerate(NAMES)]
    series = EDGES, panels, [[0], [1]], "day", [("tide (m)", values)]
    figure = drawn(occurrence_series(*series, moments=moments, log_axis=True))
    top, _, below = figure.axes
    assert [axes.get_xlim() for axes in figure.axes] == [below.get_xlim()] * 3
    heights = top.patches[0].get_data().values
    assert np.array_equal(heights, [1, 3, np.nan, 2], equal_nan=True)
    assert np.array_equal(below.lines[0].get_ydata(), values, equal_nan=True)
    assert figure.get_supylabel() == "Samples per day"
    assert words(figure) == [
        "cluster 0\nn = 6", "storm", "1 stick-slip\nn = 2", "tide (m)", "no data at any station",
    ]  # fmt: skip
    hatched = top.patches[1].get_window_extent()
    assert top.transData.inverted().transform(hatched.p0)[0] == pytest.approx(EDGES[2].astype(int))


def test_clusters_are_stacked_at_stations(drawn):
    stations = [("XH.A", COUNTS, HAS_DATA), ("XH.B", COUNTS, np.ones(4, bool))]
    figure = drawn(occurrence_series(EDGES, stations, [[0, 1]] * 2, "day", titles=NAMES))
    first, second = figure.axes[1].patches[:2]
    assert second.get_data().values.tolist() == [1, 5, 0, 2]
    assert second.get_data().baseline.tolist() == first.get_data().values.tolist() == [1, 3, 0, 2]
    assert words(figure) == ["XH.A\nn = 8", "XH.B\nn = 8", *NAMES, "no data"]


def test_profiles_are_shares(drawn):
    hours, months = np.zeros((24, 2), int), np.zeros((12, 2), int)
    hours[3], hours[4, 0] = (1, 5), 3
    months[0], months[11] = (1, 5), (3, 0)
    every = hours.sum(axis=1), months.sum(axis=1)
    figure = drawn(profiles(hours, months, [0, 1], NAMES, every))
    left, right = figure.axes[:2]
    assert left.patches[0].get_data().values[3:5].tolist() == [25, 75]
    assert right.patches[0].get_data().values.tolist() == [25, *[0] * 10, 75]
    assert "no sample at all" in words(figure)


def test_lag_correlations_mark_the_best(drawn):
    lags = np.array([-1.0, 0, 1])
    lines = [(0, np.array([0.1, 0.2, np.nan]), 0.5), (1, np.array([0.0, -0.1, -0.9]), 0.5)]
    figure = drawn(lag_correlations(lags, [("tide", lines)], NAMES))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(0, 0.2), (1, -0.9)]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False]


def test_station_counts(drawn):
    counts = np.array([[3, 1], [0, 0], [0, 7]])
    figure = drawn(station_counts(["A", "B", "C"], counts, [0, -1], ["cluster 0", "others"]))
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [3, 0, 0, 1, 0, 7]
    assert [bar.get_width() for bar in right.patches] == [75, 0, 0, 25, 0, 100]
    assert [bar.get_x() for bar in left.patches[3:]] == [3, 0, 0]


@pytest.mark.parametrize(
    ("places", "middle", "km"),
    [
        ([[-78.5, 179.6], [-78.5, -179.6]], "78.5003°S, 180°", 17.73),  # over the date line
        ([[0.0, 10.0], [0.0, 10.5]], "0°N, 10.25°E", 55.6),
        ([[-89.9, 0.0], [-89.9, 180.0]], "90°S, ", 22.24),  # over the pole
    ],
)
def test_kilometres_of_the_map_are_those_on_the_ground(places, middle, km):
    east, north, text = around_middle(np.array(places))
    assert text.startswith(middle)
    assert np.hypot(*np.diff([east, north], axis=1)) == pytest.approx(km, rel=1e-3)


@pytest.mark.parametrize(
    "places", [[[-78.5, 170.0], [-76.4, 170.0], [-77.4, 170.1]], [[10.0, 20.0]] * 3]
)
def test_station_map(drawn, places):
    counts = np.array([[5, 4], [1, 0], [0, 0]])
    figure = drawn(station_map(["A", "B", "C"], np.array(places), counts, [0, 1], NAMES))
    axes = figure.axes[0]
    assert axes.get_aspect() == 1
    circles = [patch.radius for patch in axes.patches if isinstance(patch, Circle)]
    assert circles[0] / circles[1] == pytest.approx(3)  # areas are as samples
    assert {"A", "B", "C", *NAMES} <= set(words(figure))
    assert figure.get_size_inches().max() < 10
