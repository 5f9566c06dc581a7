"""Clusters at each station: a map of pies, and bars.

Letters: S stations, k drawn clusters.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from .style import cluster_colour, cluster_patches, legend_below, new, tidy

LARGEST_PIE = 26.0  # points across, of few stations
SMALLEST_PIE = 8.0
FEW = 16  # stations; pies of more are smaller
LETTER, LINE = 5.0, 9.0  # points that names take
KM_PER_DEGREE = 111.195
POLAR = 85.0  # degrees of latitude from which on a map is in kilometres
UNEVEN = 0.03  # relative change of scale over a map from which on the bar has its latitude
ARC = 48  # corners of a full circle


def station_map(
    stations: Sequence[str],
    places: np.ndarray,
    counts: np.ndarray,
    labels: Sequence[int],
    titles: Sequence[str],
) -> Figure:
    """Stations (S,) by latitude and longitude (S, 2), degrees, each a pie of its clusters (S, k).

    The area of a pie is by its samples. A degree of longitude is cos(latitude) as long as one of
    latitude, as in the middle of the map; longitudes continue over the date line. Near a pole the
    axes are kilometres.
    """
    is_polar = np.abs(places[:, 0]).max() > POLAR
    if is_polar:
        y, x, middle = around_middle(places)
        west_east, south_north, narrowing = map_limits(y, x, 1.0)
    else:
        y, x = places[:, 0], unwrapped(places[:, 1])
        west_east, south_north, narrowing = map_limits(y, x)
    shape = (south_north[1] - south_north[0]) / ((west_east[1] - west_east[0]) * narrowing)
    width = 6.5 if shape < 1 else max(3.0, 6.5 / shape)
    figure = new(width + 2.9, min(6.5, width * shape) + 1.6)
    axes = figure.subplots()
    axes.set_aspect(1 / narrowing, anchor="SW")  # otherwise labels are cut off at the left
    axes.set(xlim=west_east, ylim=south_north)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(4 if width > 5 else 2))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if is_polar:
        axes.set(xlabel=f"East of {middle} (km)", ylabel="North (km)")
        _scale_bar(axes, west_east, 1.0, "")
    else:
        axes.set(xlabel="Longitude", ylabel="Latitude")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: degrees(value, "EW")))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: degrees(value, "NS")))
        at = degrees(round(sum(south_north) / 2, 1), "NS")
        uneven = np.ptp(np.cos(np.deg2rad(south_north))) > UNEVEN * narrowing
        _scale_bar(axes, west_east, narrowing * KM_PER_DEGREE, f" at {at}" if uneven else "")
    totals = counts.sum(axis=1)
    across = pie_diameter(totals, max(1, int(totals.max())), len(stations))
    for row in np.argsort(-totals, kind="stable"):
        _pie(axes, (x[row], y[row]), counts[row], labels, across[row])
    _name_stations(figure, axes, stations, np.column_stack([x, y]), across)
    _legends(figure, totals, cluster_patches(labels, titles))
    return figure


def _name_stations(
    figure: Figure, axes: Axes, stations: Sequence[str], points: np.ndarray, across: np.ndarray
) -> None:
    """Names beside pies where they overlap nothing, those of the largest pies first."""
    figure.draw_without_rendering()  # lays out the axes
    where = axes.transData.transform(points) * 72 / figure.dpi
    taken = [_box(place, size, size) for place, size in zip(where, across, strict=True)]
    for row in np.argsort(-across, kind="stable").tolist():
        width = LETTER * len(stations[row])
        for side in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            offset = np.array(side) * (across[row] / 2 + np.array([width / 2 + 2, LINE / 2 + 1]))
            box = _box(where[row] + offset, width, LINE)
            if not any(map(box.overlaps, taken[:row] + taken[row + 1 :])):
                taken.append(box)
                axes.annotate(
                    stations[row], points[row], fontsize=7.5, ha="center", va="center",
                    xytext=offset, textcoords="offset points",
                )  # fmt: skip
                break


def _box(centre: np.ndarray, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(centre[0] - width / 2, centre[1] - height / 2, width, height)


def unwrapped(longitude: np.ndarray) -> np.ndarray:
    """Longitudes without a jump at the date line: within 180 degrees of their mean direction."""
    angle = np.deg2rad(longitude)
    middle = np.rad2deg(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean()))
    return (longitude - middle + 180) % 360 - 180 + middle


def around_middle(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Kilometres to the north and to the east of the stations' middle, and where that is.

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
    lat, lon = np.rad2deg([lat, lon]).round(4).tolist()
    middle = f"{degrees(lat, 'NS')}, {degrees(lon, 'EW')}"
    return away * np.cos(bearing), away * np.sin(bearing), middle


def map_limits(
    latitude: np.ndarray, longitude: np.ndarray, narrowing: float | None = None
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Limits of longitude and latitude with a margin, and the length of a degree of longitude.

    The length is in degrees of latitude, by default that in the middle. A map is at most three
    times as long as wide.
    """
    middle = (latitude.min() + latitude.max()) / 2
    least = 1e-4 if narrowing is None else 1e-4 * KM_PER_DEGREE
    if narrowing is None:
        narrowing = max(0.01, float(np.cos(np.deg2rad(middle))))
    height, width = np.ptp(latitude), np.ptp(longitude) * narrowing
    longest = max(height, width, least)
    half_height, half_width = (0.5 * max(x, longest / 4) + 0.1 * longest for x in (height, width))
    centre = (longitude.min() + longitude.max()) / 2
    west_east = (centre - half_width / narrowing, centre + half_width / narrowing)
    return west_east, (middle - half_height, middle + half_height), narrowing


