"""Clusters over time: series, and profiles of the day and the year.

Letters: B bins, k drawn clusters.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .style import cluster_colour, label_dates, legend_below, new, plain, tidy

NO_DATA = {"facecolor": "0.9", "edgecolor": "0.7", "hatch": "///", "linewidth": 0}


def occurrence_series(
    edges: np.ndarray, panels: Sequence[tuple[str, np.ndarray, int]], has_data: np.ndarray,
    interval: str, environment: Sequence[tuple[str, np.ndarray]] = (),
    moments: Sequence[tuple[np.datetime64, str]] = (), log_axis: bool = False,
) -> Figure:  # fmt: skip
    """Counts of clusters over time in panels, and environmental series below.

    `edges` (B + 1,) are datetime64; of each panel the title, counts (B,) and the label; `has_data`
    (B,) says which bins have data, `interval` is the name of a bin (``day``); `environment` has
    names and means in bins (B,), NaN for none; `moments` are marked.
    """
    n = len(panels) + len(environment)
    figure = new(10, max(2.4, 0.85 * n + 1.2))
    grid = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
    dates = date2num(edges)
    for axes, (name, counts, label) in zip(grid, panels, strict=False):
        known = np.where(has_data, counts, np.nan)
        axes.stairs(known, dates, baseline=0 * known, fill=True, color=cluster_colour(label))
        axes.set_ylim(0, max(1, 1.08 * counts.max()))
        if log_axis:
            axes.set_yscale("symlog", linthresh=1)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _name_panel(axes, name)
        _hatch(axes, dates, has_data)
    for axes, (name, values) in zip(grid[len(panels) :], environment, strict=True):
        axes.plot((dates[:-1] + dates[1:]) / 2, values, ".-", color="0.3", ms=3, lw=0.9)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        _name_panel(axes, name)
    for time, name in moments:
        for axes in grid:
            axes.axvline(date2num(time), color="0.2", lw=0.9, ls="--")
        at = {"transform": grid[0].get_xaxis_transform(), "ha": "center", "va": "bottom"}
        grid[0].text(date2num(time), 1.02, plain(name), fontsize=8, **at)
    label_dates(grid[-1])
    grid[-1].set_xlim(dates[0], dates[-1])
    figure.supylabel(f"Samples per {interval}", fontsize=10)
    legend_below(figure, [Patch(label="no data at any station", **NO_DATA)])
    return figure


def profiles(
    hours: np.ndarray, months: np.ndarray, labels: Sequence[int], titles: Sequence[str],
    everything: tuple[np.ndarray, np.ndarray],
) -> Figure:  # fmt: skip
    """Share of each cluster's samples in each hour of the day and each month of the year.

    `hours` (24, k) and `months` (12, k) are counts, and `everything` the samples of all clusters,
    (24,) and (12,): a line; hatched where there is none.
    """
    figure = new(10, max(3.3, 0.85 * len(labels) + 1.6))
    grid = figure.subplots(len(labels), 2, sharex="col", squeeze=False, width_ratios=(3, 2))
    for row, (label, title) in enumerate(zip(labels, titles, strict=True)):
        for axes, counts, total in zip(grid[row], (hours, months), everything, strict=True):
            bins = np.arange(len(counts) + 1) - 0.5
            own, every = (100 * x / max(1, x.sum()) for x in (counts[:, row], total))
            axes.stairs(own, bins, fill=True, color=cluster_colour(label), alpha=0.85)
            axes.stairs(every, bins, color="0.25", lw=1, baseline=None)
            _hatch(axes, bins, total > 0)
            axes.set(xlim=(bins[0], bins[-1]), ylim=(0, 1.05 * max(own.max(), every.max(), 1)))
            axes.yaxis.set_major_locator(MaxNLocator(3))
            tidy(axes)
        _name_panel(grid[row, 0], title)
    grid[-1, 0].set_xticks(np.arange(0, 25, 3) - 0.5, [str(hour) for hour in range(0, 25, 3)])
    grid[-1, 0].set_xlabel("Hour of the day (UTC)")
    grid[-1, 1].set_xticks(np.arange(12), "JFMAMJJASOND")
    grid[-1, 1].set_xlabel("Month")
    figure.supylabel("Share of the cluster's samples (%)", fontsize=10)
    line = Line2D([], [], color="0.25", lw=1, label="all clusters together")
    legend_below(figure, [line, Patch(label="no sample at all", **NO_DATA)])
    return figure


def _hatch(axes: Axes, edges: np.ndarray, has_data: np.ndarray) -> None:
    """Hatch runs of bins without data."""
    change = np.diff(np.r_[0, ~has_data, 0].astype(int))
    for start, stop in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        axes.axvspan(edges[start], edges[stop], **NO_DATA)


def _name_panel(axes: Axes, text: str) -> None:
    """Name of a panel, to its right."""
    axes.text(1.01, 0.5, text, transform=axes.transAxes, va="center", fontsize=9)
    tidy(axes)
