import numpy as np
import pytest
from matplotlib.colors import to_hex

from RISCluster.plots.occurrence import lag_correlations, occurrence_series, profiles
from RISCluster.plots.stations import station_counts, station_map
from RISCluster.plots.style import cluster_colour

EDGES = np.arange("2016-01-01", "2016-01-06", dtype="datetime64[D]")
HAS_DATA = np.array([True, True, False, True])
COUNTS = np.array([[1, 0], [3, 2], [0, 0], [2, 0]])
NAMES = ["cluster 0", "1 stick-slip"]


def words(figure):
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return texts + legends


def panels(counts=COUNTS, has_data=HAS_DATA):
    return [(name, counts[:, [k]], has_data) for k, name in enumerate(NAMES[: counts.shape[1]])]


def test_series_and_environment_share_time(drawn):
    values = np.array([1.0, np.nan, 2.0, 3.0])
    series = [("tide (m)", values)]
    figure = drawn(occurrence_series(EDGES, panels(), [[0], [1]], "day", series))
    top, _, below = figure.axes
    assert [axes.get_xlim() for axes in figure.axes] == [below.get_xlim()] * 3
    heights = top.patches[0].get_data().values
    assert np.array_equal(heights, [1, 3, np.nan, 2], equal_nan=True)
    assert to_hex(top.patches[0].get_facecolor()) == cluster_colour(0).lower()
    assert np.array_equal(below.lines[0].get_ydata(), values, equal_nan=True)
    assert figure.get_supylabel() == "Samples per day"
    assert words(figure) == [
        "cluster 0\nn = 6", "1 stick-slip\nn = 2", "tide (m)", "no data at any station",
    ]  # fmt: skip
    hatched = top.patches[1].get_window_extent()
    assert top.transData.inverted().transform(hatched.p0)[0] == pytest.approx(EDGES[2].astype(int))
    one = panels(COUNTS[1:2, :1], HAS_DATA[:1])
    figure = drawn(occurrence_series(EDGES[:2], one, [[0]], "10 minutes"))
    assert figure.legends == []
    assert figure.get_supylabel() == "Samples in 10 minutes"


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
    seasons = [("Dec-Feb", [1, 2, 12]), ("Mar-Nov", list(range(3, 12)))]
    figure = drawn(
        profiles(hours, months, [0, 1], NAMES, seasons, (hours.sum(axis=1), months.sum(axis=1)))
    )
    left, right = figure.axes[:2]
    assert left.patches[0].get_data().values[3:5].tolist() == [25, 75]
    assert right.patches[0].get_data().values.tolist() == [25, *[0] * 10, 75]
    assert "no sample at all" in words(figure)
    assert {"Dec-Feb", "Mar-Nov"} <= set(words(figure))


def test_lag_correlations_mark_the_best(drawn):
    lags = np.array([-1.0, 0, 1])
    lines = [(0, np.array([0.1, 0.2, np.nan]), 0.5), (1, np.array([0.0, -0.1, -0.9]), 0.5)]
    figure = drawn(lag_correlations(lags, [("tide", lines)], NAMES))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(0, 0.2), (1, -0.9)]
    assert marks[0].get_markerfacecolor() == "white"  # within the level
    assert marks[1].get_markerfacecolor() == cluster_colour(1)
    assert "follow" in figure.axes[0].get_xlabel()


def test_station_counts(drawn):
    counts = np.array([[3, 1], [0, 0], [0, 7]])
    figure = drawn(station_counts(["A", "B", "C"], counts, [0, -1], ["cluster 0", "others"]))
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [3, 0, 0, 1, 0, 7]
    assert [bar.get_width() for bar in right.patches] == [75, 0, 0, 25, 0, 100]
    assert [bar.get_x() for bar in left.patches[3:]] == [3, 0, 0]


def great_circle(a, b):
    """Kilometres between two places (latitude, longitude)."""
    (north, east), (other_north, other_east) = np.deg2rad([a, b])
    half = np.sin((other_north - north) / 2) ** 2
    half += np.cos(north) * np.cos(other_north) * np.sin((other_east - east) / 2) ** 2
    return 2 * 6371 * np.arcsin(np.sqrt(half))