def pie_diameter(totals: np.ndarray, most: int, n_stations: int) -> np.ndarray:
    """Points across: areas are proportional to the samples, but for a least size."""
    largest = max(2 * SMALLEST_PIE, LARGEST_PIE * min(1.0, (FEW / n_stations) ** 0.5))
    return np.maximum(SMALLEST_PIE, largest * np.sqrt(np.asarray(totals) / most))


def _pie(
    axes: Axes,
    point: tuple[float, float],
    counts: np.ndarray,
    labels: Sequence[int],
    across: float,
) -> None:
    """Draw one pie as markers, which stay round whatever the axes' scales."""
    ends = np.r_[0, np.cumsum(counts)] / max(1, counts.sum())
    for label, start, stop in zip(labels, ends[:-1], ends[1:], strict=True):
        if stop > start:
            angle = np.pi / 2 - 2 * np.pi * np.linspace(start, stop, 2 + int(ARC * (stop - start)))
            corners = np.column_stack([np.cos(angle), np.sin(angle)])
            corners = corners if stop - start == 1 else np.vstack([[0, 0], corners, [0, 0]])
            # Matplotlib scales a marker to its farthest coordinate.
            area = (across * np.abs(corners).max()) ** 2
            axes.scatter(
                *point, s=area, marker=corners, color=cluster_colour(label), linewidths=0, zorder=3
            )
    edge = "0.2" if counts.sum() else "0.6"
    axes.scatter(*point, s=across**2, facecolors="none", edgecolors=edge, linewidths=0.6, zorder=3)


def _legends(figure: Figure, totals: np.ndarray, clusters: list) -> None:
    """Clusters, and circles for up to three numbers of samples."""
    most, n = max(1, int(totals.max())), len(totals)
    shown = sorted({most, *(round_down(most * share) for share in (0.3, 0.1))} - {0})
    across = pie_diameter(np.array(shown), most, n)
    first = max(0, int((across == SMALLEST_PIE).sum()) - 1)  # smaller numbers look the same
    circles = [
        Line2D(
            [], [], marker="o", ls="", mfc="0.85", mec="0.2", ms=size,
            label=f"{number:,}" + (" or fewer" if size == SMALLEST_PIE else ""),
        )
        for number, size in zip(shown[first:], across[first:].tolist(), strict=True)
    ]  # fmt: skip
    style = {"frameon": False, "fontsize": 9}
    n_columns = 1 + (len(clusters) - 1) // 20
    figure.legend(handles=clusters, ncols=n_columns, loc="outside right upper", **style)
    figure.legend(
        handles=circles, title="Samples", loc="outside right lower", labelspacing=1.9,
        borderpad=1.4, handletextpad=1.2, **style,
    )  # fmt: skip


def round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above; 0 below 1."""
    if value < 1:
        return 0
    power = 10 ** int(np.floor(np.log10(value)))
    return next(step * power for step in (5, 2, 1) if step * power <= value)


def degrees(value: float, hemispheres: str) -> str:
    """``78.5°S`` for "NS"; for "EW" also of longitudes beyond 180 degrees."""
    if hemispheres == "EW":
        value = (value + 180) % 360 - 180
    value = round(value, 6)
    side = "" if value in (0, -180) else hemispheres[int(value < 0)]
    return f"{abs(value):.8g}°{side}"


def _scale_bar(axes: Axes, west_east: tuple[float, float], km: float, at: str) -> None:
    """A bar of a round length above the map; `km` is the length of one unit of the limits."""
    km_per_width = (west_east[1] - west_east[0]) * km
    metres = round_down(300 * km_per_width)
    length = metres / 1000 / km_per_width
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    style = {"transform": axes.transAxes, "color": "0.2", "clip_on": False}
    axes.plot([0, length], [1.025, 1.025], lw=2.5, solid_capstyle="butt", **style)
    axes.text(length + 0.02, 1.025, text + at, fontsize=8, va="center", **style)


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
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    left.set_xlabel("Samples")
    right.set(xlabel="Share of the station's samples (%)", xlim=(0, 100))
    legend_below(figure, cluster_patches(labels, titles))
    return figure
