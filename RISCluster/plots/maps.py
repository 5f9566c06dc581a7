"""Figure of the labels of a cube over time and distance."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..runs.cluster_map import ClusterMap
from .style import UNUSABLE_COLOUR, cluster_colour, cluster_title, new


def cluster_map(
    image: ClusterMap, sizes: Sequence[int], title: str, names: Mapping[int, str] | None = None
) -> Figure:
    """Labels of a cube over time (to the right) and channel or distance (downward).

    Parameters
    ----------
    image : ClusterMap
    sizes : sequence of int, (K,)
        Of the clusters.
    title : str
    names : mapping of int to str, optional
        Names that were given to clusters.
    """
    figure = new(10, 5.5)
    axes = figure.subplots()
    colours = [UNUSABLE_COLOUR, *(cluster_colour(label) for label in range(len(sizes)))]
    steps = np.diff(image.position)
    half = float(np.median(steps)) / 2 if len(steps) else 0.5
    left, right = image.time[0], image.time[-1] + image.duration
    dated = image.time_unit.startswith("seconds since 1970")
    if dated:
        left, right = (date2num(np.datetime64(round(1e6 * t), "us")) for t in (left, right))
    axes.imshow(
        image.labels.T,
        cmap=ListedColormap(colours),
        vmin=-1.5,
        vmax=len(sizes) - 0.5,
        aspect="auto",
        interpolation="nearest",
        extent=(left, right, image.position[-1] + half, image.position[0] - half),
    )
    if dated:
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("Time (UTC)")
    else:
        axes.set_xlabel("Time (s)" if image.time_unit == "s" else "Time step")
    if image.names and len(image.names) <= 40:
        axes.set_yticks(image.position, image.names)
    elif image.position_unit == "channel":
        axes.set_ylabel("Channel")
    else:
        axes.set_ylabel(f"Distance ({image.position_unit})" if image.position_unit else "Distance")
    counted = [
        f"{n} {what}s" for n, what in zip(image.cell, ("window", "channel"), strict=True) if n > 1
    ]
    axes.set_title(title + (f" (most frequent of {' x '.join(counted)})" if counted else ""))
    handles = [
        Patch(color=cluster_colour(label), label=f"{cluster_title(label, names)}  ({size:,})")
        for label, size in enumerate(sizes)
    ]
    if (image.labels < 0).any():
        handles.append(Patch(color=UNUSABLE_COLOUR, label="unusable"))
    axes.legend(
        handles=handles, title="Cluster (size)", frameon=False, loc="center left",
        bbox_to_anchor=(1, 0.5), ncols=1 + (len(sizes) - 1) // 20,
    )  # fmt: skip
    return figure
