import numpy as np
import pytest
from matplotlib.colors import to_rgba

from RISCluster.evaluation.metrics import Reliability
from RISCluster.plots.agreement import LONGEST_NAME, overlap_matrix, reliability_curve
from RISCluster.plots.style import cluster_colour

TITLES = {"row_title": "Cluster", "column_title": "Class", "title": "title"}


def test_counts_are_written_and_shaded_by_row(drawn):
    counts = np.array([[30, 10], [0, 12000], [0, 0]])
    figure = drawn(overlap_matrix(counts, ["0", "1", "2"], ["quake", "noise"], **TITLES))
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1], [0, 0]]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "30", (1, 0): "10", (1, 1): "12.0k"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["quake", "noise"]
    assert axes.yaxis_inverted()  # the first row is at the top


def test_names_have_the_colours_of_their_clusters_and_are_cut(drawn):
    names = ["0 " + "x" * 40, "1 $y_$"]
    figure = overlap_matrix(np.eye(2, dtype=int), names, names, row_clusters=[0, 1], **TITLES)
    labels = drawn(figure).axes[0].get_yticklabels()
    assert len(labels[0].get_text()) == LONGEST_NAME
    assert labels[1].get_text() == r"1 \$y_\$"  # no formula
    assert labels[1].get_bbox_patch().get_edgecolor() == to_rgba(cluster_colour(1))


def test_a_large_table_has_no_numbers_and_some_names(drawn):
    names = [str(label) for label in range(200)]
    figure = overlap_matrix(np.eye(200, dtype=int), names, names, row_clusters=range(200), **TITLES)
    axes = drawn(figure).axes[0]
    assert (len(axes.texts), len(axes.get_xticks())) == (0, 50)
    assert max(figure.get_size_inches()) <= 16


def test_reliability(drawn):
    bins = Reliability(
        np.linspace(0, 1, 3), np.array([0, 4]), np.array([np.nan, 0.8]), np.array([np.nan, 0.5])
    )
    axes = drawn(reliability_curve([("GMM", bins), ("DEC", bins)])).axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "GMM: calibration error 0.300" in texts
    assert axes.containers[0].lines[0].get_xydata().tolist() == [[0.8, 0.5]]
    # (0.5 * 4 + 1) / (4 + 2) = 0.5, and the root of 0.25 / 4.
    low, high = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.25, 0.75))
