"""Occurrence of clusters: time series, daily and yearly profiles, correlation with other series.

Letters: B bins, k drawn clusters, s drawn stations, K clusters, L lags.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .style import cluster_colour, cluster_patches, legend_below, new, tidy

NO_DATA = {"facecolor": "0.9", "edgecolor": "0.7", "hatch": "///", "linewidth": 0}
INITIALS = "JFMAMJJASOND"
ENVIRONMENT_COLOURS = ("0.15", "0.45")


def occurrence_series(
    edges: np.ndarray,
    counts: np.ndarray,
    has_data: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    interval: str,
    environment: Sequence[tuple[str, np.ndarray]] = (),
) -> Figure:
    """Occurrences of each cluster over time, environmental series below, on one axis of time.

    Parameters
    ----------
    edges : ndarray, (B + 1,), datetime64
    counts : ndarray, (B, k)
        Of the clusters that are drawn.
    has_data : ndarray, (B,), bool
    labels : sequence of int, (k,)
    names : sequence of str, (k,)
    interval : str
        What a bin is, as ``day``.
    environment : sequence of (str, ndarray)
        Name, and mean in each bin, (B,), NaN for none.
    """
    n = len(labels) + len(environment)
    figure = new(10, max(2.4, 0.85 * n + 1.1))
    panels = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
    dates = date2num(edges)
    for axes, series, label, name in zip(panels, counts.T, labels, names, strict=False):
        axes.stairs(_masked(series, has_data), dates, fill=True, color=cluster_colour(label))
        axes.set_ylim(0, max(1, 1.08 * series.max()))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _beside(axes, f"{name}\nn = {int(series.sum()):,}")
        _shade(axes, dates, has_data)
    for number, (axes, (name, values)) in enumerate(
        zip(panels[len(labels) :], environment, strict=True)
    ):
        middle = (dates[:-1] + dates[1:]) / 2
        style = {"marker": ".", "ms": 2 if len(middle) > 150 else 5}
        axes.plot(middle, values, lw=0.9, color=ENVIRONMENT_COLOURS[number % 2], **style)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        _beside(axes, name)
    _dated(panels[-1], dates)
    what = f"Samples per {interval}" if interval != "10 minutes" else "Samples in 10 minutes"
    figure.supylabel(what, fontsize=10)
    if not has_data.all():
        legend_below(figure, [Patch(label="no data at any station", **NO_DATA)])
    return figure


def station_series(
    edges: np.ndarray,
    stations: Sequence[str],
    counts: Sequence[np.ndarray],
    has_data: Sequence[np.ndarray],
    labels: Sequence[int],
    names: Sequence[str],
    interval: str,
) -> Figure:
    """Occurrences over time at each of some stations, clusters stacked.

    Parameters
    ----------
    edges : ndarray, (B + 1,), datetime64
    stations : sequence of str, (s,)
    counts : sequence of ndarray, (s,) of (B, k)
    has_data : sequence of ndarray, (s,) of (B,), bool
    labels, names : sequences, (k,)
    interval : str
    """
    figure = new(10, 1.1 * len(stations) + 1.3)
    panels = figure.subplots(len(stations), 1, sharex=True, squeeze=False)[:, 0]
    dates = date2num(edges)
    for axes, name, mine, data in zip(panels, stations, counts, has_data, strict=True):
        top = np.cumsum(mine, axis=1)
        for column, label in enumerate(labels):
            below = top[:, column] - mine[:, column]
            axes.stairs(
                top[:, column], dates, baseline=below, fill=True, color=cluster_colour(label)
            )
        axes.set_ylim(0, max(1, 1.08 * top[:, -1].max()))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _beside(axes, f"{name}\nn = {int(mine.sum()):,}")
        _shade(axes, dates, data)
    _dated(panels[-1], dates)
    what = f"Samples per {interval}" if interval != "10 minutes" else "Samples in 10 minutes"
    figure.supylabel(what, fontsize=10)
    handles = cluster_patches(labels, names)
    if not np.all(has_data):
        handles.append(Patch(label="no data", **NO_DATA))
    legend_below(figure, handles)
    return figure


def profiles(
    hours: np.ndarray,
    months: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    seasons: Sequence[tuple[str, Sequence[int]]],
    everything: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Share of each cluster's samples in each hour of the day and each month of the year.

    Parameters
    ----------
    hours : ndarray, (24, k)
    months : ndarray, (12, k)
    labels, names : sequences, (k,)
    seasons : sequence of (str, sequence of int)
        Name of each and its months, 1 to 12.
    everything : (ndarray (24,), ndarray (12,))
        Samples of all clusters, drawn as a line; hatched where there is none.
    """
    figure = new(10, max(3.3, 0.85 * len(labels) + 1.6))  # room for the label of the axis
    grid = figure.subplots(len(labels), 2, sharex="col", squeeze=False, width_ratios=(3, 2))
    for row, (label, name) in enumerate(zip(labels, names, strict=True)):
        for axes, counts, total in zip(grid[row], (hours, months), everything, strict=True):
            _profile(axes, counts[:, row], total, cluster_colour(label))
        _beside(grid[row, 0], f"{name}\nn = {int(hours[:, row].sum()):,}")
    grid[-1, 0].set_xticks(np.arange(0, 25, 3) - 0.5, [str(hour) for hour in range(0, 25, 3)])
    grid[-1, 0].set_xlabel("Hour of the day (UTC)")
    grid[-1, 1].set_xticks(np.arange(12), INITIALS)
    grid[-1, 1].set_xlabel("Month")
    _name_seasons(grid[0, 1], seasons)
    figure.supylabel("Share of the cluster's samples (%)", fontsize=10)
    handles = [Line2D([], [], color="0.25", lw=1, label="all clusters together")]
    if any((total == 0).any() for total in everything):
        handles.append(Patch(label="no sample at all", **NO_DATA))
    legend_below(figure, handles)
    return figure


