"""Clusters in latent space: embedding, silhouettes, pairs of features, distances.

Letters: m samples, D latent features, K clusters.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from ..evaluation.performance import Performance
from .style import MARKERS, cluster_colour, legend_beside, new, short_title, steps, tidy

PAIRED = 6  # features at most
POINTS = 3000  # latents a panel draws
BINS = 25
NUMBERED = 16  # clusters up to which each profile has its number
Panel = tuple[str, np.ndarray, np.ndarray]  # title, labels (m,) and values (m,)


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
        axes.scatter(
            *points[labels == label].T, s=14, marker=_point(label)["marker"],
            color=cluster_colour(label), alpha=0.7, linewidths=0,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel(f"{method}: neighbours are near; distances between clusters mean little")
    axes.spines[:].set_color("0.8")
    _legend(figure, len(sizes), names, _point, sizes)
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
    _legend(figure, k, names, lambda _: {"marker": "s", "ls": ""})
    return figure


def _profile(axes: Axes, title: str, labels: np.ndarray, values: np.ndarray) -> None:
    """One panel: a shape for each cluster, the first at the top."""
    known = ~np.isnan(values)
    present = np.unique(labels[known])
    gap, top = max(1, known.sum() // 60), 0
    for label in present:
        mine = np.sort(values[known & (labels == label)])[::-1]
        rows = np.arange(top, top + len(mine) + 1)
        steps(axes, mine, rows, orientation="horizontal", color=cluster_colour(label), lw=0.3)
        if len(present) <= NUMBERED:
            axes.text(
                -0.015, top + len(mine) / 2, str(label), va="center", ha="right", fontsize=8,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        top += len(mine) + gap
    axes.set_ylim(max(top, 1), -gap)
    axes.set_xlim(min(-0.05, 1.05 * np.nanmin(values, initial=0)), 1)
    axes.set_yticks([])
    axes.axvline(0, color="0.4", lw=0.8)
    tidy(axes)
    mean = "not defined"
    if known.any():
        axes.axvline(values[known].mean(), color="black", ls=":", lw=1.2)
        mean = f"mean {values[known].mean():.3f}"
    axes.set_title(f"{title}: {mean}", fontsize=10)


def latent_pairs(
    latents: np.ndarray,
    labels: np.ndarray,
    centroids: np.ndarray,
    title: str,
    feature_names: Sequence[str],
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Latents (m, D) and centroids (K, D) in pairs of at most `PAIRED` features.

    Those with the largest share of variance between clusters are drawn. A centroid can be NaN.
    """
    features = np.sort(separating_features(latents, labels)[:PAIRED])
    across, down = (features[:-1], features[1:]) if len(features) > 1 else (features, features)
    n = len(across)
    figure = new(2.0 * n + 2.6, 1.8 * n + 1.4)
    grid = figure.subplots(n, n, squeeze=False, sharex="col", sharey="row")
    order = np.random.default_rng(0).permutation(len(latents))[:POINTS]  # no cluster on top
    colours = np.array([to_rgb(cluster_colour(label)) for label in range(len(centroids))])
    for row, column in np.ndindex(n, n):
        axes, x, y = grid[row, column], across[column], down[row]
        if column > row:
            axes.remove()
            continue
        axes.scatter(
            latents[order, x], latents[order, y], s=4, c=colours[labels[order]], alpha=0.5,
            linewidths=0, rasterized=True,
        )  # fmt: skip
        for label, at in enumerate(centroids[:, [x, y]]):
            style = {**_point(label), "zorder": 4}
            axes.plot(*at, ms=9, mfc=cluster_colour(label), mec="black", mew=0.8, **style)
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=4)
        tidy(axes)
        axes.set_xlabel(feature_names[x].capitalize() if row == n - 1 else "", fontsize=9)
        axes.set_ylabel(feature_names[y].capitalize() if column == 0 else "", fontsize=9)
    figure.suptitle(title, fontsize=11)
    _legend(figure, len(centroids), names, _point)
    return figure


