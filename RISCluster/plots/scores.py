"""Training and scores: losses, criteria for the number of clusters K, known classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..clustering.selection import TITLES, Criteria, choose
from ..evaluation.metrics import Reliability
from .style import COLOUR_MAP, PALETTE, cluster_colour, new, plain, tidy

# Column of selection.csv: title and rule of its panel; column of the error bars.
PANELS = {
    "bic": ("BIC", "lowest"),
    "aic": ("AIC", "lowest"),
    "silhouette": ("Silhouette", "highest"),
    "gap": ("Gap statistic", "first within one s.e."),
    "inertia": ("Inertia of k-means", "knee"),
    "stability": ("Stability", "largest of the most stable"),
}
COLUMNS = 4  # panels side by side
SPREADS = {"gap": "gap_std", "stability": "stability_std"}
NUMBERED = 24  # rows or columns up to which every cell has its number
TICKED = 60  # rows or columns up to which each has its name
LONGEST_NAME = 22  # letters


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
    k, n_rows = np.array([row.n_clusters for row in rows]), -(-len(PANELS) // COLUMNS)
    figure = new(11, 3 * n_rows)
    panels = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    for axes in panels[len(PANELS) :]:
        axes.remove()
    panels = panels[: len(PANELS)]
    for axes, (name, (title, rule)) in zip(panels, PANELS.items(), strict=True):
        values = np.array([getattr(row, name) for row in rows], float)
        choice = "none"
        if np.isfinite(values).any():
            spread, best = SPREADS.get(name), choose(list(rows), name)
            spread = spread and np.nan_to_num([getattr(row, spread) for row in rows])
            axes.errorbar(k, values, spread, fmt="o-", ms=3, capsize=2, color=PALETTE[0])
            if best is not None:
                at = values[k == best][0]
                axes.plot(best, at, "o", ms=10, mfc="none", mew=1.6, color=PALETTE[3])
                choice = f"K = {best}"
        else:
            axes.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axes.transAxes)
            axes.set(xlim=(k[0] - 0.5, k[-1] + 0.5), yticks=[])
        axes.axvline(chosen, color="0.4", ls=":", lw=1.2)
        weight = "bold" if name == criterion else "normal"
        axes.set_title(f"{title}\n{rule}: {choice}", fontsize=9, fontweight=weight)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        tidy(axes)
    for axes in panels[-COLUMNS:]:  # those without a panel below
        axes.set_xlabel("Number of clusters K", fontsize=9)
    figure.suptitle(
        f"K = {chosen} is selected, by {TITLES[criterion]} (dotted line); "
        "rings are each criterion's own choice",
        fontsize=10,
    )
    return figure


def known_classes(
    counts: np.ndarray, labels: Sequence[int], titles: Sequence[str], classes: Sequence[str],
    title: str,
) -> Figure:  # fmt: skip
    """Counts of samples by cluster and known class, (K, C), shaded by their share of the cluster.

    Titles of clusters have frames in their colours.
    """
    rows, columns = ([plain(name, LONGEST_NAME) for name in names] for names in (titles, classes))
    numbered = max(counts.shape) <= NUMBERED
    cell, long = 0.5 if numbered else 0.22, max(map(len, rows))
    figure = new(
        float(np.clip(cell * counts.shape[1] + 2.6 + 0.08 * long, 5, 16)),
        float(np.clip(cell * 0.8 * counts.shape[0] + 2.4, 3.5, 16)),
    )
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap=COLOUR_MAP, vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, label="Share of the row", shrink=0.9)
    for axis, names in ((axes.yaxis, rows), (axes.xaxis, columns)):  # of many only some
        places = range(0, len(names), -(-len(names) // TICKED))
        axis.set_ticks(list(places), [names[place] for place in places], fontsize=8)
    for name, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True):
        colour = cluster_colour(labels[place])
        name.set_bbox({"boxstyle": "square,pad=0.25", "fc": "white", "ec": colour, "lw": 1.5})
    if max(map(len, columns)) > 4:
        for name in axes.get_xticklabels():
            name.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlabel("Known class", labelpad=8)
    axes.set_ylabel("Cluster", labelpad=8)
    axes.set_title(title, fontsize=10)
    for at in zip(*np.nonzero(counts), strict=True) if numbered else ():
        n, colour = int(counts[at]), "white" if share[at] < 0.6 else "black"
        text = f"{n:,}" if n < 10_000 else EngFormatter(places=1, sep="")(n)
        axes.text(*at[::-1], text, color=colour, ha="center", va="center", fontsize=8)
    return figure


def reliability_curve(curves: Sequence[tuple[str, Reliability]]) -> Figure:
    """Share of right labels against their probability, by stage, and the samples of each bin."""
    figure = new(6.5, 6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="0.4", ls=":", label="calibrated")
    for place, (name, bins) in enumerate(curves):
        colour, there = PALETTE[place % len(PALETTE)], bins.counts > 0
        right, counts = bins.right[there], bins.counts[there]
        # One sample more of either kind (Agresti and Coull 1998): long bars of few samples
        likely = (right * counts + 1) / (counts + 2)
        error = np.sqrt(likely * (1 - likely) / counts)
        top.errorbar(
            bins.probability[there], right, error, fmt="o-", ms=4, capsize=2, color=colour,
            label=f"{name}: calibration error {bins.error:.3f}",
        )  # fmt: skip
        width = np.diff(bins.edges) / (len(curves) + 0.5)
        left = bins.edges[:-1] + (place + 0.25) * width
        bottom.bar(left, bins.counts, width, align="edge", color=colour, alpha=0.8)
    bottom.set_yscale("symlog", linthresh=1)
    bottom.set(xlabel="Probability of the label", ylabel="Samples", xlim=(0, 1.02))
    top.set(ylabel="Share whose class is the\nmost frequent of their cluster", ylim=(-0.02, 1.05))
    tidy(top)
    tidy(bottom)
    top.legend(frameon=False, loc="upper left", fontsize=9)
    return figure
