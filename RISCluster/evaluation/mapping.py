"""The two-dimensional map of latents, by the method of ``report.embedding``."""

import numpy as np

from ..clustering import initialisation
from ..io import need

NEIGHBOURS = 15  # of UMAP, its default
PACKAGES = {"opentsne": "openTSNE", "umap": "umap"}
TITLES = {"tsne": "t-SNE", "opentsne": "openTSNE", "umap": "UMAP"}


def mapped(latents: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Map finite latents (m, D) to (m, 2), float64; (0, 2) for too few of them.

    Methods are tsne (van der Maaten and Hinton 2008), opentsne (Policar et al. 2024) and umap
    (McInnes et al. 2018). MissingPackage where the package of the method is not installed.
    """
    n = len(latents)
    if n < initialisation.MIN_TREE_SIZE:
        return np.empty((0, 2))
    if method == "tsne":
        return initialisation.tsne(latents, seed)
    package, z = need(PACKAGES[method]), latents / (float(latents.std()) or 1.0)
    if method == "opentsne":
        perplexity = min(initialisation.PERPLEXITY, (n - 1) / 3)
        tsne = package.TSNE(perplexity=perplexity, initialization="pca", random_state=seed)
        return np.asarray(tsne.fit(z), dtype=np.float64)
    # One job, so that a seed gives the same map again; few latents have no spectrum.
    init = "spectral" if n > 4 * NEIGHBOURS else "random"
    umap = package.UMAP(n_neighbors=min(NEIGHBOURS, n - 1), random_state=seed, n_jobs=1, init=init)
    return np.asarray(umap.fit_transform(z), dtype=np.float64)


def require_package(method: str) -> None:
    """Raise MissingPackage for a method whose package is not installed."""
    if method in PACKAGES:
        need(PACKAGES[method])
