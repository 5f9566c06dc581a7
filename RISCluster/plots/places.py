"""Clusters along the channels of a cube, and at stations on a map.

Letters: W windows, C channels, K clusters, S stations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
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
    legend_beside,
    new,
)

NAMED_CHANNELS = 40
LARGEST_PIE, SMALLEST_PIE = 0.05, 0.012  # radius over the length of the map
FEW = 16  # stations; pies of more are smaller
KM_PER_DEGREE = 111.195


def cluster_map(image: ClusterMap, titles: Sequence[str], title: str) -> Figure:
    """Labels of a cube over time (to the right) and channel or distance (downward)."""
    figure = new(10, 5.5)
    axes, k = figure.subplots(), len(titles)
    colours = ListedColormap([UNUSABLE_COLOUR, *map(cluster_colour, range(k))])
    _draw_channels(axes, image, image.labels, cmap=colours, vmin=-1.5, vmax=k - 0.5)
    axes.set_title(title)
    handles = cluster_patches([*range(k), -1], [*titles, "unusable"])
    legend_beside(figure, handles, "Cluster (size)")
    return figure


def cluster_section(
    image: ClusterMap, means: np.ndarray, titles: Sequence[str], unit: str
) -> Figure:  # fmt: skip
    """Mean values (W, C) of a cube over time and channel or distance, and with the labels.

    Below, each cluster's colour is the fuller the larger the value; `unit` is of the values.
    """
    figure, k = new(10, 9), len(titles)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    low, high = amplitude_range(means, lowest=1)
    drawn = _draw_channels(upper, image, means, cmap=COLOUR_MAP, vmin=low, vmax=high)
    figure.colorbar(drawn, ax=upper, label=f"Mean of each sample ({unit})")
    colours = np.array([*map(to_rgb, map(cluster_colour, range(k))), UNUSABLE_COLOUR])
    full = 0.25 + 0.75 * np.clip((means - low) / (high - low), 0, 1)[..., None]
    full = np.where(image.labels[..., None] < 0, 1, full)
    _draw_channels(lower, image, 1 - full * (1 - colours[image.labels]))
    upper.set_xlabel("")
    handles = cluster_patches([*range(k), -1], [*titles, "unusable"])
    legend_beside(figure, handles, "Cluster (size)")
    return figure


def _draw_channels(axes: Axes, image: ClusterMap, values: np.ndarray, **style: Any) -> AxesImage:
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


# ---- stations -----------------------------------------------------------------------------------


def station_map(
    stations: Sequence[str], places: np.ndarray, counts: np.ndarray, titles: Sequence[str]
) -> Figure:
    """Stations (S,) at latitudes and longitudes (S, 2), degrees, each a pie of its clusters (S, K).

    In kilometres about the middle of the stations. The area of a pie is by its samples, but for a
    least size.
    """
    x, y, middle = around_middle(places)
    length = max(np.ptp(x), np.ptp(y), 0.1)
    half = [max(np.ptp(values) / 2, length / 8) + 0.12 * length for values in (x, y)]
    shape = half[1] / half[0]
    figure = new(min(6.5, 6.5 / shape) + 3.0, min(6.5, 6.5 * shape) + 0.9)
    axes = figure.subplots()
    totals, largest = counts.sum(axis=1), LARGEST_PIE * min(1, (FEW / len(stations)) ** 0.5)
    radius = length * np.maximum(SMALLEST_PIE, largest * np.sqrt(totals / max(1, totals.max())))
    colours = [cluster_colour(label) for label in range(len(titles))]
    for row in np.argsort(-totals, kind="stable"):
        at = x[row], y[row]
        if totals[row]:
            axes.pie(counts[row], radius=radius[row], colors=colours, center=at, startangle=90,
                     counterclock=False, frame=True, wedgeprops={"zorder": 3})  # fmt: skip
        axes.add_patch(Circle(at, radius[row], fill=False, ec="0.3", lw=0.6, zorder=4))
        axes.annotate(
            stations[row], (at[0], at[1] + radius[row]), xytext=(0, 1.5), fontsize=7,
            textcoords="offset points", ha="center", va="bottom", zorder=5,
        )  # fmt: skip
    axes.set(aspect="equal", xlabel=f"East of {middle} (km)", ylabel="North (km)")
    axes.set_title(f"The largest pie has {totals.max():,} samples", fontsize=10)
    east, north = ((values.min() + values.max()) / 2 for values in (x, y))
    axes.set(xlim=(east - half[0], east + half[0]), ylim=(north - half[1], north + half[1]))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(alpha=0.25)
    legend_beside(figure, cluster_patches(range(len(titles)), titles), "Cluster (size)")
    return figure


def around_middle(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Kilometres to the east and to the north of the stations' middle, and where that is.

    Azimuthal equidistant, of latitudes and longitudes (S, 2) in degrees.
    """
    lat, lon = np.deg2rad(places).T
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    x, y, z = points.mean(axis=1)
    lat, lon = np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)
    up = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    north = -np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)
    east, north, up = np.array([(-np.sin(lon), np.cos(lon), 0), north, up]) @ points
    flat = np.hypot(east, north)
    scale = KM_PER_DEGREE * np.rad2deg(np.arctan2(flat, up)) / np.maximum(flat, 1e-300)
    lat, lon = np.rad2deg([lat, lon])
    middle = f"{abs(lat):.6g}°{'NS'[int(lat < 0)]}, {abs(lon):.6g}°{'EW'[int(lon < 0)]}"
    return scale * east, scale * north, middle
