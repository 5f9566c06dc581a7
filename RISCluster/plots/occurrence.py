"""Clusters over time: map of a cube, time series, daily and yearly profiles.

Letters: B bins, k drawn clusters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..runs.cluster_map import ClusterMap
from .style import (
    COLOUR_MAP,
    UNUSABLE_COLOUR,
    amplitude_range,
    cluster_colour,
    cluster_patches,
    edges,
    label_dates,
    legend_below,
    legend_beside,
    new,
    plain,
    short_title,
    tidy,
)

NO_DATA = {"facecolor": "0.9", "edgecolor": "0.7", "hatch": "///", "linewidth": 0}
NAMED_CHANNELS = 40


def cluster_map(
    image: ClusterMap, sizes: Sequence[int], title: str, names: Mapping[int, str] | None = None
) -> Figure:
    """Labels of a cube over time (to the right) and channel or distance (downward)."""
    figure = new(10, 5.5)
    axes = figure.subplots()
    colours = ListedColormap([UNUSABLE_COLOUR, *map(cluster_colour, range(len(sizes)))])
    limits = {"vmin": -1.5, "vmax": len(sizes) - 0.5}
    _along_channels(axes, image, image.labels, cmap=colours, **limits)
    axes.set_title(title)
    _legend_of_sizes(figure, sizes, names)
    return figure


def cluster_section(
    image: ClusterMap,
    means: np.ndarray,
    sizes: Sequence[int],
    unit: str,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Mean values (W, C) of a cube over time and channel or distance, and with the labels.

    Below, each cluster's colour is the fuller the larger the value; `unit` is of the values.
    """
    figure = new(10, 9)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    low, high = amplitude_range(means, lowest=1)
    drawn = _along_channels(upper, image, means, cmap=COLOUR_MAP, vmin=low, vmax=high)
    figure.colorbar(drawn, ax=upper, label=f"Mean of each sample ({unit})")
    colours = np.array([*map(to_rgb, map(cluster_colour, range(len(sizes)))), UNUSABLE_COLOUR])
    full = 0.25 + 0.75 * np.clip((means - low) / (high - low), 0, 1)[..., None]
    full = np.where(image.labels[..., None] < 0, 1, full)
    _along_channels(lower, image, 1 - full * (1 - colours[image.labels]))
    upper.set_xlabel("")
    _legend_of_sizes(figure, sizes, names)
    return figure


def _along_channels(axes: Axes, image: ClusterMap, values: np.ndarray, **style: Any) -> AxesImage:
    """Draw values (W, C, ...) over time (to the right) and channel or distance (downward)."""
    single = len(image.position) == 1
    places = image.position[0] + [-0.5, 0.5] if single else edges(image.position)[[0, -1]]
    left, right = image.time[0], image.time[-1] + image.duration
    if image.time_unit.startswith("seconds since 1970"):
        left, right = (date2num(np.datetime64(round(1e6 * t), "us")) for t in (left, right))
        label_dates(axes)
    else:
        axes.set_xlabel("Time (s)" if image.time_unit == "s" else "Time step")
    if image.names and len(image.names) <= NAMED_CHANNELS:
        axes.set_yticks(image.position, image.names)
    elif image.position_unit == "channel":
        axes.set_ylabel("Channel")
    else:
        axes.set_ylabel(f"Distance ({image.position_unit})" if image.position_unit else "Distance")
    return axes.imshow(
        values.swapaxes(0, 1), aspect="auto", interpolation="nearest",
        extent=(left, right, *places[::-1]), **style,
    )  # fmt: skip


def _legend_of_sizes(
    figure: Figure, sizes: Sequence[int], names: Mapping[int, str] | None
) -> None:  # fmt: skip
    titles = [f"{short_title(label, names)}  ({size:,})" for label, size in enumerate(sizes)]
    handles = cluster_patches([*range(len(sizes)), -1], [*titles, "unusable"])
    legend_beside(figure, handles, "Cluster (size)")


