"""Losses over epochs, reconstructions, and the criteria for the number of clusters K.

Letters: n samples, D latent features, F x T bins.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..clustering.selection import TITLES, Criteria, choose
from .style import PALETTE, SpectrogramAxes, new, tidy


def aec_history(history: dict[str, np.ndarray], mse_of_mean: float) -> Figure:
    """Loss of training and validation over epochs, and the learning rate.

    Parameters
    ----------
    history : dict of ndarray
        Columns of history.csv.
    mse_of_mean : float
        Mean squared error of the mean spectrogram: the line that says nothing was learnt.
    """
    figure = new(7, 4)
    axes = figure.subplots()
    epoch = history["epoch"]
    axes.plot(epoch, history["train_mse"], color=PALETTE[0], label="training")
    axes.plot(epoch, history["validation_mse"], color=PALETTE[1], label="validation")
    best = int(np.argmin(history["validation_mse"]))
    axes.plot(epoch[best], history["validation_mse"][best], "o", color=PALETTE[1], mfc="none")
    axes.axhline(mse_of_mean, color="0.4", ls=":", label="the mean spectrogram")
    axes.set(ylabel="Mean squared error", yscale="log")
    _count_epochs(axes)
    axes.set_title(f"Autoencoder: best validation loss {history['validation_mse'][best]:.4g}")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def dec_history(history: dict[str, np.ndarray], tol: float) -> Figure:
    """Both losses and the share of changed labels over epochs."""
    figure = new(7, 6.5)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    for axes, name, label, colour in (
        (top, "mse", "Mean squared error", PALETTE[0]),
        (middle, "kl", "KL divergence\n(per sample)", PALETTE[3]),
        (bottom, "label_change", "Changed labels\n(share)", PALETTE[2]),
    ):
        axes.plot(history["epoch"], history[name], "o-", ms=3, color=colour)
        axes.set_ylabel(label)
        tidy(axes)
    bottom.axhline(tol, color="0.4", ls=":")
    bottom.annotate(
        f"tol = {tol:g}", (0.99, tol), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    _count_epochs(bottom)
    top.set_title("Deep embedded clustering")
    return figure


def _count_epochs(axes: Axes) -> None:
    """Whole numbers along the axis of epochs, be it a single one."""
    axes.set_xlabel("Epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


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
    figure = new(9, 1.7 * n + 0.8)
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


PANELS = (
    ("bic", "BIC", "lowest"),
    ("aic", "AIC", "lowest"),
    ("silhouette", "Silhouette", "highest"),
    ("gap", "Gap statistic", "first within one s.e."),
    ("inertia", "Inertia of k-means", "knee"),
    ("stability", "Stability", "largest of the most stable"),
)
LARGE = ("bic", "aic", "inertia")  # values in thousands and millions
SPREADS = {"gap": "gap_std", "stability": "stability_std"}


def selection_curves(rows: Sequence[Criteria], chosen: int, criterion: str) -> Figure:
    """Criteria over the number of clusters; a ring on each one's own choice.

    Parameters
    ----------
    rows : sequence of Criteria
        Ascending in the number of clusters.
    chosen : int
        The selected one, a dotted line in every panel.
    criterion : str
        Which one selected it.
    """
    figure = new(9, 6)
    grid = figure.subplots(2, 3)
    for axes, (name, title, rule) in zip(grid.flat, PANELS, strict=True):
        own = _curve(axes, list(rows), name)
        axes.axvline(chosen, color="0.4", ls=":", lw=1.2)
        found = "none" if own is None else f"K = {own}"
        weight = "bold" if name == criterion else "normal"
        axes.set_title(f"{title}\n{rule}: {found}", fontsize=9, fontweight=weight)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        tidy(axes)
    for axes in grid[1]:
        axes.set_xlabel("Number of clusters K", fontsize=9)
    figure.suptitle(
        f"K = {chosen} is selected, by {TITLES[criterion]} (dotted line); "
        "rings are each criterion's own choice",
        fontsize=10,
    )
    return figure


def _curve(axes: Axes, rows: list[Criteria], name: str) -> int | None:
    """Draw one criterion, its spread and the ring; the K that it takes."""
    k = np.array([row.n_clusters for row in rows])
    values = np.array([getattr(row, name) for row in rows], dtype=float)
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axes.transAxes)
        axes.set(xlim=(k[0] - 0.5, k[-1] + 0.5), yticks=[])
        return None
    if name in SPREADS:
        spread = np.array([getattr(row, SPREADS[name]) for row in rows])
        axes.errorbar(k, values, spread, fmt="o-", ms=3, capsize=2, color=PALETTE[0])
    else:
        axes.plot(k, values, "o-", ms=3, color=PALETTE[0])
    if name in LARGE:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    if name == "stability":
        axes.set_ylim(min(0.0, float(np.nanmin(values - np.nan_to_num(spread)))) - 0.05, 1.05)
        axes.set_ylabel("ARI between half-samples", fontsize=8)
    own = choose(rows, name)
    if own is not None:
        at = values[k == own][0]
        axes.plot(own, at, "o", ms=10, mfc="none", mew=1.6, color=PALETTE[3])
    return own
