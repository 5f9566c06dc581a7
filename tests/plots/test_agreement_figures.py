import numpy as np
import pytest

from RISCluster.evaluation.metrics import Reliability
from RISCluster.plots.agreement import LONGEST_NAME, compact, overlap_matrix, reliability_curve
from RISCluster.plots.style import cluster_colour
from RISCluster.plots.training import selection_curves
from tests.clustering.test_selection import row

TITLES = {"row_title": "Cluster", "column_title": "Class", "title": "title"}


def draw(figure, tmp_path):
    figure.savefig(tmp_path / "f.png")
    return figure.axes[0]


def test_counts_are_written_and_shaded_by_row(tmp_path):
    counts = np.array([[30, 10], [0, 12000], [0, 0]])
    figure = overlap_matrix(counts, ["0", "1", "2"], ["quake", "noise"], **TITLES)
    axes = draw(figure, tmp_path)
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1], [0, 0]]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "30", (1, 0): "10", (1, 1): "12.0k"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["quake", "noise"]
    assert axes.yaxis_inverted()  # the first row is at the top
    assert figure.axes[1].get_ylabel() == "Share of the row"


def test_names_have_the_colours_of_their_clusters_and_are_cut(tmp_path):
    long = "0 " + "x" * 40
    figure = overlap_matrix(
        np.eye(2, dtype=int), [long, "1"], ["a", "b"], row_clusters=[0, 1], **TITLES
    )
    labels = draw(figure, tmp_path).get_yticklabels()
    assert len(labels[0].get_text()) == LONGEST_NAME
    edge = labels[1].get_bbox_patch().get_edgecolor()
    from matplotlib.colors import to_rgba

    assert edge == to_rgba(cluster_colour(1))


def test_a_dollar_sign_is_no_formula(tmp_path):
    names = ["0 cost $x^$", "1 $y_$ both"]
    figure = overlap_matrix(np.eye(2, dtype=int), names, names, **TITLES)
    labels = draw(figure, tmp_path).get_yticklabels()
    assert [label.get_text() for label in labels] == [name.replace("$", r"\$") for name in names]


@pytest.mark.parametrize("k", [1, 30, 200])
def test_any_size(tmp_path, k):
    names = [str(label) for label in range(k)]
    figure = overlap_matrix(np.eye(k, dtype=int), names, names, row_clusters=range(k), **TITLES)
    axes = draw(figure, tmp_path)
    assert len(axes.texts) == (1 if k == 1 else 0)
    assert len(axes.get_xticks()) <= 60
    assert max(figure.get_size_inches()) <= 16


def test_compact():
    numbers = (7, 9999, 10_000, 99_949, 99_951, 999_499, 999_500, 12_345_678, 2_000_000_000)
    assert [compact(n) for n in numbers] == [
        "7", "9,999", "10.0k", "99.9k", "100k", "999k", "1.0M", "12.3M", "2.0G"
    ]  # fmt: skip


def test_reliability(tmp_path):
    bins = Reliability(
        np.linspace(0, 1, 3), np.array([0, 4]), np.array([np.nan, 0.8]), np.array([np.nan, 0.5])
    )
    axes = draw(reliability_curve([("GMM", bins), ("DEC", bins)]), tmp_path)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "GMM: calibration error 0.300" in texts
    line = axes.containers[0].lines[0]
    assert line.get_xydata().tolist() == [[0.8, 0.5]]
    # (0.5 * 4 + 1) / (4 + 2) = 0.5, and the root of 0.25 / 4.
    low, high = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.25, 0.75))


def test_selection_curves_have_a_ring_and_a_line_each(tmp_path):
    rows = [
        row(k, bic=b, aic=-k, silhouette=1 / k, inertia=i, gap=k, gap_std=0.1, stability=0.9)
        for k, b, i in ((2, 3e5, 9e6), (3, 2e5, 3e6), (4, 4e5, 2e6))
    ]
    figure = selection_curves(rows, 3, "bic")
    draw(figure, tmp_path)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "BIC\nlowest: K = 3", "AIC\nlowest: K = 4", "Silhouette\nhighest: K = 2",
        "Gap statistic\nfirst within one s.e.: none", "Inertia of k-means\nknee: K = 3",
        "Stability\nlargest of the most stable: K = 4",
    ]  # fmt: skip
    assert [axes.title.get_fontweight() for axes in figure.axes[:2]] == ["bold", "normal"]
    rings = [
        [line.get_xdata()[0] for line in axes.lines if line.get_mfc() == "none"]
        for axes in figure.axes
    ]
    assert rings == [[3], [4], [2], [], [3], [4]]
    assert "K = 3 is selected, by BIC" in figure.get_suptitle()


def test_selection_curves_of_an_old_run(tmp_path):
    rows = [row(2, silhouette=np.nan), row(3, silhouette=np.nan)]
    figure = selection_curves(rows, 2, "gap")
    draw(figure, tmp_path)
    assert figure.axes[5].texts[0].get_text() == "not computed"
    assert figure.axes[2].get_title() == "Silhouette\nhighest: none"
