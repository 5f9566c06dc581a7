"""Clusters at a glance: a gallery of members, an embedding of the latents, the map of a cube.

Letters: n samples, K clusters, F x T bins.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..runs.cluster_map import ClusterMap
from .style import (
    COLOUR_MAP,
    MARKERS,
    UNUSABLE_COLOUR,
    SpectrogramAxes,
    cluster_colour,
    cluster_title,
    new,
)

LARGEST_GALLERY = 24  # clusters a gallery draws


def gallery(
    axes_of: SpectrogramAxes,
    members: Sequence[np.ndarray],
    labels: Sequence[int],
    sizes: Sequence[int],
    n_columns: int,
    title: str,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Members of each cluster, a row a cluster.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    members : sequence of ndarray, (m, F, T)
        At most `n_columns` samples of each cluster; fewer, even none, for a small one.
    labels, sizes : sequence of int
        Of the clusters.
    n_columns : int
    title : str
    names : mapping of int to str, optional
        Names that were given to clusters.
    """
    n = len(members)
    figure = new(1.45 * n_columns + 1.4, 1.15 * n + 1.1)
    grid = figure.subplots(n, n_columns, squeeze=False)
    total = max(1, sum(sizes))
    for row in range(n):
        for column, axes in enumerate(grid[row]):
            axes.set(xticks=[], yticks=[])
            if column < len(members[row]):
                image = members[row][column]
                high = np.percentile(image, 99.7)
                axes_of.draw(axes, image, vmin=image.min(), vmax=max(high, image.min() + 1e-12))
            else:
                axes.set_facecolor("0.95")
            for side in axes.spines.values():
                side.set(color=cluster_colour(labels[row]), linewidth=2)
        grid[row, 0].set_ylabel(
            f"{cluster_title(labels[row], names)}\nn = {sizes[row]:,}\n{sizes[row] / total:.1%}",
            rotation=0,
            ha="right",
            va="center",
            fontsize=9,
        )
    figure.supxlabel(
        f"each panel: {axes_of.time_label} {axes_of.time[0]:.3g} to {axes_of.time[-1]:.3g} to the "
        f"right, {axes_of.frequency_label} {axes_of.frequency[0]:.3g} to "
        f"{axes_of.frequency[-1]:.3g} upward",
        fontsize=9,
    )
    shades = ScalarMappable(Normalize(0, 1), COLOUR_MAP)
    bar = figure.colorbar(shades, ax=grid, shrink=min(1.0, 2 / n), aspect=15, pad=0.02)
    bar.set_ticks([0, 1], labels=["lowest", "highest"])
    bar.set_label("amplitude of each sample", fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def embedding(
    points: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    title: str,
    names: Mapping[int, str] | None = None,
    method: str = "t-SNE",
) -> Figure:
    """A two-dimensional embedding of latents, coloured by label.

    Parameters
    ----------
    points : ndarray, (n, 2)
    labels : ndarray, (n,)
        Of the points.
    sizes : sequence of int, (K,)
        Of the clusters, over all samples.
    title : str
    names : mapping of int to str, optional
        Names that were given to clusters.
    method : str
        Of the embedding.
    """
    figure = new(8, 6)
    axes = figure.subplots()
    for label, size in enumerate(sizes):
        mine = labels == label
        axes.scatter(
            *points[mine].T,
            s=14,
            marker=MARKERS[label % len(MARKERS)],
            color=cluster_colour(label),
            alpha=0.7,
            linewidths=0,
            label=f"{cluster_title(label, names)}  ({size:,})",
        )
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel(f"{method}: neighbours are near; distances between clusters mean little")
    axes.spines[["top", "right", "left", "bottom"]].set_color("0.8")
    axes.legend(
        title="Cluster (size)", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5),
        ncols=1 + (len(sizes) - 1) // 20,
    )  # fmt: skip
    return figure


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
