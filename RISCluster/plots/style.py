"""What all figures share: axes of spectrograms, colours of clusters, an empty figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

COLOUR_MAP = "viridis"
UNUSABLE_COLOUR = (0.6, 0.6, 0.6)
# Okabe and Ito's palette without black: eight colours that colour-blind readers tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7F3C8D")
# For clusters beyond the eighth: the farthest from one another and from the palette that a search
# over sRGB found, in CIELAB as seen and as seen with deuteranopia (Machado et al. 2009).
FURTHER = (
    "#0F00FF", "#2D1E00", "#E100FF", "#F0C3A5", "#D2004B", "#785A00", "#0F00A5", "#69F05A",
    "#4B6969", "#005AD2", "#A5E1D2", "#96B45A", "#1E4B00", "#001E4B", "#782D3C", "#E11EB4",
)  # fmt: skip
LONGEST_NAME = 26  # letters of a name in a figure
MARKERS = "os^Dv<>pPX*hd"


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
    """Colour of a cluster: 24 that are told apart, then hues between the ones before."""
    if label < 0:
        return UNUSABLE_COLOUR
    if label < len(PALETTE):
        return PALETTE[label]
    if label < len(PALETTE) + len(FURTHER):
        return FURTHER[label - len(PALETTE)]
    return tuple(hsv_to_rgb((label * 0.618034 % 1, 0.55 + 0.35 * (label % 2), 0.75)))


def cluster_title(label: int, names: Mapping[int, str] | None = None) -> str:
    """Number of a cluster and the name it was given, as a figure has room for."""
    name = (names or {}).get(label, "")
    return f"{label} {plain(name)}" if name else str(label)


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """A text from outside as a figure can have it: cut, and with no dollar sign as a formula."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")


def cluster_patches(labels: Sequence[int], names: Sequence[str]) -> list[Patch]:
    """Legend entries of clusters."""
    return [
        Patch(color=cluster_colour(label), label=name)
        for label, name in zip(labels, names, strict=True)
    ]


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend of some columns under all panels, in order along its rows."""
    columns = min(6, len(handles))
    along_rows = [handle for column in range(columns) for handle in handles[column::columns]]
    figure.legend(
        handles=along_rows, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def new(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def tidy(axes: Axes) -> None:
    """Few lines, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
