"""Clusters in latent space: map, silhouettes, tree.

Letters: m samples, K clusters.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from ..evaluation.performance import Performance
from .style import cluster_colour, cluster_patches, legend_beside, new, tidy

MARKERS = "os^Dv<>pPX*hd"


def embedding(
    points: np.ndarray, labels: np.ndarray, titles: Sequence[str], title: str, method: str = "t-SNE"
) -> Figure:
    """Embedded latents (m, 2), coloured by label; `titles` (K,) have the sizes of the clusters."""
    figure = new(8, 6)
    axes = figure.subplots()
    for label, name in enumerate(titles):
        axes.scatter(
            *points[labels == label].T, s=14, marker=MARKERS[label % len(MARKERS)], label=name,
            color=cluster_colour(label), alpha=0.7, linewidths=0,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel(f"{method}: neighbours are near; distances between clusters mean little")
    axes.spines[:].set_color("0.8")
    legend_beside(figure, axes.collections, "Cluster (size)")
    return figure


def silhouette_profiles(performances: Sequence[Performance], titles: Sequence[str]) -> Figure:
    """Silhouettes of the samples of each cluster, sorted: a column per stage, a row per space."""
    spaces = {"latent": "silhouette_latent", "data": "silhouette_data"}
    spaces = [space for space in spaces.items() if space[1] in performances[0].scores]
    columns = len(performances)
    figure = new(3.8 * columns + 1.4, 3.6 * len(spaces) + 0.6)
    grid = figure.subplots(len(spaces), columns, squeeze=False, sharex=True)
    panels = [(one, space) for space in spaces for one in performances]
    for axes, (one, (space, kind)) in zip(grid.flat, panels, strict=True):
        labels, values = one.scores[kind]
        gap, top = max(1, len(values) // 60), 0
        for label in np.unique(labels):  # the first one at the top
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
        mean = f"mean {values.mean():.3f}" if len(values) else "not defined"
        if len(values):
            axes.axvline(values.mean(), color="black", ls=":", lw=1.2)
        axes.set_title(f"{one.stage}, {space} space: {mean}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("Silhouette")
    legend_beside(figure, cluster_patches(range(len(titles)), titles))
    return figure


def centroid_tree(distances: np.ndarray, titles: Sequence[str]) -> Figure:
    """Tree of clusters by average linkage of distances (K, K), and these in its order."""
    k = len(distances)
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
