"""What all figures share: axes of spectrograms, colours of clusters, an empty figure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

COLOUR_MAP = "viridis"
UNUSABLE_COLOUR = (0.6, 0.6, 0.6)
# Okabe and Ito's palette without black: eight colours that colour-blind readers tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7F3C8D")
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
    """Colour of a cluster: the palette first, then hues between the ones before."""
    if label < 0:
        return UNUSABLE_COLOUR
    if label < len(PALETTE):
        return PALETTE[label]
    return tuple(hsv_to_rgb((label * 0.618034 % 1, 0.55 + 0.35 * (label % 2), 0.75)))


def new(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def tidy(axes: Axes) -> None:
    """Few lines, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
