"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

from .machine import prepare_for_torch

try:
    from ._version import __version__  # written by setuptools-scm when the package is built
except ImportError:  # a checkout that was never installed: the last release
    __version__ = "1.0.0"

prepare_for_torch()
