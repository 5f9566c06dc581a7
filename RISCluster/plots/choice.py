"""Figure of the choice of the number of clusters K."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..clustering.selection import TITLES, Criteria, choose
from .style import PALETTE, new, tidy

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