def separating_features(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features by the share of their variance that lies between clusters, largest first: (D,)."""
    table = pandas.DataFrame(latents - latents.mean(0)).groupby(labels)
    between = table.mean().pow(2).mul(table.size(), axis=0).sum().to_numpy()
    total = np.square(latents - latents.mean(0)).sum(0)
    share = np.divide(between, total, out=np.zeros_like(between), where=total > 0)
    return np.argsort(-share, kind="stable")


def distance_curves(
    panels: Sequence[Panel], n_clusters: int, names: Mapping[int, str] | None = None
) -> Figure:
    """Distances of members from their centroid: cumulative share and density, a row a stage."""
    figure = new(9.5, 3.3 * len(panels) + 0.4)
    grid = figure.subplots(len(panels), 2, squeeze=False)
    for (left, right), (title, labels, distances) in zip(grid, panels, strict=True):
        largest = float(np.quantile(distances, 0.995)) if len(distances) else 1.0
        edges = np.linspace(0, largest or 1.0, BINS + 1)
        for label in np.unique(labels):
            values = np.sort(distances[labels == label])
            style = {"color": cluster_colour(label), "lw": 1.6, **_line(label)}
            share = np.arange(1, len(values) + 1) / len(values)
            left.plot(
                np.r_[0, values, edges[-1]], np.r_[0, share, 1], drawstyle="steps-post", **style
            )
            density = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
            right.plot((edges[:-1] + edges[1:]) / 2, density, **style)
        kinds = (left, "Share that is nearer", "cumulative"), (right, "Density", "density")
        for axes, label, kind in kinds:
            axes.set(xlim=(0, edges[-1]), ylim=(0, None), ylabel=label)
            axes.set_xlabel("Distance from the centroid in latent space")
            axes.set_title(f"{title}: {kind}", fontsize=10)
            tidy(axes)
    _legend(figure, n_clusters, names, _line)
    return figure


def centroid_tree(distances: np.ndarray, names: Mapping[int, str] | None = None) -> Figure:
    """Tree of clusters by average linkage of distances (K, K), beside the distances in its order.

    Empty clusters, whose distances are NaN, are left out.
    """
    known = np.flatnonzero(np.isfinite(distances).any(1))
    distances = distances[np.ix_(known, known)]
    titles = [short_title(int(label), names) for label in known]
    size = max(3.2, 0.28 * len(known) + 1.2)
    figure = new(11, size)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    links = linkage(squareform(distances, checks=False), "average")
    order = dendrogram(
        links, labels=titles, orientation="left", ax=left, color_threshold=0,
        above_threshold_color="0.3",
    )["leaves"]  # fmt: skip
    for text, at in zip(left.get_yticklabels(), order, strict=True):
        text.set(color=cluster_colour(int(known[at])), fontweight="bold")
    left.set_xlabel("Distance in latent space")
    left.spines[["top", "left", "right"]].set_visible(False)
    order = order[::-1]  # the first leaf of the tree is at its bottom
    shown = distances[np.ix_(order, order)]
    image = right.imshow(shown, cmap="magma_r")
    places, names_in_order = np.arange(len(order)), [titles[at] for at in order]
    right.set_xticks(places, names_in_order, rotation=90, fontsize=8)
    right.set_yticks(places, names_in_order, fontsize=8)
    figure.colorbar(image, ax=right, label="Distance of centroids")
    return figure


def _point(label: int) -> dict[str, str]:
    return {"marker": MARKERS[label % len(MARKERS)], "ls": ""}


def _line(label: int) -> dict[str, str]:
    return {"ls": ("-", "--", "-.")[label // 8 % 3]}


def _legend(
    figure: Figure,
    n_clusters: int,
    names: Mapping[int, str] | None,
    style: Callable[[int], dict],
    sizes: Sequence[int] = (),
) -> None:
    """Legend of clusters; `style` gives keywords of the line of a label."""
    handles = []
    for k in range(n_clusters):
        title = short_title(k, names) + (f"  ({sizes[k]:,})" if len(sizes) else "")
        handles.append(Line2D([], [], color=cluster_colour(k), lw=2, label=title, **style(k)))
    legend_beside(figure, handles, "Cluster (size)" if len(sizes) else "Cluster")
