"""Tables of counts between two labellings, and reliability curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..evaluation.metrics import Reliability
from .style import COLOUR_MAP, PALETTE, cluster_colour, new, plain, tidy

NUMBERED = 24  # rows or columns up to which every cell has its number
TICKED = 60  # rows or columns up to which each has its name
LONGEST_NAME = 22  # letters


def overlap_matrix(
    counts: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_title: str,
    column_title: str,
    title: str,
    row_clusters: Sequence[int] | None = None,
    column_clusters: Sequence[int] | None = None,
) -> Figure:
    """Counts of samples by two labels, (rows, columns), shaded by their share of the row.

    Names of rows and columns have frames in the colours of their clusters, where these are given.
    """
    rows, columns = ([plain(name, LONGEST_NAME) for name in names] for names in (rows, columns))
    numbered = max(counts.shape) <= NUMBERED
    cell, long = 0.5 if numbered else 0.22, max(map(len, rows), default=0)
    figure = new(
        float(np.clip(cell * counts.shape[1] + 2.6 + 0.08 * long, 5, 16)),
        float(np.clip(cell * 0.8 * counts.shape[0] + 2.4, 3.5, 16)),
    )
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap=COLOUR_MAP, vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, label="Share of the row", shrink=0.9)
    _name_axis(axes.yaxis, rows, row_clusters)
    _name_axis(axes.xaxis, columns, column_clusters)
    if max(map(len, columns), default=0) > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlabel(column_title, labelpad=8)
    axes.set_ylabel(row_title, labelpad=8)
    axes.set_title(title, fontsize=10)
    for at in zip(*np.nonzero(counts), strict=True) if numbered else ():
        n, colour = int(counts[at]), "white" if share[at] < 0.6 else "black"
        text = f"{n:,}" if n < 10_000 else EngFormatter(places=1, sep="")(n)
        axes.text(*at[::-1], text, color=colour, ha="center", va="center", fontsize=8)
    return figure


def _name_axis(axis: Axis, names: Sequence[str], clusters: Sequence[int] | None) -> None:
    """Names along an axis, of many only some, in frames of the colours of their clusters."""
    places = range(0, len(names), -(-len(names) // TICKED) or 1)
    axis.set_ticks(list(places), [names[place] for place in places], fontsize=8)
    if clusters is not None:
        for place, label in zip(places, axis.get_ticklabels(), strict=True):
            colour = cluster_colour(clusters[place])
            label.set_bbox({"boxstyle": "square,pad=0.25", "fc": "white", "ec": colour, "lw": 1.5})


def reliability_curve(curves: Sequence[tuple[str, Reliability]]) -> Figure:
    """Share of right labels against their probability, by stage, and the samples of each bin."""
    figure = new(6.5, 6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="0.4", ls=":", label="calibrated")
    for place, (name, bins) in enumerate(curves):
        colour, there = PALETTE[place % len(PALETTE)], bins.counts > 0
        right, counts = bins.right[there], bins.counts[there]
        # One sample more of either kind (Agresti and Coull 1998): long bars of few samples
        likely = (right * counts + 1) / (counts + 2)
        error = np.sqrt(likely * (1 - likely) / counts)
        top.errorbar(
            bins.probability[there], right, error, fmt="o-", ms=4, capsize=2, color=colour,
            label=f"{name}: calibration error {bins.error:.3f}",
        )  # fmt: skip
        width = np.diff(bins.edges) / (len(curves) + 0.5)
        left = bins.edges[:-1] + (place + 0.25) * width
        bottom.bar(left, bins.counts, width, align="edge", color=colour, alpha=0.8)
    bottom.set_yscale("symlog", linthresh=1)
    bottom.set(xlabel="Probability of the label", ylabel="Samples", xlim=(0, 1.02))
    top.set(ylabel="Share whose class is the\nmost frequent of their cluster", ylim=(-0.02, 1.05))
    tidy(top)
    tidy(bottom)
    top.legend(frameon=False, loc="upper left", fontsize=9)
    return figure
