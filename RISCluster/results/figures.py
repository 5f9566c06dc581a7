"""Figures, each a function that returns a matplotlib Figure and draws on no screen.

Spectrograms have frequency upward and time to the right, in the units of the file. A cluster has
the same colour everywhere, see `cluster_colour`.

Letters: N samples, D latent features, K clusters, F x T bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, hsv_to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .cluster_map import ClusterMap

COLOUR_MAP = "viridis"
UNUSABLE_COLOUR = (0.6, 0.6, 0.6)
# Okabe and Ito's palette without black: eight colours that colour-blind readers tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7F3C8D")
MARKERS = "os^Dv<>pPX*hd"
LARGEST_GALLERY = 24  # clusters a gallery draws


@dataclass(frozen=True)
class SpectrogramAxes:
    """Axes of every spectrogram of a file.

    Attributes
    ----------
    frequency, time : ndarray, (F,) and (T,)
    frequency_unit, time_unit : str
    """

    frequency: np.ndarray
    time: np.ndarray
    frequency_unit: str
    time_unit: str

    @classmethod
    def of(cls, file: Any) -> "SpectrogramAxes":
        """Those of an open `SpectrogramFile`."""
        return cls(file.frequency, file.time, file.frequency_unit, file.time_unit)

    @property
    def frequency_label(self) -> str:
        """Label of the vertical axis."""
        return f"Frequency ({self.frequency_unit})"

    @property
    def time_label(self) -> str:
        """Label of the horizontal axis."""
        return f"Time ({self.time_unit})"

    def draw(self, axes: Axes, image: np.ndarray, **keywords: Any) -> Any:
        """Draw one spectrogram (F, T)."""
        return axes.pcolormesh(
            self.time,
            self.frequency,
            image,
            cmap=keywords.pop("cmap", COLOUR_MAP),
            shading="nearest",
            rasterized=True,
            **keywords,
        )


def cluster_colour(label: int) -> Any:
    """Colour of a cluster: the palette first, then hues between the ones before."""
    if label < 0:
        return UNUSABLE_COLOUR
    if label < len(PALETTE):
        return PALETTE[label]
    return tuple(hsv_to_rgb((label * 0.618034 % 1, 0.55 + 0.35 * (label % 2), 0.75)))


def _new(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def aec_history(history: dict[str, np.ndarray], mse_of_mean: float) -> Figure:
    """Loss of training and validation over epochs, and the learning rate.

    Parameters
    ----------
    history : dict of ndarray
        Columns of history.csv.
    mse_of_mean : float
        Mean squared error of the mean spectrogram: the line that says nothing was learnt.
    """
    figure = _new(7, 4)
    axes = figure.subplots()
    epoch = history["epoch"]
    axes.plot(epoch, history["train_mse"], color=PALETTE[0], label="training")
    axes.plot(epoch, history["validation_mse"], color=PALETTE[1], label="validation")
    best = int(np.argmin(history["validation_mse"]))
    axes.plot(epoch[best], history["validation_mse"][best], "o", color=PALETTE[1], mfc="none")
    axes.axhline(mse_of_mean, color="0.4", ls=":", label="the mean spectrogram")
    axes.set(xlabel="Epoch", ylabel="Mean squared error", yscale="log")
    axes.set_title(f"Autoencoder: best validation loss {history['validation_mse'][best]:.4g}")
    _tidy(axes)
    axes.legend(frameon=False)
    return figure


def dec_history(history: dict[str, np.ndarray], tol: float) -> Figure:
    """Both losses and the share of changed labels over epochs."""
    figure = _new(7, 6.5)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    for axes, name, label, colour in (
        (top, "mse", "Mean squared error", PALETTE[0]),
        (middle, "kl", "KL divergence\n(per sample)", PALETTE[3]),
        (bottom, "label_change", "Changed labels\n(share)", PALETTE[2]),
    ):
        axes.plot(history["epoch"], history[name], "o-", ms=3, color=colour)
        axes.set_ylabel(label)
        _tidy(axes)
    bottom.axhline(tol, color="0.4", ls=":")
    bottom.annotate(
        f"tol = {tol:g}", (0.99, tol), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    bottom.set_xlabel("Epoch")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    top.set_title("Deep embedded clustering")
    return figure


def reconstructions(
    axes_of: SpectrogramAxes,
    inputs: np.ndarray,
    latents: np.ndarray,
    outputs: np.ndarray,
    titles: Sequence[str],
) -> Figure:
    """Chosen samples in rows: as the network sees them, their latents, their reconstruction.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    inputs, outputs : ndarray, (n, F, T)
    latents : ndarray, (n, D)
    titles : sequence of str
    """
    n = len(inputs)
    figure = _new(9, 1.7 * n + 0.8)
    grid = figure.subplots(n, 3, squeeze=False, width_ratios=(3, 1.6, 3))
    for row, title in enumerate(titles):
        left, middle, right = grid[row]
        low, high = np.percentile(inputs[row], [1, 99.7])
        limits = {"vmin": low, "vmax": high if high > low else low + 1}
        image = axes_of.draw(left, inputs[row], **limits)
        axes_of.draw(right, outputs[row], **limits)
        figure.colorbar(image, ax=right, label="amplitude")
        middle.bar(np.arange(latents.shape[1]), latents[row], color=PALETTE[0])
        middle.axhline(0, color="0.4", lw=0.6)
        left.set_ylabel(f"{title}\n{axes_of.frequency_label}", fontsize=8)
        right.set_yticklabels([])
    for axes, heading in zip(grid[0], ("Input", "Latent", "Reconstruction"), strict=True):
        axes.set_title(heading, fontsize=10)
    grid[-1, 0].set_xlabel(axes_of.time_label)
    grid[-1, 1].set_xlabel("Feature")
    grid[-1, 2].set_xlabel(axes_of.time_label)
    return figure


def selection_curves(rows: Sequence[Any], chosen: int, criterion: str) -> Figure:
    """Criteria over the number of clusters, with the selected one.

    Parameters
    ----------
    rows : sequence of Criteria
    chosen : int
    criterion : str
        Which one chose it.
    """
    figure = _new(9, 5.5)
    k = [row.n_clusters for row in rows]
    panels = (
        ("bic", "BIC (lower is better)", np.argmin),
        ("aic", "AIC (lower is better)", np.argmin),
        ("silhouette", "Silhouette (higher is better)", np.argmax),
        ("inertia", "Inertia of k-means (look for a knee)", None),
        ("gap", "Gap statistic (first within one s.e.)", None),
    )
    grid = figure.subplots(2, 3)
    for axes, (name, title, best) in zip(grid.flat, panels, strict=False):
        values = np.array([getattr(row, name) for row in rows])
        if name == "gap":
            axes.errorbar(k, values, [row.gap_std for row in rows], color=PALETTE[0], capsize=2)
        else:
            axes.plot(k, values, "o-", ms=3, color=PALETTE[0])
        if best is not None and np.isfinite(values).any():
            at = int(best(np.where(np.isfinite(values), values, np.nan_to_num(values, nan=0))))
            axes.plot(k[at], values[at], "o", ms=9, mfc="none", color=PALETTE[3])
        axes.axvline(chosen, color="0.4", ls=":")
        axes.set_title(title + (" *" if name == criterion else ""), fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
    for axes in grid[1]:
        axes.set_xlabel("Number of clusters K")
    grid[1, 2].axis("off")
    grid[1, 2].text(
        0.05,
        0.5,
        f"selected: K = {chosen}\nby {criterion} (*)\n\ndotted: selected\nring: best of a panel",
        va="center",
    )
    return figure


def gallery(
    axes_of: SpectrogramAxes,
    members: Sequence[np.ndarray],
    labels: Sequence[int],
    sizes: Sequence[int],
    n_columns: int,
    title: str,
) -> Figure:
    """Members of each cluster nearest to its centroid, nearest first, a row a cluster.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    members : sequence of ndarray, (m, F, T)
        At most `n_columns` samples of each cluster; fewer, even none, for a small one.
    labels, sizes : sequence of int
        Of the clusters.
    n_columns : int
    title : str
    """
    n = len(members)
    figure = _new(1.45 * n_columns + 1.4, 1.15 * n + 1.1)
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
            f"{labels[row]}\nn = {sizes[row]:,}\n{sizes[row] / total:.1%}",
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


def embedding(points: np.ndarray, labels: np.ndarray, sizes: Sequence[int], title: str) -> Figure:
    """A two-dimensional embedding of latents, coloured by label.

    Parameters
    ----------
    points : ndarray, (n, 2)
    labels : ndarray, (n,)
        Of the points.
    sizes : sequence of int, (K,)
        Of the clusters, over all samples.
    title : str
    """
    figure = _new(8, 6)
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
            label=f"{label}  ({size:,})",
        )
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel("t-SNE: neighbours are near; distances between clusters mean little")
    axes.spines[["top", "right", "left", "bottom"]].set_color("0.8")
    axes.legend(
        title="Cluster (size)", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5),
        ncols=1 + (len(sizes) - 1) // 20,
    )  # fmt: skip
    return figure


def cluster_map(image: ClusterMap, sizes: Sequence[int], title: str) -> Figure:
    """Labels of a cube over time (to the right) and channel or distance (downward).

    Parameters
    ----------
    image : ClusterMap
    sizes : sequence of int, (K,)
        Of the clusters.
    title : str
    """
    figure = _new(10, 5.5)
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
        Patch(color=cluster_colour(label), label=f"{label}  ({size:,})")
        for label, size in enumerate(sizes)
    ]
    if (image.labels < 0).any():
        handles.append(Patch(color=UNUSABLE_COLOUR, label="unusable"))
    axes.legend(
        handles=handles, title="Cluster (size)", frameon=False, loc="center left",
        bbox_to_anchor=(1, 0.5), ncols=1 + (len(sizes) - 1) // 20,
    )  # fmt: skip
    return figure
