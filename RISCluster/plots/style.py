"""Colours of clusters, panels with spectrograms, axes of time, legends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..data.layouts import SpectrogramFile, side_by_side

COLOUR_MAP = "viridis"
UNUSABLE_COLOUR = (0.6, 0.6, 0.6)
# Okabe and Ito's palette without black, for colour-blind readers.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7F3C8D")
# Farthest from one another and from the palette in CIELAB, as seen with and without deuteranopia
# (Machado et al. 2009).
FURTHER = (
    "#0F00FF", "#2D1E00", "#E100FF", "#F0C3A5", "#D2004B", "#785A00", "#0F00A5", "#69F05A",
    "#4B6969", "#005AD2", "#A5E1D2", "#96B45A", "#1E4B00", "#001E4B", "#782D3C", "#E11EB4",
)  # fmt: skip
LONGEST_TITLE = 28  # letters of a cluster's title in a figure


def cluster_colour(label: int) -> Any:
    """Colour of a cluster in every figure: 24 in turn; grey for -1."""
    colours = PALETTE + FURTHER
    return UNUSABLE_COLOUR if label < 0 else colours[label % len(colours)]


def plain(text: str, longest: int = LONGEST_TITLE) -> str:
    """A text for a figure: shortened, and dollar signs escaped."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")


def new(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def tidy(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def label_dates(axes: Axes) -> None:
    """Time in UTC along the horizontal axis."""
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("Time (UTC)")


# ---- spectrograms -------------------------------------------------------------------------------


def axis_label(file: SpectrogramFile, axis: str) -> str:
    """Label of the ``frequency`` or ``time`` axis of spectrograms."""
    if axis == "time" and len(file.components) > 1:
        return f"Components of {np.ptp(edges(file.time)):.3g} {file.time_unit}"
    return f"{axis.capitalize()} ({getattr(file, f'{axis}_unit')})"


def amplitude_range(*images: np.ndarray, lowest: float = 0) -> tuple[float, float]:
    """Colour limits for images: the percentiles `lowest` and 99.7 of their finite values."""
    known = np.concatenate([image[np.isfinite(image)] for image in images])
    low, high = np.percentile(known, [lowest, 99.7]) if len(known) else (0.0, 1.0)
    return low, high if high > low else low + 1e-12


def draw_spectrogram(
    axes: Axes, file: SpectrogramFile, image: np.ndarray, limits: tuple[float, float] | None = None
) -> Any:
    """Draw one image (F, T), by default in its own range of amplitudes; components side by side."""
    low, high = limits or amplitude_range(image)
    time, n = file.time, len(file.components)
    if n > 1:
        length = np.ptp(edges(file.time))
        image, starts = side_by_side(image, n), np.arange(n) * length
        time = (starts[:, None] + time).ravel()
        middle = starts + (file.time[0] + file.time[-1]) / 2
        for border in middle[1:] - length / 2:
            axes.axvline(border, color="w", lw=1)
        if len(axes.get_xticks()):
            axes.set_xticks(middle, file.components)
    return axes.pcolorfast(
        *map(edges, (time, file.frequency)), image, cmap=COLOUR_MAP, vmin=low, vmax=high
    )


def edges(centres: np.ndarray) -> np.ndarray:
    """Edges (n + 1,) of bins (n,), half way between their centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.r_[2 * centres[0] - middle[0], middle, 2 * centres[-1] - middle[-1]]


def frame(axes: Axes, label: int) -> None:
    """Spines in the colour of a cluster."""
    for side in axes.spines.values():
        side.set(color=cluster_colour(label), linewidth=2)


# ---- legends ------------------------------------------------------------------------------------


def cluster_patches(labels: Sequence[int], titles: Sequence[str]) -> list[Patch]:
    """Legend entries of clusters."""
    pairs = zip(labels, titles, strict=True)
    return [Patch(color=cluster_colour(label), label=title) for label, title in pairs]


def legend_beside(figure: Figure, handles: Sequence[Any], title: str = "Cluster") -> None:
    """A legend to the right of all panels."""
    figure.legend(
        handles=handles, title=title, loc="outside right center", frameon=False, fontsize=9,
        ncols=1 + (len(handles) - 1) // 24, markerscale=2,
    )  # fmt: skip


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend of some columns under all panels."""
    n = min(6, len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=n, frameon=False, fontsize=9)
