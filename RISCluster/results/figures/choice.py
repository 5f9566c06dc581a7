"""Figure of the choice of the number of clusters K."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import PALETTE, new, tidy


def selection_curves(rows: Sequence[Any], chosen: int, criterion: str) -> Figure:
    """Criteria over the number of clusters, with the selected one.

    Parameters
    ----------
    rows : sequence of Criteria
    chosen : int
    criterion : str
        Which one chose it.
    """
    figure = new(9, 5.5)
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
        tidy(axes)
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
