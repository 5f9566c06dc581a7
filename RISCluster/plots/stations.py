"""Figure of how often clusters occur at each station.

Letters: S stations, k clusters that are drawn.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .style import cluster_colour, legend_below, new, tidy


def station_counts(
    stations: Sequence[str], counts: np.ndarray, labels: Sequence[int], names: Sequence[str]
) -> Figure:
    """Samples of each cluster at each station: counts, and shares of the station's.

    Parameters
    ----------
    stations : sequence of str, (S,)
    counts : ndarray, (S, k)
        Of the clusters that are drawn.
    labels, names : sequences, (k,)
    """
    figure = new(10, 0.24 * len(stations) + 1.9)
    left, right = figure.subplots(1, 2, sharey=True)
    totals = np.maximum(1, counts.sum(axis=1))
    for axes, values in ((left, counts), (right, 100 * counts / totals[:, None])):
        start = np.zeros(len(stations))
        for column, label in enumerate(labels):
            width = values[:, column]
            axes.barh(range(len(stations)), width, 0.8, left=start, color=cluster_colour(label))
            start = start + width
        tidy(axes)
        axes.grid(visible=False, axis="y")
    left.set_yticks(range(len(stations)), stations, fontsize=8)
    left.set_ylim(len(stations) - 0.4, -0.6)
    left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    left.set_xlabel("Samples")
    right.set(xlabel="Share of the station's samples (%)", xlim=(0, 100))
    legend_below(figure, cluster_patches(labels, names))
    return figure


def cluster_patches(labels: Sequence[int], names: Sequence[str]) -> list[Patch]:
    """Colours of clusters, for a legend."""
    return [
        Patch(color=cluster_colour(label), label=name)
        for label, name in zip(labels, names, strict=True)
    ]
