"""Figures of clusters in their spaces: silhouettes, latents in pairs of features, distances.

Letters: m samples, D latent features, K clusters, P panels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import MARKERS, cluster_colour, cluster_title, new, tidy

PAIRED = 6  # features at most
POINTS = 3000  # latents a panel draws
BINS = 25
NUMBERED = 16  # clusters up to which each profile has its number


@dataclass(frozen=True)
class Scores:
    """Silhouettes (m,) of one panel, NaN where undefined, the labels (m,), and the mean."""

    title: str
    labels: np.ndarray
    values: np.ndarray
    mean: float


@dataclass(frozen=True)
class Distances:
    """Distances (m,) from the centroids, for one row of panels, and the labels (m,)."""

    title: str
    labels: np.ndarray
    values: np.ndarray


def silhouette_profiles(
    panels: Sequence[Scores],
    n_clusters: int,
    names: Mapping[int, str] | None = None,
    columns: int = 2,
) -> Figure:
    """Silhouettes of the samples of each cluster, sorted, a panel a space and stage.

    Parameters
    ----------
    panels : sequence of Scores
        `columns` a row.
    n_clusters : int
    names : mapping of int to str, optional
    columns : int
    """
    rows = -(-len(panels) // columns)
    figure = new(3.8 * columns + 1.4, 3.6 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _profile(axes, panel)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel("Silhouette")
    _cluster_legend(figure, range(n_clusters), names)
    return figure


def _profile(axes: Axes, panel: Scores) -> None:
    """One panel: a shape a cluster, the first at the top."""
    known = ~np.isnan(panel.values)
    there = np.unique(panel.labels[known])
    gap, top = max(1, known.sum() // 60), 0
    for label in there:
        values = np.sort(panel.values[known & (panel.labels == label)])[::-1]
        rows = np.arange(top, top + len(values) + 1)
        axes.fill_betweenx(
            rows, 0, np.r_[values, values[-1]], step="post", color=cluster_colour(label), lw=0.3
        )
        if len(there) <= NUMBERED:
            axes.text(
                -0.015, top + len(values) / 2, str(label), va="center", ha="right", fontsize=8,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        top += len(values) + gap
    axes.set_ylim(max(top, 1), -gap)
    axes.set_yticks([])
    axes.axvline(0, color="0.4", lw=0.8)
    tidy(axes)
    if known.any():
        axes.axvline(panel.mean, color="black", ls=":", lw=1.2)
        axes.set_title(f"{panel.title}: mean {panel.mean:.3f}", fontsize=10)
    else:
        axes.set_title(f"{panel.title}: not defined", fontsize=10)


def latent_pairs(
    latents: np.ndarray,
    labels: np.ndarray,
    centroids: np.ndarray,
    title: str,
    feature_names: Sequence[str],
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Latents in pairs of features, with the centroids.

    Where there are more than `PAIRED` features, those in which the clusters lie farthest apart,
    see `separating_features`.

    Parameters
    ----------
    latents : ndarray, (m, D)
    labels : ndarray, (m,)
    centroids : ndarray, (K, D)
        NaN where a cluster has none.
    title : str
    feature_names : sequence of str
        Of all D.
    names : mapping of int to str, optional
    """
    features = np.sort(separating_features(latents, labels)[:PAIRED])
    n = max(1, len(features) - 1)
    figure = new(2.0 * n + 2.6, 1.8 * n + 1.4)
    grid = figure.subplots(n, n, squeeze=False, sharex="col", sharey="row")
    order = np.random.default_rng(0).permutation(len(latents))[:POINTS]  # none lies over another
    colours = np.array([to_rgb(cluster_colour(label)) for label in range(len(centroids))])
    for row, column in np.ndindex(n, n):
        axes = grid[row, column]
        if column > row:
            axes.axis("off")
            continue
        x, y = _pair(features, row, column)
        shown = latents[order]
        axes.scatter(
            shown[:, x], shown[:, y], s=4, c=colours[labels[order]], alpha=0.5, linewidths=0,
            rasterized=True,
        )  # fmt: skip
        _draw_centroids(axes, centroids[:, [x, y]])
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=4)
        tidy(axes)
        if row == n - 1:
            axes.set_xlabel(feature_names[x].capitalize(), fontsize=9)
        if column == 0:
            axes.set_ylabel(feature_names[y].capitalize(), fontsize=9)
    figure.suptitle(title, fontsize=11)
    _cluster_legend(figure, range(len(centroids)), names, markers=True)
    return figure