def occurrence_series(
    edges: np.ndarray,
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    labels: Sequence[Sequence[int]],
    interval: str,
    environment: Sequence[tuple[str, np.ndarray]] = (),
    titles: Sequence[str] = (),
    height: float = 0.85,
    moments: Sequence[tuple[np.datetime64, str]] = (),
    log_axis: bool = False,
) -> Figure:
    """Counts over time in panels, clusters stacked, and environmental series below.

    `edges` (B + 1,) are datetime64; of each panel the title, counts (B, k), and whether bins have
    data (B,); `labels` the k clusters of each, `interval` the name of a bin, as ``day``;
    `environment` has names and means in bins (B,), NaN for none. With `titles` the clusters are the
    same in all panels, and have a legend. `height` is of a panel, inches; `moments` are marked.
    """
    n = len(panels) + len(environment)
    figure = new(10, max(2.4, height * n + 1.2))
    grid = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
    dates = date2num(edges)
    for axes, (name, counts, has_data), clusters in zip(grid, panels, labels, strict=False):
        top = np.where(has_data[:, None], np.cumsum(counts, axis=1), np.nan)
        for column, label in enumerate(clusters):
            below = top[:, column] - counts[:, column]
            colour = cluster_colour(label)
            axes.stairs(top[:, column], dates, baseline=below, fill=True, color=colour)
        axes.set_ylim(0, max(1, 1.08 * counts.sum(axis=1).max()))
        if log_axis:
            axes.set_yscale("symlog", linthresh=1)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _beside(axes, f"{name}\nn = {int(counts.sum()):,}")
        _shade(axes, dates, has_data)
    for axes, (name, values) in zip(grid[len(panels) :], environment, strict=True):
        axes.plot((dates[:-1] + dates[1:]) / 2, values, ".-", color="0.3", ms=3, lw=0.9)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        _beside(axes, name)
    for time, name in moments:
        for axes in grid:
            axes.axvline(date2num(time), color="0.2", lw=0.9, ls="--")
        at = {"transform": grid[0].get_xaxis_transform(), "ha": "center", "va": "bottom"}
        grid[0].text(date2num(time), 1.02, plain(name), fontsize=8, **at)
    label_dates(grid[-1])
    grid[-1].set_xlim(dates[0], dates[-1])
    figure.supylabel(f"Samples per {interval}", fontsize=10)
    handles = cluster_patches(labels[0], titles) if titles else []
    no_data = Patch(label="no data" if titles else "no data at any station", **NO_DATA)
    legend_below(figure, [*handles, no_data])
    return figure


def profiles(
    hours: np.ndarray,
    months: np.ndarray,
    labels: Sequence[int],
    titles: Sequence[str],
    everything: tuple[np.ndarray, np.ndarray],
) -> Figure:
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
            _shade(axes, bins, total > 0)
            axes.set(xlim=(bins[0], bins[-1]), ylim=(0, 1.05 * max(own.max(), every.max(), 1)))
            axes.yaxis.set_major_locator(MaxNLocator(3))
            tidy(axes)
        _beside(grid[row, 0], f"{title}\nn = {int(hours[:, row].sum()):,}")
    grid[-1, 0].set_xticks(np.arange(0, 25, 3) - 0.5, [str(hour) for hour in range(0, 25, 3)])
    grid[-1, 0].set_xlabel("Hour of the day (UTC)")
    grid[-1, 1].set_xticks(np.arange(12), "JFMAMJJASOND")
    grid[-1, 1].set_xlabel("Month")
    figure.supylabel("Share of the cluster's samples (%)", fontsize=10)
    line = Line2D([], [], color="0.25", lw=1, label="all clusters together")
    legend_below(figure, [line, Patch(label="no sample at all", **NO_DATA)])
    return figure


def _shade(axes: Axes, edges: np.ndarray, has_data: np.ndarray) -> None:
    """Hatch runs of bins without data."""
    change = np.diff(np.r_[0, ~has_data, 0].astype(int))
    for start, stop in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        axes.axvspan(edges[start], edges[stop], **NO_DATA)


def _beside(axes: Axes, text: str) -> None:
    """Name of a panel, to its right."""
    axes.text(1.01, 0.5, text, transform=axes.transAxes, va="center", fontsize=9)
    tidy(axes)
