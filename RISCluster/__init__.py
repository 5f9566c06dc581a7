"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

import os

try:
    from ._version import __version__  # written by setuptools-scm when the package is built
except ImportError:  # a checkout that was never installed: the last release
    __version__ = "1.0.0"

# Read by torch when it is loaded. Spinning OpenMP threads made training 12 times slower beside one
# busy process; large pages halve the time of loading a file into memory. cuBLAS is deterministic
# with a workspace of this size, which is read at the first matrix product.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
