"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

from .runtime import prepare_for_torch

__version__ = "1.0.0"

prepare_for_torch()
