"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

__version__ = "1.0.0"