def drawn_bar(figure):
    """Pixels of the scale bar, and its text."""
    axes = figure.axes[0]
    [bar] = [line for line in axes.lines if line.get_transform() == axes.transAxes]
    [text] = [one.get_text() for one in axes.texts if one.get_transform() == axes.transAxes]
    return np.ptp(axes.transAxes.transform(np.column_stack(bar.get_data()))[:, 0]), text


def pixels_between(figure):
    """Between the first two pies."""
    axes = figure.axes[0]
    places = np.array(
        [one.get_offsets()[0] for one in axes.collections if one.get_facecolor().size]
    )
    return np.hypot(*np.diff(axes.transData.transform(places[[0, -1]]), axis=0)[0])


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ([[-78.5, 179.6], [-78.5, -179.6]], "5 km"),  # over the date line
        ([[-78.5, 10.0], [-78.4, 10.0]], "1 km"),
        ([[-80.25, 170.0], [-80.25, -170.0]], "100 km at 80.2°S"),
        ([[0.0, 10.0], [0.0, 10.5]], "20 km"),
        ([[-89.9, 0.0], [-89.9, 180.0]], "5 km"),  # over the pole
        ([[89.99, 90.0], [89.99, 0.0]], "500 m"),
    ],
)
def test_the_scale_bar_is_as_long_as_on_the_ground(drawn, places, text):
    counts = np.array([[5], [2]])
    figure = drawn(station_map(["A", "B"], np.array(places), counts, [0], NAMES[:1]))
    length, said = drawn_bar(figure)
    assert said == text
    number, unit = said.split()[:2]
    km = float(number) / (1000 if unit == "m" else 1)
    assert length / pixels_between(figure) == pytest.approx(km / great_circle(*places), rel=0.01)


@pytest.mark.parametrize(
    "places",
    [
        [[-78.5, 170.0], [-78.5, -170.0], [-82.0, 180.0]],
        [[10.0, 20.0]] * 3,  # one place
        [[0.0, 10.0], [0.0, 10.001], [0.0, 40.0]],  # a line
        [[-78.5, 170.0], [-76.4, 170.0], [-77.4, 170.1]],
        [[-89.99, 0.0], [-89.99, 120.0], [-89.99, -120.0]],
        [[-90.0, 0.0]] * 3,
    ],
)
def test_no_label_of_the_map_is_cut_off(drawn, places):
    counts = np.array([[5], [2], [1]])
    figure = drawn(station_map(["A", "B", "C"], np.array(places), counts, [0], NAMES[:1]))
    assert len(figure.legends) == 2
    assert figure.get_size_inches().max() < 10
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        box = axis.label.get_window_extent()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_the_label_of_few_panels_is_not_cut_off(drawn):
    hours, months = np.ones((24, 1), int), np.ones((12, 1), int)
    seasons = [("Dec-Feb", [12, 1, 2]), ("Mar-Nov", list(range(3, 12)))]
    for figure in (
        profiles(hours, months, [0], NAMES[:1], seasons, (hours[:, 0], months[:, 0])),
        occurrence_series(EDGES, panels(COUNTS[:, :1]), [[0]], "day"),
        occurrence_series(EDGES, [("A", COUNTS, HAS_DATA)], [[0, 1]], "10 minutes", titles=NAMES),
    ):
        box = drawn(figure)._supylabel.get_window_extent()
        assert box.y0 > 5  # of 294 pixels or more
        assert box.y1 < figure.bbox.y1 - 1


def test_a_legend_is_in_order_along_its_rows(tmp_path):
    figure = station_counts(
        ["A"], np.ones((1, 8), int), range(8), [f"cluster {k}" for k in range(8)]
    )
    figure.savefig(tmp_path / "f.png")
    texts = figure.legends[0].get_texts()
    places = {one.get_text(): one.get_window_extent() for one in texts}
    rows = sorted(places, key=lambda name: (-round(places[name].y0), places[name].x0))
    assert rows == [f"cluster {k}" for k in range(8)]
