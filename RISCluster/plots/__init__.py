"""Figures, each a function that returns a matplotlib Figure and draws on no screen.

Spectrograms have frequency upward and time to the right, in the units of the file. A cluster has
the same colour everywhere, see `cluster_colour`.
"""

from .clusters import LARGEST_GALLERY, cluster_map, embedding, gallery
from .style import (
    COLOUR_MAP,
    PALETTE,
    UNUSABLE_COLOUR,
    SpectrogramAxes,
    cluster_colour,
    cluster_title,
)
from .training import aec_history, dec_history, reconstructions, selection_curves

__all__ = [
    "COLOUR_MAP",
    "LARGEST_GALLERY",
    "PALETTE",
    "UNUSABLE_COLOUR",
    "SpectrogramAxes",
    "aec_history",
    "cluster_colour",
    "cluster_map",
    "cluster_title",
    "dec_history",
    "embedding",
    "gallery",
    "reconstructions",
    "selection_curves",
]