def _profile(axes: Axes, counts: np.ndarray, total: np.ndarray, colour: object) -> None:
    """Bars of one cluster's shares, and the shares of everything as a line."""
    place = np.arange(len(counts))
    axes.bar(place, _percent(counts), width=1, color=colour, alpha=0.85)
    axes.stairs(_percent(total), np.r_[place, len(place)] - 0.5, color="0.25", lw=1)
    _shade(axes, np.r_[place, len(place)] - 0.5, total > 0)
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    tidy(axes)


def _name_seasons(axes: Axes, seasons: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Names of seasons above their months, as often as they are cut by the new year."""
    for name, months in seasons:
        ordered = np.sort(np.asarray(months)) - 1
        runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
        for run in runs:
            low, high = run[0] - 0.4, run[-1] + 0.4
            at = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            axes.plot([low, high], [1.05, 1.05], color="0.5", lw=1.5, **at)
            if len(run) == max(map(len, runs)):
                axes.text((low + high) / 2, 1.1, name, ha="center", fontsize=8, **at)


def _percent(counts: np.ndarray) -> np.ndarray:
    return 100 * counts / max(1, counts.sum())


def _masked(counts: np.ndarray, has_data: np.ndarray) -> np.ndarray:
    return np.where(has_data, counts, np.nan)


def _shade(axes: Axes, edges: np.ndarray, has_data: np.ndarray) -> None:
    """Hatch runs of bins without data."""
    change = np.diff(np.r_[0, ~has_data, 0].astype(int))
    for start, stop in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        axes.axvspan(edges[start], edges[stop], **NO_DATA)


def _beside(axes: Axes, text: str) -> None:
    """What a panel shows, to its right."""
    axes.text(1.01, 0.5, text, transform=axes.transAxes, va="center", fontsize=9)
    tidy(axes)


def _dated(axes: Axes, dates: np.ndarray) -> None:
    """Time in UTC along the lowest panel."""
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlim(dates[0], dates[-1])
    axes.set_xlabel("Time (UTC)")


def lag_correlations(
    lags: np.ndarray,
    panels: Sequence[tuple[str, Sequence[tuple[int, np.ndarray, float]]]],
    names: Sequence[str],
    response: str = "occurrences",
) -> Figure:
    """Correlation of occurrences with each environmental series over lags.

    Parameters
    ----------
    lags : ndarray, (L,)
        Days.
    panels : sequence of (str, sequence of (int, ndarray, float))
        Name of each series; and of each cluster its label, r at each lag, and the level that the
        best lag has to pass, which is marked: full where it does, open where it does not.
    names : sequence of str, (K,)
        Of the clusters, by label.
    response : str
        What is correlated, as the axis has it.
    """
    figure = new(10, 2.3 * len(panels) + 1.1)
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    drawn: dict[int, None] = {}
    for axes, (name, lines) in zip(grid, panels, strict=True):
        for label, r, level in lines:
            colour = cluster_colour(label)
            drawn[label] = None
            axes.plot(lags, r, color=colour, lw=1.3, marker="." if len(lags) < 4 else None)
            best = int(np.nanargmax(np.abs(r)))
            face = colour if abs(r[best]) > level else "white"
            axes.plot(lags[best], r[best], "o", ms=7, mfc=face, mec=colour, zorder=3)
        axes.axhline(0, color="0.4", lw=0.6)
        axes.axvline(0, color="0.4", lw=0.6)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylim(-1, 1)
        tidy(axes)
    figure.supylabel(f"Correlation of {response} with the series", fontsize=10)
    grid[-1].set_xlabel("Lag (days): to the right occurrences follow the series")
    handles = [Line2D([], [], color=cluster_colour(k), label=names[k]) for k in sorted(drawn)]
    for face, text in (("0.3", "best lag, beyond the level"), ("white", "best lag, within it")):
        marker = {"marker": "o", "mfc": face, "mec": "0.3", "ls": "", "label": text}
        handles.append(Line2D([], [], **marker))
    legend_below(figure, handles)
    return figure
