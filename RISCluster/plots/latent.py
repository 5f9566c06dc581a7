"""Clusters in latent space: embedding, silhouettes, distances.

Letters: m samples, D latent features, K clusters.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from ..evaluation.performance import Performance
from .style import cluster_colour, legend_beside, new, short_title, tidy

MARKERS = "os^Dv<>pPX*hd"


def embedding(
    points: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    title: str,
    names: Mapping[int, str] | None = None,
    method: str = "t-SNE",
) -> Figure:
    """Embedded latents (m, 2), coloured by label; `sizes` are those of the whole clusters."""
    figure = new(8, 6)
    axes = figure.subplots()
    for label in range(len(sizes)):
        marker, colour = MARKERS[label % len(MARKERS)], cluster_colour(label)
        mine = points[labels == label].T
        axes.scatter(*mine, s=14, marker=marker, color=colour, alpha=0.7, linewidths=0)
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel(f"{method}: neighbours are near; distances between clusters mean little")
    axes.spines[:].set_color("0.8")
    _legend(figure, len(sizes), names, sizes)
    return figure


def silhouette_profiles(
    performances: Sequence[Performance], names: Mapping[int, str] | None = None
) -> Figure:
    """Silhouettes of the samples of each cluster, sorted: a column per stage, a row per space."""
    panels = [
        (f"{one.stage}, {space} space", *one.scores[kind])
        for kind, space in (("silhouette_latent", "latent"), ("silhouette_data", "data"))
        for one in performances
        if kind in one.scores
    ]
    columns, k = len(performances), max(len(one.sizes) - 1 for one in performances)
    rows = -(-len(panels) // columns)
    figure = new(3.8 * columns + 1.4, 3.6 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, panel in zip(grid.flat, panels, strict=True):
        _profile(axes, *panel)
    for axes in grid[-1]:
        axes.set_xlabel("Silhouette")
    _legend(figure, k, names)
    return figure


def _profile(axes: Axes, title: str, labels: np.ndarray, values: np.ndarray) -> None:
    """One panel: a shape for each cluster, the first at the top."""
    gap, top = max(1, len(values) // 60), 0
    for label in np.unique(labels):
        mine = np.sort(values[labels == label])[::-1]
        rows = np.arange(top, top + len(mine) + 1)
        colour = cluster_colour(label)
        axes.stairs(mine, rows, orientation="horizontal", fill=True, color=colour, lw=0.3)
        at = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "right"}
        axes.text(-0.015, top + len(mine) / 2, str(label), fontsize=8, **at)
        top += len(mine) + gap
    axes.set_ylim(max(top, 1), -gap)
    axes.set_xlim(min(-0.05, 1.05 * values.min(initial=0)), 1)
    axes.set_yticks([])
    axes.axvline(0, color="0.4", lw=0.8)
    tidy(axes)
    mean = "not defined"
    if len(values):
        axes.axvline(values.mean(), color="black", ls=":", lw=1.2)
        mean = f"mean {values.mean():.3f}"
    axes.set_title(f"{title}: {mean}", fontsize=10)


def distance_curves(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    n_clusters: int,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Share of the members of clusters within a distance from their centroid.

    `panels` are of each stage its title, labels (m,) and distances (m,).
    """
    figure = new(4.2 * len(panels) + 1.4, 3.6)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        title, labels, distances = panel
        for label in np.unique(labels):
            axes.ecdf(distances[labels == label], color=cluster_colour(label), lw=1.6)
        axes.set(ylabel="Share of the members within", title=title)
        axes.set_xlabel("Distance from the centroid in latent space")
        axes.set_xlim(0, float(np.quantile(distances, 0.995)) or 1.0)
        tidy(axes)
    _legend(figure, n_clusters, names)
    return figure


def centroid_tree(distances: np.ndarray, names: Mapping[int, str] | None = None) -> Figure:
    """Tree of clusters by average linkage of distances (K, K), and these in its order."""
    k = len(distances)
    titles = [short_title(label, names) for label in range(k)]
    figure = new(11, max(3.2, 0.28 * k + 1.2))
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    links = linkage(squareform(distances, checks=False), "average")
    order = dendrogram(
        links, labels=titles, orientation="left", ax=left, color_threshold=0,
        above_threshold_color="0.3",
    )["leaves"]  # fmt: skip
    for text, label in zip(left.get_yticklabels(), order, strict=True):
        text.set(color=cluster_colour(label), fontweight="bold")
    left.set_xlabel("Distance in latent space")
    left.spines[["top", "left", "right"]].set_visible(False)
    order = order[::-1]  # the first leaf of the tree is at its bottom
    image = right.imshow(distances[np.ix_(order, order)], cmap="magma_r")
    in_order = [titles[label] for label in order]
    right.set_xticks(range(k), in_order, rotation=90, fontsize=8)
    right.set_yticks(range(k), in_order, fontsize=8)
    figure.colorbar(image, ax=right, label="Distance of centroids")
    return figure


def _legend(
    figure: Figure, n_clusters: int, names: Mapping[int, str] | None, sizes: Sequence[int] = ()
) -> None:
    handles = []
    for k in range(n_clusters):
        title = short_title(k, names) + (f"  ({sizes[k]:,})" if len(sizes) else "")
        marker, colour = MARKERS[k % len(MARKERS)], cluster_colour(k)
        handles.append(Line2D([], [], ls="", marker=marker, color=colour, label=title))
    legend_beside(figure, handles, "Cluster (size)" if len(sizes) else "Cluster")
