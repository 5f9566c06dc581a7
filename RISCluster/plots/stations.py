"""Clusters at each station: a map of pies, and bars.

Letters: S stations, k drawn clusters.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from .style import cluster_colour, cluster_patches, legend_below, legend_beside, new, tidy

LARGEST_PIE, SMALLEST_PIE = 0.05, 0.012  # radius over the length of the map
FEW = 16  # stations; pies of more are smaller
KM_PER_DEGREE = 111.195


def station_map(
    stations: Sequence[str],
    places: np.ndarray,
    counts: np.ndarray,
    labels: Sequence[int],
    titles: Sequence[str],
) -> Figure:
    """Stations (S,) at latitudes and longitudes (S, 2), degrees, each a pie of its clusters (S, k).

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
    colours = [cluster_colour(label) for label in labels]
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
    legend_beside(figure, cluster_patches(labels, titles))
    return figure


def around_middle(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Kilometres to the east and to the north of the stations' middle, and where that is.

    Azimuthal equidistant, of latitudes and longitudes (S, 2) in degrees.
    """
    latitude, longitude = np.deg2rad(places).T
    across = np.cos(latitude)
    points = np.stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)])
    x, y, z = points.mean(axis=1)
    lon, lat = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    turned = longitude - lon
    east = across * np.sin(turned)
    north = np.cos(lat) * np.sin(latitude) - np.sin(lat) * across * np.cos(turned)
    up = np.sin(lat) * np.sin(latitude) + np.cos(lat) * across * np.cos(turned)
    away = KM_PER_DEGREE * np.rad2deg(np.arctan2(np.hypot(east, north), up))
    bearing = np.arctan2(east, north)
    lat, lon = np.rad2deg([lat, lon])
    middle = f"{abs(lat):.6g}°{'NS'[int(lat < 0)]}, {abs(lon):.6g}°{'EW'[int(lon < 0)]}"
    return away * np.sin(bearing), away * np.cos(bearing), middle


def station_counts(
    stations: Sequence[str], counts: np.ndarray, labels: Sequence[int], titles: Sequence[str]
) -> Figure:
    """Samples of each cluster at each station, (S, k): counts, and shares of the station's."""
    figure = new(10, 0.24 * len(stations) + 1.9)
    left, right = figure.subplots(1, 2, sharey=True)
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    for axes, values in ((left, counts), (right, shares)):
        starts = np.cumsum(values, axis=1) - values
        for width, start, label in zip(values.T, starts.T, labels, strict=True):
            axes.barh(range(len(stations)), width, 0.8, left=start, color=cluster_colour(label))
        tidy(axes)
        axes.grid(visible=False, axis="y")
    left.set_yticks(range(len(stations)), stations, fontsize=8)
    left.set_ylim(len(stations) - 0.4, -0.6)
    left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.set_xlabel("Samples")
    right.set(xlabel="Share of the station's samples (%)", xlim=(0, 100))
    legend_below(figure, cluster_patches(labels, titles))
    return figure
