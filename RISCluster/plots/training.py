"""Losses over epochs, and the criteria for the number of clusters K."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..clustering.selection import TITLES, Criteria, choose
from .style import PALETTE, new, tidy

# Column of selection.csv: title and rule of its panel; column of the error bars.
PANELS = {
    "bic": ("BIC", "lowest"),
    "aic": ("AIC", "lowest"),
    "silhouette": ("Silhouette", "highest"),
    "gap": ("Gap statistic", "first within one s.e."),
    "inertia": ("Inertia of k-means", "knee"),
    "stability": ("Stability", "largest of the most stable"),
    "agreement": ("Agreement of views", "highest"),
}
SPREADS = {"gap": "gap_std", "stability": "stability_std"}


def aec_history(history: dict[str, np.ndarray], mse_of_mean: float) -> Figure:
    """Losses over epochs (columns of history.csv), and that of the mean spectrogram."""
    figure = new(7, 4)
    axes = figure.subplots()
    epoch, validation = history["epoch"], history["validation_mse"]
    axes.plot(epoch, history["train_mse"], color=PALETTE[0], label="training")
    axes.plot(epoch, validation, color=PALETTE[1], label="validation")
    best = int(np.argmin(validation))
    axes.plot(epoch[best], validation[best], "o", color=PALETTE[1], mfc="none")
    axes.axhline(mse_of_mean, color="0.4", ls=":", label="the mean spectrogram")
    axes.set(ylabel="Mean squared error", yscale="log")
    axes.set_title(f"Autoencoder: best validation loss {validation[best]:.4g}")
    _label_epochs(axes)
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def dec_history(history: dict[str, np.ndarray], tol: float) -> Figure:
    """Both losses and the share of changed labels over epochs."""
    figure = new(7, 6.5)
    panels = figure.subplots(3, 1, sharex=True)
    names = ("mse", "kl", "label_change")
    titles = ("Mean squared error", "KL divergence\n(per sample)", "Changed labels\n(share)")
    for axes, name, title, colour in zip(panels, names, titles, (0, 3, 2), strict=True):
        axes.plot(history["epoch"], history[name], "o-", ms=3, color=PALETTE[colour])
        axes.set_ylabel(title)
        tidy(axes)
    panels[-1].axhline(tol, color="0.4", ls=":", label=f"tol = {tol:g}")
    panels[-1].legend(frameon=False)
    _label_epochs(panels[-1])
    panels[0].set_title("Deep embedded clustering")
    return figure


def _label_epochs(axes: Axes) -> None:
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def selection_curves(rows: Sequence[Criteria], chosen: int, criterion: str) -> Figure:
    """Criteria over K, ascending; a ring on the choice of each, a line at the selected K."""
    figure = new(11, 6)
    grid = figure.subplots(2, 4)
    grid[1, 3].remove()
    for axes, (name, (title, rule)) in zip(grid.flat, PANELS.items(), strict=False):
        own = _curve(axes, list(rows), name)
        axes.axvline(chosen, color="0.4", ls=":", lw=1.2)
        found = "none" if own is None else f"K = {own}"
        weight = "bold" if name == criterion else "normal"
        axes.set_title(f"{title}\n{rule}: {found}", fontsize=9, fontweight=weight)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        tidy(axes)
    for axes in (grid[0, 3], *grid[1, :3]):
        axes.set_xlabel("Number of clusters K", fontsize=9)
    figure.suptitle(
        f"K = {chosen} is selected, by {TITLES[criterion]} (dotted line); "
        "rings are each criterion's own choice",
        fontsize=10,
    )
    return figure


def _curve(axes: Axes, rows: list[Criteria], name: str) -> int | None:
    """Draw one criterion, its error bars and the ring; the K that it selects."""
    names = ["n_clusters", name, SPREADS.get(name, name)]
    k, values, spread = np.array([[getattr(row, key) for key in names] for row in rows], float).T
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axes.transAxes)
        axes.set(xlim=(k[0] - 0.5, k[-1] + 0.5), yticks=[])
        return None
    spread = np.nan_to_num(spread) if name in SPREADS else None
    axes.errorbar(k, values, spread, fmt="o-", ms=3, capsize=2, color=PALETTE[0])
    own = choose(rows, name)
    if own is not None:
        at = values[k == own][0]
        axes.plot(own, at, "o", ms=10, mfc="none", mew=1.6, color=PALETTE[3])
    return own
