"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

from .machine import wait_without_spinning

__version__ = "1.0.0"

wait_without_spinning()
