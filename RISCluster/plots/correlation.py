"""Figure of the correlation of occurrences with the environment over lags.

Letters: K clusters, L lags.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import cluster_colour, legend_below, new, tidy


def lag_correlations(
    lags: np.ndarray,
    panels: Sequence[tuple[str, Sequence[tuple[int, np.ndarray, float]]]],
    names: Sequence[str],
    response: str = "occurrences",
) -> Figure:
    """Correlation of occurrences with each environmental series over lags.

    Parameters
    ----------
    lags : ndarray, (L,)
        Days.
    panels : sequence of (str, sequence of (int, ndarray, float))
        Name of each series; and of each cluster its label, r at each lag, and the level that the
        best lag has to pass, which is marked: full where it does, open where it does not.
    names : sequence of str, (K,)
        Of the clusters, by label.
    response : str
        What is correlated, as the axis has it.
    """
    figure = new(10, 2.3 * len(panels) + 1.1)
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    drawn: dict[int, None] = {}
    for axes, (name, lines) in zip(grid, panels, strict=True):
        for label, r, level in lines:
            colour = cluster_colour(label)
            drawn[label] = None
            axes.plot(lags, r, color=colour, lw=1.3, marker="." if len(lags) < 4 else None)
            best = int(np.nanargmax(np.abs(r)))
            face = colour if abs(r[best]) > level else "white"
            axes.plot(lags[best], r[best], "o", ms=7, mfc=face, mec=colour, zorder=3)
        axes.axhline(0, color="0.4", lw=0.6)
        axes.axvline(0, color="0.4", lw=0.6)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylim(-1, 1)
        tidy(axes)
    figure.supylabel(f"Correlation of {response} with the series", fontsize=10)
    grid[-1].set_xlabel("Lag (days): to the right occurrences follow the series")
    handles = [Line2D([], [], color=cluster_colour(k), label=names[k]) for k in sorted(drawn)]
    for face, text in (("0.3", "best lag, beyond the level"), ("white", "best lag, within it")):
        marker = {"marker": "o", "mfc": face, "mec": "0.3", "ls": "", "label": text}
        handles.append(Line2D([], [], **marker))
    legend_below(figure, handles)
    return figure