def separating_features(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features by the share of their variance that lies between clusters, largest first: (D,)."""
    mean = latents.mean(0)
    between = np.zeros(latents.shape[1])
    for label in np.unique(labels):
        mine = latents[labels == label]
        between += len(mine) * np.square(mine.mean(0) - mean)
    total = np.square(latents - mean).sum(0)
    share = np.divide(between, total, out=np.zeros_like(between), where=total > 0)
    return np.argsort(-share, kind="stable")


def _pair(features: np.ndarray, row: int, column: int) -> tuple[int, int]:
    if len(features) == 1:
        return int(features[0]), int(features[0])
    return int(features[column]), int(features[row + 1])


def _draw_centroids(axes: Axes, centroids: np.ndarray) -> None:
    for label, (x, y) in enumerate(centroids):
        axes.plot(
            x, y, MARKERS[label % len(MARKERS)], ms=9, mfc=cluster_colour(label), mec="white",
            mew=1.6, zorder=4,
        )  # fmt: skip
        axes.plot(
            x, y, MARKERS[label % len(MARKERS)], ms=10, mfc="none", mec="black", mew=0.7, zorder=5
        )


def distance_curves(
    rows: Sequence[Distances], n_clusters: int, names: Mapping[int, str] | None = None
) -> Figure:
    """How far members are from their centroid: cumulative share, and density.

    Parameters
    ----------
    rows : sequence of Distances
        A row of two panels each.
    n_clusters : int
    names : mapping of int to str, optional
    """
    figure = new(9.5, 3.3 * len(rows) + 0.4)
    grid = figure.subplots(len(rows), 2, squeeze=False)
    for (left, right), row in zip(grid, rows, strict=True):
        largest = float(np.quantile(row.values, 0.995)) if len(row.values) else 1.0
        edges = np.linspace(0, largest or 1.0, BINS + 1)
        for label in np.unique(row.labels):
            values = np.sort(row.values[row.labels == label])
            style = {"color": cluster_colour(label), "lw": 1.6, "ls": _line(label)}
            left.plot(
                np.r_[0, values, edges[-1]],
                np.r_[0, np.arange(1, len(values) + 1) / len(values), 1],
                drawstyle="steps-post", **style,
            )  # fmt: skip
            density = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
            right.plot((edges[:-1] + edges[1:]) / 2, density, **style)
        for axes, label in ((left, "Share that is nearer"), (right, "Density")):
            axes.set(xlim=(0, edges[-1]), ylim=(0, None), ylabel=label)
            axes.set_xlabel("Distance from the centroid in latent space")
            tidy(axes)
        left.set_title(f"{row.title}: cumulative", fontsize=10)
        right.set_title(f"{row.title}: density", fontsize=10)
    _cluster_legend(figure, range(n_clusters), names, lines=True)
    return figure


def _line(label: int) -> str:
    return ("-", "--", "-.")[label // 8 % 3]


def _cluster_legend(
    figure: Figure,
    labels: Sequence[int],
    names: Mapping[int, str] | None,
    markers: bool = False,
    lines: bool = False,
) -> None:
    """Numbers, names and colours of clusters to the right of all panels."""
    handles = [
        Line2D(
            [], [], color=cluster_colour(label), label=cluster_title(label, names),
            marker="" if lines else MARKERS[label % len(MARKERS)] if markers else "s",
            ls=_line(label) if lines else "", lw=2,
        )
        for label in labels
    ]  # fmt: skip
    figure.legend(
        handles=handles, title="Cluster", frameon=False, loc="outside right center", fontsize=9,
        ncols=1 + (len(handles) - 1) // 26,
    )  # fmt: skip
