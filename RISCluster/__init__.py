"""Deep embedded clustering of seismic spectrograms, after Jenkins et al. (2021)."""

import os

__version__ = "1.0.0"

# OpenMP threads that wait by spinning starve each other where another program uses the same
# cores: training was measured 12 times slower beside one busy process. A short spin costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
